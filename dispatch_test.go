package gaff_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
)

func TestRetriesByThePolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		var mu sync.Mutex
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.Handle("shop", "paid", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
				mu.Lock()
				defer mu.Unlock()
				tries = append(tries, time.Now())
				return errBroken
			}))
		})
		id := b.send(t, "1", "paid")
		synctest.Wait()
		if d := b.detail(t, id); d.Status != gaff.StatusPending || d.Error != "broken" || d.ProcessedAt.IsZero() {
			t.Errorf("after the first attempt: status %s, error %q, processed %s", d.Status, d.Error, d.ProcessedAt)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if len(tries) != 8 {
			t.Fatalf("%d tries, want 8", len(tries))
		}
		base := 15 * time.Second
		for i := 1; i < len(tries); i++ {
			wait := tries[i].Sub(tries[i-1])
			if low, high := base*8/10, base*12/10+time.Second; wait < low || wait > high {
				t.Errorf("wait %d was %s, want between %s and %s", i, wait, low, high)
			}
			base = min(time.Duration(float64(base)*2.3), 30*time.Minute)
		}
		if all := tries[7].Sub(tries[0]); all < 45*time.Minute || all > 75*time.Minute {
			t.Errorf("all tries took %s, want about an hour", all)
		}
		d := b.detail(t, id)
		if d.Status != gaff.StatusError || d.RetryCount != 7 || len(d.Attempts) != 8 || d.Deliveries[0].State != gaff.StateDead {
			t.Errorf("status %s, %d retries, %d attempts, delivery %s", d.Status, d.RetryCount, len(d.Attempts), d.Deliveries[0].State)
		}
	})
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		// verdict is what the first attempt returns; later ones succeed.
		verdict error
		after   time.Duration
		want    gaff.State
		// outcomes of the attempts that are kept.
		outcomes []string
	}{
		"success":     {nil, 0, gaff.StateSucceeded, []string{"succeeded"}},
		"discard":     {gaff.Discard(errBroken), 0, gaff.StateDead, []string{"discarded"}},
		"retry after": {gaff.RetryAfter(10*time.Minute, errBroken), 10*time.Minute + 10*time.Second, gaff.StateSucceeded, []string{"failed", "succeeded"}},
		"not yet":     {gaff.RetryAfter(10*time.Minute, errBroken), 9 * time.Minute, gaff.StateRetrying, []string{"failed"}},
		"snooze":      {gaff.Snooze(10 * time.Minute), 10*time.Minute + 10*time.Second, gaff.StateSucceeded, []string{"succeeded"}},
		"snoozing":    {gaff.Snooze(10 * time.Minute), 9 * time.Minute, gaff.StatePending, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tries atomic.Int32
				b := newBench(t, gaff.Options{}, func(b *bench) {
					b.Handle("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
						if tries.Add(1) == 1 {
							return c.verdict
						}
						return nil
					}))
				})
				id := b.send(t, "1", "paid")
				time.Sleep(c.after)
				synctest.Wait()
				d := b.detail(t, id)
				if got := d.Deliveries[0].State; got != c.want {
					t.Errorf("delivery is %s, want %s", got, c.want)
				}
				var outcomes []string
				for _, a := range d.Attempts {
					outcomes = append(outcomes, a.Outcome)
				}
				if fmt.Sprint(outcomes) != fmt.Sprint(c.outcomes) {
					t.Errorf("attempts ended %v, want %v", outcomes, c.outcomes)
				}
			})
		})
	}
}

func TestPanicIsAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{Retry: gaff.RetryPolicy{MaxAttempts: 1}}, func(b *bench) {
			b.Handle("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error { panic("no such film") }))
		})
		id := b.send(t, "1", "paid")
		synctest.Wait()
		d := b.detail(t, id)
		if d.Status != gaff.StatusError || d.Error != "panic: no such film" {
			t.Errorf("status %s, error %q", d.Status, d.Error)
		}
		if a := d.Attempts[0]; a.Outcome != gaff.AttemptPanicked || !strings.Contains(a.Detail, "dispatch_test.go") {
			t.Errorf("outcome %s, and the stack is %.200q", a.Outcome, a.Detail)
		}
	})
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	for name, cooperative := range map[string]bool{"listens": true, "never returns": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				late := make(chan error, 1)
				var b *bench
				b = newBench(t, gaff.Options{Retry: gaff.RetryPolicy{MaxAttempts: 2, Timeout: time.Minute}}, func(b2 *bench) {
					var tries atomic.Int32
					b2.Handle("shop", "*", gaff.HandlerFunc(func(ctx context.Context, _ *gaff.Event) error {
						if tries.Add(1) > 1 {
							return nil
						}
						if cooperative {
							<-ctx.Done()
							return ctx.Err()
						}
						<-release
						lease, _ := gaff.LeaseFrom(ctx)
						late <- b.st.Apply(context.Background(), lease, func(tx jobs.Tx) error {
							return tx.InsertJob(context.Background(), &jobs.Job{ID: "late", Provider: "shop"})
						})
						return nil
					}))
				})
				id := b.send(t, "1", "paid")
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				d := b.detail(t, id)
				if len(d.Attempts) != 2 || d.Attempts[0].Outcome != gaff.AttemptTimedOut || d.Status != gaff.StatusSuccess {
					t.Fatalf("status %s, attempts %+v", d.Status, d.Attempts)
				}
				if !strings.Contains(d.Attempts[0].Error, "took too long") {
					t.Errorf("error %q does not name the timeout", d.Attempts[0].Error)
				}
				close(release)
				if cooperative {
					return
				}
				if err := <-late; !errors.Is(err, gaff.ErrLeaseLost) {
					t.Errorf("the late handler's effects: %v, want the lease lost", err)
				}
				if _, err := b.st.Job(context.Background(), "late"); !errors.Is(err, gaff.ErrNotFound) {
					t.Errorf("the late handler's job: %v, want none", err)
				}
			})
		})
	}
}

func TestHandlerThatNeverReturnsDoesNotKeepTheWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		options := gaff.Options{Workers: 1, Retry: gaff.RetryPolicy{MaxAttempts: 1, Timeout: time.Minute}}
		b := newBench(t, options, func(b *bench) {
			b.Handle("shop", "*", gaff.HandlerFunc(func(_ context.Context, ev *gaff.Event) error {
				if ev.WebhookID == "stuck" {
					<-release
				}
				return nil
			}))
		})
		stuck, next := b.send(t, "stuck", "paid"), b.send(t, "next", "paid")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if d := b.detail(t, stuck); d.Status != gaff.StatusError {
			t.Errorf("the event of the handler that does not return: %s", d.Status)
		}
		if d := b.detail(t, next); d.Status != gaff.StatusSuccess {
			t.Errorf("the next event of its worker: %s", d.Status)
		}
		close(release)
	})
}

func TestHandlerOfAnotherVersionIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		fail := gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return errBroken })
		b := benchOn(t, st, gaff.Options{}, func(b *bench) { b.Handle("shop", "*", gaff.Named("old", fail)) })
		id := b.send(t, "1", "paid")
		synctest.Wait()
		stop(t, b)
		b = benchOn(t, st, gaff.Options{}, func(b *bench) { b.Handle("shop", "*", gaff.Named("new", fail)) })
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		d := b.detail(t, id)
		if d.Deliveries[0].State.Done() || len(d.Attempts) != 1 {
			t.Errorf("delivery is %s after %d attempts, want it to wait after 1", d.Deliveries[0].State, len(d.Attempts))
		}
		stop(t, b)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// More than the queue in memory holds, processed by few: nothing is left behind, and nothing
// waits for a poll.
// A replay or a person's retry of an old event is not a slow delivery: it is measured from the time
// that it was asked for. Waits between gaff's own attempts count.
func TestLatencyIsMeasuredFromWhenADeliveryIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ages []time.Duration
		var mu sync.Mutex
		outcome := func() error { return errors.New("not yet") }
		o := gaff.Options{Hooks: gaff.Hooks{Attempted: func(_, _, _ string, _, age time.Duration) {
			mu.Lock()
			ages = append(ages, age.Round(time.Second))
			mu.Unlock()
		}}, Retry: gaff.RetryPolicy{MaxAttempts: 2, First: 15 * time.Second}}
		b := newBench(t, o, func(b *bench) {
			b.Handle("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return outcome() }))
		})
		last := func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return ages[len(ages)-1]
		}
		id := b.send(t, "1", "t")
		time.Sleep(time.Minute)
		if got := last(); got < 10*time.Second || got > 30*time.Second {
			t.Errorf("the second attempt by itself is %s after the receipt, want about 15s", got)
		}
		time.Sleep(time.Hour)
		outcome = func() error { return nil }
		if err := b.RetryNow(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		if got := last(); got != 0 {
			t.Errorf("a person's retry after an hour is measured as %s, want 0s", got)
		}
		time.Sleep(time.Hour)
		if _, err := b.Replay(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := last(); got != 0 {
			t.Errorf("a replay after two hours is measured as %s, want 0s", got)
		}
	})
}

func TestBacklogIsWorkedWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const events = 3000
		var done atomic.Int32
		gate := make(chan struct{})
		b := newBench(t, gaff.Options{Workers: 4}, func(b *bench) {
			b.Handle("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
				<-gate
				done.Add(1)
				return nil
			}))
		})
		for i := range events {
			b.send(t, fmt.Sprint(i), "paid")
		}
		if n := done.Load(); n != 0 {
			t.Fatalf("%d were processed behind a closed gate", n)
		}
		began := time.Now()
		close(gate)
		for done.Load() < events {
			if time.Since(began) > time.Minute {
				t.Fatalf("%d of %d were processed in a minute of idle time", done.Load(), events)
			}
			time.Sleep(time.Second)
		}
	})
}

// heldEnds is a store that keeps the ends of deliveries waiting.
type heldEnds struct {
	gaff.Store
	hold   chan struct{}
	stored atomic.Int32
}

func (s *heldEnds) Finish(ctx context.Context, l gaff.Lease, out gaff.Outcome) error {
	<-s.hold
	err := s.Store.Finish(ctx, l, out)
	s.stored.Add(1)
	return err
}

// Workers go on with queued deliveries while ends are stored, up to a number, and a stop waits for the ends.
func TestWorkersGoOnWhileEndsAreStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const events, workers = 100, 2
		var begun, running, most atomic.Int32
		st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		defer st.Close()
		held := &heldEnds{Store: st, hold: make(chan struct{})}
		gate := make(chan struct{})
		b := benchOn(t, st, gaff.Options{Store: held, Workers: workers}, func(b *bench) {
			b.Handle("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
				begun.Add(1)
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				<-gate
				return nil
			}))
		})
		for i := range events {
			b.send(t, fmt.Sprint(i), "paid")
		}
		synctest.Wait()
		close(gate)
		synctest.Wait()
		// Four ends for each worker, and each worker waits for one.
		if n := begun.Load(); n != workers*5 {
			t.Errorf("%d attempts were made while no end was stored, want %d", n, workers*5)
		}
		time.AfterFunc(time.Second, func() { close(held.hold) })
		stop(t, b)
		if n := held.stored.Load(); n != begun.Load() {
			t.Errorf("%d ends of %d attempts were stored when the gateway had stopped", n, begun.Load())
		}
		if n := most.Load(); n > workers {
			t.Errorf("%d attempts ran at once, want %d", n, workers)
		}
	})
}

// A handler that holds all its workers holds up nobody else, and its own policy rules.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most, fast atomic.Int32
		hold := make(chan struct{})
		b := newBench(t, gaff.Options{Workers: 2}, func(b *bench) {
			b.HandleWith("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				<-hold
				return errors.New("no")
			}), gaff.HandleOptions{Name: "slow", Workers: 3, Retry: &gaff.RetryPolicy{MaxAttempts: 1, Timeout: time.Hour}})
			b.HandleWith("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
				fast.Add(1)
				return nil
			}), gaff.HandleOptions{Name: "fast"})
		})
		var ids []string
		for i := range 100 {
			ids = append(ids, b.send(t, fmt.Sprint(i), "paid"))
		}
		time.Sleep(time.Minute)
		if fast.Load() != 100 || running.Load() != 3 {
			t.Errorf("%d of 100 were processed by the fast handler, %d run in the slow one, want 3", fast.Load(), running.Load())
		}
		close(hold)
		time.Sleep(time.Minute)
		if most.Load() != 3 {
			t.Errorf("%d ran at once, want 3", most.Load())
		}
		for _, id := range ids {
			d, err := b.st.Event(context.Background(), id)
			if err != nil || d.Status != gaff.StatusError || len(d.Attempts) != 2 {
				t.Fatalf("%+v, %v", d, err)
			}
		}
	})
}

// A queue whose handler has become one of many, or is gone, is not forgotten.
func TestLaneOfAnEarlierRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		defer st.Close()
		b := benchOn(t, st, gaff.Options{}, func(b *bench) {
			b.HandleWith("shop", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return errors.New("later") }),
				gaff.HandleOptions{Name: "h", Workers: 1})
		})
		event := b.send(t, "1", "paid")
		time.Sleep(time.Second)
		stop(t, b)
		b = benchOn(t, st, gaff.Options{}, func(b *bench) {
			b.Handle("shop", "*", gaff.Named("h", gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return nil })))
		})
		defer stop(t, b)
		time.Sleep(time.Minute)
		if d, err := st.Event(context.Background(), event); err != nil || d.Status != gaff.StatusSuccess {
			t.Errorf("%+v, %v", d, err)
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
