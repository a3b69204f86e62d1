package media_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/media"
	"gaff/jobs"
)

func TestLinks(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		release := w.hold("cdn.test")
		id := w.add("https://cdn.test/x")
		if links := w.server.Links(w.row(id)); links != (jobs.MediaLinks{}) {
			t.Errorf("links of a file that is not stored: %+v", links)
		}
		release()
		time.Sleep(time.Minute)
		synctest.Wait()
		m := w.row(id)
		links := w.server.Links(m)
		stored, thumbnail := links.StoredURL, links.ThumbnailURL
		if left := time.Until(links.ExpiresAt); left < 24*time.Hour || left > 25*time.Hour {
			t.Errorf("links expire in %s, want 24 to 25 hours", left)
		}
		w.store.LinkMedia(w.server.Links)
		if page, err := w.store.Media(context.Background(), jobs.MediaFilter{}); err != nil || page.Items[0].Links.StoredURL != stored || w.row(id).Links.StoredURL != stored {
			t.Errorf("rows are read with the link %q, %v", page.Items[0].Links.StoredURL, err)
		}
		if !strings.HasPrefix(stored, "http://gaff.test/media/"+id+"/file/a%20picture.png?") {
			t.Errorf("link %s", stored)
		}
		get := func(link string, header ...string) *http.Response {
			u, err := url.Parse(link)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("GET", u.RequestURI(), nil)
			for i := 0; i+1 < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			rec := httptest.NewRecorder()
			w.server.ServeHTTP(rec, r)
			return rec.Result()
		}
		resp := get(stored)
		body, _ := io.ReadAll(resp.Body)
		for name, want := range map[string]string{
			"Content-Type": "image/png", "X-Content-Type-Options": "nosniff", "Etag": `"` + m.SHA256 + `"`,
			"Content-Disposition": `inline; filename="a picture.png"`, "Cross-Origin-Resource-Policy": "cross-origin",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if resp.StatusCode != 200 || !bytes.Equal(body, picture) || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "sandbox") ||
			!strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s %v", resp.Status, resp.Header)
		}
		if resp := get(stored, "Range", "bytes=1-3"); resp.StatusCode != 206 {
			t.Errorf("range: %s", resp.Status)
		} else if part, _ := io.ReadAll(resp.Body); string(part) != "PNG" {
			t.Errorf("range: %q", part)
		}
		if resp := get(stored, "If-None-Match", `"`+m.SHA256+`"`); resp.StatusCode != 304 {
			t.Errorf("known: %s", resp.Status)
		}
		if resp := get(thumbnail); resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "image/jpeg" {
			t.Errorf("thumbnail: %s", resp.Status)
		} else if _, format, err := image.DecodeConfig(resp.Body); err != nil || format != "jpeg" {
			t.Errorf("thumbnail: %s %v", format, err)
		}
		for name, c := range map[string]struct {
			link string
			code int
		}{
			"another file":     {strings.Replace(stored, id, "med_other", 1), 403},
			"another variant":  {strings.Replace(stored, "/file/a%20picture.png", "/thumbnail", 1), 403},
			"a later end":      {strings.Replace(stored, "expires=", "expires=9", 1), 403},
			"no signature":     {stored[:strings.Index(stored, "signature=")], 403},
			"another name":     {strings.Replace(stored, "a%20picture", "other", 1), 200},
			"no variant":       {"http://gaff.test/media/" + id, 404},
			"unknown variant":  {"http://gaff.test/media/" + id + "/secret", 404},
			"far too many":     {"http://gaff.test/media/a/file/b/c", 404},
			"garbage for time": {strings.Replace(stored, "expires=", "expires=x", 1), 403},
		} {
			if resp := get(c.link); resp.StatusCode != c.code {
				t.Errorf("%s: %s, want %d", name, resp.Status, c.code)
			}
		}
		// Another node over the same store knows the link; the link stays the same for a while.
		other, err := media.NewServer(context.Background(), media.ServerOptions{
			Store: w.store, Blobs: w.blobs, Base: "http://gaff.test", LinkFor: 24 * time.Hour, Log: discardLog,
		})
		if err != nil {
			t.Fatal(err)
		}
		if again := other.Links(m).StoredURL; again != stored {
			t.Errorf("another node signs %s, this one %s", again, stored)
		}
		w.stop() // or it would look into its database all day
		time.Sleep(24 * time.Hour)
		if resp := get(stored); resp.StatusCode != 200 {
			t.Errorf("after 24 h: %s", resp.Status)
		}
		time.Sleep(time.Hour)
		if resp := get(stored); resp.StatusCode != 410 {
			t.Errorf("after 25 h: %s", resp.Status)
		}
		// A copy that was lost is not there, and says so.
		if err := w.blobs.Delete(context.Background(), m.StoredKey); err != nil {
			t.Fatal(err)
		}
		stored = w.server.Links(m).StoredURL
		if resp := get(stored); resp.StatusCode != 404 {
			t.Errorf("lost: %s", resp.Status)
		}
	})
}

// job makes the completed job that the files of add belong to.
func (w *world) job(change ...func(*jobs.Project)) {
	w.t.Helper()
	err := w.store.Write(context.Background(), func(tx jobs.Tx) error {
		p := &jobs.Project{ID: "p"}
		for _, c := range change {
			c(p)
		}
		if err := tx.SaveProject(context.Background(), p); err != nil {
			return err
		}
		return tx.InsertJob(context.Background(), &jobs.Job{ID: "job_1", Provider: "fal", ProjectID: "p", Status: jobs.JobCompleted, SettledAt: tx.Now()})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) follow(link string) *httptest.ResponseRecorder {
	w.t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		w.t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, httptest.NewRequest("GET", u.RequestURI(), nil))
	return rec
}

func TestPermanentLinks(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		ctx := context.Background()
		release := w.hold("cdn.test")
		id := w.add("https://cdn.test/x")
		if err := w.server.Link(ctx, id); err != nil {
			t.Fatal(err)
		}
		first := w.server.Links(w.row(id)).LinkURL
		if rec := w.follow(first); rec.Code != 404 {
			t.Errorf("before the copy: %d", rec.Code)
		}
		release()
		w.settle()
		if err := w.server.Link(ctx, id); err != nil {
			t.Fatal(err)
		}
		links := w.server.Links(w.row(id))
		if links.LinkURL != first || !strings.HasPrefix(first, "http://gaff.test/files/") {
			t.Errorf("the link became %q, was %q", links.LinkURL, first)
		}
		rec := w.follow(links.LinkURL)
		if rec.Code != 200 || !bytes.Equal(rec.Body.Bytes(), picture) {
			t.Errorf("the file: %d, %d bytes", rec.Code, rec.Body.Len())
		}
		if csp := rec.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "sandbox") {
			t.Errorf("policy %q", csp)
		}
		if cache := rec.Header().Get("Cache-Control"); cache != "private, max-age=300" {
			t.Errorf("a link that can be revoked is cached: %q", cache)
		}
		if rec := w.follow(links.LinkThumbnailURL); rec.Code != 200 || rec.Header().Get("Content-Type") != "image/jpeg" {
			t.Errorf("thumbnail: %d", rec.Code)
		}
		for _, wrong := range []string{first + "x", first[:len(first)-1] + "1", "http://gaff.test/files/", first + "/file", first + "/thumbnail/x"} {
			if rec := w.follow(wrong); rec.Code != 404 {
				t.Errorf("%s: %d, want 404", wrong, rec.Code)
			}
		}
		// It does not depend on the key of signed links.
		err := w.store.Write(ctx, func(tx jobs.Tx) error {
			return tx.SetSetting(ctx, "media_link_key", base64.RawStdEncoding.EncodeToString([]byte("a key after a rotation")))
		})
		if err != nil {
			t.Fatal(err)
		}
		rotated, err := media.NewServer(ctx, media.ServerOptions{Store: w.store, Blobs: w.blobs, Base: "http://gaff.test", LinkFor: time.Hour, Log: discardLog})
		if err != nil {
			t.Fatal(err)
		}
		before := w.server
		w.server = rotated
		if rec := w.follow(links.StoredURL); rec.Code != 403 {
			t.Errorf("signed link after a rotation: %d", rec.Code)
		}
		if rec := w.follow(first); rec.Code != 200 {
			t.Errorf("permanent link after a rotation: %d", rec.Code)
		}
		w.server = before
		if err := w.server.Unlink(ctx, id); err != nil {
			t.Fatal(err)
		}
		if rec := w.follow(first); rec.Code != 404 {
			t.Errorf("revoked: %d", rec.Code)
		}
		if err := w.server.Link(ctx, id); err != nil {
			t.Fatal(err)
		}
		if again := w.server.Links(w.row(id)).LinkURL; again == first || again == "" {
			t.Errorf("after the revocation the link is %q", again)
		}
	})
}

// A client that guesses links is turned away, and does not block those that have one.
func TestUnknownLinksAreLimited(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.hosts["cdn.test"] = serveBytes("image/png", picture)
		id := w.add("https://cdn.test/x")
		w.settle()
		if err := w.server.Link(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		link := w.server.Links(w.row(id)).LinkURL
		if rec := w.follow(link); rec.Code != 200 {
			t.Fatalf("the file: %d", rec.Code)
		}
		codes := map[int]int{}
		for i := range 150 {
			codes[w.follow(fmt.Sprintf("http://gaff.test/files/%026d", i)).Code]++
			codes[w.follow("http://gaff.test/files/"+strings.Repeat("a", 24)+string("abcdefghijklmnopqrstuvwxyz"[i%26])+string("abcdefghijklmnopqrstuvwxyz"[i/26])).Code]++
		}
		if codes[429] != 50 || codes[404] != 250 {
			t.Errorf("answers %v, want 404 for 150 that have not the form of a link and 100 others, then 429", codes)
		}
		if rec := w.follow(link); rec.Code != 200 {
			t.Errorf("a known link of the same client: %d", rec.Code)
		}
		time.Sleep(time.Minute)
		if rec := w.follow("http://gaff.test/files/" + strings.Repeat("z", 26)); rec.Code != 404 {
			t.Errorf("after a minute: %d", rec.Code)
		}
	})
}

func TestPublicProjectLinksItsFiles(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.hosts["cdn.test"] = serveBytes("image/png", picture)
		w.job(func(p *jobs.Project) { p.PublicMedia = true })
		id := w.add("https://cdn.test/x")
		w.settle()
		if rec := w.follow(w.server.Links(w.row(id)).LinkURL); rec.Code != 200 {
			t.Errorf("link of a file of a public project: %d", rec.Code)
		}
	})
}

// jobStored returns the data of the gaff:job.stored events.
func (w *world) jobStored() (list []jobs.JobCopies) {
	w.t.Helper()
	page, err := w.store.Events(context.Background(), gaff.EventFilter{Source: gaff.InternalSource, Type: jobs.JobStored})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range page.Items {
		d, err := w.store.Event(context.Background(), l.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		var doc jobs.JobCopies
		if err := json.Unmarshal(d.Data, &doc); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, doc)
	}
	return list
}

func TestJobStoredFollowsItsLastCopy(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.hosts["cdn.test"] = serveBytes("image/png", picture)
		w.hosts["gone.test"] = http.NotFoundHandler()
		w.job()
		w.add("https://cdn.test/x")
		w.add("https://cdn.test/y")
		lost := w.add("https://gone.test/z")
		w.settle()
		got := w.jobStored()
		if len(got) != 1 {
			t.Fatalf("%d events, want 1", len(got))
		}
		if got[0].Files != 3 || got[0].Stored != 2 || len(got[0].Failed) != 1 {
			t.Fatalf("event %+v", got[0])
		}
		if f := got[0].Failed[0]; f.MediaID != lost || f.Storage != "gone" || f.Error == "" {
			t.Errorf("failed file %+v", f)
		}
	})
}
