package sqlstore

import (
	"context"
	"fmt"
	"math"
	"time"

	"gaff"
)

// Retention has the ages of rows that are removed. Zero times remove nothing.
type Retention struct {
	// Payloads, Events and Rejections are removed if they were received before the time,
	// Issues and ended alerts if their last failure was.
	Payloads, Events, Rejections, Issues time.Time
	// Jobs and Runs are removed if they ended before the time, with everything that belongs to them,
	// Media if their rows were made before it.
	Jobs, Media, Runs time.Time
	// Archives is set if events are archived: then events after the number Archived stay whole.
	Archives bool
	Archived int64
}

// Pruned counts the removed rows.
type Pruned struct{ Payloads, Events, Rejections, Issues, Jobs, Media, Runs int64 }

// Retention removes a batch of rows in a transaction, then pauses, so that webhooks are stored
// in between.
const (
	pruneBatch = 200
	prunePause = 20 * time.Millisecond
)

// pruneLock is the name of the lock under which one of several processes prunes.
const pruneLock = "gaff retention"

// Prune removes all rows that are too old, in small batches. Events that have an open delivery
// stay whole. Copies of removed files are added to the list of erased files. If several processes share the database, one of them prunes,
// and the others return at once.
func (s *Store) Prune(ctx context.Context, r Retention) (f Pruned, err error) {
	upTo := int64(math.MaxInt64)
	if r.Archives {
		upTo = r.Archived
	}
	steps := []struct {
		before time.Time
		prune  func(*tx, int64, int64) (removed, last int64, err error)
		count  *int64
	}{
		{r.Events, archivedOnly((*tx).pruneEvents, upTo), &f.Events},
		{r.Events, (*tx).pruneScheduled, new(int64)},
		{r.Payloads, archivedOnly((*tx).prunePayloads, upTo), &f.Payloads},
		{r.Rejections, (*tx).pruneRejections, &f.Rejections},
		{r.Issues, (*tx).pruneIssues, &f.Issues},
		{r.Jobs, (*tx).pruneJobs, &f.Jobs},
		{r.Media, (*tx).pruneMedia, &f.Media},
		{r.Runs, (*tx).pruneRuns, &f.Runs},
		{r.hashes(), (*tx).pruneErased, new(int64)},
	}
	for _, step := range steps {
		if step.before.IsZero() {
			continue
		}
		for after := int64(0); after >= 0; {
			var removed int64
			last := int64(-1)
			err := s.w.Do(ctx, &op{Run: func(t *tx) error {
				removed, last = 0, -1
				mine, err := t.db.tryLock(t, pruneLock)
				if err != nil || !mine {
					return err
				}
				removed, last, err = step.prune(t, micros(step.before), after)
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
	return f, s.db.foldCounters(ctx, s)
}

// archivedOnly leaves the events after a number to the archives.
func archivedOnly(prune func(t *tx, before, after, upTo int64) (int64, int64, error), upTo int64) func(*tx, int64, int64) (int64, int64, error) {
	return func(t *tx, before, after int64) (int64, int64, error) { return prune(t, before, after, upTo) }
}

// old reads rows of a query with the columns seq, received_at, open, source and status, in the
// order of their numbers, up to the first that is too young, or not archived. last is the number to continue
// after, -1 at the end.
func (t *tx) old(before, upTo int64, text string, args ...any) (found []prunable, last int64, err error) {
	last = -1
	n := 0
	young := false
	err = t.each(func(rows Row) error {
		var p prunable
		if err := rows.Scan(&p.seq, &p.received, &p.open, &p.source, &p.status); err != nil {
			return err
		}
		n++
		if young = young || p.received >= before || p.seq > upTo; !young {
			last = p.seq
			if p.open == 0 {
				found = append(found, p)
			}
		}
		return nil
	}, text, args...)
	if young || n < pruneBatch {
		last = -1
	}
	return found, last, err
}

type prunable struct {
	seq, received, open int64
	source              string
	status              int64
}

func (t *tx) prunePayloads(before, after, upTo int64) (removed, last int64, err error) {
	found, last, err := t.old(before, upTo, `select p.seq, e.received_at, e.open, e.source, e.status from payload p
		join event e on e.seq = p.seq where p.seq > $1 order by p.seq limit $2`+t.db.lockFree(), after, pruneBatch)
	if err != nil {
		return 0, 0, err
	}
	for _, p := range found {
		if err := t.deleteBody(p.seq); err != nil {
			return 0, 0, err
		}
	}
	return int64(len(found)), last, nil
}

// deleteBody deletes the body of an event. Details of attempts quote it, and the receiver's response.
func (t *tx) deleteBody(seq int64) error {
	return t.execAll(seq, `delete from payload where seq = $1`, `delete from copy where seq = $1`,
		`delete from violation where seq = $1`, `update attempt set detail = '' where seq = $1 and detail <> ''`)
}

func (t *tx) pruneEvents(before, after, upTo int64) (removed, last int64, err error) {
	found, last, err := t.old(before, upTo, `select e.seq, e.received_at, e.open, e.source, e.status from event e
		where e.seq > $1 order by e.seq limit $2`+t.db.lockFree(), after, pruneBatch)
	if err != nil {
		return 0, 0, err
	}
	if err := t.deleteEvents(found); err != nil {
		return 0, 0, err
	}
	return int64(len(found)), last, nil
}

// deleteEvents deletes events with everything that belongs to them, and subtracts them from the
// totals.
func (t *tx) deleteEvents(found []prunable) error {
	type hour struct {
		source string
		hour   int64
	}
	hours := map[hour]*[3]int64{}
	for _, p := range found {
		if err := t.db.forgetKey(t, p.seq); err != nil {
			return err
		}
		if err := t.execAll(p.seq,
			`delete from attempt where seq = $1`, `delete from delivery where seq = $1`, `delete from payload where seq = $1`,
			`delete from copy where seq = $1`, `delete from violation where seq = $1`, `delete from issue_item where seq = $1`,
			`delete from signed where (source, dedupe) in (select source, dedupe from event where seq = $1)`, `delete from event where seq = $1`,
		); err != nil {
			return err
		}
		// Totals are those of the stored events. The event is subtracted from the minute in
		// which it was received, so that counts of a later time stay as they are.
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
			return err
		}
	}
	return nil
}

func (t *tx) pruneRejections(before, _ int64) (removed, last int64, err error) {
	removed, err = t.exec(`delete from rejection where seq in (select seq from rejection where received_at < $1
		order by seq limit $2`+t.db.lockFree()+`)`, before, pruneBatch)
	if removed < pruneBatch {
		return removed, -1, err
	}
	return removed, 0, err
}

// whole returns an error if an event cannot be processed again, because its body was removed or
// is damaged.
func whole(ev *gaff.Event, stored bool) error {
	if ev.Damaged {
		return errDamaged(ev.ID)
	}
	if !stored {
		return fmt.Errorf("%w: the body of event %s was removed by retention", gaff.ErrConflict, ev.ID)
	}
	return nil
}
