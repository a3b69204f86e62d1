package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/sorting"
	"gaff/internal/writer"
)

// maxErrorText bounds what a handler's error may add to a row, in bytes.
const maxErrorText = 4 << 10

// Finish ends an attempt.
func (s *Store) Finish(ctx context.Context, l gaff.Lease, o gaff.Outcome) error {
	kind := writer.Effect
	if o.Background {
		kind = writer.Background
	}
	err := s.w.Do(ctx, &op{
		Kind: kind,
		Run: func(t *tx) error {
			t.finish(l, o)
			return nil
		},
		Committed: func() { s.leases.end(l) },
	})
	if errors.Is(err, gaff.ErrLeaseLost) {
		_ = s.Release(context.WithoutCancel(ctx), []gaff.Lease{l})
	}
	return err
}

// finishing is the end of an attempt, which is stored at the end of its transaction.
type finishing struct {
	l gaff.Lease
	o gaff.Outcome
}

// finish ends an attempt. It is the lease fence: of two ends of an attempt, the second fails
// with ErrLeaseLost, and nothing of its transaction is stored.
func (t *tx) finish(l gaff.Lease, o gaff.Outcome) {
	o.Attempt.Error = excerpt.Text(o.Attempt.Error, maxErrorText)
	o.Attempt.Detail = excerpt.Text(o.Attempt.Detail, 4*maxErrorText)
	t.finishing, t.wrote = append(t.finishing, finishing{l, o}), true
	if o.Failure != nil && o.State == gaff.StateDead {
		t.failDelivery(l, o.Failure)
	}
}

// counted reports whether the attempt is recorded.
func (f *finishing) counted() bool {
	return f.o.Attempt.Outcome != "" && f.o.Attempt.Outcome != gaff.AttemptSnoozed
}

// attempts is the delivery's number of attempts after this one.
func (f *finishing) attempts() int {
	if f.counted() {
		return f.l.Attempt
	}
	return f.l.Attempt - 1
}

// finishDelivery matches the delivery only under the lease: with the number of attempts that it
// had when it was claimed, and the same claim.
var finishDelivery = updateRows(`seq bigint, n bigint, attempt bigint, claimed bigint, state bigint, attempts bigint, run_at bigint,
	error text, updated_at bigint, finished_at bigint`, `update delivery set state = new.state, attempts = new.attempts,
		run_at = coalesce(new.run_at, delivery.run_at), error = new.error, updated_at = new.updated_at,
		finished_at = new.finished_at, leased_until = null
	from new where delivery.seq = new.seq and delivery.n = new.n and delivery.attempts = new.attempt
		and delivery.claim = new.claimed and delivery.state + 0 < 3
	returning lane, okey, ordering`, "seq", "n")

// delivery returns the columns of finishDelivery.
func (f *finishing) delivery(t *tx) []any {
	var finished any
	if f.o.State.Done() {
		finished = micros(t.now)
	}
	return []any{
		f.l.Event, int64(f.l.Delivery), int64(f.l.Attempt - 1), int64(f.l.Claim), int64(f.o.State), int64(f.attempts()),
		nullMicros(t.sharedTime(f.o.RunAt)), f.o.Attempt.Error, micros(t.now), finished,
	}
}

var insertAttempt = insertRows("attempt", `seq bigint, n bigint, number bigint, outcome text, started_at bigint, duration bigint,
	error text, detail text`, ``)

// attempt returns the columns of insertAttempt.
func (f *finishing) attempt() []any {
	a := f.o.Attempt
	return []any{
		f.l.Event, int64(f.l.Delivery), int64(f.attempts()), a.Outcome, micros(a.StartedAt), a.Duration.Microseconds(),
		a.Error, a.Detail,
	}
}

// ordered is a delivery of a key whose attempt was ended.
type ordered struct {
	f          *finishing
	queue, key string
	order      gaff.Order
}

// finishAll ends the attempts of all operations of the transaction.
func (t *tx) finishAll() error {
	if len(t.finishing) == 0 {
		return nil
	}
	all := t.finishing
	t.finishing = nil
	slices.SortStableFunc(all, func(a, b finishing) int { return compareLeases(a.l, b.l) })
	for i := 1; i < len(all); i++ {
		if keyOf(all[i].l) == keyOf(all[i-1].l) {
			// One statement cannot fence two ends of an attempt. Each operation runs alone.
			return gaff.ErrLeaseLost
		}
	}
	keys, err := t.finishDeliveries(all)
	if err != nil {
		return err
	}
	var attempts [][]any
	var events []settling
	for i := range all {
		f := &all[i]
		if f.counted() {
			attempts = append(attempts, f.attempt())
		}
		if f.o.Attempt.Outcome != "" {
			events = append(events, settlingOf(f))
		}
	}
	if err := t.db.write(t, &insertAttempt, attempts); err != nil {
		return fmt.Errorf("record attempts: %w", err)
	}
	if err := t.settle(events...); err != nil {
		return err
	}
	sorting.By(keys, func(a, b ordered) int { return cmp.Or(cmp.Compare(a.queue, b.queue), cmp.Compare(a.key, b.key)) })
	for _, k := range keys {
		if err := t.orderedEnd(k.f.l, k.f.o.State, k.queue, k.key, k.order); err != nil {
			return err
		}
	}
	return nil
}

// finishDeliveries writes the deliveries' new states, and returns those that have a key.
func (t *tx) finishDeliveries(all []finishing) (keys []ordered, err error) {
	rows := make([][]any, len(all))
	for i := range all {
		rows[i] = all[i].delivery(t)
	}
	finished := 0
	err = t.db.writeReturning(t, &finishDelivery, rows, func(row placedRow) error {
		var k ordered
		at := row.at
		if at < 0 || !t.s.leases.orderOf(all[at].l, &k) {
			var err error
			if at, err = row.scan(&k.queue, &k.key, &k.order); err != nil {
				return err
			}
		}
		finished++
		if o := all[at].o; !o.State.Done() {
			t.s.leases.due(k.queue, micros(t.sharedTime(o.RunAt)))
		}
		if k.key != "" {
			k.f = &all[at]
			keys = append(keys, k)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("finish deliveries: %w", err)
	}
	if finished != len(all) {
		return nil, gaff.ErrLeaseLost
	}
	return keys, nil
}

// settling is what the end of an attempt, or of a delivery, changes of the event.
type settling struct {
	l                     gaff.Lease
	failure               string
	closed, died, retried bool
	processed             bool
}

func settlingOf(f *finishing) settling {
	return settling{
		l: f.l, failure: f.o.Attempt.Error, closed: f.o.State.Done(), died: isDead(f.o.State),
		retried: f.counted() && f.l.Attempt > 1, processed: f.counted() || f.o.State.Done(),
	}
}

// isDead reports whether a delivery in the state makes its event's status an error.
func isDead(state gaff.State) bool { return state == gaff.StateDead || state == gaff.StateCanceled }

var settleEvent = updateRows(`seq bigint, closed bigint, died bigint, retried bigint, failure text, processed_at bigint, updated_at bigint`,
	`update event set open = event.open - new.closed, dead = event.dead + new.died, retry_count = event.retry_count + new.retried,
		status = case when event.dead + new.died > 0 then 2 when event.open - new.closed > 0 then 0 else 1 end,
		error = case when new.failure <> '' or event.dead = 0 then new.failure else event.error end,
		processed_at = coalesce(new.processed_at, event.processed_at), updated_at = new.updated_at
	from new where event.seq = new.seq
	returning status, dead`, "seq")

// settle applies deliveries' new states to their events, in the order of the events. One
// statement changes a row once, so a second delivery of an event is applied in another round.
func (t *tx) settle(all ...settling) error {
	for len(all) > 0 {
		var round, next []settling
		for i, s := range all {
			if i > 0 && s.l.Event == all[i-1].l.Event {
				next = append(next, s)
			} else {
				round = append(round, s)
			}
		}
		if err := t.settleRound(round); err != nil {
			return fmt.Errorf("settle events: %w", err)
		}
		all = next
	}
	return nil
}

func (t *tx) settleRound(round []settling) error {
	rows := make([][]any, len(round))
	for i, s := range round {
		var processed any
		if s.processed {
			processed = micros(t.now)
		}
		rows[i] = []any{s.l.Event, flag(s.closed), flag(s.died), flag(s.retried), s.failure, processed, micros(t.now)}
	}
	settled := 0
	err := t.db.writeReturning(t, &settleEvent, rows, func(row placedRow) error {
		var status gaff.Status
		var dead int64
		at, err := row.scan(&status, &dead)
		if err != nil {
			return err
		}
		settled++
		s, before := round[at], gaff.StatusPending
		if dead > flag(s.died) {
			before = gaff.StatusError
		}
		t.countMoved(s.l.Source, before, status)
		t.change("event", s.l.EventID, status.String(), s.l.Source)
		return nil
	})
	if err == nil && settled != len(round) {
		err = fmt.Errorf("%d of %d events are stored", settled, len(round))
	}
	return err
}
