package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/id"
)

// Retry makes dead or canceled deliveries due again.
func (s *Store) Retry(ctx context.Context, p gaff.RetryParams) (ids []string, work []gaff.Work, err error) {
	err = s.w.Do(ctx, &op{
		Run: func(t *tx) (err error) {
			ids, work, err = t.retry(p)
			return err
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return ids, work, nil
}

func (t *tx) retry(p gaff.RetryParams) (ids []string, work []gaff.Work, err error) {
	eventID, n := p.EventID, 0
	if p.DeliveryID != "" {
		var ok bool
		if eventID, n, ok = id.ParseDelivery(p.DeliveryID); !ok {
			return nil, nil, missing("delivery", p.DeliveryID)
		}
	}
	seq, err := t.eventSeq(eventID)
	if err != nil {
		return nil, nil, err
	}
	all, err := t.deliveries(seq)
	if err != nil {
		return nil, nil, err
	}
	ev, stored, err := t.loadEvent(seq)
	if err == nil {
		err = whole(ev, stored)
	}
	if err != nil {
		return nil, nil, err
	}
	found, revived := n == 0, int64(0)
	for _, sc := range all {
		if n != 0 && sc.n != n {
			continue
		}
		found = true
		// A delivery that a replay replaced stays as it is: its successor can be retried.
		if sc.replaced || sc.state != gaff.StateDead && sc.state != gaff.StateCanceled {
			continue
		}
		sc.state, sc.maxAttempts, sc.runAt = gaff.StatePending, sc.attempts+max(p.Tries, 1), micros(t.sharedTime(p.Now))
		held := heldNot
		if sc.order != gaff.NoOrder && sc.held != heldDead && !p.Take {
			// Other deliveries of its key may be open by now; they come first.
			busy, err := t.lockedBusy(sc.queue, sc.key, sc.order)
			if err != nil {
				return nil, nil, fmt.Errorf("retry delivery: %w", err)
			}
			if busy {
				held, sc.runAt = heldBack, never
			}
		}
		var until time.Time
		if p.Take {
			_, until = t.firstClaim()
		}
		if _, err := t.exec(`update delivery set state = 0, max_attempts = $3, run_at = $4, updated_at = $5,
				finished_at = null, claim = claim + 1, held = $6, leased_until = $7 where seq = $1 and n = $2`,
			seq, sc.n, sc.maxAttempts, sc.runAt, micros(p.Now), held, nullMicros(until)); err != nil {
			return nil, nil, fmt.Errorf("retry delivery: %w", err)
		}
		sc.claim++
		sc.held = held
		revived++
		d := sc.delivery(ev)
		ids = append(ids, d.ID)
		if p.Take {
			work = append(work, t.claimDelivery(seq, sc.n, sc.claim, d, ev))
		} else {
			t.wake(d.Queue)
		}
	}
	switch {
	case !found:
		return nil, nil, missing("delivery", p.DeliveryID)
	case revived == 0:
		return nil, nil, fmt.Errorf("%w: no delivery of %s is dead or canceled", gaff.ErrConflict, eventID)
	}
	return ids, work, t.reopen(seq, ev, revived, -revived)
}

// reopen adds open deliveries to an event, and the change in the number of dead ones.
func (t *tx) reopen(seq int64, ev *gaff.Event, opened, dead int64) error {
	var before, after int64
	if err := t.row([]any{&before}, `select status from event where seq = $1`, seq); err != nil {
		return fmt.Errorf("reopen event: %w", err)
	}
	err := t.returning([]any{&after}, `update event set open = open + $2, dead = dead + $3, unhandled = 0,
			status = case when dead + $3 > 0 then 2 else 0 end, updated_at = $4
		where seq = $1 returning status`, seq, opened, dead, micros(t.now))
	if err != nil {
		return fmt.Errorf("reopen event: %w", err)
	}
	t.countMoved(ev.Source, gaff.Status(before), gaff.Status(after))
	t.change("event", ev.ID, gaff.Status(after).String(), ev.Source)
	return nil
}

// Replay adds new deliveries to an event.
func (s *Store) Replay(ctx context.Context, eventID string, ds []gaff.Delivery) (ids []string, err error) {
	err = s.w.Do(ctx, &op{
		Run: func(t *tx) (err error) {
			ids, err = t.replay(eventID, ds)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

func (t *tx) replay(eventID string, ds []gaff.Delivery) (ids []string, err error) {
	seq, err := t.eventSeq(eventID)
	if err != nil {
		return nil, err
	}
	all, err := t.deliveries(seq)
	if err != nil {
		return nil, err
	}
	ev, stored, err := t.loadEvent(seq)
	if err == nil {
		err = whole(ev, stored)
	}
	if err != nil {
		return nil, err
	}
	open, n, replaced := map[string]bool{}, 0, int64(0)
	for _, sc := range all {
		n = max(n, sc.n)
		if !sc.state.Done() {
			open[sc.handler] = true
		}
	}
	for _, d := range ds {
		if open[d.Handler] {
			continue
		}
		n++
		deliveryID, gone, err := t.addReplayed(seq, n, ev, all, d)
		if err != nil {
			return nil, err
		}
		ids = append(ids, deliveryID)
		replaced += gone
	}
	if len(ids) == 0 {
		if len(ds) == 0 {
			return nil, fmt.Errorf("%w: no handler is registered for %s:%s", gaff.ErrConflict, ev.Source, ev.Type)
		}
		return nil, fmt.Errorf("%w: event %s is still being processed by every handler", gaff.ErrConflict, eventID)
	}
	return ids, t.reopen(seq, ev, int64(len(ids)), -replaced)
}

// Cancel ends a delivery that is not done.
func (s *Store) Cancel(ctx context.Context, deliveryID string) error {
	eventID, n, ok := id.ParseDelivery(deliveryID)
	if !ok {
		return missing("delivery", deliveryID)
	}
	return s.w.Do(ctx, &op{Run: func(t *tx) error {
		seq, err := t.eventSeq(eventID)
		if err != nil {
			return err
		}
		return t.cancel(gaff.Lease{Event: seq, Delivery: n, EventID: eventID}, "canceled")
	}})
}

// cancel ends a delivery that is not done, or a dead one that holds others of its key.
func (t *tx) cancel(l gaff.Lease, why string) error {
	var state gaff.State
	var queue, key string
	var held int
	var order gaff.Order
	err := t.row([]any{&state, &l.Source, &queue, &key, &held, &order}, `select d.state, e.source, d.lane, d.okey, d.held, d.ordering
		from delivery d join event e on e.seq = d.seq where d.seq = $1 and d.n = $2`+t.db.lock(), l.Event, l.Delivery)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return missing("delivery", id.OfDelivery(l.EventID, l.Delivery))
	case err != nil:
		return err
	case state.Done() && held != heldDead:
		return fmt.Errorf("%w: delivery %s is %s already", gaff.ErrConflict, id.OfDelivery(l.EventID, l.Delivery), state)
	}
	if _, err := t.exec(`update delivery set state = 5, held = 0, claim = claim + 1, error = $4, updated_at = $3,
			finished_at = $3, leased_until = null where seq = $1 and n = $2`, l.Event, l.Delivery, micros(t.now), why); err != nil {
		return fmt.Errorf("cancel delivery: %w", err)
	}
	if held != heldDead { // the event counts a dead one already
		if err := t.settle(settling{l: l, failure: why, closed: true, died: true, processed: true}); err != nil {
			return err
		}
	}
	if key == "" || held == heldBack {
		return nil
	}
	if err := t.lockKey(queue, key); err != nil {
		return err
	}
	return t.releaseNext(queue, key, order)
}

// CancelQueue ends up to limit deliveries of a queue that are not done, and returns how many.
func (s *Store) CancelQueue(ctx context.Context, queue, why string, limit int) (n int, err error) {
	err = s.w.Do(ctx, &op{Run: func(t *tx) error {
		n = 0
		rows, err := t.query(`select d.seq, d.n, e.received_at from delivery d join event e on e.seq = d.seq
			where d.state < 3 and d.lane = $1 order by d.run_at desc limit $2`, queue, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		var found []gaff.Lease
		for rows.Next() {
			var l gaff.Lease
			var received int64
			if err := rows.Scan(&l.Event, &l.Delivery, &received); err != nil {
				return err
			}
			l.EventID = id.OfEvent(fromMicros(received), l.Event)
			found = append(found, l)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, l := range found {
			if err := t.cancel(l, excerpt.Text(why, maxErrorText)); err != nil {
				return err
			}
		}
		n = len(found)
		return nil
	}})
	return n, err
}
