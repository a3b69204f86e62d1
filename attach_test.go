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

// limiter lets so many in; a negative number is no bound.
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

func attach(t *testing.T, b *bench, h gaff.Handler, o gaff.HandleOptions) {
	t.Helper()
	if o.Workers == 0 {
		o.Workers = 4
	}
	if err := b.Attach("", "", h, o); err != nil {
		t.Fatal(err)
	}
}

func TestHandlersComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, nil)
		var first, second atomic.Int32
		count := func(n *atomic.Int32) gaff.Handler {
			return gaff.HandlerFunc(func(context.Context, *gaff.Event) error { n.Add(1); return nil })
		}
		if id := b.send(t, "1", "paid"); !b.detail(t, id).Unhandled {
			t.Error("an event before any handler is not unhandled")
		}
		paid := func(s *gaff.Subject) bool { return s.Event.Type == "paid" }
		attach(t, b, count(&first), gaff.HandleOptions{Name: "out", Match: paid})
		b.send(t, "2", "paid")
		b.send(t, "3", "other")
		synctest.Wait()
		if first.Load() != 1 {
			t.Fatalf("%d handled, want the one that matches", first.Load())
		}
		attach(t, b, count(&second), gaff.HandleOptions{Name: "out", Match: paid, Workers: 2})
		b.send(t, "4", "paid")
		synctest.Wait()
		if first.Load() != 1 || second.Load() != 1 {
			t.Fatalf("after the handler was replaced: %d and %d", first.Load(), second.Load())
		}
		b.Detach("out")
		if id := b.send(t, "5", "paid"); !b.detail(t, id).Unhandled {
			t.Error("routed to a handler that is gone")
		}
		// A handler of the program is not replaced by one that comes and goes.
		c := newBench(t, gaff.Options{}, func(b *bench) { b.HandleWith("shop", "*", count(&first), gaff.HandleOptions{Name: "mine"}) })
		if err := c.Attach("", "", count(&second), gaff.HandleOptions{Name: "mine", Workers: 1}); err == nil {
			t.Error("a handler of the program was replaced")
		}
	})
}

func TestWhatWaitsForADetachedHandlerIsTakenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, nil)
		g := &gate{again: time.Hour}
		attach(t, b, gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return errBroken }), gaff.HandleOptions{Name: "out", Limiter: g})
		id := b.send(t, "1", "paid")
		b.Detach("out")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if d := b.detail(t, id); d.Status != gaff.StatusPending || len(d.Attempts) != 0 {
			t.Fatalf("while nobody is there: %s, %d attempts", d.Status, len(d.Attempts))
		}
		attach(t, b, gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return nil }), gaff.HandleOptions{Name: "out"})
		synctest.Wait()
		if d := b.detail(t, id); d.Status != gaff.StatusSuccess {
			t.Errorf("after one came: %s", d.Status)
		}
	})
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

func TestNotesAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.Handle("shop", "*", gaff.HandlerFunc(func(ctx context.Context, _ *gaff.Event) error {
				gaff.SetDetail(ctx, "first")
				gaff.SetDetail(ctx, "answered 200")
				if d, ok := gaff.DeliveryFrom(ctx); !ok || d.ID != gaff.DeliveryIDFrom(ctx) {
					t.Errorf("delivery %+v", d)
				}
				return nil
			}))
		})
		id := b.send(t, "1", "paid")
		synctest.Wait()
		if d := b.detail(t, id); len(d.Attempts) != 1 || d.Attempts[0].Detail != "answered 200" {
			t.Errorf("attempts %+v", d.Attempts)
		}
	})
}
