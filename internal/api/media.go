package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/wire"
	"gaff/jobs"
)

// MediaFiles has gaff's copies of files.
type MediaFiles interface {
	// Links returns links to the copy and to a small picture of it, which need no token.
	Links(m *jobs.Media) jobs.MediaLinks
	// Serve answers with one of the two. If it returns an error, nothing was written.
	Serve(w http.ResponseWriter, r *http.Request, m *jobs.Media, thumbnail bool) error
	// Zip answers with an archive of copies. If it returns an error, nothing was written.
	Zip(w http.ResponseWriter, r *http.Request, files []*jobs.Media) error
	// Again queues a copy that is missing.
	Again(ctx context.Context, id string) error
	// Link makes permanent links to the copy, unless the file has them. Unlink revokes them.
	Link(ctx context.Context, id string) error
	Unlink(ctx context.Context, id string) error
}

// media makes a file's document, with links to gaff's copy.
func (s *server) media(m jobs.Media) wire.Media {
	if s.o.Media != nil {
		m.Links = s.o.Media.Links(&m)
	}
	return wire.NewMedia(m)
}

type mediaInput struct {
	wire.Page
	wire.MediaQuery
}

func (s *server) listMedia(ctx context.Context, in *mediaInput) (wire.List[wire.Media], error) {
	f, err := in.Filter(in.After())
	if err != nil {
		return wire.List[wire.Media]{}, err
	}
	page, err := s.store(ctx).Media(ctx, f)
	return wire.NewList(page, s.media), err
}

func (s *server) getMedia(ctx context.Context, in *idInput) (none wire.Media, err error) {
	m, err := s.store(ctx).MediaByID(ctx, in.ID)
	if err != nil {
		return none, err
	}
	if m.Shortened() && m.Storage != jobs.StorageStored {
		// Only the job's result has the file itself.
		if j, err := s.store(ctx).Job(ctx, m.JobID); err == nil {
			if link, ok := jobs.WholeLink(j.Result, m.URL); ok {
				m.URL = link
			}
		}
	}
	return s.media(*m), nil
}

func (s *server) retryMedia(ctx context.Context, in *idInput) (wire.Media, error) {
	return s.changeMedia(ctx, in, MediaFiles.Again)
}

func (s *server) linkMedia(ctx context.Context, in *idInput) (wire.Media, error) {
	return s.changeMedia(ctx, in, MediaFiles.Link)
}

func (s *server) unlinkMedia(ctx context.Context, in *idInput) (wire.Media, error) {
	return s.changeMedia(ctx, in, MediaFiles.Unlink)
}

// changeMedia changes a file that the caller can see, and answers with its document.
func (s *server) changeMedia(ctx context.Context, in *idInput, change func(MediaFiles, context.Context, string) error) (none wire.Media, err error) {
	if s.o.Media == nil {
		return none, huma.Error409Conflict("files are not stored: GAFF_MEDIA_URL is off")
	}
	if err := reachable(ctx, in.ID, s.store(ctx).MediaByID); err != nil {
		return none, err
	}
	if err := change(s.o.Media, ctx, in.ID); err != nil {
		return none, err
	}
	m, err := s.store(ctx).MediaByID(ctx, in.ID)
	if err != nil {
		return none, err
	}
	return s.media(*m), nil
}

func describeMediaFile(_ huma.API, op *huma.Operation) {
	op.Parameters = idParam()
	op.Responses = map[string]*huma.Response{"200": response("The file", "application/octet-stream", &huma.Schema{Type: "string", Format: "binary"})}
}

func (s *server) getMediaFile(w http.ResponseWriter, r *http.Request) { s.serveMedia(w, r, false) }

func (s *server) getMediaThumbnail(w http.ResponseWriter, r *http.Request) { s.serveMedia(w, r, true) }

func (s *server) serveMedia(w http.ResponseWriter, r *http.Request, thumbnail bool) {
	m, err := s.store(r.Context()).MediaByID(r.Context(), r.PathValue("id"))
	if err == nil && s.o.Media == nil {
		err = fmt.Errorf("files are not stored, GAFF_MEDIA_URL is off: %w", gaff.ErrNotFound)
	}
	if err == nil {
		err = s.o.Media.Serve(w, r, m, thumbnail)
	}
	if err != nil {
		s.reject(w, r, err)
	}
}

// mediaZipPath is the path whose parameter id names several files.
const mediaZipPath = "/api/v1/media.zip"

// maxZipped bounds the files of an archive.
const maxZipped = 200

func describeMediaZip(_ huma.API, op *huma.Operation) {
	op.Parameters = []*huma.Param{{
		Name: "id", In: "query", Required: true, Description: "The id of a file; repeated for each, at most 200.",
		Schema: &huma.Schema{Type: "array", Items: &huma.Schema{Type: "string"}},
	}}
	op.Responses = map[string]*huma.Response{"200": response("An archive of the copies. MISSING.txt in it names the files without a copy.", "application/zip", &huma.Schema{Type: "string", Format: "binary"})}
}

// getMediaZip answers with the copies of the named files in one archive.
func (s *server) getMediaZip(w http.ResponseWriter, r *http.Request) {
	ids := slices.Compact(slices.Sorted(slices.Values(r.URL.Query()["id"])))
	var files []*jobs.Media
	var err error
	switch {
	case s.o.Media == nil:
		err = fmt.Errorf("files are not stored, GAFF_MEDIA_URL is off: %w", gaff.ErrNotFound)
	case len(ids) == 0 || len(ids) > maxZipped:
		err = huma.Error400BadRequest(fmt.Sprintf("id: %d files are named; want 1 to %d", len(ids), maxZipped))
	}
	for i := 0; i < len(ids) && err == nil; i++ {
		var m *jobs.Media
		m, err = s.store(r.Context()).MediaByID(r.Context(), ids[i])
		files = append(files, m)
	}
	if err == nil {
		err = s.o.Media.Zip(w, r, files)
	}
	if err != nil {
		s.reject(w, r, err)
	}
}
