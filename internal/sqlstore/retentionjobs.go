package sqlstore

import (
	"fmt"
	"time"
)

// erasedFor is how long hashes of erased ids are stored: longer than providers repeat webhooks.
const erasedFor = 90 * 24 * time.Hour

// hashes is the time before which hashes of erased ids are removed.
func (Retention) hashes() time.Time { return time.Now().Add(-erasedFor) }

// aged is a row of a page that retention examines.
type aged struct {
	seq, created, settled int64
	id                    string
}

// agedRows reads a page of a table in the order of its numbers. A row is made before it ends, so
// nothing behind a row that was made too late can be old. last is the number to continue after, -1 at
// the end.
func (t *tx) agedRows(before, after int64, text string) (found []aged, last int64, err error) {
	last = -1
	n, young := 0, false
	err = t.each(func(r Row) error {
		var a aged
		if err := r.Scan(&a.seq, &a.created, &a.settled, &a.id); err != nil {
			return err
		}
		n++
		// Clocks of nodes differ, and a job may be dated back: rows are in order up to a day.
		if young = young || a.created >= before+int64(24*time.Hour/time.Microsecond); young {
			return nil
		}
		last = a.seq
		if a.settled < before && a.created < before {
			found = append(found, a)
		}
		return nil
	}, text, after, pruneBatch)
	if young || n < pruneBatch {
		last = -1
	}
	return found, last, err
}

// pruneJobs removes jobs with their files, inputs and logs.
func (t *tx) pruneJobs(before, after int64) (removed, last int64, err error) {
	found, last, err := t.agedRows(before, after, `select seq, created_at, coalesce(settled_at, updated_at), case when status < 2 then '' else id end
		from job where seq > $1 order by seq limit $2`)
	if err != nil {
		return 0, 0, err
	}
	for _, a := range found {
		if a.id == "" {
			continue // it is not settled
		}
		for n := int64(1); n > 0; {
			if n, err = t.eraseMedia(`m.job_id = $1`, a.id); err != nil {
				return 0, 0, err
			}
		}
		if err := t.deleteJob(a.id); err != nil {
			return 0, 0, err
		}
		removed++
	}
	return removed, last, nil
}

// pruneMedia removes rows of files, and their copies.
func (t *tx) pruneMedia(before, after int64) (removed, last int64, err error) {
	found, last, err := t.agedRows(before, after, `select seq, created_at, created_at, case when storage = 1 then '' else id end
		from media where seq > $1 order by seq limit $2`)
	if err != nil {
		return 0, 0, err
	}
	for _, a := range found {
		if a.id == "" {
			continue // its copy is being made
		}
		if _, err := t.eraseMedia(`m.id = $1`, a.id); err != nil {
			return 0, 0, err
		}
		removed++
	}
	return removed, last, nil
}

// pruneRuns removes runs with their steps.
func (t *tx) pruneRuns(before, after int64) (removed, last int64, err error) {
	found, last, err := t.agedRows(before, after, `select seq, created_at, coalesce(settled_at, updated_at), case when status = 0 then '' else id end
		from run where seq > $1 order by seq limit $2`)
	if err != nil {
		return 0, 0, err
	}
	for _, a := range found {
		if a.id == "" {
			continue // it is not settled
		}
		if err := t.eraseRun(a.seq); err != nil {
			return 0, 0, err
		}
		removed++
	}
	return removed, last, nil
}

// pruneErased removes hashes of erased ids.
func (t *tx) pruneErased(before, _ int64) (removed, last int64, err error) {
	removed, err = t.exec(`delete from erased where hash in (select hash from erased where at < $1 order by at limit $2`+t.db.lockFree()+`)`, before, pruneBatch)
	if err != nil {
		return 0, 0, fmt.Errorf("hashes of erased ids: %w", err)
	}
	if removed < pruneBatch {
		return removed, -1, nil
	}
	return removed, 0, nil
}
