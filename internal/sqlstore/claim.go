package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gaff"
)

// Claim takes up to p.Limit deliveries of a queue that are due, oldest first.
func (s *Store) Claim(ctx context.Context, p gaff.ClaimParams) (work []gaff.Work, err error) {
	for len(work) < p.Limit {
		part := p
		part.Limit = min(p.Limit-len(work), s.db.claimAtOnce())
		some, err := s.claimPart(ctx, part)
		if err != nil && len(work) == 0 {
			return nil, err
		}
		work = append(work, some...)
		if len(some) < part.Limit {
			break
		}
	}
	return work, nil
}

// claimPart is Claim in one operation.
func (s *Store) claimPart(ctx context.Context, p gaff.ClaimParams) (work []gaff.Work, err error) {
	for {
		var rejected []gaff.Lease
		err = s.w.Do(ctx, &op{
			Run: func(t *tx) (err error) {
				if work, err = t.claimDue(p); err == nil {
					work, rejected = t.rejectDamaged(work)
				}
				return err
			},
			Committed: func() {
				s.leases.endAll(rejected)
			},
		})
		switch {
		case err != nil:
			return nil, err
		case len(work) > 0 || len(rejected) == 0:
			return work, nil
		}
	}
}

// claimDue claims due deliveries for this process.
func (t *tx) claimDue(p gaff.ClaimParams) ([]gaff.Work, error) {
	found, err := t.db.claimDue(t, p)
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	events, err := t.db.loadEvents(t, found)
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	var work []gaff.Work
	for _, f := range found {
		ev := events[f.seq]
		if ev == nil {
			return nil, fmt.Errorf("claim: the event of a delivery, number %d, is missing", f.seq)
		}
		work = append(work, t.claimDelivery(f.seq, f.n, f.claim, f.delivery(ev), ev))
	}
	return work, nil
}

// claimDelivery leases a delivery to this process.
func (t *tx) claimDelivery(seq int64, n, claim int, d gaff.Delivery, ev *gaff.Event) gaff.Work {
	key, until := deliveryKey{seq, n}, t.leaseEnd()
	t.s.leases.add(key, lease{claim: claim, until: until, queue: d.Queue, key: d.Key, order: d.Order})
	t.claimed = append(t.claimed, key)
	return gaff.Work{
		Lease: gaff.Lease{
			Event: seq, Delivery: n, EventID: ev.ID, Source: ev.Source, Attempt: d.Attempts + 1, Claim: claim, Until: until,
		},
		Delivery: d, Event: ev,
	}
}

// leaseEnd is when a lease that begins now ends; zero if claims are not stored.
func (t *tx) leaseEnd() time.Time {
	if t.db.lease() == 0 {
		return time.Time{}
	}
	return t.now.Add(t.db.lease())
}

// firstClaim is the claim of a delivery that is claimed as it is stored.
func (t *tx) firstClaim() (claim int, until time.Time) {
	if until = t.leaseEnd(); until.IsZero() {
		return 0, until
	}
	return 1, until
}

// Release ends the leases of deliveries that were claimed and not started.
func (s *Store) Release(ctx context.Context, ls []gaff.Lease) error {
	return s.w.Do(ctx, &op{
		Run:       func(t *tx) error { return t.db.release(t, ls) },
		Committed: func() { s.leases.endAll(ls) },
	})
}

// giveBack releases deliveries that were claimed for a caller who has left. A session calls
// it, which must not wait for itself.
func (s *Store) giveBack(work []gaff.Work) {
	if len(work) == 0 {
		return
	}
	var ls []gaff.Lease
	for _, w := range work {
		ls = append(ls, w.Lease)
	}
	go func() {
		if s.Release(context.Background(), ls) != nil {
			return
		}
		for _, w := range work {
			s.signalWake(w.Delivery.Queue)
		}
	}()
}

// NextDue returns when the next unclaimed delivery of a queue is due; zero without one.
func (s *Store) NextDue(ctx context.Context, queue string) (due time.Time, err error) {
	err = s.w.Do(ctx, &op{Run: func(t *tx) error {
		at, err := t.db.nextDue(t, queue)
		due = time.Time{}
		if at != 0 {
			due = t.localTime(fromMicros(at))
		}
		return err
	}})
	if err != nil {
		return time.Time{}, fmt.Errorf("next due: %w", err)
	}
	return due, nil
}

// Queues returns the queues, except the unnamed one, that have open deliveries. It reads one
// index entry for each.
func (s *Store) Queues(ctx context.Context) (queues []string, err error) {
	err = s.w.Do(ctx, &op{Run: func(t *tx) error {
		queues = nil
		for after := ""; ; after = queues[len(queues)-1] {
			var queue string
			err := t.row([]any{&queue}, `select d.lane from delivery d where d.state < 3 and d.lane > $1
				order by d.lane limit 1`, after)
			if errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("queues: %w", err)
			}
			queues = append(queues, queue)
		}
	}})
	return queues, err
}
