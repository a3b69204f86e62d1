package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"gaff"
	"gaff/internal/id"
)

const logColumns = eventColumns + `, e.status, e.unhandled, e.error, e.retry_count, e.duplicates, e.conflict,
	e.processed_at, e.updated_at, coalesce((select v.problems from violation v where v.seq = e.seq), 0)`

type logScan struct {
	eventScan
	log       gaff.Log
	processed sql.NullInt64
	updated   int64
}

func (sc *logScan) columns() []any {
	return append(sc.eventScan.columns(), &sc.log.Status, &sc.log.Unhandled, &sc.log.Error, &sc.log.RetryCount,
		&sc.log.Duplicates, &sc.log.Conflict, &sc.processed, &sc.updated, &sc.log.Violations)
}

func (s *Store) entry(sc *logScan) gaff.Log {
	l := sc.log
	l.Event = *s.eventOf(&sc.eventScan)
	if l.Damaged {
		l.Error = gaff.ErrDamaged.Error()
	}
	l.ProcessedAt, l.UpdatedAt = fromNull(sc.processed), fromMicros(sc.updated)
	return l
}

// Event returns one event with its deliveries, attempts and copies.
func (s *Store) Event(ctx context.Context, eventID string) (*gaff.EventDetail, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	d, err := s.event(ctx, eventID)
	return d, s.fault(ctx, "event", err)
}

func (s *Store) event(ctx context.Context, eventID string) (*gaff.EventDetail, error) {
	// One snapshot, so that the parts agree.
	tx, err := s.read.BeginTx(ctx, s.snapshot())
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	seq, ok := id.ParseEvent(eventID)
	if !ok {
		return nil, missing("event", eventID)
	}
	var sc logScan
	err = tx.QueryRowContext(ctx, `select `+logColumns+`, `+payloadColumns+` from event e
		left join payload p on p.seq = e.seq where e.seq = $1`, seq).Scan(append(sc.columns(), sc.payload()...)...)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	d := &gaff.EventDetail{Log: s.entry(&sc)}
	if d.ID != eventID {
		return nil, missing("event", eventID)
	}
	if d.Violations > 0 {
		if d.Violation, err = violation(ctx, tx, sc.seq); err != nil {
			return nil, err
		}
	}
	rows, err := tx.QueryContext(ctx, `select `+deliveryColumns+` from delivery d where d.seq = $1 order by d.n`, sc.seq)
	if err != nil {
		return nil, err
	}
	scans, err := scanDeliveries(rows)
	if err != nil {
		return nil, err
	}
	for _, ds := range scans {
		d.Deliveries = append(d.Deliveries, s.shown(&ds, &d.Log.Event))
	}
	if d.Attempts, err = attempts(ctx, tx, `a.seq = $1`, sc.seq); err != nil {
		return nil, err
	}
	if d.Copies, err = copies(ctx, tx, sc.seq); err != nil {
		return nil, err
	}
	d.Children, err = collect(ctx, tx, func(rows *sql.Rows) (string, error) {
		var seq, at int64
		err := rows.Scan(&seq, &at)
		return id.OfEvent(fromMicros(at), seq), err
	}, `select seq, received_at from event where parent_id = $1 and parent_id <> '' order by seq limit 1000`, eventID)
	return d, err
}

// violation returns how an event violates its schema; nil if it does not. One that cannot be read does
// not hide its event.
func violation(ctx context.Context, q querier, seq int64) (*gaff.SchemaViolation, error) {
	found, err := column[[]byte](ctx, q, `select detail from violation where seq = $1`, seq)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	v := new(gaff.SchemaViolation)
	if json.Unmarshal(found[0], v) != nil {
		return nil, nil
	}
	return v, nil
}

func attempts(ctx context.Context, q querier, predicate string, args ...any) ([]gaff.Attempt, error) {
	return collect(ctx, q, func(rows *sql.Rows) (a gaff.Attempt, err error) {
		var n int
		var seq, at, started, duration int64
		err = rows.Scan(&seq, &at, &n, &a.Number, &a.Outcome, &started, &duration, &a.Error, &a.Detail)
		a.DeliveryID = id.OfDelivery(id.OfEvent(fromMicros(at), seq), n)
		a.StartedAt, a.Duration = fromMicros(started), time.Duration(duration)*time.Microsecond
		return a, err
	}, `select e.seq, e.received_at, a.n, a.number, a.outcome, a.started_at, a.duration, a.error, a.detail
		from attempt a join event e on e.seq = a.seq where `+predicate+` order by a.n, a.number limit 1000`, args...)
}

func copies(ctx context.Context, q querier, seq int64) ([]gaff.Copy, error) {
	return collect(ctx, q, func(rows *sql.Rows) (c gaff.Copy, err error) {
		var received int64
		var request, sum []byte
		err = rows.Scan(&received, &request, &c.Body, &sum)
		if c.Damaged = differs(c.Body, sum); c.Damaged {
			c.Body = nil
		}
		r, _, _ := decodeRequest(request)
		c.ReceivedAt, c.Header = fromMicros(received), r.Header
		return c, err
	}, `select received_at, headers, body, sha256 from copy where seq = $1 order by n`, seq)
}

func scanLog(rows *sql.Rows) (*logScan, error) {
	sc := &logScan{}
	return sc, rows.Scan(sc.columns()...)
}

func (s *Store) entries(scans []*logScan) (logs []gaff.Log) {
	for _, sc := range scans {
		logs = append(logs, s.entry(sc))
	}
	return logs
}
