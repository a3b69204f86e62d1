package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
)

// describeMedia describes what is done with the kept copies of files.
func (s *server) describeMedia(mux *http.ServeMux, api huma.API) {
	bytes := &huma.Schema{Type: "string", Format: "binary"}
	for _, v := range []struct {
		path, id, summary string
		thumbnail         bool
	}{
		{"/api/v1/media/{id}/file", "get-media-file", "The kept copy of a file; parts by Range", false},
		{"/api/v1/media/{id}/thumbnail", "get-media-thumbnail", "A small picture of an image, as JPEG", true},
	} {
		op := operation(http.MethodGet, v.path, v.id, v.summary, Viewer)
		op.Parameters = []*huma.Param{{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}}
		op.Responses = map[string]*huma.Response{"200": response("The file", "application/octet-stream", bytes)}
		s.mount(mux, api, op, func(w http.ResponseWriter, r *http.Request) { s.serveMedia(w, r, v.thumbnail) })
	}
	huma.Register(api, operation(http.MethodPost, "/api/v1/media/{id}/retry", "retry-media", "Make the copy of a file that has none", Operator),
		func(ctx context.Context, in *idInput) (*output[mediaDoc], error) {
			if s.o.Media == nil {
				return nil, huma.Error409Conflict("no files are kept: GAFF_MEDIA_URL is off")
			}
			if err := s.o.Media.Again(ctx, in.ID); err != nil {
				return nil, s.failure(err)
			}
			m, err := s.o.Store.MediaByID(ctx, in.ID)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[mediaDoc]{s.mediaDoc(*m)}, nil
		})
}

func (s *server) serveMedia(w http.ResponseWriter, r *http.Request, thumbnail bool) {
	m, err := s.o.Store.MediaByID(r.Context(), r.PathValue("id"))
	if err == nil && s.o.Media == nil {
		err = fmt.Errorf("no files are kept, GAFF_MEDIA_URL is off: %w", gaff.ErrNotFound)
	}
	if err == nil {
		err = s.o.Media.Serve(w, r, m, thumbnail)
	}
	if err != nil {
		failure := s.failure(err)
		rejectWith(w, r, failure.GetStatus(), failure.Error())
	}
}
