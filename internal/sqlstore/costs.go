package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"gaff/jobs"
)

// charged are the charges of jobs and of their former attempts.
const charged = `(select provider, model, project_id, user_id, run_id, caller, created_at, charge, currency, charge_state, saved, reused_from <> '' as reused from job where charge_state > 0
	union all select a.provider, a.model, j.project_id, j.user_id, j.run_id, j.caller, j.created_at, a.charge, a.currency, a.charge_state, 0, false
		from job_attempt a join job j on j.id = a.job_id where a.charge_state > 0)`

// costKeys are the expressions by which charges are grouped.
var costKeys = map[string]string{
	"": "''", "project": "j.project_id", "user": "j.user_id", "model": "j.model", "provider": "j.provider", "run": "j.run_id", "caller": "j.caller",
	"day": "j.created_at / " + strconv.FormatInt((24*time.Hour).Microseconds(), 10),
}

// Costs returns sums of charges, the largest first.
func (s *Store) Costs(ctx context.Context, f jobs.CostFilter) ([]jobs.CostSum, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	key, ok := costKeys[f.By]
	if !ok {
		return nil, fmt.Errorf("costs by %q", f.By)
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
	sums, err := collect(ctx, s.read, scanCost, `select `+key+`, j.currency,
		cast(sum(case when j.charge_state > 1 then j.charge else 0 end) as bigint) as charged,
		cast(sum(case when j.charge_state = 2 then j.charge else 0 end) as bigint),
		cast(sum(case when j.charge_state = 1 then j.charge else 0 end) as bigint), count(*),
		cast(sum(j.saved) as bigint), cast(sum(case when j.reused then 1 else 0 end) as bigint)
		from `+charged+` j`+w.String()+` group by 1, 2 order by charged desc, 1 limit `+strconv.Itoa(jobs.MaxCosts), w.args...)
	if err != nil {
		return nil, s.fault(ctx, "costs", err)
	}
	if f.By == "day" {
		for i := range sums {
			days, _ := strconv.ParseInt(sums[i].Key, 10, 64) // of the expression above
			sums[i].Key = time.Unix(days*24*3600, 0).UTC().Format(time.DateOnly)
		}
	}
	return sums, nil
}

func scanCost(rows *sql.Rows) (c jobs.CostSum, err error) {
	var charged, estimated, reserved, saved int64
	err = rows.Scan(&c.Key, &c.Currency, &charged, &estimated, &reserved, &c.Jobs, &saved, &c.Reused)
	c.Charged, c.Estimated, c.Reserved, c.Saved = jobs.Micros(charged), jobs.Micros(estimated), jobs.Micros(reserved), jobs.Micros(saved)
	return c, err
}
