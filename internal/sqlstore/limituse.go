package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"gaff/jobs"
)

// maxLimitUse bounds the names of a scope, those with the most jobs under way first.
const maxLimitUse = 500

// LimitUse returns how many jobs of each provider, model, project and user are under way and counted by a
// limit, and how many wait, and when their rates allow the next submit.
func (s *Store) LimitUse(ctx context.Context) (list []jobs.LimitUse, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	for _, scope := range jobs.LimitScopes {
		name := "q." + queueColumns[scope]
		found, err := collect(ctx, s.read, func(r *sql.Rows) (u jobs.LimitUse, err error) {
			u.Scope = scope
			err = r.Scan(&u.Name, &u.UnderWay, &u.Waiting)
			return u, err
		}, `select `+name+`, count(*) filter (where q.held = 1) as held, count(*) filter (where q.released_at is null and j.submit = 1) as waiting
			from job_queue q join job j on j.id = q.job_id where j.status < 2 and `+name+` <> '' group by `+name+`
			order by held desc, waiting desc, `+name+` limit $1`, int64(maxLimitUse))
		if err != nil {
			return nil, s.fault(ctx, "use of limits", err)
		}
		list = append(list, found...)
	}
	at := map[jobs.LimitKey]int{}
	for i, u := range list {
		at[u.LimitKey] = i
	}
	rows, err := s.read.QueryContext(ctx, `select scope, name, at from job_pace where at > $1 order by at desc limit $2`, micros(time.Now()), int64(maxLimitUse))
	if err != nil {
		return nil, s.fault(ctx, "use of limits", err)
	}
	defer rows.Close()
	for rows.Next() {
		var u jobs.LimitUse
		var next int64
		if err := rows.Scan(&u.Scope, &u.Name, &next); err != nil {
			return nil, s.fault(ctx, "use of limits", err)
		}
		i, known := at[u.LimitKey]
		if !known {
			i, list = len(list), append(list, u)
		}
		list[i].Next = fromMicros(next)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fault(ctx, "use of limits", fmt.Errorf("paces: %w", err))
	}
	return list, nil
}
