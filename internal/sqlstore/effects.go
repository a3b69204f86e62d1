package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/id"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// Write runs fn in one transaction.
func (s *Store) Write(ctx context.Context, fn func(jobs.Tx) error) error {
	return s.writeEffects(ctx, func(e *effects) error { return fn(e) })
}

// WriteRuns is Write for workflows.
func (s *Store) WriteRuns(ctx context.Context, fn func(runs.Tx) error) error {
	return s.writeEffects(ctx, func(e *effects) error { return fn(e) })
}

func (s *Store) writeEffects(ctx context.Context, fn func(*effects) error) error {
	return s.w.Do(ctx, &op{Run: func(t *tx) error { return fn(&effects{t}) }})
}

// Apply runs fn and finishes the delivery as succeeded, in one transaction.
func (s *Store) Apply(ctx context.Context, l gaff.Lease, fn func(jobs.Tx) error) error {
	return s.applyEffects(ctx, l, func(e *effects) error { return fn(e) })
}

// ApplyRuns is Apply for workflows.
func (s *Store) ApplyRuns(ctx context.Context, l gaff.Lease, fn func(runs.Tx) error) error {
	return s.applyEffects(ctx, l, func(e *effects) error { return fn(e) })
}

// EventTx returns the transaction of an event as one for jobs; nil if it is another store's.
func (s *Store) EventTx(tx any) jobs.Tx {
	if e, ok := tx.(*effects); ok && e.s == s {
		return e
	}
	return nil
}

func (s *Store) applyEffects(ctx context.Context, l gaff.Lease, fn func(*effects) error) error {
	err := s.w.Do(ctx, &op{
		Reads: reads(ctx),
		Run: func(t *tx) error {
			if err := fn(&effects{t}); err != nil {
				return err
			}
			t.finish(l, gaff.Outcome{
				State: gaff.StateSucceeded,
				Attempt: gaff.Attempt{
					Outcome: gaff.AttemptSucceeded, StartedAt: l.StartedAt, Duration: t.now.Sub(l.StartedAt),
				},
			})
			return nil
		},
		Committed: func() { s.leases.end(l) },
	})
	if errors.Is(err, gaff.ErrLeaseLost) {
		_ = s.Release(ctx, []gaff.Lease{l})
	}
	return err
}

// effects is a runs.Tx, and so a jobs.Tx.
type effects struct{ *tx }

func (e *effects) Now() time.Time { return e.localTime(e.now) }

func (e *effects) Emit(_ context.Context, ev *gaff.Event, ds []gaff.Delivery) error {
	if ev.Hop > gaff.MaxHops {
		return gaff.Discard(fmt.Errorf("emit %s:%s: more than %d events caused each other; is there a loop?",
			ev.Source, ev.Type, gaff.MaxHops))
	}
	if ev.ReceivedAt.IsZero() {
		ev.ReceivedAt = e.now
	}
	if ev.DedupeKey == "" {
		ev.DedupeKey = id.New(id.Key, e.now)
	}
	e.accept(newEventRow(ev), ds, nil, new(gaff.Receipt))
	return nil
}
