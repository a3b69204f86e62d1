package gaff_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"gaff/jobs"
	"gaff/store/sqlite"
)

// bench is a gateway over a real database, with one source that trusts everybody.
type bench struct {
	*gaff.Gateway
	st *sqlite.Store
}

type open struct{}

func (open) Verify(context.Context, *gaff.Request) (gaff.Verification, error) {
	return gaff.Verification{Scheme: "none"}, nil
}

// plain reads {"id","type"}.
type plain struct{}

func (plain) Parse(r *gaff.Request, _ gaff.Verification) (gaff.Envelope, error) {
	var body struct{ ID, Type string }
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return gaff.Envelope{}, err
	}
	return gaff.Envelope{ID: body.ID, Type: body.Type}, nil
}

func openStore(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(context.Background(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// newBench makes a gateway and starts it after setup. It is stopped at the test's end.
func newBench(t *testing.T, o gaff.Options, setup func(*bench)) *bench {
	t.Helper()
	st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
	b := benchOn(t, st, o, setup)
	t.Cleanup(func() {
		stop(t, b)
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func benchOn(t *testing.T, st *sqlite.Store, o gaff.Options, setup func(*bench)) *bench {
	t.Helper()
	o.Store = st
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	gw, err := gaff.New(o)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{gw, st}
	gw.AddSource(gaff.Source{Name: "shop", Verifier: open{}, Parser: plain{}})
	if setup != nil {
		setup(b)
	}
	if err := gw.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return b
}

func stop(t *testing.T, b *bench) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// send posts an event and returns its id.
func (b *bench) send(t *testing.T, id, eventType string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	body := fmt.Sprintf(`{"id":%q,"type":%q}`, id, eventType)
	b.IngestHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/api/v1/webhooks/shop", strings.NewReader(body)))
	var answer struct{ ID string }
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != http.StatusOK {
		t.Fatalf("answered %d %s", rec.Code, rec.Body)
	}
	return answer.ID
}

func (b *bench) detail(t *testing.T, id string) *gaff.EventDetail {
	t.Helper()
	d, err := b.st.Event(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var errBroken = errors.New("broken")

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
			t.Errorf("after the first try: status %s, error %q, processed %s", d.Status, d.Error, d.ProcessedAt)
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
		// verdict is what the first try returns; later ones succeed.
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
		if a := d.Attempts[0]; a.Outcome != gaff.AttemptPanicked || !strings.Contains(a.Detail, "gateway_test.go") {
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
					t.Errorf("error %q does not tell of the timeout", d.Attempts[0].Error)
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

// More than the queue in memory holds, worked by few: nothing is left behind, and nothing
// waits for a poll.
// A replay or a person's retry of an old event is no slow delivery: it is measured from the time
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
			t.Fatalf("%d were worked behind a closed gate", n)
		}
		began := time.Now()
		close(gate)
		for done.Load() < events {
			if time.Since(began) > time.Minute {
				t.Fatalf("%d of %d were worked in a minute of idle time", done.Load(), events)
			}
			time.Sleep(time.Second)
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
			t.Errorf("%d of 100 were worked by the fast handler, %d run in the slow one, want 3", fast.Load(), running.Load())
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

// A lane whose handler has become one of many, or is gone, is not forgotten.
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

func TestEmit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var worked atomic.Int32
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.Handle(gaff.InternalSource, "tick", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
				worked.Add(1)
				return nil
			}))
			b.Handle("*", "*", gaff.HandlerFunc(func(_ context.Context, ev *gaff.Event) error {
				t.Errorf("a handler of every source was given %s:%s", ev.Source, ev.Type)
				return nil
			}))
		})
		ctx := context.Background()
		ev := gaff.Event{Type: "tick", Data: json.RawMessage(`{}`), DedupeKey: "tick-1"}
		id, err := b.Emit(ctx, ev, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := b.Emit(ctx, ev, time.Time{}); err != nil || again != id {
			t.Errorf("emitted again: %s, %v, want %s", again, err, id)
		}
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if worked.Load() != 0 {
			t.Error("it was worked before its time")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if worked.Load() != 1 {
			t.Errorf("it was worked %d times", worked.Load())
		}
		if _, err := b.Emit(ctx, gaff.Event{Type: "tick", Data: json.RawMessage(`{}`), Hop: gaff.MaxHops + 1}, time.Time{}); !errors.Is(err, gaff.ErrInvalid) {
			t.Errorf("an event at the end of a loop: %v", err)
		}
	})
}

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

func TestPolicyWaits(t *testing.T) {
	t.Parallel()
	p := gaff.RetryPolicy{First: time.Second, Factor: 2, Max: 10 * time.Second}
	for failed, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 1000: 10 * time.Second} {
		for range 100 {
			if got := p.Wait(failed); got < want*8/10 || got > want*12/10 {
				t.Fatalf("after %d failures: %s, want %s give or take a fifth", failed, got, want)
			}
		}
	}
}
