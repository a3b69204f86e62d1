package gaff_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

func TestRetryNowAnswersWithTheOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mended atomic.Bool
		b := newBench(t, gaff.Options{Retry: gaff.RetryPolicy{MaxAttempts: 1}}, func(b *bench) {
			b.Handle("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
				if mended.Load() {
					return nil
				}
				return errBroken
			}))
		})
		ctx := context.Background()
		id := b.send(t, "1", "paid")
		synctest.Wait()
		err := b.RetryNow(ctx, id)
		if _, attempted := errors.AsType[*gaff.AttemptError](err); !attempted || !errors.Is(err, errBroken) {
			t.Errorf("retry of a broken one: %v", err)
		}
		if d := b.detail(t, id); d.RetryCount != 1 || d.Status != gaff.StatusError {
			t.Errorf("after it: %d retries, %s", d.RetryCount, d.Status)
		}
		mended.Store(true)
		if err := b.RetryNow(ctx, id); err != nil {
			t.Errorf("retry of a mended one: %v", err)
		}
		if d := b.detail(t, id); d.RetryCount != 2 || d.Status != gaff.StatusSuccess || d.Error != "" {
			t.Errorf("after it: %d retries, %s, error %q", d.RetryCount, d.Status, d.Error)
		}
		if err := b.RetryNow(ctx, id); !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("retry of a succeeded one: %v, want a conflict", err)
		}
		if err := b.RetryNow(ctx, "evt_01M86PR6WK0000000000000099"); !errors.Is(err, gaff.ErrNotFound) {
			t.Errorf("retry of an unknown one: %v, want not found", err)
		}
	})
}

func TestRetryGivesAFullSetOfTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		b := newBench(t, gaff.Options{Retry: gaff.RetryPolicy{MaxAttempts: 2}}, func(b *bench) {
			b.Handle("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
				tries.Add(1)
				return errBroken
			}))
		})
		id := b.send(t, "1", "paid")
		time.Sleep(time.Hour)
		if _, err := b.Retry(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := tries.Load(); n != 4 {
			t.Errorf("%d tries, want 2 and 2", n)
		}
	})
}

func TestReplayByTheHandlersOfToday(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.Handle("shop", "paid", gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return nil }))
		})
		id := b.send(t, "1", "paid")
		synctest.Wait()
		ids, err := b.Replay(context.Background(), id)
		if err != nil || len(ids) != 1 {
			t.Fatalf("replayed %v, %v", ids, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if d := b.detail(t, id); len(d.Deliveries) != 2 || d.Status != gaff.StatusSuccess {
			t.Errorf("%d deliveries, %s", len(d.Deliveries), d.Status)
		}
		unhandled := b.send(t, "2", "refunded")
		if _, err := b.Replay(context.Background(), unhandled); !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("replay without a handler: %v", err)
		}
		if d := b.detail(t, unhandled); !d.Unhandled || d.Status != gaff.StatusSuccess {
			t.Errorf("without a handler: unhandled %v, %s", d.Unhandled, d.Status)
		}
	})
}
