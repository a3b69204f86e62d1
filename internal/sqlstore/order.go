package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"

	"gaff"
	"gaff/internal/id"
)

// The states of a delivery among the others of its key.
const (
	heldNot = iota
	// heldBack: an earlier delivery of the key is not done. Its due time is never, so claims
	// need not know of orders, and ten thousand behind a stuck one cost nothing.
	heldBack
	// heldDead: the delivery is dead, and holds the others of its key back.
	heldDead
)

// never is the due time of a delivery that is held back: the end of the year 9999, in
// microseconds.
const never = 253402300799000000

// supersededDetail is the error text of a delivery that a newer one superseded.
const supersededDetail = "superseded by a newer delivery of the same key"

// ofKey chooses the deliveries of a key that count: open ones, and dead ones that hold
// others. It repeats the index's condition word by word.
const ofKey = `lane = $1 and okey = $2 and okey <> '' and (state < 3 or held = 2)`

// lockKey makes concurrent transactions wait that change deliveries of the same key.
func (t *tx) lockKey(queue, key string) error { return t.db.lockText(t, queue+"\n"+key) }

// keyBusy reports whether as many deliveries of a key are open as the order allows.
func (t *tx) keyBusy(queue, key string, order gaff.Order) (bool, error) {
	var open int
	err := t.row([]any{&open}, `select count(*) from (select 1 from delivery where `+ofKey+` limit $3) as open`, queue, key, order.Open())
	return open >= order.Open(), err
}

func (t *tx) lockedBusy(queue, key string, order gaff.Order) (bool, error) {
	if err := t.lockKey(queue, key); err != nil {
		return false, err
	}
	return t.keyBusy(queue, key, order)
}

// holdBack holds a new delivery back if others of its key come first.
func (t *tx) holdBack(d *gaff.Delivery) error {
	if d.Key == "" || d.Order == gaff.NoOrder {
		return nil
	}
	err := t.lockKey(d.Queue, d.Key)
	if err == nil && d.Order == gaff.OrderLatest {
		err = t.supersedePending(d.Queue, d.Key)
	}
	if err == nil {
		d.Held, err = t.keyBusy(d.Queue, d.Key, d.Order)
	}
	if err != nil {
		return fmt.Errorf("order delivery: %w", err)
	}
	if d.Held {
		d.RunAt = fromMicros(never)
	}
	return nil
}

// supersedePending ends the deliveries of a key that no worker has claimed.
func (t *tx) supersedePending(queue, key string) error {
	rows, err := t.query(`select d.seq, d.n, d.state, d.attempts, e.source, e.received_at, coalesce(d.leased_until, 0) from delivery d
		join event e on e.seq = d.seq where d.lane = $1 and d.okey = $2 and d.okey <> '' and (d.state < 3 or d.held = 2)`, queue, key)
	if err != nil {
		return err
	}
	defer rows.Close()
	var pending []gaff.Lease
	for rows.Next() {
		var l gaff.Lease
		var state gaff.State
		var received, leased int64
		if err := rows.Scan(&l.Event, &l.Delivery, &state, &l.Attempt, &l.Source, &received, &leased); err != nil {
			return err
		}
		if t.s.leases.has(keyOf(l)) || leased > micros(t.now) || state.Done() {
			continue
		}
		l.EventID = id.OfEvent(fromMicros(received), l.Event)
		pending = append(pending, l)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, l := range pending {
		if err := t.supersede(l); err != nil {
			return err
		}
	}
	return nil
}

// supersede ends a delivery that is not done; l.Attempt is the number of its attempts.
func (t *tx) supersede(l gaff.Lease) error {
	now := micros(t.now)
	if _, err := t.exec(`update delivery set state = 3, held = 0, claim = claim + 1, run_at = $3, error = $4, updated_at = $3,
			finished_at = $3, leased_until = null where seq = $1 and n = $2`, l.Event, l.Delivery, now, supersededDetail); err != nil {
		return fmt.Errorf("supersede delivery: %w", err)
	}
	attempt := []any{l.Event, int64(l.Delivery), int64(l.Attempt + 1), gaff.AttemptSuperseded, now, int64(0), supersededDetail, ""}
	if err := t.db.write(t, &insertAttempt, [][]any{attempt}); err != nil {
		return fmt.Errorf("supersede delivery: %w", err)
	}
	return t.settle(settling{l: l, closed: true, processed: true})
}

// orderedEnd applies the end of an attempt to the other deliveries of the key.
func (t *tx) orderedEnd(l gaff.Lease, state gaff.State, queue, key string, order gaff.Order) error {
	if key == "" || order == gaff.NoOrder {
		return nil
	}
	if err := t.lockKey(queue, key); err != nil {
		return err
	}
	switch {
	case state == gaff.StateDead && order == gaff.OrderHoldDead:
		_, err := t.exec(`update delivery set held = 2 where seq = $1 and n = $2`, l.Event, l.Delivery)
		return err
	case !state.Done() && order == gaff.OrderLatest:
		var attempts int
		err := t.row([]any{&attempts}, `select max(case when seq = $3 and n = $4 then attempts else 0 end) from delivery
			where `+ofKey+` having count(*) > 1`, queue, key, l.Event, l.Delivery)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		l.Attempt = attempts
		if err := t.supersede(l); err != nil {
			return err
		}
	case !state.Done():
		return nil
	}
	return t.releaseNext(queue, key, order)
}

// releaseNext makes the oldest held-back deliveries of a key due, as many as the order allows.
func (t *tx) releaseNext(queue, key string, order gaff.Order) error {
	for range order.Open() {
		n, err := t.exec(`update delivery set held = 0, run_at = $3, updated_at = $3
			where (seq, n) in (select seq, n from delivery where `+ofKey+` and held = 1 order by seq, n limit 1)
				and (select count(*) from delivery where `+ofKey+` and held <> 1) < $4`, queue, key, micros(t.now), order.Open())
		if err != nil {
			return fmt.Errorf("release the next of the key: %w", err)
		}
		if n == 0 {
			return nil
		}
		t.wake(queue)
	}
	return nil
}
