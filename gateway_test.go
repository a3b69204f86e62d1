package gaff_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

func TestMistakesInTheProgramPanic(t *testing.T) {
	t.Parallel()
	h := gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return nil })
	src := gaff.Source{Name: "x", Verifier: open{}, Parser: plain{}}
	for name, mistake := range map[string]func(*gaff.Gateway){
		"handler twice":   func(g *gaff.Gateway) { g.Handle("a", "b", h); g.Handle("a", "b", h) },
		"source twice":    func(g *gaff.Gateway) { g.AddSource(src); g.AddSource(src) },
		"reserved":        func(g *gaff.Gateway) { g.AddSource(gaff.Source{Name: "manage", Verifier: open{}, Parser: plain{}}) },
		"capital letters": func(g *gaff.Gateway) { g.AddSource(gaff.Source{Name: "Shop", Verifier: open{}, Parser: plain{}}) },
		"no verifier":     func(g *gaff.Gateway) { g.AddSource(gaff.Source{Name: "x", Parser: plain{}}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
			defer st.Close()
			g, err := gaff.New(gaff.Options{Store: st, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if recover() == nil {
					t.Error("it went through")
				}
			}()
			mistake(g)
		})
	}
}

func TestStopInterruptsWithoutAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "gaff.db")
		st := openStore(t, path)
		started := make(chan struct{}, 10)
		b := benchOn(t, st, gaff.Options{Workers: 1}, func(b *bench) {
			b.Handle("shop", "*", gaff.HandlerFunc(func(ctx context.Context, _ *gaff.Event) error {
				started <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			}))
		})
		first, second := b.send(t, "1", "paid"), b.send(t, "2", "paid")
		<-started
		stop(t, b)
		if rec := httptest.NewRecorder(); true {
			b.IngestHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/api/v1/webhooks/shop", strings.NewReader(`{}`)))
			if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
				t.Errorf("a stopped gateway answers %d", rec.Code)
			}
		}
		for _, id := range []string{first, second} {
			if d := b.detail(t, id); len(d.Attempts) != 0 || d.Deliveries[0].Attempts != 0 || d.Status != gaff.StatusPending {
				t.Errorf("after the stop: status %s, %d attempts", d.Status, len(d.Attempts))
			}
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		st = openStore(t, path)
		b = benchOn(t, st, gaff.Options{}, func(b *bench) {
			b.Handle("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return nil }))
		})
		time.Sleep(time.Second)
		synctest.Wait()
		for _, id := range []string{first, second} {
			if d := b.detail(t, id); d.Status != gaff.StatusSuccess || len(d.Attempts) != 1 {
				t.Errorf("after the restart: status %s, %d attempts", d.Status, len(d.Attempts))
			}
		}
		stop(t, b)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// New secrets of a running gateway lose no request: each is judged by the old or by the
// new one.
func TestUpdateSourceUnderLoad(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "lines", Verifier: open{}, Parser: lines{}})
	})
	done := make(chan struct{})
	var sent, kept atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				sent.Add(1)
				if rec := b.post("POST", "lines", fmt.Sprintf("%d-%d", w, i)); rec.Code == 200 {
					kept.Add(1)
				} else {
					t.Errorf("answered %d %s", rec.Code, rec.Body)
				}
			}
		})
	}
	for range 200 {
		if err := b.UpdateSource(gaff.Source{Name: "lines", Verifier: open{}, Parser: lines{}}); err != nil {
			t.Fatal(err)
		}
		if sent.Load() > 500 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(done)
	wg.Wait()
	if sent.Load() != kept.Load() {
		t.Errorf("%d sent, %d kept", sent.Load(), kept.Load())
	}
	if err := b.UpdateSource(gaff.Source{Name: "nobody", Verifier: open{}, Parser: lines{}}); !errors.Is(err, gaff.ErrNotFound) {
		t.Errorf("an unknown source: %v", err)
	}
	if err := b.UpdateSource(gaff.Source{Name: "lines"}); !errors.Is(err, gaff.ErrInvalid) {
		t.Errorf("a source without verifier: %v", err)
	}
}

// Stop returns in time although a sender's body never ends.
func TestStopDoesNotWaitForASlowSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		b := benchOn(t, st, gaff.Options{}, nil)
		body, sender := io.Pipe()
		answered := make(chan int)
		go func() {
			rec := httptest.NewRecorder()
			b.IngestHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, gaff.PathPrefix+"shop", body))
			answered <- rec.Code
		}()
		synctest.Wait()
		wantStopWithin(t, b, 200*time.Millisecond, 200*time.Millisecond)
		_ = sender.CloseWithError(io.ErrUnexpectedEOF)
		<-answered
		_ = st.Close()
	})
}

// Stop returns in time although a handler does not look at its context.
func TestStopDoesNotWaitForADeafHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		end := make(chan struct{})
		b := benchOn(t, st, gaff.Options{}, func(b *bench) {
			b.Handle("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
				<-end
				return nil
			}))
		})
		b.send(t, "deaf", "x")
		synctest.Wait()
		wantStopWithin(t, b, time.Second, 3*time.Second)
		close(end)
		synctest.Wait()
		_ = st.Close()
	})
}

// Stop returns in time although the disk hangs, with work to give back.
func TestStopDoesNotWaitForAHungDisk(t *testing.T) {
	setup := func(b *bench) {
		b.Handle("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return nil }))
	}
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		b := benchOn(t, st, gaff.Options{Workers: 1}, setup)
		hung := make(chan struct{})
		hangs := make(chan error)
		for i := range 3 {
			b.send(t, fmt.Sprint("event-", i), "x")
		}
		go func() { hangs <- st.Between(func(*sql.Conn) error { <-hung; return nil }) }()
		synctest.Wait()
		wantStopWithin(t, b, time.Second, 3*time.Second)
		close(hung)
		<-hangs
		_ = st.Close()
	})
}

func wantStopWithin(t *testing.T, b *bench, patience, most time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	_ = b.Stop(ctx)
	if took := time.Since(began); took > most {
		t.Errorf("stopped after %s, want %s at most", took, most)
	}
}

func TestNamesOfSources(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"shop", "a", "0-b_c", strings.Repeat("x", 64)} {
		if err := gaff.CheckSourceName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "manage", gaff.InternalSource, gaff.PublishedSource, "Shop", "-a", "a/b", strings.Repeat("x", 65)} {
		if gaff.CheckSourceName(name) == nil {
			t.Errorf("%q is taken for a name of a source", name)
		}
	}
}
