package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"gaff"
)

// maxClaim is the largest number of deliveries of one claim.
const maxClaim = 256

func (d *PostgreSQL) lease() time.Duration { return d.Lease }

// dueAt is when delivery d can be claimed: an expression of the queue's index.
const dueAt = `greatest(d.run_at, d.leased_until)`

func (*PostgreSQL) nextDue(t *tx, queue string) (due int64, err error) {
	err = t.each(func(r Row) error {
		var key deliveryKey
		if err := r.Scan(&key.seq, &key.n, &due); err != nil || t.s.leases.has(key) {
			due = 0
			return err
		}
		return errEnough
	}, `select d.seq, d.n, `+dueAt+` from delivery d where d.state < 3 and d.lane = $1
		order by `+dueAt+` limit $2`, queue, t.s.leases.len()+1)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return due, err
}

// A condition on the state of a delivery that is named by its key is state + 0 < 3: with state
// < 3 a plan that was made while the queue was short would later scan the whole queue.

// claimDue stores the claims in the rows.
func (d *PostgreSQL) claimDue(t *tx, p gaff.ClaimParams) (found []deliveryScan, err error) {
	err = t.each(func(rows Row) error {
		var sc deliveryScan
		err := rows.Scan(sc.columns()...)
		found = append(found, sc)
		return err
	}, `with due as materialized (
			select d.seq, d.n from delivery d where d.state < 3 and d.lane = $1 and `+dueAt+` <= $2
			order by `+dueAt+` limit $3 for update skip locked)
		update delivery d set claim = d.claim + 1, leased_until = $4
		from due where d.seq = due.seq and d.n = due.n
		returning `+deliveryColumns, p.Queue, micros(t.sharedTime(p.Now)), min(p.Limit, maxClaim), micros(t.leaseEnd()))
	if len(found) > 0 {
		t.wrote = true
	}
	slices.SortFunc(found, func(a, b deliveryScan) int { return cmp.Or(cmp.Compare(a.runAt, b.runAt), cmp.Compare(a.seq, b.seq)) })
	return found, err
}

func (*PostgreSQL) loadEvents(t *tx, found []deliveryScan) (map[int64]*gaff.Event, error) {
	if len(found) == 0 {
		return nil, nil
	}
	seqs := make([]int64, len(found))
	for i, f := range found {
		seqs[i] = f.seq
	}
	events := make(map[int64]*gaff.Event, len(found))
	err := t.each(func(rows Row) error {
		var sc eventScan
		err := rows.Scan(append(sc.columns(), sc.payload()...)...)
		events[sc.seq] = t.s.eventOf(&sc)
		return err
	}, `select `+eventColumns+`, `+payloadColumns+` from unnest($1::bigint[]) as u(seq) join event e on e.seq = u.seq
		left join payload p on p.seq = e.seq`, seqs)
	return events, err
}

func (*PostgreSQL) release(t *tx, ls []gaff.Lease) error {
	seq, n, claim := leaseArrays(ls)
	return t.each(func(rows Row) error {
		var queue string
		err := rows.Scan(&queue)
		t.wrote = true
		t.wake(queue)
		return err
	}, `update delivery d set leased_until = null from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as u(seq, n, claim)
		where d.seq = u.seq and d.n = u.n and d.claim = u.claim and d.state + 0 < 3 returning d.lane`, seq, n, claim)
}

// leaseArrays returns leases in the order of locks.
func leaseArrays(ls []gaff.Lease) (seq, n, claim []int64) {
	sorted := slices.Clone(ls)
	slices.SortFunc(sorted, compareLeases)
	for _, l := range sorted {
		seq, n, claim = append(seq, l.Event), append(n, int64(l.Delivery)), append(claim, int64(l.Claim))
	}
	return seq, n, claim
}

func (*PostgreSQL) claimAtOnce() int { return math.MaxInt }

func (*PostgreSQL) claimed(*Store) (condition string, arg any) {
	return "coalesce(d.leased_until, 0) > ?", micros(time.Now())
}

func (*PostgreSQL) isClaimed(_ *Store, sc *deliveryScan) bool {
	return sc.leasedUntil > micros(time.Now())
}

func (d *PostgreSQL) start(s *Store) { go d.renewLeases(s) }

// stop releases the deliveries that this process has claimed.
func (d *PostgreSQL) stop(s *Store) {
	ctx, cancel := context.WithTimeout(context.Background(), d.TxTime)
	defer cancel()
	if ls := s.leases.endingBefore(d.Now().Add(24 * time.Hour)); len(ls) > 0 {
		_ = s.Release(ctx, ls)
	}
}

// renewBatch is how many leases one transaction renews.
const renewBatch = 1000

// renewLeases extends the leases of this process until the store is closed. If it cannot, the
// leases end, other processes take over, and the ends of this process's attempts are rejected.
func (d *PostgreSQL) renewLeases(s *Store) {
	tick := time.NewTicker(d.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-s.w.Stopping():
			return
		case <-tick.C:
		}
		for part := range slices.Chunk(s.leases.endingBefore(d.Now().Add(d.Lease*2/3)), renewBatch) {
			if err := d.extend(s, part); err != nil && !errors.Is(err, gaff.ErrStopped) {
				s.opt.Log.Warn("leases not renewed; other nodes may take over", "deliveries", len(part), "error", err)
				break
			}
		}
	}
}

func (*PostgreSQL) extend(s *Store, ls []gaff.Lease) error {
	var until time.Time
	renewed := map[deliveryKey]bool{}
	seq, n, claim := leaseArrays(ls)
	err := s.w.Do(context.Background(), &op{Run: func(t *tx) error {
		clear(renewed)
		until = t.leaseEnd()
		return t.each(func(rows Row) error {
			var key deliveryKey
			err := rows.Scan(&key.seq, &key.n)
			renewed[key] = true
			t.wrote = true
			return err
		}, `update delivery d set leased_until = $4 from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as u(seq, n, claim)
			where d.seq = u.seq and d.n = u.n and d.claim = u.claim and d.state + 0 < 3 and d.leased_until is not null
			returning d.seq, d.n`, seq, n, claim, micros(until))
	}})
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	if lost := s.leases.renewed(ls, renewed, until); lost > 0 {
		s.opt.Log.Warn("leases lost: other nodes have taken over", "deliveries", lost)
	}
	return nil
}
