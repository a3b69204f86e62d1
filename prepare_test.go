package gaff_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/eventually"
	"gaff/jobs"
)

// preparer is a handler whose effects are a job with the id of the webhook.
type preparer struct {
	b               *bench
	panics          bool  // in Prepare
	fails           error // of Write
	takes           time.Duration
	handled, stored atomic.Int32
}

func (p *preparer) Handle(context.Context, *gaff.Event) error {
	p.handled.Add(1)
	return nil
}

func (p *preparer) Prepare(ev *gaff.Event) gaff.Effects {
	switch {
	case p.panics:
		panic("no such field")
	case ev.Type == "unknown":
		return nil
	}
	return &preparedJob{p, ev.WebhookID}
}

type preparedJob struct {
	*preparer
	id string
}

func (e *preparedJob) Reads() any { return nil }
func (e *preparedJob) Stored()    { e.stored.Add(1) }

func (e *preparedJob) Write(ctx context.Context, tx any, ev *gaff.Event) error {
	time.Sleep(e.takes)
	if e.fails != nil {
		return e.fails
	}
	t := e.b.st.EventTx(tx)
	return t.InsertJob(ctx, &jobs.Job{ID: e.id, Provider: ev.Source, CreatedAt: t.Now()})
}

func TestPreparedEffects(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		panics     bool
		fails      error
		middleware bool
		redaction  gaff.Redaction
		eventType  string // empty: "paid"
		queued     bool   // the handler has to work the event
	}{
		"stored with their event":     {},
		"none":                        {eventType: "unknown", queued: true},
		"failed":                      {fails: errors.New("not now"), queued: true},
		"panic":                       {panics: true, queued: true},
		"gateway with a middleware":   {middleware: true, queued: true},
		"redaction of stored events":  {redaction: gaff.Redaction{Pointers: []string{"/name"}}},
		"redaction of processed ones": {redaction: gaff.Redaction{Pointers: []string{"/name"}, Processed: true}, queued: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &preparer{panics: tc.panics, fails: tc.fails}
			var attempts atomic.Int32
			hooks := gaff.Hooks{Attempted: func(source, handler, outcome string, _, _ time.Duration) {
				if source == "shop" && handler == "effects" && outcome == gaff.AttemptSucceeded {
					attempts.Add(1)
				}
			}}
			b := newBench(t, gaff.Options{Hooks: hooks}, func(b *bench) {
				p.b = b
				if err := b.UpdateSource(gaff.Source{Name: "shop", Verifier: open{}, Parser: plain{}, Redaction: tc.redaction}); err != nil {
					t.Fatal(err)
				}
				if tc.middleware {
					b.Use(func(next gaff.Handler) gaff.Handler { return gaff.HandlerFunc(next.Handle) })
				}
				b.Handle("shop", "*", gaff.Named("effects", p))
			})
			id := b.send(t, "1", cmp.Or(tc.eventType, "paid"))
			if d := b.detail(t, id); !tc.queued && d.Status != gaff.StatusSuccess {
				t.Errorf("answered while the event is %s", d.Status)
			}
			eventually.True(t, "the event is processed", func() bool { return b.detail(t, id).Status == gaff.StatusSuccess })
			stored, handled := p.stored.Load(), p.handled.Load()
			if tc.queued && (stored != 0 || handled != 1) || !tc.queued && (stored != 1 || handled != 0) {
				t.Errorf("effects stored %d times, handled %d times", stored, handled)
			}
			if _, err := b.st.Job(t.Context(), "1"); (err == nil) == tc.queued {
				t.Errorf("the job: %v", err)
			}
			if n := len(b.detail(t, id).Attempts); n != 1 {
				t.Errorf("%d attempts are stored", n)
			}
			eventually.True(t, "the attempt was reported", func() bool { return attempts.Load() == 1 })
		})
	}
}

// A gateway that was not started receives, and leaves the effects to one that is.
func TestPreparedEffectsWaitForTheStart(t *testing.T) {
	t.Parallel()
	st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
	gw, err := gaff.New(gaff.Options{Store: st, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{gw, st}
	p := &preparer{b: b}
	b.AddSource(gaff.Source{Name: "shop", Verifier: open{}, Parser: plain{}})
	b.Handle("shop", "*", gaff.Named("effects", p))
	id := b.send(t, "1", "paid")
	if d := b.detail(t, id); d.Status != gaff.StatusPending || p.stored.Load() != 0 {
		t.Errorf("before the start the event is %s", d.Status)
	}
	if err := gw.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the event is processed", func() bool { return b.detail(t, id).Status == gaff.StatusSuccess })
	stop(t, b)
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// Effects that take long leave those of other webhooks to the queue, so that their senders do not wait.
func TestSlowEffectsHoldUpOneBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &preparer{takes: time.Second}
		b := newBench(t, gaff.Options{}, func(b *bench) {
			p.b = b
			b.Handle("shop", "paid", gaff.Named("effects", p))
		})
		began := time.Now()
		var sending sync.WaitGroup
		for i := range 20 {
			sending.Go(func() { b.send(t, fmt.Sprint(i), "paid") })
		}
		sending.Wait()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("20 webhooks took %s", took)
		}
		synctest.Wait()
		if stored, handled := p.stored.Load(), p.handled.Load(); stored == 0 || stored > 2 || stored+handled != 20 {
			t.Errorf("%d were stored with their effects, %d handled", stored, handled)
		}
	})
}

// Webhooks hold places of the queue while they are stored. A retry that finds none then is claimed when they
// are free, as no worker would look for it.
func TestRetryFindsThePlaceOfAWebhookWithEffects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &preparer{takes: 800 * time.Millisecond}
		var retried atomic.Int64
		b := newBench(t, gaff.Options{QueueLen: 1, Retry: gaff.RetryPolicy{First: 500 * time.Millisecond, MaxAttempts: 3}}, func(b *bench) {
			p.b = b
			b.Handle("shop", "paid", gaff.Named("effects", p))
			b.Handle("shop", "other", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
				if retried.Add(1) == 1 {
					return errors.New("not now")
				}
				return nil
			}))
		})
		id := b.send(t, "retried", "other")
		synctest.Wait()
		time.Sleep(300 * time.Millisecond)
		b.send(t, "1", "paid")
		time.Sleep(500 * time.Millisecond)
		if d := b.detail(t, id); d.Status != gaff.StatusSuccess {
			t.Errorf("the retry is %s", d.Status)
		}
	})
}
