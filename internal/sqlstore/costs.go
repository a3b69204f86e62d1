package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gaff/jobs"
)

// charged are the charges of jobs and of their former attempts.
const charged = `(select provider, model, project_id, user_id, run_id, caller, created_at, charge, currency, charge_state from job where charge_state > 0
	union all select a.provider, a.model, j.project_id, j.user_id, j.run_id, j.caller, j.created_at, a.charge, a.currency, a.charge_state
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
		cast(sum(case when j.charge_state = 1 then j.charge else 0 end) as bigint), count(*)
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
	var charged, estimated, reserved int64
	err = rows.Scan(&c.Key, &c.Currency, &charged, &estimated, &reserved, &c.Jobs)
	c.Charged, c.Estimated, c.Reserved = jobs.Micros(charged), jobs.Micros(estimated), jobs.Micros(reserved)
	return c, err
}

const budgetColumns = `name, project_id, user_id, caller, provider, model, period, currency, amount, warn, created_at, updated_at`

func scanBudget(r Row) (b jobs.Budget, err error) {
	var limit, warn, created, updated int64
	err = r.Scan(&b.Name, &b.ProjectID, &b.UserID, &b.Caller, &b.Provider, &b.Model, &b.Period, &b.Currency, &limit, &warn, &created, &updated)
	b.Limit, b.Warn, b.CreatedAt, b.UpdatedAt = jobs.Micros(limit), jobs.Micros(warn), fromMicros(created), fromMicros(updated)
	return b, err
}

func scanBudgetRow(rows *sql.Rows) (jobs.Budget, error) { return scanBudget(rows) }

// Budgets returns all budgets, by name.
func (s *Store) Budgets(ctx context.Context) ([]jobs.Budget, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	list, err := collect(ctx, s.read, scanBudgetRow, `select `+budgetColumns+` from budget order by name`)
	return list, s.fault(ctx, "budgets", err)
}

func (e *effects) Budgets(context.Context) (list []jobs.Budget, err error) {
	e.independent = true // no deferred row is a budget
	defer func() { e.independent = false }()
	err = e.each(func(r Row) error {
		b, err := scanBudget(r)
		list = append(list, b)
		return err
	}, `select `+budgetColumns+` from budget order by name`)
	if err != nil {
		return nil, fmt.Errorf("load budgets: %w", err)
	}
	return list, nil
}

// budgetLock is locked while a submit is checked against budgets.
const budgetLock = "budgets"

func (e *effects) LockBudgets(context.Context) error {
	if err := e.db.lockText(e.tx, budgetLock); err != nil {
		return fmt.Errorf("lock budgets: %w", err)
	}
	return nil
}

// spentBy is the query for what a budget's jobs cost since a time.
func spentBy(b jobs.Budget, since time.Time) (text string, args []any) {
	var q strings.Builder
	q.WriteString(`select cast(coalesce(sum(j.charge), 0) as bigint) from ` + charged + ` j where j.charge_state > 0 and j.created_at >= $1 and j.currency = $2`)
	args = []any{micros(since), b.Currency}
	for _, eq := range []struct{ column, value string }{
		{"project_id", b.ProjectID}, {"user_id", b.UserID}, {"caller", b.Caller}, {"provider", b.Provider}, {"model", b.Model},
	} {
		if eq.value != "" {
			args = append(args, eq.value)
			fmt.Fprintf(&q, " and j.%s = $%d", eq.column, len(args))
		}
	}
	return q.String(), args
}

// Spent returns what the jobs of a budget cost since a time.
func (s *Store) Spent(ctx context.Context, b jobs.Budget, since time.Time) (jobs.Micros, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	text, args := spentBy(b, since)
	var sum int64
	err := s.read.QueryRowContext(ctx, text, args...).Scan(&sum)
	return jobs.Micros(sum), s.fault(ctx, "spent", err)
}

func (e *effects) Spent(_ context.Context, b jobs.Budget, since time.Time) (jobs.Micros, error) {
	text, args := spentBy(b, since)
	var sum int64
	if err := e.row([]any{&sum}, text, args...); err != nil {
		return 0, fmt.Errorf("sum the charges of budget %s: %w", b.Name, err)
	}
	return jobs.Micros(sum), nil
}

func (e *effects) SaveBudget(_ context.Context, b *jobs.Budget) error {
	if b.CreatedAt.IsZero() {
		b.CreatedAt = e.now
	}
	b.UpdatedAt = e.now
	_, err := e.exec(`insert into budget (`+budgetColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		on conflict (name) do update set project_id = excluded.project_id, user_id = excluded.user_id, caller = excluded.caller,
			provider = excluded.provider, model = excluded.model, period = excluded.period, currency = excluded.currency,
			amount = excluded.amount, warn = excluded.warn, updated_at = excluded.updated_at`,
		b.Name, b.ProjectID, b.UserID, b.Caller, b.Provider, b.Model, b.Period, b.Currency, int64(b.Limit), int64(b.Warn),
		micros(b.CreatedAt), micros(b.UpdatedAt))
	if err != nil {
		return fmt.Errorf("save budget: %w", err)
	}
	return nil
}

func (e *effects) RemoveBudget(_ context.Context, name string) error {
	n, err := e.exec(`delete from budget where name = $1`, name)
	if err != nil {
		return fmt.Errorf("remove budget: %w", err)
	}
	if n == 0 {
		return missing("budget", name)
	}
	return nil
}
