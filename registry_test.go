package gaff_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

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

func attach(t *testing.T, b *bench, h gaff.Handler, o gaff.HandleOptions) {
	t.Helper()
	if o.Workers == 0 {
		o.Workers = 4
	}
	if err := b.Attach("", "", h, o); err != nil {
		t.Fatal(err)
	}
}
