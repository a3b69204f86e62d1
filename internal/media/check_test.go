package media_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"gaff"
	"gaff/internal/media"
	"gaff/jobs"
)

// harm changes one byte of a row's copy, in place.
func (w *world) harm(id string) {
	w.t.Helper()
	path := w.path(id)
	data, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	data[len(data)/2] ^= 0xff
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) lose(id string) {
	w.t.Helper()
	if err := os.Remove(w.path(id)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(id string) string {
	return filepath.Join(w.dir, "media", filepath.FromSlash(w.row(id).StoredKey))
}

// wantSound checks that a row is stored on the bytes of its hash.
func (w *world) wantSound(what, id string) {
	w.t.Helper()
	m := w.row(id)
	data, err := os.ReadFile(w.path(id))
	sum := sha256.Sum256(data)
	if err != nil || m.Storage != jobs.StorageStored || hex.EncodeToString(sum[:]) != m.SHA256 {
		w.t.Errorf("%s: storage %s, %d bytes, error %v", what, m.Storage, len(data), err)
	}
}

func (w *world) get(id string) int {
	w.t.Helper()
	rec := httptest.NewRecorder()
	err := w.server.Serve(rec, httptest.NewRequest(http.MethodGet, "/", nil), w.row(id), false)
	if errors.Is(err, gaff.ErrNotFound) {
		return http.StatusNotFound
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return rec.Code
}

func TestLostAndDamagedCopiesAreMadeAgain(t *testing.T) {
	for name, harm := range map[string]func(*world, string){"damaged": (*world).harm, "missing": (*world).lose} {
		for way, notice := range map[string]func(*world, string) error{
			"retried": func(w *world, id string) error { return w.keeper.Again(context.Background(), id) },
			"served": func(w *world, id string) error {
				if code := w.get(id); code != http.StatusNotFound {
					return errors.New(http.StatusText(code))
				}
				return nil
			},
			"checked": func(w *world, _ string) error {
				_, err := w.keeper.Check(context.Background())
				return err
			},
		} {
			t.Run(name+" and "+way, func(t *testing.T) {
				run(t, nil, func(t *testing.T, w *world) {
					w.hosts["files.test"] = serveBytes("image/png", picture)
					id := w.add("https://files.test/a.png")
					w.settle()
					harm(w, id)
					if err := notice(w, id); err != nil {
						t.Fatal(err)
					}
					w.settle()
					w.wantSound("afterwards", id)
					if code := w.get(id); code != http.StatusOK {
						t.Errorf("served with %d", code)
					}
				})
			})
		}
	}
}

func TestLostCopyWithoutSourceIsGone(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.hosts["files.test"] = serveBytes("image/png", picture)
		id := w.add("https://files.test/a.png")
		w.settle()
		w.harm(id)
		w.hosts["files.test"] = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusGone) })
		if code := w.get(id); code != http.StatusNotFound {
			t.Errorf("damaged bytes are served with %d", code)
		}
		w.settle()
		if m := w.row(id); m.Storage != jobs.StorageGone {
			t.Errorf("storage %s, want gone", m.Storage)
		}
	})
}

func TestCopyOfSameContentReplacesDamagedBytes(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.hosts["files.test"] = serveBytes("image/png", picture)
		one := w.add("https://files.test/a.png")
		w.settle()
		w.harm(one)
		two := w.add("https://files.test/a.png")
		w.settle()
		w.wantSound("the first", one)
		w.wantSound("the second", two)
	})
}

// A folder of each node has not what another node copied; that is no loss.
func TestMissingFileOfAnotherNodeIsNotCopiedAgain(t *testing.T) {
	run(t, func(o *media.Options) { o.FolderPerNode = true }, func(t *testing.T, w *world) {
		w.hosts["files.test"] = serveBytes("image/png", picture)
		id := w.add("https://files.test/a.png")
		w.settle()
		w.lose(id)
		if code := w.get(id); code != http.StatusNotFound {
			t.Errorf("served with %d", code)
		}
		if m := w.row(id); m.Storage != jobs.StorageStored {
			t.Errorf("storage %s, want stored", m.Storage)
		}
	})
}
