package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/api"
	"gaff/jobs"
	"gaff/store/sqlite"
)

// fakeFiles keeps a copy of every file but med_none's.
type fakeFiles struct{ asked []string }

func (f *fakeFiles) Links(m *jobs.Media) jobs.MediaLinks {
	return jobs.MediaLinks{StoredURL: "http://gaff.test/media/" + m.ID}
}

func (f *fakeFiles) Serve(w http.ResponseWriter, r *http.Request, m *jobs.Media, thumbnail bool) error {
	if m.ID == "med_none" {
		return fmt.Errorf("media %s: no copy: %w", m.ID, gaff.ErrNotFound)
	}
	w.Header().Set("Content-Type", "image/png")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(fmt.Sprintf("bytes of %s, small: %v", m.ID, thumbnail)))
	return nil
}

func (f *fakeFiles) Link(_ context.Context, id string) error {
	f.asked = append(f.asked, "link "+id)
	return nil
}

func (f *fakeFiles) Unlink(_ context.Context, id string) error {
	f.asked = append(f.asked, "unlink "+id)
	return nil
}

func (f *fakeFiles) Zip(w http.ResponseWriter, _ *http.Request, files []*jobs.Media) error {
	for _, m := range files {
		if m.Storage != jobs.StorageStored {
			return fmt.Errorf("media %s: %w", m.ID, gaff.ErrNotFound)
		}
		fmt.Fprintln(w, m.ID)
	}
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
	store := &fakeStore{media: func(id string) (*jobs.Media, error) {
		if id == "med_unknown" {
			return nil, gaff.ErrNotFound
		}
		return &jobs.Media{ID: id, URL: "https://cdn.test/x", MediaType: jobs.MediaImage, Storage: jobs.StorageGone, StorageError: "the link answers 410 Gone"}, nil
	}}
	files := &fakeFiles{}
	with := caller{api.New(api.Options{Store: store, Gateway: &fakeGateway{}, Authorizer: tokens{}, Media: files, Log: slog.New(slog.DiscardHandler)}), t}
	without := caller{api.New(api.Options{Store: store, Gateway: &fakeGateway{}, Authorizer: tokens{}, Log: slog.New(slog.DiscardHandler)}), t}
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
		{with, "POST", "/api/v1/media/med_1/link", "viewer", 403, ""},
		{with, "POST", "/api/v1/media/med_1/link", "operator", 200, `"linkUrl":null`},
		{with, "DELETE", "/api/v1/media/med_1/link", "operator", 200, `"id":"med_1"`},
		{without, "POST", "/api/v1/media/med_1/link", "operator", 409, "GAFF_MEDIA_URL is off"},
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
	if strings.Join(files.asked, " ") != "med_1 med_stored link med_1 unlink med_1" {
		t.Errorf("asked again for %v", files.asked)
	}
	if got := with.call("GET", "/api/v1/media/med_1/file", "viewer", ""); got.header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("no ranges: %v", got.header)
	}
}

// A list never carries the megabytes of a data: link, nor those of a result; the single row
// and the single job do.
func TestLongContentIsNotInLists(t *testing.T) {
	t.Parallel()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	log := slog.New(slog.DiscardHandler)
	gw, err := gaff.New(gaff.Options{Store: st, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	link := "data:text/plain," + strings.Repeat("z", 100_000)
	sum := sha256.Sum256([]byte(link[len("data:text/plain,"):]))
	short := "data:text/plain;sha256=" + hex.EncodeToString(sum[:])
	err = st.Write(t.Context(), func(tx jobs.Tx) error {
		for id, storage := range map[string]jobs.Storage{"none": jobs.StorageNone, "stored": jobs.StorageStored} {
			j := &jobs.Job{ID: "job_" + id, Provider: "fal", Status: jobs.JobCompleted, Result: json.RawMessage(`{"image":{"url":"` + link + `"}}`)}
			if err := tx.InsertJob(t.Context(), j); err != nil {
				return err
			}
			if _, err := tx.AddMedia(t.Context(), &jobs.Media{ID: "med_" + id, JobID: j.ID, MediaType: jobs.MediaImage, Position: "fal:/image", URL: short, Storage: storage}); err != nil {
				return err
			}
		}
		_, err := tx.AddMedia(t.Context(), &jobs.Media{ID: "med_lost", JobID: "job_none", MediaType: jobs.MediaImage, Position: "fal:/else", URL: strings.Replace(short, "=", "=00", 1)[:len(short)]})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c := caller{api.New(api.Options{Store: st, Gateway: gw, Authorizer: tokens{}, Log: log}), t}
	for path, want := range map[string]struct{ whole, parts int }{
		"/api/v1/media": {0, 3}, "/api/v1/media/med_none": {1, 0}, "/api/v1/media/med_stored": {0, 1}, "/api/v1/media/med_lost": {0, 1},
		"/api/v1/jobs": {0, 0}, "/api/v1/jobs/job_none": {1, 0},
	} {
		res := c.call("GET", path, "viewer", "")
		if res.status != 200 || strings.Count(res.body, link) != want.whole || strings.Count(res.body, ";sha256=") != want.parts || want.whole == 0 && len(res.body) > 5000 {
			t.Errorf("%s: %d, %.600s", path, res.status, res.body)
		}
		if strings.Contains(path, "jobs") && !strings.Contains(res.body, `"resultSize":100036`) {
			t.Errorf("%s does not tell how long the result is: %.600s", path, res.body)
		}
	}
}
