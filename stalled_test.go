package gaff_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
)

// stalled runs test in a bubble of fake time, on a gateway whose disk hangs until mend is called.
func stalled(t *testing.T, o gaff.Options, setup func(*bench), test func(t *testing.T, b *bench, mend func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		b := benchOn(t, st, o, setup)
		hung := make(chan struct{})
		go func() {
			_ = st.Between(func(*sql.Conn) error {
				<-hung
				return nil
			})
		}()
		synctest.Wait()
		mended := sync.OnceFunc(func() { close(hung) })
		test(t, b, mended)
		mended()
		stop(t, b)
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

func heapMiB() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) >> 20
}

// The body of a webhook counts against limits.in_flight for as long as anything holds it, not
// only until its sender was told 503.
func TestStalledDiskHoldsNoMoreThanTheBudget(t *testing.T) {
	const budget, size, waves, each = 4 << 20, 512 << 10, 20, 7
	o := gaff.Options{InFlightBytes: budget}
	stalled(t, o, nil, func(t *testing.T, b *bench, mend func()) {
		before := heapMiB()
		for wave := range waves {
			var senders sync.WaitGroup
			for i := range each {
				senders.Go(func() {
					body := fmt.Sprintf(`{"id":"%d-%d","type":"x"}`, wave, i)
					body += strings.Repeat(" ", size-len(body))
					if got := b.post(http.MethodPost, "shop", body).Code; got != http.StatusServiceUnavailable {
						t.Errorf("answered %d, want 503", got)
					}
				})
			}
			senders.Wait()
		}
		if grown := heapMiB() - before; grown > budget>>20+16 {
			t.Errorf("%d MiB are held of %d bodies of %d bytes, want %d at most", grown, waves*each, size, budget>>20+16)
		}
		mend()
		synctest.Wait()
		page, err := b.st.Events(context.Background(), gaff.EventFilter{})
		if err != nil || len(page.Items) != 0 {
			t.Errorf("%d events are stored whose senders were told 503 (%v), want none", len(page.Items), err)
		}
		if got := b.post(http.MethodPost, "shop", `{"id":"after","type":"x"}`).Code; got != http.StatusOK {
			t.Errorf("after the disk was mended: answered %d, want 200", got)
		}
	})
}

// Bodies of a commit that hangs are held by the store, and count until it is done with them.
func TestBodiesInAHungCommitCount(t *testing.T) {
	const size = 600 << 10
	o := gaff.Options{InFlightBytes: 1 << 20}
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		b := benchOn(t, st, o, nil)
		hung := make(chan struct{})
		go func() { _ = st.Between(func(*sql.Conn) error { time.Sleep(time.Second); return nil }) }()
		synctest.Wait()
		go func() { _ = st.Write(context.Background(), hang(hung)) }()
		post := func(id string) int {
			body := `{"id":"` + id + `","type":"x"}`
			return b.post(http.MethodPost, "shop", body+strings.Repeat(" ", size-len(body))).Code
		}
		if got := post("first"); got != http.StatusServiceUnavailable {
			t.Errorf("in the hung commit: answered %d, want 503", got)
		}
		began := time.Now()
		if got := post("second"); got != http.StatusServiceUnavailable {
			t.Errorf("beside it: answered %d, want 503", got)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("beside it: answered after %s; want at once, for there is no budget left", took)
		}
		close(hung)
		time.Sleep(time.Second)
		if got := post("third"); got != http.StatusOK {
			t.Errorf("after the commit: answered %d, want 200", got)
		}
		stop(t, b)
		_ = st.Close()
	})
}

func TestStalledDiskDelaysNoAnswer(t *testing.T) {
	setup := func(b *bench) {
		b.AddSource(gaff.Source{Name: "guarded", Verifier: guardedVerifier{}, Parser: plain{}, MaxBodyBytes: 1000})
	}
	stalled(t, gaff.Options{}, setup, func(t *testing.T, b *bench, mend func()) {
		for _, c := range []struct {
			path, body string
			status     int
			within     time.Duration
		}{
			{"shop", `{"id":"a","type":"x"}`, http.StatusServiceUnavailable, 5 * time.Second},
			{"nobody", `{}`, http.StatusNotFound, 250 * time.Millisecond},
			{"guarded", `{}`, http.StatusUnauthorized, 250 * time.Millisecond},
			{"guarded", strings.Repeat(" ", 1001), http.StatusRequestEntityTooLarge, 250 * time.Millisecond},
		} {
			began := time.Now()
			if got := b.post(http.MethodPost, c.path, c.body).Code; got != c.status {
				t.Errorf("%s: answered %d, want %d", c.path, got, c.status)
			}
			if took := time.Since(began); took > c.within {
				t.Errorf("%s, %d: answered after %s, want %s at most", c.path, c.status, took, c.within)
			}
		}
		// The notes were queued, and are written as soon as that is possible.
		mend()
		time.Sleep(time.Second)
		page, err := b.st.Rejections(context.Background(), gaff.RejectionFilter{})
		if err != nil || len(page.Items) != 4 {
			t.Errorf("%d rejections are kept (%v), want 4", len(page.Items), err)
		}
	})
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

// hang is a transaction that does not end before a channel is closed.
func hang(until <-chan struct{}) func(jobs.Tx) error {
	return func(jobs.Tx) error {
		<-until
		return nil
	}
}
