package media_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/blob"
	"gaff/internal/eventually"
	"gaff/internal/media"
	"gaff/internal/safehttp"
	"gaff/internal/standin"
	"gaff/jobs"
	"gaff/store/sqlite"
)

// world is a gateway with a keeper over a real database and a real folder.
type world struct {
	t       *testing.T
	dir     string
	store   *sqlite.Store
	blobs   blob.Store
	gw      *gaff.Gateway
	keeper  *media.Keeper
	server  *media.Server
	hosts   standin.Hosts
	options media.Options
	stored  []jobs.MediaEvent
	mu      sync.Mutex
	n       int
}

func newWorld(t *testing.T, change func(*media.Options)) *world {
	w := &world{t: t, dir: t.TempDir(), hosts: standin.Hosts{}}
	var err error
	if w.store, err = sqlite.Open(t.Context(), filepath.Join(w.dir, "gaff.db"), sqlite.Options{}); err != nil {
		t.Fatal(err)
	}
	if w.blobs, err = blob.Open(filepath.Join(w.dir, "media")); err != nil {
		t.Fatal(err)
	}
	w.options = media.Options{
		Store: w.store, Blobs: w.blobs, Spool: filepath.Join(w.dir, "spool"), MaxSize: 1 << 20, Log: discardLog,
		Client: &http.Client{Transport: w.hosts},
	}
	if change != nil {
		change(&w.options)
	}
	w.start()
	w.server, err = media.NewServer(t.Context(), media.ServerOptions{
		Store: w.store, Blobs: w.blobs, Base: "http://gaff.test", LinkFor: 24 * time.Hour, Log: discardLog,
		Lost: func(ctx context.Context, m *jobs.Media, err error) { w.keeper.Lost(ctx, m, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

var discardLog = slog.New(slog.DiscardHandler)

func (w *world) start() {
	w.t.Helper()
	var err error
	if w.gw, err = gaff.New(gaff.Options{Store: w.store, Logger: discardLog}); err != nil {
		w.t.Fatal(err)
	}
	o := w.options
	o.Router = w.gw
	if w.keeper, err = media.New(o); err != nil {
		w.t.Fatal(err)
	}
	// The attempts are as many as in production, and nearer to each other: fake hours are thousands
	// of looks into a real database.
	soon := media.Policy
	soon.First, soon.Factor, soon.Max = time.Second, 1, time.Second
	w.gw.HandleWith(gaff.InternalSource, jobs.MediaCreated, w.keeper, gaff.HandleOptions{Name: jobs.KeepFiles, Workers: 4, Retry: &soon})
	w.gw.Handle(gaff.InternalSource, jobs.MediaStored, gaff.JSON(func(_ context.Context, _ *gaff.Event, e jobs.MediaEvent) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stored = append(w.stored, e)
		return nil
	}))
	if err := w.gw.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), eventually.Limit)
	defer cancel()
	if err := w.gw.Stop(ctx); err != nil {
		w.t.Error(err)
	}
}

func (w *world) close() {
	w.stop()
	_ = w.blobs.Close()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// add makes a row with its event, as the effects of a webhook do.
func (w *world) add(link string, change ...func(*jobs.Media)) string {
	w.t.Helper()
	w.n++
	m := &jobs.Media{
		JobID: "job_1", ProjectID: "p", Position: fmt.Sprintf("fal:/%d", w.n), URL: link, MediaType: jobs.MediaFile,
		Storage: jobs.StoragePending, Metadata: json.RawMessage(`{"width":1,"file_name":"a picture.png"}`),
	}
	for _, c := range change {
		c(m)
	}
	err := w.store.Write(context.Background(), func(tx jobs.Tx) error {
		if _, err := tx.AddMedia(context.Background(), m); err != nil {
			return err
		}
		ev, err := m.Event(jobs.MediaCreated, "created", tx.Now())
		if err != nil {
			return err
		}
		return tx.Emit(context.Background(), ev, w.gw.Route(ev))
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return m.ID
}

func (w *world) row(id string) *jobs.Media {
	w.t.Helper()
	m, err := w.store.MediaByID(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// deliveries counts the copies' deliveries by state.
func (w *world) deliveries() map[string]int {
	w.t.Helper()
	counts := map[string]int{}
	page, err := w.store.Deliveries(context.Background(), gaff.DeliveryFilter{Handler: jobs.KeepFiles})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range page.Items {
		counts[d.State.String()]++
	}
	return counts
}

// files counts what the folder holds below a name.
func (w *world) files(kind string) (n int) {
	_ = filepath.WalkDir(filepath.Join(w.dir, "media", kind), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return nil
	})
	return n
}

// run runs a story in fake time over a real database.
func run(t *testing.T, change func(*media.Options), story func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change)
		defer w.close()
		story(t, w)
	})
}

// settle lets time pass until every copy is made or given up.
func (w *world) settle() {
	w.t.Helper()
	for range 200 {
		synctest.Wait()
		if got := w.deliveries(); got["pending"]+got["running"]+got["retrying"] == 0 {
			return
		}
		time.Sleep(3 * time.Second)
	}
	w.t.Fatalf("still %v", w.deliveries())
}

func serveBytes(contentType string, data []byte) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", contentType)
		rw.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = rw.Write(data)
	})
}

// hold serves the picture at host once release is called; until then no copy can be made, however
// busy the machine is.
func (w *world) hold(host string) (release func()) {
	released := make(chan struct{})
	w.hosts[host] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		<-released
		serveBytes("image/png", picture).ServeHTTP(rw, r)
	})
	return func() { close(released) }
}

func TestEveryKindIsKept(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		fal := standin.NewFal(standin.Options{Seed: 1, Work: -1, Queue: -1})
		defer fal.Close()
		w.hosts["fal.test"] = fal
		type want struct {
			contentType, mediaType string
			facts                  []string
		}
		for model, wants := range map[string]map[string]want{
			"fal-ai/flux/dev":                {"/images/0": {"image/png", "generated-image", []string{`height":768`, `"width":1024`}}},
			"fal-ai/veo3.1":                  {"/video": {"video/mp4", "generated-video", []string{`duration":2`, `"file_name":"output.mp4"`, `"height":180`, `"width":320`}}},
			"fal-ai/ltx":                     {"/video": {"video/webm", "generated-video", []string{`duration":2`, `"file_name":"output.webm"`, `"height":180`, `"width":320`}}},
			"fal-ai/minimax/speech":          {"/audio": {"audio/mpeg", "generated-audio", []string{`duration":2.064`}}},
			"fal-ai/stable-audio":            {"/audio": {"audio/wav", "generated-audio", []string{`duration":2`}}},
			"fal-ai/trellis":                 {"/model_mesh": {"model/gltf-binary", "generated-model", []string{`file_name":"mesh.glb`}}},
			"fal-ai/sam2/video":              {"/video": {"video/mp4", "generated-video", []string{`duration":2`, `"height":180`, `"width":320`}}, "/boundingbox_frames_zip": {"application/zip", "generated-file", []string{`file_name":"frames.zip`}}},
			"fal-ai/flux-lora-fast-training": {"/config_file": {"application/json", "generated-file", nil}, "/diffusers_lora_file": {"application/octet-stream", "generated-file", nil}},
		} {
			req, _ := http.NewRequest("POST", "http://fal.test/"+model, strings.NewReader(`{"prompt":"a dog"}`))
			req.Header.Set("Authorization", "Key k")
			resp, err := w.options.Client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var s struct {
				ResponseURL string `json:"response_url"`
			}
			_ = json.NewDecoder(resp.Body).Decode(&s)
			req, _ = http.NewRequest("GET", s.ResponseURL, nil)
			req.Header.Set("Authorization", "Key k")
			if resp, err = w.options.Client.Do(req); err != nil {
				t.Fatal(err)
			}
			result, _ := io.ReadAll(resp.Body)
			files, _ := jobs.Files("fal", result, time.Now())
			if len(files) != len(wants) {
				t.Fatalf("%s: %d files of %s", model, len(files), result)
			}
			for _, f := range files {
				id := w.add(f.URL, func(m *jobs.Media) {
					position := m.Position
					*m = f
					m.JobID, m.Position, m.Storage = "job_1", position, jobs.StoragePending
				})
				w.settle()
				m, wanted := w.row(id), wants[strings.TrimPrefix(f.Position, "fal:")]
				if m.Storage != jobs.StorageStored || m.ContentType != wanted.contentType || m.MediaType != wanted.mediaType ||
					!containsAll(string(m.Metadata), wanted.facts) || m.StoredAt.IsZero() || len(m.SHA256) != 64 || m.Size == 0 {
					t.Errorf("%s %s: %+v %s", model, f.Position, m, m.Metadata)
				}
				if isImage := strings.HasPrefix(m.ContentType, "image/"); isImage != (m.ThumbnailKey != "") {
					t.Errorf("%s: thumbnail %q", model, m.ThumbnailKey)
				}
				// The stored bytes equal the served ones.
				resp, err := w.options.Client.Get(f.URL)
				if err != nil {
					t.Fatal(err)
				}
				original, _ := io.ReadAll(resp.Body)
				if kept := w.read(m.StoredKey); !bytes.Equal(kept, original) {
					t.Errorf("%s: %d bytes are kept of %d", model, len(kept), len(original))
				}
			}
		}
		if spool, _ := os.ReadDir(w.options.Spool); len(spool) != 0 {
			t.Errorf("the spool holds %v", spool)
		}
	})
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

func (w *world) read(key string) []byte {
	w.t.Helper()
	f, err := w.blobs.Open(context.Background(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// picture is a small PNG.
var picture, _ = base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")

func TestWhatGoesWrong(t *testing.T) {
	t.Parallel()
	status := func(codes ...int) http.Handler {
		n := 0
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			code := codes[min(n, len(codes)-1)]
			n++
			if code == http.StatusOK {
				serveBytes("image/png", picture).ServeHTTP(rw, r)
				return
			}
			rw.WriteHeader(code)
		})
	}
	cut := func(times int) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if times--; times < 0 {
				serveBytes("image/png", picture).ServeHTTP(rw, r)
				return
			}
			rw.Header().Set("Content-Length", "1000")
			_, _ = rw.Write(picture)
		})
	}
	large := make([]byte, 2<<20)
	for name, c := range map[string]struct {
		host     http.Handler
		link     string
		types    []string
		storage  jobs.Storage
		says     string
		attempts int
		delivery string
	}{
		"fine":               {host: status(200), storage: jobs.StorageStored, attempts: 1, delivery: "succeeded"},
		"not there yet":      {host: status(404, 404, 200), storage: jobs.StorageStored, attempts: 3, delivery: "succeeded"},
		"expired":            {host: status(403), storage: jobs.StorageGone, says: "403", attempts: 3, delivery: "dead"},
		"gone":               {host: status(410), storage: jobs.StorageGone, says: "410", attempts: 3, delivery: "dead"},
		"down for a while":   {host: status(503, 502, 504, 500, 200), storage: jobs.StorageStored, attempts: 5, delivery: "succeeded"},
		"down forever":       {host: status(503), storage: jobs.StorageFailed, says: "503", attempts: 10, delivery: "dead"},
		"busy":               {host: status(429, 200), storage: jobs.StorageStored, attempts: 2, delivery: "succeeded"},
		"odd answer":         {host: status(418), storage: jobs.StorageFailed, says: "418", attempts: 1, delivery: "dead"},
		"cut short":          {host: cut(2), storage: jobs.StorageStored, attempts: 3, delivery: "succeeded"},
		"always cut short":   {host: cut(99), storage: jobs.StorageFailed, says: "after 70 bytes: unexpected EOF", attempts: 10, delivery: "dead"},
		"empty":              {host: serveBytes("image/png", nil), storage: jobs.StorageFailed, says: "empty", attempts: 10, delivery: "dead"},
		"too large":          {host: serveBytes("video/mp4", large), storage: jobs.StorageFailed, says: "larger than", attempts: 1, delivery: "dead"},
		"web page":           {host: serveBytes("image/png", []byte("<!doctype html><html>gone</html>")), storage: jobs.StorageFailed, says: "web page", attempts: 10, delivery: "dead"},
		"other type":         {host: status(200), types: []string{"video/*", "image/webp"}, storage: jobs.StorageFailed, says: "image/png is not among", attempts: 1, delivery: "dead"},
		"wanted type":        {host: status(200), types: []string{"image/*"}, storage: jobs.StorageStored, attempts: 1, delivery: "succeeded"},
		"no such host":       {link: "http://nowhere.test/x", storage: jobs.StorageFailed, says: "no such host", attempts: 10, delivery: "dead"},
		"data":               {link: "data:image/png;base64," + base64.StdEncoding.EncodeToString(picture), storage: jobs.StorageStored, attempts: 1, delivery: "succeeded"},
		"data, percent":      {link: "data:text/plain,hello%20there", storage: jobs.StorageStored, attempts: 1, delivery: "succeeded"},
		"data without comma": {link: "data:image/png;base64", storage: jobs.StorageFailed, says: "no comma", attempts: 1, delivery: "dead"},
		"data, empty":        {link: "data:image/png;base64,", storage: jobs.StorageFailed, says: "empty", attempts: 1, delivery: "dead"},
		"data, no base64":    {link: "data:image/png;base64,!!!", storage: jobs.StorageFailed, says: "not base64", attempts: 1, delivery: "dead"},
		"no link":            {link: "http://[", storage: jobs.StorageFailed, says: "cannot be read", attempts: 1, delivery: "dead"},
		"in br":              {host: encodedAs("br", []byte("\x0b\x02\x80")), storage: jobs.StorageFailed, says: "encoding br", attempts: 10, delivery: "dead"},
		"in gzip, cut off":   {host: encodedAs("gzip", zipped(picture)[:40]), storage: jobs.StorageFailed, says: "unexpected EOF", attempts: 10, delivery: "dead"},
		"in gzip, a bomb":    {host: encodedAs("gzip", zipped(large)), storage: jobs.StorageFailed, says: "larger than", attempts: 1, delivery: "dead"},
		"part of a file":     {host: partial("bytes 0-69/200"), storage: jobs.StorageFailed, says: "206", attempts: 10, delivery: "dead"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(o *media.Options) { o.Types = c.types }, func(t *testing.T, w *world) {
				w.hosts["cdn.test"] = c.host
				if c.host == nil {
					delete(w.hosts, "cdn.test")
				}
				if c.link == "" {
					c.link = "https://cdn.test/file?secret=1"
				}
				id := w.add(c.link)
				w.settle()
				m := w.row(id)
				if m.Storage != c.storage || !strings.Contains(m.StorageError, c.says) || (m.StorageError == "") != (c.says == "") || strings.Contains(m.StorageError, "secret=1") {
					t.Errorf("storage %s, error %q; want %s, %q", m.Storage, m.StorageError, c.storage, c.says)
				}
				if got := w.deliveries(); got[c.delivery] != 1 {
					t.Errorf("deliveries %v, want one %s", got, c.delivery)
				}
				page, err := w.store.Deliveries(context.Background(), gaff.DeliveryFilter{Handler: jobs.KeepFiles})
				if err != nil || page.Items[0].Attempts != c.attempts {
					t.Errorf("%d attempts, want %d (%v)", page.Items[0].Attempts, c.attempts, err)
				}
				want := 0
				if c.storage == jobs.StorageStored {
					want = 1
				}
				if got := w.files("sha256"); got != want || len(w.stored) != want {
					t.Errorf("%d files, %d told of; want %d", got, len(w.stored), want)
				}
				if spool, _ := os.ReadDir(w.options.Spool); len(spool) != 0 {
					t.Errorf("the spool holds %v", spool)
				}
			})
		})
	}
}

// A download that hardly moves is given up, one that is merely slow is not.
func TestStalledDownloads(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		every   time.Duration
		storage jobs.Storage
		says    string
	}{
		"slow":    {time.Second, jobs.StorageStored, ""},
		"stalled": {time.Hour, jobs.StorageFailed, "stalled"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(o *media.Options) {
				o.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					body := &trickle{ctx: r.Context(), every: c.every, left: 100}
					return &http.Response{Status: "200 OK", StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(body), Request: r}, nil
				})}
			}, func(t *testing.T, w *world) {
				id := w.add("https://cdn.test/film")
				w.settle()
				if m := w.row(id); m.Storage != c.storage || !strings.Contains(m.StorageError, c.says) {
					t.Errorf("%s %q", m.Storage, m.StorageError)
				}
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// trickle gives out 4 KiB at a time.
type trickle struct {
	ctx   context.Context
	every time.Duration
	left  int
}

func (s *trickle) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	timer := time.NewTimer(s.every)
	defer timer.Stop()
	select {
	case <-timer.C:
		return min(len(p), 4096), nil
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
}

// The content of a long data: link is in the job's result; the row only has its hash.
func TestLongDataLinksAreKept(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		data := bytes.Repeat(picture, 100)
		link := "data:image/png;base64," + base64.StdEncoding.EncodeToString(data)
		short := fmt.Sprintf("data:image/png;sha256=%x", sha256.Sum256(data))
		err := w.store.Write(context.Background(), func(tx jobs.Tx) error {
			return tx.InsertJob(context.Background(), &jobs.Job{
				ID: "job_1", Provider: "fal", Status: jobs.JobCompleted, Result: json.RawMessage(`[{"a":7},"` + link + `"]`),
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		id := w.add(short)
		w.settle()
		w.wantStored(id, data)
		if m := w.row(id); m.URL != short || m.ContentType != "image/png" {
			t.Errorf("%s %s", m.URL, m.ContentType)
		}
		for _, job := range []string{"job_1", "job_none"} {
			lost := w.add(fmt.Sprintf("data:image/png;sha256=%x", sha256.Sum256([]byte(job))), func(m *jobs.Media) { m.JobID = job })
			w.settle()
			if m := w.row(lost); m.Storage != jobs.StorageFailed || !strings.Contains(m.StorageError, "has it no more") {
				t.Errorf("%s: %s %q", job, m.Storage, m.StorageError)
			}
		}
	})
}

func TestOneContentIsKeptOnce(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.hosts["cdn.test"] = serveBytes("image/png", picture)
		var ids []string
		for i := range 10 {
			ids = append(ids, w.add(fmt.Sprintf("https://cdn.test/%d", i)))
		}
		w.settle()
		for _, id := range ids {
			if m := w.row(id); m.Storage != jobs.StorageStored || m.StoredKey != w.row(ids[0]).StoredKey {
				t.Errorf("%+v", m)
			}
		}
		if a, b := w.files("sha256"), w.files("thumbnail"); a != 1 || b != 1 || len(w.stored) != 10 {
			t.Errorf("%d files, %d thumbnails, %d told of; want 1, 1, 10", a, b, len(w.stored))
		}
	})
}

// The row of a reused result names the copy of the first one, and the provider may have removed the file.
func TestCopyOfAnotherRowIsAdopted(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.hosts["cdn.test"] = serveBytes("image/png", picture)
		first := w.row(w.add("https://cdn.test/x"))
		w.settle()
		first = w.row(first.ID)
		delete(w.hosts, "cdn.test")
		like := func(m *jobs.Media) {
			m.StoredKey, m.ThumbnailKey, m.SHA256, m.Size, m.ContentType = first.StoredKey, first.ThumbnailKey, first.SHA256, first.Size, first.ContentType
		}
		adopted := w.add("https://cdn.test/x", like)
		damaged := w.add("https://cdn.test/x", like, func(m *jobs.Media) { m.Size++ })
		w.settle()
		if m := w.row(adopted); m.Storage != jobs.StorageStored || m.StoredKey != first.StoredKey || m.ThumbnailKey != first.ThumbnailKey || m.StoredAt.IsZero() {
			t.Errorf("the file is %+v, want the copy of the first one", m)
		}
		if m := w.row(damaged); m.Storage == jobs.StorageStored {
			t.Errorf("the file is %+v, though the copy is not what the row says", m)
		}
		if len(w.stored) != 2 {
			t.Errorf("%d files are reported as stored, want 2", len(w.stored))
		}
	})
}

// If it is requested twice, the copy is recorded and reported once.
func TestAskedTwice(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		calls := 0
		w.hosts["cdn.test"] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			calls++
			serveBytes("image/png", picture).ServeHTTP(rw, r)
		})
		id := w.add("https://cdn.test/x")
		for range 3 {
			time.Sleep(time.Microsecond)
			if err := w.keeper.Again(context.Background(), id); err != nil && !errors.Is(err, gaff.ErrConflict) {
				t.Fatal(err)
			}
		}
		w.settle()
		if m := w.row(id); m.Storage != jobs.StorageStored || len(w.stored) != 1 {
			t.Errorf("%s, told of %d times", m.Storage, len(w.stored))
		}
		if got := w.deliveries(); got["dead"] != 0 || got["succeeded"] == 0 {
			t.Errorf("deliveries %v", got)
		}
	})
}

func TestAFailedCopyIsMadeWhenAskedAgain(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		id := w.add("https://cdn.test/x")
		w.settle()
		if m := w.row(id); m.Storage != jobs.StorageFailed {
			t.Fatalf("%s", m.Storage)
		}
		w.hosts["cdn.test"] = serveBytes("image/png", picture)
		if err := w.keeper.Again(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if m := w.row(id); m.Storage != jobs.StorageStored || m.StorageError != "" {
			t.Errorf("%s %q", m.Storage, m.StorageError)
		}
		if err := w.keeper.Again(context.Background(), id); !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("of a stored one: %v", err)
		}
		if err := w.keeper.Again(context.Background(), "med_none"); !errors.Is(err, gaff.ErrNotFound) {
			t.Errorf("of none: %v", err)
		}
	})
}

// A stop in the middle of a download costs no attempt, and the next start goes on.
func TestInterruptedCopiesGoOn(t *testing.T) {
	var mu sync.Mutex
	hang := true
	run(t, func(o *media.Options) {
		next := o.Client.Transport
		o.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			hanging := hang
			mu.Unlock()
			if hanging {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return next.RoundTrip(r)
		})}
	}, func(t *testing.T, w *world) {
		w.hosts["cdn.test"] = serveBytes("image/png", picture)
		id := w.add("https://cdn.test/x")
		time.Sleep(time.Second)
		w.stop()
		if m := w.row(id); m.Storage != jobs.StoragePending || m.StorageError != "" {
			t.Errorf("after the stop: %s %q", m.Storage, m.StorageError)
		}
		mu.Lock()
		hang = false
		mu.Unlock()
		w.start()
		w.settle()
		page, err := w.store.Deliveries(context.Background(), gaff.DeliveryFilter{Handler: jobs.KeepFiles})
		if m := w.row(id); err != nil || m.Storage != jobs.StorageStored || page.Items[0].Attempts != 1 {
			t.Errorf("after the start: %s, %d attempts, %v", m.Storage, page.Items[0].Attempts, err)
		}
	})
}

// The real client, over the real network of this machine: private addresses are refused,
// also behind a redirect.
func TestAddressesAreJudged(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/inside":
			http.Redirect(rw, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		case "/moved":
			http.Redirect(rw, r, "/here", http.StatusFound)
		default:
			serveBytes("image/png", picture).ServeHTTP(rw, r)
		}
	}))
	defer srv.Close()
	for _, c := range []struct {
		allow   bool
		path    string
		storage jobs.Storage
	}{
		{false, "/here", jobs.StorageFailed}, {true, "/here", jobs.StorageStored}, {true, "/moved", jobs.StorageStored},
		{true, "/inside", jobs.StorageFailed},
	} {
		w := newWorld(t, func(o *media.Options) {
			so := safehttp.Options{Redirects: 5}
			if c.allow {
				so.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
			o.Client = safehttp.New(so)
		})
		id := w.add(srv.URL + c.path)
		deadline := time.Now().Add(eventually.Limit)
		for w.row(id).Storage == jobs.StoragePending && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
		if m := w.row(id); m.Storage != c.storage || c.storage == jobs.StorageFailed && !strings.Contains(m.StorageError, "not a public address") {
			t.Errorf("%s, allowed %v: %s %q", c.path, c.allow, m.Storage, m.StorageError)
		}
		w.close()
	}
}

func TestScriptsAreNotShown(t *testing.T) {
	run(t, func(o *media.Options) { o.Types = []string{"*/*"} }, func(t *testing.T, w *world) {
		for name, c := range map[string]struct {
			data, disposition string
		}{
			"svg":  {`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`, "attachment"},
			"html": {`<!doctype html><script>alert(1)</script>`, "attachment"},
			"pdf":  {"%PDF-1.7\n", "attachment"},
			"text": {"just text", "attachment"},
			"png":  {string(picture), "inline"},
		} {
			w.hosts[name+".test"] = serveBytes("image/png", []byte(c.data))
			id := w.add("https://" + name + ".test/x")
			time.Sleep(time.Minute)
			synctest.Wait()
			stored := w.server.Links(w.row(id)).StoredURL
			u, _ := url.Parse(stored)
			rec := httptest.NewRecorder()
			w.server.ServeHTTP(rec, httptest.NewRequest("GET", u.RequestURI(), nil))
			if got := rec.Header().Get("Content-Disposition"); rec.Code != 200 || !strings.HasPrefix(got, c.disposition+";") {
				t.Errorf("%s (%s): %d %q, want %s", name, rec.Header().Get("Content-Type"), rec.Code, got, c.disposition)
			}
		}
	})
}

func TestFileName(t *testing.T) {
	t.Parallel()
	for metadata, want := range map[string]string{
		`{"file_name":"film.mp4"}`: "film.mp4", `{"file_name":"../../etc/passwd"}`: "passwd.png", `{"file_name":"a\"b\r\nc.png"}`: "a_b__c.png",
		`{"file_name":"C:\\x\\y.png"}`: "y.png", `{}`: "med_1.png", ``: "med_1.png", `{"file_name":".."}`: "med_1.png", `{"file_name":".bashrc"}`: "bashrc",
		`{"file_name":"ünï.png"}`: "ünï.png", `{"file_name":"小說 1.png"}`: "小說 1.png", `{"file_name":"😀.png"}`: "😀.png", `{"file_name":"שלום"}`: "שלום.png",
		`{"file_name":"gnp.\u202eexe.png"}`: "gnp.exe.png", `{"file_name":"a:b?.png"}`: "a_b_.png", `{"file_name":" .x "}`: "x",
		`{"file_name":"CON"}`: "_CON.png", `{"file_name":"nul.tar.gz"}`: "_nul.tar.gz", `{"file_name":"Com1 .png"}`: "_Com1 .png",
		`{"file_name":"console.png"}`: "console.png", `{"file_name":"name."}`: "name.png", `{"file_name":"a. ."}`: "a.png",
		`{"file_name":"` + strings.Repeat("é", 200) + `.webp"}`: strings.Repeat("é", 97) + ".webp",
	} {
		got := media.FileName(&jobs.Media{ID: "med_1", ContentType: "image/png", Metadata: json.RawMessage(metadata)})
		if got != want {
			t.Errorf("%s: %q, want %q", metadata, got, want)
		}
	}
}
