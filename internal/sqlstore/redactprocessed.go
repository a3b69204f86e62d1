package sqlstore

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"gaff"
)

const (
	// redactedSetting and redactedFailed begin the names of settings that have the time up to which the
	// successful and the failed events of a source are redacted.
	redactedSetting = "redacted until "
	redactedFailed  = "redacted failed until "
	// redactAgain is how far before that time a run begins: nodes' clocks differ, and a transaction
	// takes a while.
	redactAgain = 5 * time.Minute
	// redactLock is the name of the lock under which one of several processes redacts.
	redactLock = "gaff redaction"
)

// RedactProcessed calls redact for the events of a source that were processed successfully since the
// last call, and for those that failed before a time. It stores those of which redact returns true. Copies
// of repeated requests and details of attempts, which quote the body, are removed from these. It returns
// how many it stored.
func (s *Store) RedactProcessed(ctx context.Context, source string, failedBefore time.Time, redact func(*gaff.Event) bool) (redacted int, err error) {
	p := redaction{source: source, setting: redactedSetting + source, status: gaff.StatusSuccess, before: math.MaxInt64, redact: redact}
	failed := p
	failed.setting, failed.status, failed.before = redactedFailed+source, gaff.StatusError, micros(failedBefore)
	for _, p := range []redaction{p, failed} {
		n, err := s.redactPages(ctx, &p)
		redacted += n
		if err != nil {
			return redacted, fmt.Errorf("redact events of %s: %w", source, err)
		}
	}
	return redacted, nil
}

// redaction is what of a source is redacted.
type redaction struct {
	source, setting string
	status          gaff.Status
	before          int64 // events that were processed later stay
	redact          func(*gaff.Event) bool
}

func (s *Store) redactPages(ctx context.Context, p *redaction) (redacted int, err error) {
	for after := int64(0); ; {
		n := 0
		err := s.w.Do(ctx, &op{Run: func(t *tx) error {
			n = 0
			mine, err := t.db.tryLock(t, redactLock)
			if err != nil || !mine {
				return err
			}
			var done int
			n, done, after, err = t.redactPage(p, after)
			redacted += done
			return err
		}})
		if err != nil || n < pruneBatch {
			return redacted, err
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
func (t *tx) redactPage(p *redaction, after int64) (n, redacted int, last int64, err error) {
	e := &effects{t}
	text, err := e.Setting(t.ctx, p.setting)
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
	}, `select seq, processed_at from event where source = $1 and status = $2 and processed_at is not null and processed_at > $3 and processed_at <= $4
		order by processed_at, seq limit $5`, p.source, int64(p.status), last, p.before, pruneBatch)
	if err != nil {
		return 0, 0, 0, err
	}
	for _, seq := range seqs {
		ev, stored, err := t.loadEvent(seq)
		if err != nil {
			return 0, 0, 0, err
		}
		if !stored || ev.Damaged || !p.redact(ev) {
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
	return len(seqs), redacted, last, e.SetSetting(t.ctx, p.setting, strconv.FormatInt(max(last, until), 10))
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
