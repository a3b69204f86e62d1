package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/id"
)

// maxErrorText bounds what a handler's error may add to a row, in bytes.
const maxErrorText = 4 << 10

func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return text[:limit-3] + "..."
}

// Claim takes up to p.Limit deliveries of a lane that are due, oldest first.
func (s *Store) Claim(ctx context.Context, p gaff.ClaimParams) (work []gaff.Work, err error) {
	for {
		var refused []gaff.Lease
		err = s.w.Do(ctx, &op{
			Run: func(tx *tx) (err error) {
				if work, err = tx.claim(p); err == nil {
					work, refused, err = tx.rejectDamaged(work)
				}
				return err
			},
			Committed: func() {
				for _, l := range refused {
					s.held.give(l)
				}
			},
		})
		switch {
		case err != nil:
			return nil, err
		case len(work) > 0 || len(refused) == 0:
			return work, nil
		}
	}
}

func (t *tx) claim(p gaff.ClaimParams) ([]gaff.Work, error) {
	if t.s.opt.Shared != nil {
		return t.lease(p)
	}
	found, err := t.due(p)
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	var work []gaff.Work
	for _, f := range found {
		ev, _, err := t.loadEvent(f.seq)
		if err != nil {
			return nil, fmt.Errorf("claim: %w", err)
		}
		work = append(work, t.takeDelivery(f.seq, f.n, f.claim, f.delivery(ev), ev))
	}
	return work, nil
}

// due reads the deliveries that are due and not taken.
func (t *tx) due(p gaff.ClaimParams) ([]deliveryScan, error) {
	// Those that are taken stand at the front of the queue, and are read over.
	rows, err := t.query(`select `+deliveryColumns+` from delivery d
		where d.state < 3 and d.lane = $1 and d.run_at <= $2 order by d.run_at limit $3`,
		p.Queue, micros(t.sharedTime(p.Now)), p.Limit+t.s.held.len())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []deliveryScan
	for rows.Next() && len(found) < p.Limit {
		var sc deliveryScan
		if err := rows.Scan(sc.columns()...); err != nil {
			return nil, err
		}
		if !t.s.held.has(deliveryKey{sc.seq, sc.n}) {
			found = append(found, sc)
		}
	}
	return found, rows.Err()
}

// Finish ends an attempt.
func (s *Store) Finish(ctx context.Context, l gaff.Lease, o gaff.Outcome) error {
	err := s.w.Do(ctx, &op{
		Run:       func(tx *tx) error { return tx.endDelivery(l, o) },
		Committed: func() { s.held.give(l) },
	})
	if errors.Is(err, gaff.ErrLeaseLost) {
		_ = s.Release(context.WithoutCancel(ctx), []gaff.Lease{l})
	}
	return err
}

// Release gives back what was claimed and not started.
func (s *Store) Release(ctx context.Context, ls []gaff.Lease) error {
	return s.w.Do(ctx, &op{
		Run: func(tx *tx) error {
			if tx.s.opt.Shared == nil {
				return nil
			}
			return tx.endLeases(ls)
		},
		Committed: func() {
			for _, l := range ls {
				s.held.give(l)
			}
		},
	})
}

// giveBack releases what was taken for a caller who has left. It is called by a session,
// which must not wait for itself.
func (s *Store) giveBack(work []gaff.Work) {
	var ls []gaff.Lease
	for _, w := range work {
		ls = append(ls, w.Lease)
	}
	switch {
	case len(ls) == 0:
	case s.opt.Shared != nil:
		go func() { _ = s.Release(context.Background(), ls) }()
	default:
		for _, w := range work {
			s.held.give(w.Lease)
			s.signalWake(w.Delivery.Queue)
		}
	}
}

// finishDelivery is the fence and the record of an attempt: whoever comes second finds
// the attempt ended, and nothing of what he wrote stays.
//
// Where others write too, the fence comes at the end of the transaction, for all of its
// deliveries at once.
func (t *tx) finishDelivery(l gaff.Lease, o gaff.Outcome) error {
	if t.s.opt.Shared != nil {
		t.finishing, t.wrote = append(t.finishing, finishing{l, o}), true
		return nil
	}
	now, counted := micros(t.now), o.Attempt.Outcome != "" && o.Attempt.Outcome != gaff.AttemptSnoozed
	attempts := l.Attempt - 1
	if counted {
		attempts = l.Attempt
	}
	var finished any
	if o.State.Done() {
		finished = now
	}
	failure := clip(o.Attempt.Error, maxErrorText)
	var lane, key string
	var order gaff.Order
	err := t.returning([]any{&lane, &key, &order}, `update delivery set state = $3, attempts = $4, run_at = coalesce($5, run_at), error = $6,
			updated_at = $7, finished_at = $8, leased_until = null
		where seq = $1 and n = $2 and attempts = $9 and claim = $10 and state < 3
		returning lane, okey, ordering`,
		l.Event, l.Delivery, int64(o.State), int64(attempts), nullMicros(t.sharedTime(o.RunAt)), failure,
		now, finished, int64(l.Attempt-1), int64(l.Claim))
	if errors.Is(err, sql.ErrNoRows) {
		return gaff.ErrLeaseLost
	}
	if err != nil {
		return fmt.Errorf("finish delivery: %w", err)
	}
	if o.Attempt.Outcome == "" {
		return t.orderedEnd(l, o.State, lane, key, order)
	}
	if counted {
		if _, err := t.exec(`insert into attempt (seq, n, number, outcome, started_at, duration, error, detail)
			values ($1, $2, $3, $4, $5, $6, $7, $8)`,
			l.Event, l.Delivery, int64(l.Attempt), o.Attempt.Outcome, micros(o.Attempt.StartedAt),
			o.Attempt.Duration.Microseconds(), failure, clip(o.Attempt.Detail, 4*maxErrorText)); err != nil {
			return fmt.Errorf("record attempt: %w", err)
		}
	}
	if err := t.settleEvent(l, o.State, failure, counted); err != nil {
		return err
	}
	return t.orderedEnd(l, o.State, lane, key, order)
}

// settleEvent carries a delivery's new state over to its event.
func (t *tx) settleEvent(l gaff.Lease, state gaff.State, failure string, counted bool) error {
	var closed, died, retry int64
	if state.Done() {
		closed = 1
	}
	if state == gaff.StateDead || state == gaff.StateCanceled {
		died = 1
	}
	if counted && l.Attempt > 1 {
		retry = 1
	}
	var processed any
	if counted || state.Done() {
		processed = micros(t.now)
	}
	var status, dead int64
	err := t.returning([]any{&status, &dead}, `update event set
			open = open - $2, dead = dead + $3, retry_count = retry_count + $4,
			status = case when dead + $3 > 0 then 2 when open - $2 > 0 then 0 else 1 end,
			error = case when $5 <> '' or dead = 0 then $5 else error end,
			processed_at = coalesce($6, processed_at), updated_at = $7
		where seq = $1 returning status, dead`,
		l.Event, closed, died, retry, failure, processed, micros(t.now))
	if err != nil {
		return fmt.Errorf("settle event: %w", err)
	}
	before := gaff.StatusPending
	if dead-died > 0 {
		before = gaff.StatusError
	}
	t.moved(l.Source, before, gaff.Status(status))
	t.change("event", l.EventID, gaff.Status(status).String(), l.Source)
	return nil
}

// NextDue is when the earliest waiting delivery of a lane that nobody holds is due.
func (s *Store) NextDue(ctx context.Context, lane string) (due time.Time, err error) {
	err = s.w.Do(ctx, &op{Run: func(tx *tx) error {
		due = time.Time{}
		at := `d.run_at`
		if tx.s.opt.Shared != nil {
			at = dueAt
		}
		rows, err := tx.query(`select d.seq, d.n, `+at+` from delivery d where d.state < 3 and d.lane = $1
			order by `+at+` limit $2`, lane, tx.s.held.len()+1)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key deliveryKey
			var at int64
			if err := rows.Scan(&key.seq, &key.n, &at); err != nil {
				return err
			}
			if !tx.s.held.has(key) {
				due = tx.localTime(fromMicros(at))
				break
			}
		}
		return rows.Err()
	}})
	if err != nil {
		return time.Time{}, fmt.Errorf("next due: %w", err)
	}
	return due, nil
}

// Queues names the lanes, other than the unnamed one, in which deliveries wait, by jumping from one to the next in the
// queue's index.
func (s *Store) Queues(ctx context.Context) (lanes []string, err error) {
	err = s.w.Do(ctx, &op{Run: func(tx *tx) error {
		lanes = nil
		for after := ""; ; after = lanes[len(lanes)-1] {
			var lane string
			err := tx.row([]any{&lane}, `select d.lane from delivery d where d.state < 3 and d.lane > $1
				order by d.lane limit 1`, after)
			if errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("lanes: %w", err)
			}
			lanes = append(lanes, lane)
		}
	}})
	return lanes, err
}

// Retry makes dead or canceled deliveries due again.
func (s *Store) Retry(ctx context.Context, p gaff.RetryParams) (ids []string, work []gaff.Work, err error) {
	err = s.w.Do(ctx, &op{
		Run: func(tx *tx) (err error) {
			ids, work, err = tx.retry(p)
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
	ev, kept, err := t.loadEvent(seq)
	if err == nil {
		err = whole(ev, kept)
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
		// What a replay replaced is history: its successor speaks for the handler.
		if sc.replaced || sc.state != gaff.StateDead && sc.state != gaff.StateCanceled {
			continue
		}
		sc.state, sc.maxAttempts, sc.runAt = gaff.StatePending, sc.attempts+max(p.Tries, 1), micros(t.sharedTime(p.Now))
		held := heldNot
		if sc.order != gaff.NoOrder && sc.held != heldDead && !p.Take {
			// Others of its key went on meanwhile: it waits for them.
			busy, err := t.lockedBusy(sc.lane, sc.key)
			if err != nil {
				return nil, nil, fmt.Errorf("retry delivery: %w", err)
			}
			if busy {
				held, sc.runAt = heldBack, never
			}
		}
		var leased any
		if p.Take {
			_, leased = t.firstClaim()
		}
		if _, err := t.exec(`update delivery set state = 0, max_attempts = $3, run_at = $4, updated_at = $5,
				finished_at = null, claim = claim + 1, held = $6, leased_until = $7 where seq = $1 and n = $2`,
			seq, sc.n, sc.maxAttempts, sc.runAt, micros(p.Now), held, leased); err != nil {
			return nil, nil, fmt.Errorf("retry delivery: %w", err)
		}
		sc.claim++
		sc.held = held
		revived++
		d := sc.delivery(ev)
		ids = append(ids, d.ID)
		if p.Take {
			work = append(work, t.takeDelivery(seq, sc.n, sc.claim, d, ev))
		} else {
			t.wake(d.Queue)
		}
	}
	switch {
	case !found:
		return nil, nil, missing("delivery", p.DeliveryID)
	case revived == 0:
		return nil, nil, fmt.Errorf("%w: no delivery of %s has failed for good", gaff.ErrConflict, eventID)
	}
	return ids, work, t.reopen(seq, ev, revived, -revived)
}

// reopen books deliveries that became open, and how the number of dead ones changed.
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
	t.moved(ev.Source, gaff.Status(before), gaff.Status(after))
	t.change("event", ev.ID, gaff.Status(after).String(), ev.Source)
	return nil
}

// Replay adds new deliveries to an event.
func (s *Store) Replay(ctx context.Context, eventID string, ds []gaff.Delivery) (ids []string, err error) {
	err = s.w.Do(ctx, &op{
		Run: func(tx *tx) (err error) {
			ids, err = tx.replay(eventID, ds)
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
	ev, kept, err := t.loadEvent(seq)
	if err == nil {
		err = whole(ev, kept)
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
		d.RunAt = t.localTime(t.now)
		added, _, err := t.addDelivery(seq, n, ev, d, false)
		if err != nil {
			return nil, err
		}
		ids = append(ids, added.ID)
		t.wake(added.Queue)
		// The new delivery takes the place of the handler's former one in the outcome.
		for _, sc := range all {
			if sc.handler == d.Handler && !sc.replaced && (sc.state == gaff.StateDead || sc.state == gaff.StateCanceled) {
				replaced++
			}
		}
		if _, err := t.exec(`update delivery set replaced = 1 where seq = $1 and handler = $2 and n < $3`,
			seq, d.Handler, n); err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
	}
	if len(ids) == 0 {
		if len(ds) == 0 {
			return nil, fmt.Errorf("%w: no handler is registered for %s:%s", gaff.ErrConflict, ev.Source, ev.Type)
		}
		return nil, fmt.Errorf("%w: event %s is still being worked by every handler", gaff.ErrConflict, eventID)
	}
	return ids, t.reopen(seq, ev, int64(len(ids)), -replaced)
}

// Cancel ends a delivery that is not done.
func (s *Store) Cancel(ctx context.Context, deliveryID string) error {
	eventID, n, ok := id.ParseDelivery(deliveryID)
	if !ok {
		return missing("delivery", deliveryID)
	}
	return s.w.Do(ctx, &op{Run: func(tx *tx) error {
		seq, err := tx.eventSeq(eventID)
		if err != nil {
			return err
		}
		return tx.cancel(gaff.Lease{Event: seq, Delivery: n, EventID: eventID}, "canceled")
	}})
}

// cancel ends a delivery that is not done, or a dead one that holds others of its key.
func (t *tx) cancel(l gaff.Lease, why string) error {
	var state gaff.State
	var lane, key string
	var held int
	err := t.row([]any{&state, &l.Source, &lane, &key, &held}, `select d.state, e.source, d.lane, d.okey, d.held
		from delivery d join event e on e.seq = d.seq where d.seq = $1 and d.n = $2`+t.lock(), l.Event, l.Delivery)
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
	if held != heldDead { // a dead one is booked already
		if err := t.settleEvent(l, gaff.StateCanceled, why, false); err != nil {
			return err
		}
	}
	if key == "" || held == heldBack {
		return nil
	}
	if err := t.lockKey(lane, key); err != nil {
		return err
	}
	return t.releaseNext(lane, key)
}

// CancelQueue ends up to limit deliveries of a lane that are not done, and tells how many.
func (s *Store) CancelQueue(ctx context.Context, lane, why string, limit int) (n int, err error) {
	err = s.w.Do(ctx, &op{Run: func(tx *tx) error {
		n = 0
		rows, err := tx.query(`select d.seq, d.n, e.received_at from delivery d join event e on e.seq = d.seq
			where d.state < 3 and d.lane = $1 order by d.run_at desc limit $2`, lane, limit)
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
			if err := tx.cancel(l, clip(why, maxErrorText)); err != nil {
				return err
			}
		}
		n = len(found)
		return nil
	}})
	return n, err
}

const deliveryColumns = `d.seq, d.n, d.handler, d.lane, d.state, d.attempts, d.max_attempts, d.run_at, d.claim, d.error,
	d.created_at, d.updated_at, d.finished_at, d.replaced, d.okey, d.ordering, d.held, coalesce(d.leased_until, 0)`

// deliveryScan holds deliveryColumns.
type deliveryScan struct {
	seq                   int64
	n                     int
	handler, lane         string
	state                 gaff.State
	attempts, maxAttempts int
	runAt                 int64
	claim                 int
	error                 string
	createdAt, updatedAt  int64
	finishedAt            sql.NullInt64
	replaced              bool
	key                   string
	order                 gaff.Order
	held                  int
	leasedUntil           int64 // 0 where claims are not stored
}

func (sc *deliveryScan) columns() []any {
	return []any{
		&sc.seq, &sc.n, &sc.handler, &sc.lane, &sc.state, &sc.attempts, &sc.maxAttempts, &sc.runAt, &sc.claim, &sc.error,
		&sc.createdAt, &sc.updatedAt, &sc.finishedAt, &sc.replaced,
		&sc.key, &sc.order, &sc.held, &sc.leasedUntil,
	}
}

// delivery joins the row with what it repeats of its event.
func (sc *deliveryScan) delivery(ev *gaff.Event) gaff.Delivery {
	return gaff.Delivery{
		ID: id.OfDelivery(ev.ID, sc.n), EventID: ev.ID, Handler: sc.handler, Queue: sc.lane, State: sc.state,
		Attempts: sc.attempts, MaxAttempts: sc.maxAttempts, RunAt: fromMicros(sc.runAt), Error: sc.error,
		CreatedAt: fromMicros(sc.createdAt), UpdatedAt: fromMicros(sc.updatedAt), FinishedAt: fromNull(sc.finishedAt),
		Source: ev.Source, Type: ev.Type, WebhookID: ev.WebhookID,
		Key: sc.key, Order: sc.order, Held: sc.held == heldBack,
	}
}

// deliveries reads all deliveries of an event, in order.
func (t *tx) deliveries(seq int64) ([]deliveryScan, error) {
	rows, err := t.query(`select `+deliveryColumns+` from delivery d where d.seq = $1 order by d.n`, seq)
	if err != nil {
		return nil, err
	}
	return scanDeliveries(rows)
}

func scanDeliveries(rows *sql.Rows) ([]deliveryScan, error) {
	defer rows.Close()
	var all []deliveryScan
	for rows.Next() {
		var sc deliveryScan
		if err := rows.Scan(sc.columns()...); err != nil {
			return nil, err
		}
		all = append(all, sc)
	}
	return all, rows.Err()
}
