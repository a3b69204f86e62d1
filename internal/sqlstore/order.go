package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"

	"gaff"
	"gaff/internal/id"
)

// How a delivery stands to the others of its key.
const (
	heldNot = iota
	// heldBack: an earlier one of the key is not done. Its due time never comes, so claims
	// need not know of orders, and ten thousand behind a stuck one cost nothing.
	heldBack
	// heldDead: dead, and holds the others of its key back.
	heldDead
)

// never is the due time of what is held back: the end of the year 9999, in microseconds.
const never = 253402300799000000

// supersededDetail is the error text of a delivery that was left out for a newer one.
const supersededDetail = "left out: a newer one of its key was there"

// ofKey chooses the deliveries of a key that count: open ones, and dead ones that hold
// others. It repeats the index's condition word by word.
const ofKey = `lane = $1 and okey = $2 and okey <> '' and (state < 3 or held = 2)`

// lockKey makes others wait who change the same key, where several write at once.
func (t *tx) lockKey(lane, key string) error {
	if t.s.opt.Dialect.LockKey == "" {
		return nil
	}
	_, err := t.exec(t.s.opt.Dialect.LockKey, lane+"\n"+key)
	return err
}

func (t *tx) keyBusy(lane, key string) (bool, error) {
	var one int
	err := t.row([]any{&one}, `select 1 from delivery where `+ofKey+` limit 1`, lane, key)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func (t *tx) lockedBusy(lane, key string) (bool, error) {
	if err := t.lockKey(lane, key); err != nil {
		return false, err
	}
	return t.keyBusy(lane, key)
}

// holdBack tells whether a new delivery has to wait for others of its key.
func (t *tx) holdBack(d gaff.Delivery) (held bool, err error) {
	if d.Key == "" || d.Order == gaff.NoOrder {
		return false, nil
	}
	if err := t.lockKey(d.Queue, d.Key); err != nil {
		return false, err
	}
	if d.Order == gaff.OrderLatest {
		if err := t.supersedeWaiting(d.Queue, d.Key); err != nil {
			return false, err
		}
	}
	return t.keyBusy(d.Queue, d.Key)
}

// supersedeWaiting leaves out what waits of a key. What a worker holds goes on.
func (t *tx) supersedeWaiting(lane, key string) error {
	rows, err := t.query(`select d.seq, d.n, d.state, d.attempts, e.source, e.received_at, coalesce(d.leased_until, 0) from delivery d
		join event e on e.seq = d.seq where d.lane = $1 and d.okey = $2 and d.okey <> '' and (d.state < 3 or d.held = 2)`, lane, key)
	if err != nil {
		return err
	}
	defer rows.Close()
	var waiting []gaff.Lease
	for rows.Next() {
		var l gaff.Lease
		var state gaff.State
		var received, leased int64
		if err := rows.Scan(&l.Event, &l.Delivery, &state, &l.Attempt, &l.Source, &received, &leased); err != nil {
			return err
		}
		if t.s.held.has(deliveryKey{l.Event, l.Delivery}) || leased > micros(t.now) || state.Done() {
			continue
		}
		l.EventID = id.OfEvent(fromMicros(received), l.Event)
		waiting = append(waiting, l)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, l := range waiting {
		if err := t.supersede(l); err != nil {
			return err
		}
	}
	return nil
}

// supersede ends one open delivery; l.Attempt is how many tries it had.
func (t *tx) supersede(l gaff.Lease) error {
	now := micros(t.now)
	if _, err := t.exec(`update delivery set state = 3, held = 0, claim = claim + 1, run_at = $3, error = $4, updated_at = $3,
			finished_at = $3, leased_until = null where seq = $1 and n = $2`, l.Event, l.Delivery, now, supersededDetail); err != nil {
		return fmt.Errorf("supersede delivery: %w", err)
	}
	if _, err := t.exec(`insert into attempt (seq, n, number, outcome, started_at, duration, error, detail)
			values ($1, $2, $3, $4, $5, 0, $6, '')`,
		l.Event, l.Delivery, int64(l.Attempt+1), gaff.AttemptSuperseded, now, supersededDetail); err != nil {
		return fmt.Errorf("supersede delivery: %w", err)
	}
	return t.settleEvent(l, gaff.StateSucceeded, "", false)
}

// orderedEnd is what the end of an attempt means for the others of the delivery's key.
func (t *tx) orderedEnd(l gaff.Lease, state gaff.State, lane, key string, order gaff.Order) error {
	if key == "" || order == gaff.NoOrder {
		return nil
	}
	if err := t.lockKey(lane, key); err != nil {
		return err
	}
	switch {
	case state == gaff.StateDead && order == gaff.OrderHoldDead:
		_, err := t.exec(`update delivery set held = 2 where seq = $1 and n = $2`, l.Event, l.Delivery)
		return err
	case !state.Done() && order == gaff.OrderLatest:
		var attempts int
		err := t.row([]any{&attempts}, `select max(case when seq = $3 and n = $4 then attempts else 0 end) from delivery
			where `+ofKey+` having count(*) > 1`, lane, key, l.Event, l.Delivery)
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
	return t.releaseNext(lane, key)
}

// releaseNext makes the oldest that is held back of a key due, if nothing is before it.
func (t *tx) releaseNext(lane, key string) error {
	n, err := t.exec(`update delivery set held = 0, run_at = $3, updated_at = $3
		where (seq, n) in (select seq, n from delivery where `+ofKey+` and held = 1 order by seq, n limit 1)
			and not exists (select 1 from delivery where `+ofKey+` and held <> 1)`, lane, key, micros(t.now))
	if err != nil {
		return fmt.Errorf("release the next of the key: %w", err)
	}
	if n > 0 {
		t.wake(lane)
	}
	return nil
}
