package media_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gaff/internal/blob"
	"gaff/internal/media"
	"gaff/jobs"
)

// film is a host's file that is cut off after some bytes of each answer.
type film struct {
	data  []byte
	etag  string
	cut   int // bytes of an answer; 0: all
	deaf  bool
	wrong bool     // sends another part than was asked for
	asked []string // ranges
	sent  int
	hook  func() // after each answer
}

func newFilm(size int) *film {
	r := rand.New(rand.NewPCG(uint64(size), 1))
	f := &film{data: make([]byte, size), etag: `"one"`}
	for i := range f.data {
		f.data[i] = byte(r.Uint32())
	}
	return f
}

func (f *film) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked = append(f.asked, r.Header.Get("Range"))
	if f.hook != nil {
		defer f.hook()
	}
	if f.deaf {
		r.Header.Del("Range")
	}
	if f.wrong && r.Header.Get("Range") != "" {
		r.Header.Set("Range", "bytes=5-")
	}
	w.Header().Set("Content-Type", "video/mp4")
	if f.etag != "" {
		w.Header().Set("ETag", f.etag)
	}
	http.ServeContent(&scissors{w, f, f.cut}, r, "", time.Time{}, bytes.NewReader(f.data))
}

// scissors let through so many bytes.
type scissors struct {
	http.ResponseWriter
	f    *film
	left int
}

func (s *scissors) Write(b []byte) (int, error) {
	if s.f.cut > 0 && len(b) > s.left {
		n, _ := s.ResponseWriter.Write(b[:s.left])
		s.f.sent += n
		return n, errors.New("cut")
	}
	s.left -= len(b)
	s.f.sent += len(b)
	return s.ResponseWriter.Write(b)
}

func (w *world) wantStored(id string, data []byte) {
	w.t.Helper()
	m := w.row(id)
	sum := sha256.Sum256(data)
	if m.Storage != jobs.StorageStored || m.SHA256 != hex.EncodeToString(sum[:]) || m.Size != int64(len(data)) || !bytes.Equal(w.read(m.StoredKey), data) {
		w.t.Errorf("%s %q, %d bytes of hash %.8s; want %d of %x", m.Storage, m.StorageError, m.Size, m.SHA256, len(data), sum[:4])
	}
	if spool, _ := os.ReadDir(w.options.Spool); len(spool) != 0 {
		w.t.Errorf("the spool holds %v", spool)
	}
}

func TestADownloadThatIsCutOffGoesOn(t *testing.T) {
	t.Parallel()
	const size = 500_000
	for name, c := range map[string]struct {
		change func(*film)
		asked  []string
		again  bool // bytes are sent twice
	}{
		"within one attempt": {func(f *film) { f.cut = 200_000 }, []string{"", "bytes=200000-", "bytes=400000-"}, false},
		"over many attempts": {func(f *film) { f.cut = 90_000 }, []string{"", "bytes=90000-", "bytes=180000-", "bytes=270000-", "bytes=360000-", "bytes=450000-"}, false},
		"a host that knows no parts": {func(f *film) {
			f.deaf, f.cut = true, 200_000
			f.hook = func() { f.cut = 0 }
		}, []string{"", "bytes=200000-"}, true},
		"a host that does not say which file it is": {func(f *film) {
			f.etag, f.cut = "", 200_000
			f.hook = func() { f.cut = 0 }
		}, []string{"", ""}, true},
		"a weak tag": {func(f *film) {
			f.etag, f.cut = `W/"one"`, 200_000
			f.hook = func() { f.cut = 0 }
		}, []string{"", ""}, true},
		"another file meanwhile": {func(f *film) {
			f.cut = 200_000
			f.hook = func() { f.cut, f.etag, f.data = 0, `"two"`, newFilm(size+1).data }
		}, []string{"", "bytes=200000-"}, true},
		"a shorter file meanwhile": {func(f *film) {
			f.cut = 200_000
			f.hook = func() { f.cut, f.data = 0, f.data[:100] }
		}, []string{"", "bytes=200000-", ""}, false},
		"another part than was asked for": {func(f *film) {
			f.cut, f.wrong = 200_000, true
			f.hook = func() { f.cut = 0 }
		}, []string{"", "bytes=200000-", ""}, true},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, w *world) {
				f := newFilm(size)
				c.change(f)
				w.hosts["cdn.test"] = f
				id := w.add("https://cdn.test/film")
				w.settle()
				w.wantStored(id, f.data)
				if !slices.Equal(f.asked, c.asked) || (f.sent > size) != c.again {
					t.Errorf("asked for %q, %d bytes were sent", f.asked, f.sent)
				}
			})
		})
	}
}

// hanging is a body that hangs after its bytes until the request ends.
func hanging(next http.RoundTripper, after int64, hang *bool) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil || !*hang {
			return resp, err
		}
		body := resp.Body
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(body, after), wait{r.Context()}), body}
		return resp, nil
	}
}

type wait struct{ ctx context.Context }

func (w wait) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

// Bytes downloaded before a stop are not downloaded again after it.
func TestADownloadGoesOnAfterARestart(t *testing.T) {
	hang := true
	run(t, func(o *media.Options) {
		o.Client = &http.Client{Transport: hanging(o.Client.Transport, 300_000, &hang)}
	}, func(t *testing.T, w *world) {
		f := newFilm(500_000)
		w.hosts["cdn.test"] = f
		id := w.add("https://cdn.test/film")
		time.Sleep(time.Second)
		w.stop()
		if left, _ := os.ReadDir(w.options.Spool); len(left) != 2 {
			t.Errorf("the spool holds %v", left)
		}
		hang = false
		w.start()
		// Sweep keeps a part that is still wanted.
		if err := w.keeper.Sweep(context.Background()); err != nil {
			t.Error(err)
		}
		w.settle()
		w.wantStored(id, f.data)
		if want := []string{"", "bytes=300000-"}; !slices.Equal(f.asked, want) {
			t.Errorf("asked for %q, want %q", f.asked, want)
		}
	})
}

// After a crash, bytes that were not synced are not trusted.
func TestADownloadGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ mark, asked string }{
		"from the synced bytes": {`{"from":"\"one\"","size":300000}`, "bytes=300000-"},
		"without a mark":        {``, ""},
		"with a torn mark":      {`{"from":"\"one\"","si`, ""},
		"with too large a one":  {`{"from":"\"one\"","size":400001}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, w *world) {
				f := newFilm(500_000)
				w.hosts["cdn.test"] = f
				w.stop()
				id := w.add("https://cdn.test/film")
				part := filepath.Join(w.options.Spool, "copy-"+id)
				lost := append(slices.Clone(f.data[:300_000]), make([]byte, 100_000)...)
				for path, text := range map[string][]byte{part: lost, part + ".mark": []byte(c.mark)} {
					if err := os.WriteFile(path, text, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				w.start()
				w.settle()
				w.wantStored(id, f.data)
				if len(f.asked) != 1 || f.asked[0] != c.asked {
					t.Errorf("asked for %q, want %q", f.asked, c.asked)
				}
			})
		})
	}
}

// full is a storage that takes nothing for a while.
type full struct {
	blob.Store
	times int
}

func (f *full) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, contentType string) error {
	if f.times--; f.times >= 0 {
		return errors.New("the disk is full")
	}
	return f.Store.Put(ctx, key, r, size, contentType)
}

// Downloaded bytes wait for the storage: by then the host may have it no more.
func TestADownloadWaitsForTheStorage(t *testing.T) {
	run(t, func(o *media.Options) { o.Blobs = &full{o.Blobs, 4} }, func(t *testing.T, w *world) {
		for _, etag := range []string{"", `"one"`} {
			f := newFilm(1000)
			f.etag = etag
			w.hosts["cdn.test"] = f
			id := w.add("https://cdn.test/film" + etag)
			time.Sleep(time.Millisecond)
			w.settle()
			w.wantStored(id, f.data)
			if m := w.row(id); len(f.asked) != 1 || m.ContentType != "application/octet-stream" {
				t.Errorf("asked %d times, kept as %s", len(f.asked), m.ContentType)
			}
		}
	})
}

func TestSweepKeepsWhatIsWanted(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.hosts["cdn.test"] = http.NotFoundHandler()
		done := w.add("https://cdn.test/gone")
		w.settle()
		w.stop()
		pending := w.add("https://cdn.test/pending")
		old := w.add("https://cdn.test/old")
		for _, name := range []string{"copy-" + done, "copy-" + done + ".mark", "copy-" + pending, "copy-" + pending + ".mark", "copy-" + old, "copy-4711", "else"} {
			path := filepath.Join(w.options.Spool, name)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			at := time.Now()
			if name == "copy-"+old {
				at = at.Add(-25 * time.Hour)
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.keeper.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		left, _ := os.ReadDir(w.options.Spool)
		if want := "copy-" + pending; len(left) != 2 || left[0].Name() != want || left[1].Name() != want+".mark" {
			t.Errorf("after the sweep: %v", fmt.Sprint(left))
		}
		w.start()
	})
}
