package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"gaff"
)

// Retention says what is forgotten. Zero times keep all.
type Retention struct {
	// Payloads, Events and Rejections are forgotten that were received before, Issues and ended
	// alerts whose last failure was before.
	Payloads, Events, Rejections, Issues time.Time
}

// Pruned counts what was removed.
type Pruned struct{ Payloads, Events, Rejections, Issues int64 }

// Bites of retention: how much one transaction removes, and the pause after it, in which
// what waits to be kept has its turn.
const (
	pruneBite  = 200
	prunePause = 20 * time.Millisecond
	// foldAfter is the age from which on the tallies of several connections become one.
	foldAfter = 48 * time.Hour
)

// pruneLock is the name of the lock under which one of several processes prunes.
const pruneLock = "gaff retention"

// Prune removes what is too old, in small bites, until nothing is left of it. Events of
// which a delivery is not done stay whole. Jobs and media stay. Where several processes
// share the database, one of them does it, and the others return at once.
func (s *Store) Prune(ctx context.Context, r Retention) (f Pruned, err error) {
	steps := []struct {
		before time.Time
		bite   func(*tx, int64, int64) (removed, last int64, err error)
		count  *int64
	}{
		{r.Events, (*tx).pruneEvents, &f.Events},
		{r.Payloads, (*tx).prunePayloads, &f.Payloads},
		{r.Rejections, (*tx).pruneRejections, &f.Rejections},
		{r.Issues, (*tx).pruneIssues, &f.Issues},
	}
	for _, step := range steps {
		if step.before.IsZero() {
			continue
		}
		for after := int64(0); after >= 0; {
			var removed int64
			last := int64(-1)
			err := s.w.Do(ctx, &op{Run: func(tx *tx) error {
				removed, last = 0, -1
				mine, err := tx.only(pruneLock)
				if err != nil || !mine {
					return err
				}
				removed, last, err = step.bite(tx, micros(step.before), after)
				return err
			}})
			if err != nil {
				return f, fmt.Errorf("retention: %w", err)
			}
			*step.count += removed
			if after = last; after < 0 {
				break
			}
			select {
			case <-ctx.Done():
				return f, context.Cause(ctx)
			case <-time.After(prunePause):
			}
		}
	}
	if s.opt.Shared != nil {
		err = s.fold(ctx)
	}
	return f, err
}

// only tells whether this process alone does what the name stands for, until the
// transaction's end.
func (t *tx) only(name string) (mine bool, err error) {
	if t.s.opt.Shared == nil {
		return true, nil
	}
	err = t.row([]any{&mine}, `select pg_try_advisory_xact_lock(hashtextextended($1, 0))`, name)
	return mine, err
}

// old reads, in the order of their numbers, rows of a query with the columns seq,
// received_at, open, source and status, up to the first that is too young. last is where
// to go on, -1 at the end.
func (t *tx) old(before int64, text string, args ...any) (found []prunable, last int64, err error) {
	last = -1
	n := 0
	young := false
	err = t.each(func(rows *sql.Rows) error {
		var p prunable
		if err := rows.Scan(&p.seq, &p.received, &p.open, &p.source, &p.status); err != nil {
			return err
		}
		n++
		if young = young || p.received >= before; !young {
			last = p.seq
			if p.open == 0 {
				found = append(found, p)
			}
		}
		return nil
	}, text, args...)
	if young || n < pruneBite {
		last = -1
	}
	return found, last, err
}

type prunable struct {
	seq, received, open int64
	source              string
	status              int64
}

func (t *tx) prunePayloads(before, after int64) (removed, last int64, err error) {
	found, last, err := t.old(before, `select p.seq, e.received_at, e.open, e.source, e.status from payload p
		join event e on e.seq = p.seq where p.seq > $1 order by p.seq limit $2`+t.lockFree(), after, pruneBite)
	if err != nil {
		return 0, 0, err
	}
	for _, p := range found {
		// Details of attempts quote the body and the receiver's answer.
		for _, text := range []string{
			`delete from payload where seq = $1`, `delete from copy where seq = $1`,
			`update attempt set detail = '' where seq = $1 and detail <> ''`,
		} {
			if _, err := t.exec(text, p.seq); err != nil {
				return 0, 0, err
			}
		}
	}
	return int64(len(found)), last, nil
}

func (t *tx) pruneEvents(before, after int64) (removed, last int64, err error) {
	found, last, err := t.old(before, `select e.seq, e.received_at, e.open, e.source, e.status from event e
		where e.seq > $1 order by e.seq limit $2`+t.lockFree(), after, pruneBite)
	if err != nil {
		return 0, 0, err
	}
	type hour struct {
		source string
		hour   int64
	}
	hours := map[hour]*[3]int64{}
	for _, p := range found {
		for _, text := range []string{
			`delete from attempt where seq = $1`, `delete from delivery where seq = $1`, `delete from payload where seq = $1`,
			`delete from copy where seq = $1`, `delete from issue_item where seq = $1`,
			`delete from signed where (source, dedupe) in (select source, dedupe from event where seq = $1)`, `delete from event where seq = $1`,
		} {
			if _, err := t.exec(text, p.seq); err != nil {
				return 0, 0, err
			}
		}
		// The totals are of what is there. It is taken from the minute in which it came, so
		// that counts of a later time stay as they are.
		tl := t.countersOf(p.source, p.received/60e6)
		tl.status[p.status]--
		h := hour{p.source, p.received / 3600e6}
		if hours[h] == nil {
			hours[h] = &[3]int64{}
		}
		hours[h][p.status]++
	}
	for h, n := range hours {
		if _, err := t.exec(`update tally_hour set pending = pending - $3, success = success - $4, error = error - $5
			where source = $1 and hour = $2`, h.source, h.hour, n[0], n[1], n[2]); err != nil {
			return 0, 0, err
		}
	}
	return int64(len(found)), last, nil
}

func (t *tx) pruneRejections(before, _ int64) (removed, last int64, err error) {
	removed, err = t.exec(`delete from rejection where seq in (select seq from rejection where received_at < $1
		order by seq limit $2`+t.lockFree()+`)`, before, pruneBite)
	if removed < pruneBite {
		return removed, -1, err
	}
	return removed, 0, err
}

// fold makes one row of what several connections have counted, minute by minute: of
// processes that are gone, nobody would.
func (s *Store) fold(ctx context.Context) error {
	for {
		var folded int64
		err := s.w.Do(ctx, &op{Run: func(tx *tx) error {
			folded = 0
			mine, err := tx.only(pruneLock)
			if err != nil || !mine {
				return err
			}
			var minutes []int64
			if err := tx.each(func(rows *sql.Rows) error {
				var minute int64
				err := rows.Scan(&minute)
				minutes = append(minutes, minute)
				return err
			}, `select distinct minute from tally where shard <> 0 and minute < $1 limit $2`,
				tx.now.Add(-foldAfter).Unix()/60, pruneBite); err != nil || len(minutes) == 0 {
				return err
			}
			folded, err = tx.exec(`with gone as (delete from tally where minute = any($1::bigint[]) and shard <> 0 returning *)
				insert into tally (source, minute, shard, received, pending, success, error, rejected, first_seq, last_seq)
				select source, minute, 0, sum(received), sum(pending), sum(success), sum(error), sum(rejected), min(first_seq), max(last_seq)
				from gone group by source, minute
				on conflict (source, minute, shard) do update set
					received = tally.received + excluded.received, pending = tally.pending + excluded.pending,
					success = tally.success + excluded.success, error = tally.error + excluded.error,
					rejected = tally.rejected + excluded.rejected,
					first_seq = least(tally.first_seq, excluded.first_seq), last_seq = greatest(tally.last_seq, excluded.last_seq)`, minutes)
			return err
		}})
		if err != nil {
			return fmt.Errorf("fold tallies: %w", err)
		}
		if folded == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(prunePause):
		}
	}
}

// whole refuses to process an event again whose body was removed or is damaged.
func whole(ev *gaff.Event, kept bool) error {
	if ev.Damaged {
		return errDamaged(ev.ID)
	}
	if !kept {
		return fmt.Errorf("%w: the body of event %s was removed by retention", gaff.ErrConflict, ev.ID)
	}
	return nil
}
