package destination_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/internal/id"
	"gaff/store/sqlite"
)

// memoryFiles is a bucket whose next writes may fail, before or after they are stored.
type memoryFiles struct {
	mu          sync.Mutex
	files       map[string][]byte
	before      int // so many writes fail and store nothing
	overwritten []string
}

func (f *memoryFiles) Put(_ context.Context, name string, r io.ReadSeeker, _ int64, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.before > 0 {
		f.before--
		return errors.New("the bucket is gone")
	}
	body, err := io.ReadAll(r)
	if had, ok := f.files[name]; ok && !bytes.Equal(had, body) {
		f.overwritten = append(f.overwritten, name)
	}
	f.files[name] = body
	return err
}

func (f *memoryFiles) Close() error { return nil }

// events returns the types of all archived events, in the order of the files' names.
func (f *memoryFiles) events(t *testing.T) (types []string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		r, err := gzip.NewReader(bytes.NewReader(f.files[name]))
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(r); lines.Scan(); {
			var line struct{ Envelope struct{ Type string } }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			types = append(types, line.Envelope.Type)
		}
	}
	return types
}

// failingRecords is a store that cannot write some of the archive's records.
type failingRecords struct {
	*sqlite.Store
	mu   sync.Mutex
	fail int // counts down to the write that fails; 0 for none
}

func (s *failingRecords) PutRecord(ctx context.Context, r gaff.Record) (gaff.Record, error) {
	if r.Kind == "archive" {
		s.mu.Lock()
		s.fail--
		failing := s.fail == 0
		s.mu.Unlock()
		if failing {
			return r, errors.New("killed")
		}
	}
	return s.Store.PutRecord(ctx, r)
}

// archiveOf makes a manager with the archive "cold" of events of the source shop, and runs it until
// the returned function is called.
func archiveOf(t *testing.T, st destination.Store, gw *gaff.Gateway, files *memoryFiles, change ...func(*destination.ManagerOptions)) (m *destination.Manager, stop func()) {
	t.Helper()
	o := destination.ManagerOptions{
		Store: st, Gateway: gw, Log: slog.New(slog.DiscardHandler), Client: http.DefaultClient,
		Configured: []destination.Spec{{
			Name: "cold", Kind: destination.KindArchive, URL: "/cold", Events: []string{"shop:*"},
			Batch: &destination.Batch{Size: 10, Wait: destination.Duration(time.Minute)},
		}},
		Files: func(string) (destination.Files, error) { return files, nil },
	}
	for _, f := range change {
		f(&o)
	}
	m = destination.NewManager(o)
	if err := m.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { m.Run(ctx) })
	return m, sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
}

func newArchiveGateway(t *testing.T) (*sqlite.Store, *gaff.Gateway) {
	t.Helper()
	st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
	gw, err := gaff.New(gaff.Options{Store: st, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return st, gw
}

// emit stores events of shop, and one of another source after each. It returns their types.
func emit(t *testing.T, gw *gaff.Gateway, from, n int) (types []string) {
	t.Helper()
	for i := from; i < from+n; i++ {
		types = append(types, fmt.Sprintf("type-%03d", i))
		for _, source := range []string{"shop", "other"} {
			ev := gaff.Event{Source: source, Type: types[len(types)-1], Data: json.RawMessage(`{"n":1}`)}
			if _, err := gw.Emit(context.Background(), ev, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return types
}

func TestArchiveHasEachEventOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ putFails, recordFails int }{
		"without a failure":                  {0, 0},
		"the bucket fails":                   {2, 0},
		"killed before the part is stored":   {0, 1},
		"killed before the cursor is stored": {0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				st, gw := newArchiveGateway(t)
				files := &memoryFiles{files: map[string][]byte{}, before: c.putFails}
				want := emit(t, gw, 0, 25)
				_, stop := archiveOf(t, &failingRecords{Store: st, fail: c.recordFails}, gw, files)
				time.Sleep(time.Second)
				stop() // killed
				want = append(want, emit(t, gw, 25, 10)...)
				m, stop := archiveOf(t, st, gw, files)
				defer stop()
				time.Sleep(5 * time.Minute)
				if got := files.events(t); !slices.Equal(got, want) {
					t.Errorf("archived %s\nwant %s", got, want)
				}
				if len(files.overwritten) > 0 {
					t.Errorf("files were written again with other contents: %s", files.overwritten)
				}
				d := must(m.Get(t.Context(), "cold"))(t)
				if d.Archive == nil || d.Archive.Events != 35 || d.Archive.Part != nil || d.Counts.Waiting != 0 {
					t.Errorf("state %+v, %d waiting", d.Archive, d.Counts.Waiting)
				}
			})
		})
	}
}

// shared marks a store that several processes use.
func shared(o *destination.ManagerOptions) { o.Shared = true }

// A process that has the store alone goes on at once with a part that a killed one began. Others wait,
// since that one may still write.
func TestArchiveGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change []func(*destination.ManagerOptions)
		within time.Duration
		not    time.Duration // before this it has not gone on
	}{
		"alone":  {nil, 11 * time.Second, 0},
		"shared": {[]func(*destination.ManagerOptions){shared}, 3 * time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				st, gw := newArchiveGateway(t)
				files := &memoryFiles{files: map[string][]byte{}}
				emit(t, gw, 0, 10)
				_, stop := archiveOf(t, &failingRecords{Store: st, fail: 2}, gw, files, c.change...)
				time.Sleep(time.Second)
				stop() // killed, with the part stored
				m, stop := archiveOf(t, st, gw, files, c.change...)
				defer stop()
				time.Sleep(c.not)
				if d := must(m.Get(t.Context(), "cold"))(t); c.not > 0 && (d.Archive == nil || d.Archive.Part == nil) {
					t.Errorf("%s after the kill the part was taken from a node that may still write it", c.not)
				}
				time.Sleep(c.within - c.not)
				if d := must(m.Get(t.Context(), "cold"))(t); d.Archive == nil || d.Archive.Part != nil || d.Archive.Files != 1 {
					t.Errorf("%s after the kill the state is %+v, want the file that was due", c.within, d.Archive)
				}
			})
		})
	}
}

func TestTwoNodesWriteOneArchive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st, gw := newArchiveGateway(t)
		files := &memoryFiles{files: map[string][]byte{}}
		want := emit(t, gw, 0, 95)
		_, stopA := archiveOf(t, st, gw, files, shared)
		_, stopB := archiveOf(t, st, gw, files, shared)
		defer stopA()
		defer stopB()
		time.Sleep(5 * time.Minute)
		if got := files.events(t); !slices.Equal(got, want) {
			t.Errorf("archived %s\nwant %s", got, want)
		}
	})
}

func TestArchiveWaitsForTheTimeOfAFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st, gw := newArchiveGateway(t)
		files := &memoryFiles{files: map[string][]byte{}}
		emit(t, gw, 0, 3)
		m, stop := archiveOf(t, st, gw, files)
		defer stop()
		time.Sleep(30 * time.Second)
		if len(files.files) != 0 {
			t.Error("a file was written before its time")
		}
		if seq, any, err := m.Unarchived(t.Context()); seq != 0 || !any || err != nil {
			t.Errorf("archived up to %d, %t, %v; want 0", seq, any, err)
		}
		time.Sleep(time.Minute)
		newest, _ := id.ParseEvent(must(st.NewestEvent(t.Context()))(t))
		if seq, _, _ := m.Unarchived(t.Context()); seq != newest {
			t.Errorf("archived up to %d, want %d", seq, newest)
		}
	})
}

func TestArchiveLineHasTheRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st, gw := newArchiveGateway(t)
		files := &memoryFiles{files: map[string][]byte{}}
		_, err := st.Accept(t.Context(), gaff.AcceptParams{Event: &gaff.Event{
			Source: "shop", Type: "paid", DedupeKey: "k", ReceivedAt: time.Now(), Data: json.RawMessage(`{"token":"t0p","n":1}`),
			Request: &gaff.Request{
				Method: "POST", URL: "https://hooks.example.com/api/v1/webhooks/shop?key=t0p", Body: []byte(`{"token":"t0p","n":1}`),
				Header: http.Header{"Authorization": {"Bearer t0p"}, "X-Id": {"7"}}, ReceivedAt: time.Now(),
			},
			Verification: gaff.Verification{Secrets: []string{"json:/token", "query:key"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		_, stop := archiveOf(t, st, gw, files)
		time.Sleep(2 * time.Minute)
		stop() // the archive writes no more
		for _, file := range files.files {
			r, _ := gzip.NewReader(bytes.NewReader(file))
			text, _ := io.ReadAll(r)
			var line struct {
				Request struct {
					Method     string
					Headers    map[string][]string
					BodyBase64 []byte
				}
			}
			if err := json.Unmarshal(text, &line); err != nil || line.Request.Method != "POST" || line.Request.Headers["X-Id"][0] != "7" || !strings.Contains(string(line.Request.BodyBase64), `"n":1`) {
				t.Errorf("%v: %s", err, text)
			}
			if strings.Contains(string(line.Request.BodyBase64)+string(text), "Bearer t0p") {
				t.Errorf("a secret is in the archive: %s", text)
			}
		}
		if len(files.files) != 1 {
			t.Errorf("%d files", len(files.files))
		}
	})
}

func TestArchiveIsForTheConfiguration(t *testing.T) {
	t.Parallel()
	n := fresh(t)
	_, err := n.Create(t.Context(), destination.Spec{Name: "cold", Kind: destination.KindArchive, URL: "/etc"})
	if !errors.Is(err, gaff.ErrInvalid) || !strings.Contains(err.Error(), "gaff.yaml") {
		t.Errorf("error %v", err)
	}
}
