package gaff_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

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
