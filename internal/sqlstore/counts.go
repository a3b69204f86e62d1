package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"gaff"
)

// Counts returns the totals of the inbox since a time, to the minute; of all events for the
// zero time.
func (s *Store) Counts(ctx context.Context, since time.Time) (gaff.Counts, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	c, err := s.counts(ctx, since)
	return c, s.fault(ctx, "counts", err)
}

func (s *Store) counts(ctx context.Context, since time.Time) (c gaff.Counts, err error) {
	if c.Sources, err = sourceCounts(ctx, s.read, since); err != nil {
		return c, err
	}
	for i := range c.Sources {
		last, err := column[sql.NullInt64](ctx, s.read, `select max(received_at) from (
			select e.received_at from event e where e.source = $1 and e.status = 0 and e.seq = (select max(seq) from event where source = $1 and status = 0)
			union all
			select e.received_at from event e where e.source = $1 and e.status = 1 and e.seq = (select max(seq) from event where source = $1 and status = 1)
			union all
			select e.received_at from event e where e.source = $1 and e.status = 2 and e.seq = (select max(seq) from event where source = $1 and status = 2)) newest`,
			c.Sources[i].Source)
		if err != nil {
			return c, err
		}
		c.Sources[i].LastReceivedAt = fromNull(last[0])
	}
	now := time.Now()
	var oldest sql.NullInt64
	err = s.read.QueryRowContext(ctx, `select (select count(*) from delivery where state < 3),
		(select count(*) from delivery where state < 3 and run_at <= $1),
		(select count(*) from delivery where state > 3 and state = 4 and replaced = 0),
		(select min(run_at) from delivery where state < 3)`, micros(now)).Scan(&c.Waiting, &c.Due, &c.Dead, &oldest)
	if due := fromNull(oldest); !due.IsZero() && !due.After(now) {
		c.OldestDue = due
	}
	return c, err
}
