package gaff_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

// limiter lets so many in; a negative number lets all in.
type gate struct {
	mu    sync.Mutex
	left  int
	again time.Duration
}

func (g *gate) set(left int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = left
}

func (g *gate) Ready(time.Time) (int, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left < 0 {
		return 1 << 20, 0
	}
	return g.left, g.again
}

func (g *gate) Enter(time.Time) (bool, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left == 0 {
		return false, g.again
	}
	if g.left > 0 {
		g.left--
	}
	return true, 0
}

func TestAClosedGateCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		b := newBench(t, gaff.Options{}, nil)
		g := &gate{again: 24 * time.Hour}
		attach(t, b, gaff.HandlerFunc(func(context.Context, *gaff.Event) error { tries.Add(1); return nil }), gaff.HandleOptions{Name: "out", Limiter: g})
		var ids []string
		for i := range 40 {
			ids = append(ids, b.send(t, fmt.Sprint(i), "paid"))
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if tries.Load() != 0 {
			t.Fatalf("%d tries through a closed gate", tries.Load())
		}
		// One probe, not forty.
		g.set(1)
		b.Wake("out")
		synctest.Wait()
		if tries.Load() != 1 {
			t.Fatalf("%d tries, one was let in", tries.Load())
		}
		g.set(-1)
		b.Wake("out")
		time.Sleep(time.Second)
		synctest.Wait()
		for _, id := range ids {
			if d := b.detail(t, id); d.Status != gaff.StatusSuccess || len(d.Attempts) != 1 {
				t.Fatalf("%s: %s after %d attempts", id, d.Status, len(d.Attempts))
			}
		}
	})
}

func TestOneStuckKeyStopsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var done []string
		stuck := true
		b := newBench(t, gaff.Options{}, nil)
		attach(t, b, gaff.HandlerFunc(func(_ context.Context, ev *gaff.Event) error {
			mu.Lock()
			defer mu.Unlock()
			if stuck && strings.HasPrefix(ev.WebhookID, "a") {
				return errBroken
			}
			done = append(done, ev.WebhookID)
			return nil
		}), gaff.HandleOptions{
			Name: "out", Order: gaff.OrderSkipDead,
			OrderKey: func(s *gaff.Subject) string { id, _ := s.Doc().(map[string]any)["id"].(string); return id[:1] },
		})
		for i := range 200 {
			b.send(t, fmt.Sprintf("a%03d", i), "paid")
		}
		for i := range 20 {
			b.send(t, fmt.Sprintf("b%03d", i), "paid")
		}
		synctest.Wait()
		mu.Lock()
		if len(done) != 20 || !slices.IsSorted(done) || done[0] != "b000" {
			t.Errorf("while a is stuck: %v", done)
		}
		stuck, done = false, nil
		mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(done) != 200 || !slices.IsSorted(done) {
			t.Errorf("afterwards: %d, sorted %v", len(done), slices.IsSorted(done))
		}
	})
}

// A handler's concurrency can be changed while its deliveries wait and run, both ways.
func TestAttachChangesConcurrencyOfALiveQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, nil)
		var running, most atomic.Int32
		next := make(chan struct{})
		h := gaff.HandlerFunc(func(ctx context.Context, _ *gaff.Event) error {
			n := running.Add(1)
			defer running.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			select {
			case <-next:
			case <-ctx.Done():
			}
			return nil
		})
		set := func(workers int) {
			t.Helper()
			attach(t, b, h, gaff.HandleOptions{Name: "out", Workers: workers, Retry: &gaff.RetryPolicy{Timeout: time.Hour}})
			time.Sleep(time.Second)
		}
		wantRunning := func(want int32) {
			t.Helper()
			synctest.Wait()
			if n := running.Load(); n != want {
				t.Errorf("%d handlers run, want %d", n, want)
			}
		}
		set(8)
		for i := range 400 {
			b.send(t, fmt.Sprint("event-", i), "x")
		}
		time.Sleep(10 * time.Second)
		wantRunning(8)
		set(200)
		time.Sleep(10 * time.Second)
		wantRunning(200)
		set(1)
		for range 199 {
			next <- struct{}{}
		}
		wantRunning(1)
		most.Store(0)
		for range 20 {
			next <- struct{}{}
			time.Sleep(10 * time.Second)
			wantRunning(1)
		}
		if n := most.Load(); n > 1 {
			t.Errorf("%d handlers ran at once after the concurrency was lowered to 1", n)
		}
		set(4)
		time.Sleep(10 * time.Second)
		wantRunning(4)
		close(next)
	})
}

// Workers that are idle when the concurrency is lowered take nothing more.
func TestIdleWorkersRetire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, nil)
		var running, most atomic.Int32
		h := gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer running.Add(-1)
			time.Sleep(time.Second)
			return nil
		})
		attach(t, b, h, gaff.HandleOptions{Name: "out", Workers: 8})
		synctest.Wait()
		attach(t, b, h, gaff.HandleOptions{Name: "out", Workers: 1})
		for i := range 8 {
			b.send(t, fmt.Sprint("event-", i), "x")
		}
		time.Sleep(time.Minute)
		if n := most.Load(); n != 1 {
			t.Errorf("%d handlers ran at once, want 1", n)
		}
	})
}
