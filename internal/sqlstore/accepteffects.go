package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gaff"
)

// maxWithEffects is how many events of a transaction are stored with their effects, about 150 µs each:
// the replies to all senders wait for them. The effects of further events follow in transactions of their own.
const maxWithEffects = 256

// effectsTime is how long the effects of a transaction may take until those of its further events are left to
// the queue.
const effectsTime = 100 * time.Millisecond

// acceptWithEffects runs an operation that stores an event, with its effects if they do not fail.
//
// The event's row is written as if its effects were stored, with its payload and with those of the other
// operations, before the effects are: they need its number. Its deliveries follow at the end of the transaction.
func (s *Store) acceptWithEffects(ctx context.Context, o *op, row eventRow, p gaff.AcceptParams, rc *gaff.Receipt) (gaff.Receipt, error) {
	a := &acceptance{
		row: row, ds: p.Deliveries, take: p.Take, rc: rc,
		effects: p.Effects, effectsOf: p.EffectsOf, started: time.Now(), dedupe: row.dedupe,
	}
	without := o.Run
	o.Reads = a
	o.Run = func(t *tx) error {
		if a.seq == 0 {
			return without(t)
		}
		return t.writeEffects(a)
	}
	var failure error
	o.Simplify = func(cause error) bool {
		some := a.effects != nil
		a.effects = nil
		if some && !errors.Is(cause, ErrCollision) {
			failure = cause
		}
		return some
	}
	stored := func() {
		if rc.EffectsStored {
			p.Effects.Stored()
		}
	}
	o.Abandoned = func() {
		s.giveBack(rc.Work)
		stored()
	}
	if err := s.w.Do(ctx, o); err != nil {
		return gaff.Receipt{}, err
	}
	stored()
	rc.EffectsFailure = failure
	return *rc, nil
}

// Read writes the rows and payloads of events that are stored with their effects, and reads, and locks, the jobs that the
// operations are known to read.
func (t *tx) Read(refs []any) error {
	var read []any
	var with []*acceptance
	for _, ref := range refs {
		a, ok := ref.(*acceptance)
		if !ok {
			read = append(read, ref)
			continue
		}
		a.seq, a.row.dedupe = 0, a.dedupe
		if a.effects != nil && len(with) < maxWithEffects {
			read, with = append(read, a.effects.Reads()), append(with, a)
		}
	}
	if len(with) > 0 {
		t.impatient = true
		if _, err := t.insertRows(with); err != nil {
			return err
		}
	}
	return t.db.readJobs(t, read)
}

// writeEffects writes the effects of an event that has its row. If they fail before they wrote anything, the
// event is stored without them; otherwise the transaction runs again without any.
func (t *tx) writeEffects(a *acceptance) error {
	*a.rc = gaff.Receipt{}
	t.wrote = false
	err := errEffectsTime
	if now := time.Now(); t.effectsUntil.IsZero() || now.Before(t.effectsUntil) {
		if t.effectsUntil.IsZero() {
			t.effectsUntil = now.Add(effectsTime)
		}
		err = a.effects.Write(t.ctx, &effects{t}, a.row.ev)
	}
	if err != nil && t.wrote {
		return fmt.Errorf("effects of event %s: %w", a.row.ev.ID, err)
	}
	t.wrote = true
	with := *a
	if err != nil {
		with.effects = nil
	}
	t.withEffects = append(t.withEffects, with)
	return nil
}

var errEffectsTime = errors.New("the effects of other events took too long")

// reopenEvent undoes that the row of an event was written as if its effects were stored.
var reopenEvent = updateRows(`seq bigint, received_at bigint`, `update event set open = event.open + 1, status = 0, processed_at = null,
	updated_at = new.received_at from new where event.seq = new.seq`, "seq")

// acceptRest writes what belongs to the events that have a row.
func (t *tx) acceptRest() error {
	all := t.withEffects
	if len(all) == 0 {
		return nil
	}
	t.withEffects = nil
	var reopened [][]any
	for _, a := range all {
		if a.effects == nil {
			reopened = append(reopened, []any{a.seq, micros(a.row.ev.ReceivedAt)})
		}
	}
	if err := t.db.write(t, &reopenEvent, reopened); err != nil {
		return fmt.Errorf("reopen events: %w", err)
	}
	return t.insertParts(all)
}

// succeedNew ends a delivery before it is inserted, and returns the columns of its attempt.
func (t *tx) succeedNew(d *newDelivery, started time.Time) []any {
	d.State, d.Attempts, d.FinishedAt = gaff.StateSucceeded, 1, t.now
	f := finishing{
		l: gaff.Lease{Event: d.seq, Delivery: d.n, Attempt: 1},
		o: gaff.Outcome{Attempt: gaff.Attempt{Outcome: gaff.AttemptSucceeded, StartedAt: started, Duration: max(t.now.Sub(started), 0)}},
	}
	return f.attempt()
}
