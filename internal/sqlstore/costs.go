package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"gaff/internal/sorting"
	"gaff/jobs"
)

// charged are the charges of jobs and of their former attempts.
const charged = `(select provider, model, project_id, user_id, run_id, caller, created_at, charge, currency, charge_state, saved, settled_by = '` + jobs.SettledByReuse + `' as reused from job where charge_state > 0
	union all select a.provider, a.model, j.project_id, j.user_id, j.run_id, j.caller, j.created_at, a.charge, a.currency, a.charge_state, 0, false
		from job_attempt a join job j on j.id = a.job_id where a.charge_state > 0)`

// costKeys are the expressions by which charges are grouped.
var costKeys = map[string]string{
	"": "''", "project": "j.project_id", "user": "j.user_id", "model": "j.model", "provider": "j.provider", "run": "j.run_id", "caller": "j.caller",
	"day": "j.created_at / " + strconv.FormatInt((24*time.Hour).Microseconds(), 10),
}

// Costs returns sums of charges, the largest first; with Daily the largest ones, by day.
func (s *Store) Costs(ctx context.Context, f jobs.CostFilter) (out jobs.CostSums, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	key, ok := costKeys[f.By]
	if !ok {
		return out, fmt.Errorf("costs by %q", f.By)
	}
	day := "0"
	if f.Daily {
		day = costKeys["day"]
	}
	w := where{}
	w.add("j.charge_state > 0")
	for _, eq := range []struct{ column, value string }{
		{"j.provider", f.Provider}, {"j.model", f.Model}, {"j.project_id", f.ProjectID}, {"j.user_id", f.UserID},
	} {
		if eq.value != "" {
			w.add(eq.column+" = ?", eq.value)
		}
	}
	if !f.Since.IsZero() {
		w.add("j.created_at >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		w.add("j.created_at < ?", micros(f.Until))
	}
	limit := cmp.Or(f.Limit, jobs.MaxCosts)
	sums, err := collect(ctx, s.read, scanCost, `select `+key+`, cast(`+day+` as bigint), j.currency,
		cast(sum(case when j.charge_state > 1 then j.charge else 0 end) as bigint) as charged,
		cast(sum(case when j.charge_state = 2 then j.charge else 0 end) as bigint),
		cast(sum(case when j.charge_state = 1 then j.charge else 0 end) as bigint), count(*),
		cast(sum(j.saved) as bigint), cast(sum(case when j.reused then 1 else 0 end) as bigint)
		from `+charged+` j`+w.String()+` group by 1, 2, 3 order by charged desc, 1, 2, 3 limit `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return out, s.fault(ctx, "costs", err)
	}
	if len(sums) > limit {
		sums, out.More = sums[:limit], true
	}
	for i := range sums {
		if f.By == "day" {
			sums[i].Key = dayOf(sums[i].Key)
		}
		if f.Daily {
			sums[i].Day = dayOf(sums[i].Day)
		} else {
			sums[i].Day = ""
		}
	}
	if f.Daily {
		sorting.By(sums, func(a, b jobs.CostSum) int { return cmp.Compare(a.Day, b.Day) })
	}
	out.Sums = sums
	return out, nil
}

// dayOf writes the number of a day, as the expression of costKeys has it.
func dayOf(number string) string {
	days, _ := strconv.ParseInt(number, 10, 64)
	return time.Unix(days*24*3600, 0).UTC().Format(time.DateOnly)
}

func scanCost(rows *sql.Rows) (c jobs.CostSum, err error) {
	var charged, estimated, reserved, saved int64
	err = rows.Scan(&c.Key, &c.Day, &c.Currency, &charged, &estimated, &reserved, &c.Jobs, &saved, &c.Reused)
	c.Charged, c.Estimated, c.Reserved, c.Saved = jobs.Micros(charged), jobs.Micros(estimated), jobs.Micros(reserved), jobs.Micros(saved)
	return c, err
}
