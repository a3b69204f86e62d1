package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/api"
	"gaff/pipeline"
)

// fakeFiles keeps a copy of every file but med_none's.
type fakeFiles struct{ asked []string }

func (f *fakeFiles) Links(m *pipeline.Media) (stored, thumbnail string) {
	return "http://gaff.test/media/" + m.ID, ""
}

func (f *fakeFiles) Serve(w http.ResponseWriter, r *http.Request, m *pipeline.Media, thumbnail bool) error {
	if m.ID == "med_none" {
		return fmt.Errorf("media %s: no copy: %w", m.ID, gaff.ErrNotFound)
	}
	w.Header().Set("Content-Type", "image/png")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(fmt.Sprintf("bytes of %s, small: %v", m.ID, thumbnail)))
	return nil
}

func (f *fakeFiles) Again(_ context.Context, id string) error {
	f.asked = append(f.asked, id)
	if id == "med_stored" {
		return fmt.Errorf("media %s is stored: %w", id, gaff.ErrConflict)
	}
	return nil
}

func TestMediaFiles(t *testing.T) {
	t.Parallel()
	store := &fakeStore{media: func(id string) (*pipeline.Media, error) {
		if id == "med_unknown" {
			return nil, gaff.ErrNotFound
		}
		return &pipeline.Media{ID: id, URL: "https://cdn.test/x", Storage: pipeline.StorageGone, StorageError: "the link answers 410 Gone"}, nil
	}}
	files := &fakeFiles{}
	with := caller{api.New(api.Options{Store: store, Gateway: &fakeGateway{}, Authorizer: tokens{}, Media: files, Log: slog.New(slog.DiscardHandler)})}
	without := caller{api.New(api.Options{Store: store, Gateway: &fakeGateway{}, Authorizer: tokens{}, Log: slog.New(slog.DiscardHandler)})}
	for _, c := range []struct {
		to                    caller
		method, target, token string
		status                int
		contains              string
	}{
		{with, "GET", "/api/v1/media/med_1/file", "", 401, "problem"},
		{with, "GET", "/api/v1/media/med_1/file", "viewer", 200, "bytes of med_1, small: false"},
		{with, "GET", "/api/v1/media/med_1/thumbnail", "viewer", 200, "small: true"},
		{with, "GET", "/api/v1/media/med_none/file", "viewer", 404, "no copy"},
		{with, "GET", "/api/v1/media/med_unknown/file", "viewer", 404, "not found"},
		{without, "GET", "/api/v1/media/med_1/file", "viewer", 404, "GAFF_MEDIA_URL is off"},
		{with, "POST", "/api/v1/media/med_1/retry", "viewer", 403, ""},
		{with, "POST", "/api/v1/media/med_1/retry", "operator", 200, `"id":"med_1"`},
		{with, "POST", "/api/v1/media/med_stored/retry", "operator", 409, "is stored"},
		{without, "POST", "/api/v1/media/med_1/retry", "operator", 409, "GAFF_MEDIA_URL is off"},
		{with, "GET", "/api/v1/media/med_1", "viewer", 200, `"storedUrl":"http://gaff.test/media/med_1"`},
		{with, "GET", "/api/v1/media/med_1", "viewer", 200, `"storage":"gone","storageError":"the link answers 410 Gone"`},
		{without, "GET", "/api/v1/media/med_1", "viewer", 200, `"storedUrl":null`},
		{with, "GET", "/api/v1/media?storage=lost", "viewer", 400, "storage"},
	} {
		got := c.to.call(c.method, c.target, c.token, "")
		if got.status != c.status || !strings.Contains(got.body+got.header.Get("Content-Type"), c.contains) {
			t.Errorf("%s %s as %q: %d %s, want %d with %s", c.method, c.target, c.token, got.status, got.body, c.status, c.contains)
		}
	}
	if strings.Join(files.asked, " ") != "med_1 med_stored" {
		t.Errorf("asked again for %v", files.asked)
	}
	if got := with.call("GET", "/api/v1/media/med_1/file", "viewer", ""); got.header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("no ranges: %v", got.header)
	}
}
