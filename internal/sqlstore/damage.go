package sqlstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"gaff"
	"gaff/internal/id"
)

// hashOf is a body's SHA-256 as it is stored; nil for no body.
func hashOf(body []byte) []byte {
	if body == nil {
		return nil
	}
	sum := sha256.Sum256(body)
	return sum[:]
}

// differs reports whether stored bytes differ from the received ones. Rows of older versions
// have no hash, and pass.
func differs(body, sum []byte) bool {
	return len(sum) > 0 && !bytes.Equal(hashOf(orEmpty(body)), sum)
}

// maxDamaged is how many damaged events are remembered.
const maxDamaged = 10_000

// damagedEvents are those whose stored body was found damaged.
type damagedEvents struct {
	mu   sync.Mutex
	seen map[string]bool
	n    int64
}

// note reports whether the event is found damaged for the first time.
func (d *damagedEvents) note(eventID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen[eventID] {
		return false
	}
	if len(d.seen) >= maxDamaged {
		clear(d.seen)
	}
	if d.seen == nil {
		d.seen = map[string]bool{}
	}
	d.seen[eventID] = true
	d.n++
	return true
}

// DamagedBodies is how many events with a damaged body were found since the store was opened.
func (s *Store) DamagedBodies() int64 {
	s.damaged.mu.Lock()
	defer s.damaged.mu.Unlock()
	return s.damaged.n
}

func (s *Store) noteDamaged(eventID string) {
	if s.damaged.note(eventID) {
		s.opt.Log.Error("the stored body of an event is damaged: its SHA-256 is not that of the received bytes; it is neither processed nor shown",
			"event", eventID)
	}
}

// eventOf returns the event of a scan. A damaged body is left out, and logged.
func (s *Store) eventOf(sc *eventScan) *gaff.Event {
	ev := sc.event()
	if ev.Damaged {
		s.noteDamaged(ev.ID)
	}
	return ev
}

// rejectDamaged ends the deliveries of damaged events as dead, and returns the others.
func (t *tx) rejectDamaged(all []gaff.Work) (work []gaff.Work, rejected []gaff.Lease) {
	for _, w := range all {
		if !w.Event.Damaged {
			work = append(work, w)
			continue
		}
		w.Lease.StartedAt = t.now
		t.finish(w.Lease, gaff.Outcome{
			State: gaff.StateDead, Failure: &gaff.Failure{Handler: w.Delivery.Handler, Cause: gaff.ErrDamaged.Error(), Operational: gaff.Operational(w.Event)},
			Attempt: gaff.Attempt{
				DeliveryID: w.Delivery.ID, Number: w.Lease.Attempt, Outcome: gaff.AttemptDiscarded,
				StartedAt: t.now, Error: gaff.ErrDamaged.Error(),
			},
		})
		rejected = append(rejected, w.Lease)
	}
	return work, rejected
}

// BodyReport is the result of a check of all stored bodies.
type BodyReport struct {
	// Checked bodies have the hash that was stored with them. Unhashed ones were stored by a
	// version without hashes.
	Checked, Unhashed int64
	// Damaged are the events whose body, or that of a copy, differs from its hash.
	Damaged []string
}

// bodyPage is how many rows one query reads: a long query would keep SQLite from reusing its
// write-ahead log.
const bodyPage = 200

// CheckBodies compares the body of every event with its hash. It stops at the newest event at
// its start, so that it ends while others arrive. After each page it calls progress, unless that
// is nil, with the report so far; an error of progress ends the check.
func CheckBodies(ctx context.Context, db *sql.DB, progress func(BodyReport) error) (report BodyReport, err error) {
	var last int64
	if err := db.QueryRowContext(ctx, `select coalesce(max(seq), 0) from event`).Scan(&last); err != nil {
		return report, fmt.Errorf("check bodies: %w", err)
	}
	for _, query := range []string{
		`select p.seq, 0, e.received_at, p.body, p.sha256, p.data, p.data_sha256 from payload p join event e on e.seq = p.seq
			where p.seq > $1 and $2 >= 0 and p.seq <= $4 order by p.seq limit $3`,
		`select c.seq, c.n, e.received_at, c.body, c.sha256, null, null from copy c join event e on e.seq = c.seq
			where (c.seq > $1 or c.seq = $1 and c.n > $2) and c.seq <= $4 order by c.seq, c.n limit $3`,
	} {
		seq, n, more := int64(0), int64(0), true
		for more {
			if seq, n, more, err = checkPage(ctx, db, query, seq, n, last, &report); err != nil {
				return report, err
			}
			if progress != nil {
				if err := progress(report); err != nil {
					return report, err
				}
			}
		}
	}
	return report, nil
}

func checkPage(ctx context.Context, db *sql.DB, query string, seq, n, last int64, report *BodyReport) (lastSeq, lastN int64, more bool, err error) {
	rows, err := db.QueryContext(ctx, query, seq, n, bodyPage, last)
	if err != nil {
		return 0, 0, false, fmt.Errorf("check bodies: %w", err)
	}
	defer rows.Close()
	read := 0
	for rows.Next() {
		var at int64
		var body, sum, data, dataSum sql.RawBytes
		if err := rows.Scan(&seq, &n, &at, &body, &sum, &data, &dataSum); err != nil {
			return 0, 0, false, fmt.Errorf("check bodies: %w", err)
		}
		read++
		switch {
		case len(sum) == 0:
			report.Unhashed++
		case differs(body, sum) || differs(data, dataSum):
			report.Damaged = append(report.Damaged, id.OfEvent(fromMicros(at), seq))
		default:
			report.Checked++
		}
	}
	if err := rows.Err(); err != nil {
		return 0, 0, false, fmt.Errorf("check bodies: %w", err)
	}
	return seq, n, read == bodyPage, nil
}

// checkShare is the share of time that a check of a running gateway takes: one in so many.
const checkShare = 5

// CheckBodies checks the stored bodies while the gateway works, for a fifth of the time, and
// logs the damaged ones.
func (s *Store) CheckBodies(ctx context.Context) (BodyReport, error) {
	began, known := time.Now(), 0
	return CheckBodies(ctx, s.read, func(r BodyReport) error {
		for _, eventID := range r.Damaged[known:] {
			s.noteDamaged(eventID)
		}
		known = len(r.Damaged)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After((checkShare - 1) * time.Since(began)):
		}
		began = time.Now()
		return nil
	})
}

// errDamaged is the error of a retry or replay of a damaged event.
func errDamaged(eventID string) error {
	return fmt.Errorf("%w: event %s: %w", gaff.ErrConflict, eventID, gaff.ErrDamaged)
}
