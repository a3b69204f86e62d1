package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"gaff/internal/alert"
)

// OverdueJobs returns the unfinished jobs that were created before a time, by provider and model.
func (s *Store) OverdueJobs(ctx context.Context, before time.Time, limit int) ([]alert.Overdue, error) {
	return s.overdue(ctx, "overdue jobs", `select j.provider, j.model, count(*), min(j.created_at), min(j.id) from job j
		where j.status in (0, 1) and j.created_at < $1 group by j.provider, j.model order by count(*) desc, j.provider, j.model limit $2`, before, limit)
}

// WaitingRuns returns the steps that have waited for approval since before a time: they are the
// waiting ones that wait for no event. The row of a step with items repeats the state of these.
func (s *Store) WaitingRuns(ctx context.Context, before time.Time, limit int) ([]alert.Overdue, error) {
	return s.overdue(ctx, "waiting runs", `select r.workflow, t.name, count(*), min(t.updated_at), min(r.id) from run r
		join run_step t on t.run = r.seq where r.status = 0 and t.status = 3 and t.wait_source = '' and t.updated_at < $1
			and (t.item >= 0 or not exists (select 1 from run_step i where i.run = t.run and i.name = t.name and i.item >= 0))
		group by r.workflow, t.name order by count(*) desc, r.workflow, t.name limit $2`, before, limit)
}

func (s *Store) overdue(ctx context.Context, what, text string, before time.Time, limit int) ([]alert.Overdue, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	all, err := collect(ctx, s.read, func(rows *sql.Rows) (o alert.Overdue, err error) {
		var oldest int64
		err = rows.Scan(&o.Of, &o.Part, &o.Count, &oldest, &o.ID)
		o.Oldest = fromMicros(oldest)
		return o, err
	}, text, micros(before), limit)
	return all, s.fault(ctx, what, err)
}
