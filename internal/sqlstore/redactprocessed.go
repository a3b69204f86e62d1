package sqlstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"gaff"
)

const (
	// redactedSetting begins the names of settings that have the time up to which the events of a
	// source are redacted.
	redactedSetting = "redacted until "
	// redactAgain is how far before that time a run begins: nodes' clocks differ, and a transaction
	// takes a while.
	redactAgain = 5 * time.Minute
	// redactLock is the name of the lock under which one of several processes redacts.
	redactLock = "gaff redaction"
)

// RedactProcessed calls redact for the events of a source that were processed successfully since the
// last call, and stores those of which it returns true. Copies of repeated requests and details of
// attempts, which quote the body, are removed from these. It returns how many it stored.
func (s *Store) RedactProcessed(ctx context.Context, source string, redact func(*gaff.Event) bool) (redacted int, err error) {
	for after := int64(0); ; {
		n := 0
		err := s.w.Do(ctx, &op{Run: func(t *tx) error {
			n = 0
			mine, err := t.db.tryLock(t, redactLock)
			if err != nil || !mine {
				return err
			}
			var done int
			n, done, after, err = t.redactPage(source, after, redact)
			redacted += done
			return err
		}})
		if err != nil {
			return redacted, fmt.Errorf("redact events of %s: %w", source, err)
		}
		if n < pruneBatch {
			return redacted, nil
		}
		select {
		case <-ctx.Done():
			return redacted, context.Cause(ctx)
		case <-time.After(prunePause):
		}
	}
}

// redactPage redacts the events that were processed after a time; 0 is the time of the last run. It
// returns how many it examined and redacted, and the time to continue after.
func (t *tx) redactPage(source string, after int64, redact func(*gaff.Event) bool) (n, redacted int, last int64, err error) {
	e := &effects{t}
	text, err := e.Setting(t.ctx, redactedSetting+source)
	if err != nil {
		return 0, 0, 0, err
	}
	until, _ := strconv.ParseInt(text, 10, 64)
	if last = after; last == 0 {
		last = max(until-redactAgain.Microseconds(), 0)
	}
	var seqs []int64
	err = t.each(func(r Row) error {
		var seq int64
		if err := r.Scan(&seq, &last); err != nil {
			return err
		}
		seqs = append(seqs, seq)
		return nil
	}, `select seq, processed_at from event where source = $1 and status = 1 and processed_at is not null and processed_at > $2
		order by processed_at, seq limit $3`, source, last, pruneBatch)
	if err != nil {
		return 0, 0, 0, err
	}
	for _, seq := range seqs {
		ev, stored, err := t.loadEvent(seq)
		if err != nil {
			return 0, 0, 0, err
		}
		if !stored || ev.Damaged || !redact(ev) {
			continue
		}
		if err := t.replaceBody(seq, ev); err != nil {
			return 0, 0, 0, err
		}
		redacted++
	}
	if len(seqs) == pruneBatch {
		last-- // more events may have been processed at the same time
	}
	return len(seqs), redacted, last, e.SetSetting(t.ctx, redactedSetting+source, strconv.FormatInt(max(last, until), 10))
}

// replaceBody stores an event's request and data in place of the stored ones.
func (t *tx) replaceBody(seq int64, ev *gaff.Event) error {
	row := newEventRow(ev)
	if _, err := t.exec(`update payload set request = $2, body = $3, data = $4, sha256 = $5, data_sha256 = $6 where seq = $1`,
		seq, nilIfNil(row.request), row.body, nilIfNil(row.data), nilIfNil(row.sum), nilIfNil(row.dataSum)); err != nil {
		return err
	}
	return t.execAll(seq, `delete from copy where seq = $1`, `update attempt set detail = '' where seq = $1 and detail <> ''`)
}
