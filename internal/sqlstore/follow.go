package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/id"
)

// EventsAfter returns the events after one, oldest first, with their payloads.
func (s *Store) EventsAfter(ctx context.Context, after string, limit int) (evs []*gaff.Event, gone bool, err error) {
	seq := int64(0)
	if after != "" {
		var ok bool
		if seq, ok = id.ParseEvent(after); !ok {
			return nil, false, fmt.Errorf("%w: unknown event id %q", gaff.ErrInvalid, excerpt.Text(after, 60))
		}
	}
	ctx, cancel := s.reading(ctx)
	defer cancel()
	evs, err = collect(ctx, s.read, func(rows *sql.Rows) (*gaff.Event, error) {
		var sc eventScan
		err := rows.Scan(append(sc.columns(), sc.payload()...)...)
		return s.eventOf(&sc), err
	}, `select `+eventColumns+`, `+payloadColumns+` from event e left join payload p on p.seq = e.seq
		where e.seq > $1 order by e.seq limit $2`, seq, limit)
	if err != nil {
		return nil, false, s.fault(ctx, "events after", err)
	}
	if s.db.concurrent() {
		evs = settled(evs, seq, time.Now().Add(-3*s.db.txTime()))
	}
	if seq > 0 && len(evs) > 0 {
		if first, _ := id.ParseEvent(evs[0].ID); first > seq+1 {
			// A database that one process owns numbers events without gaps. With several
			// writers a gap alone does not mean that events were removed.
			var oldest int64
			err = s.read.QueryRowContext(ctx, `select min(seq) from event`).Scan(&oldest)
			gone = oldest == first
		}
	}
	return evs, gone, s.fault(ctx, "events after", err)
}

// settled cuts a list of events off before a gap in their numbers that may still be filled: of
// several connections one may commit a later number first. Events that were received before the
// time are too old for that.
func settled(evs []*gaff.Event, after int64, before time.Time) []*gaff.Event {
	for i, ev := range evs {
		seq, _ := id.ParseEvent(ev.ID)
		if seq > after+1 && after > 0 && ev.ReceivedAt.After(before) {
			return evs[:i]
		}
		after = seq
	}
	return evs
}

// NewestEvent returns the id of the newest event; empty for an empty log.
func (s *Store) NewestEvent(ctx context.Context) (string, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var seq, at int64
	err := s.read.QueryRowContext(ctx, `select seq, received_at from event order by seq desc limit 1`).Scan(&seq, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", s.fault(ctx, "newest event", err)
	}
	return id.OfEvent(fromMicros(at), seq), nil
}
