package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"gaff/jobs"
)

// The sum of a budget's period is a row of budget_spent. Each transaction that changes charges adds
// the differences at its end, so a submit reads one row. A row is made by the first charge of its
// period; saving a budget sums the jobs of the current period.

const budgetColumns = `name, project_id, user_id, caller, provider, model, period, currency, amount, warn, action, created_at, updated_at`

func scanBudget(r Row) (b jobs.Budget, err error) {
	var limit, warn, created, updated int64
	err = r.Scan(&b.Name, &b.ProjectID, &b.UserID, &b.Caller, &b.Provider, &b.Model, &b.Period, &b.Currency, &limit, &warn, &b.Action, &created, &updated)
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

func (e *effects) Budgets(context.Context) (list []jobs.Budget, err error) { return e.budgets() }

func (t *tx) budgets() (list []jobs.Budget, err error) {
	t.independent = true // no deferred row is a budget
	defer func() { t.independent = false }()
	err = t.each(func(r Row) error {
		b, err := scanBudget(r)
		list = append(list, b)
		return err
	}, `select `+budgetColumns+` from budget order by name`)
	if err != nil {
		return nil, fmt.Errorf("load budgets: %w", err)
	}
	return list, nil
}

const (
	// budgetLock is locked while a submit is checked against budgets.
	budgetLock = "budgets"
	// budgetList is locked while a budget is saved, and shared by transactions that add charges: they
	// must see either the budget, or end before its jobs are summed.
	budgetList = "budget list"
)

func (e *effects) LockBudgets(context.Context) error {
	if err := e.db.lockText(e.tx, budgetLock); err != nil {
		return fmt.Errorf("lock budgets: %w", err)
	}
	return nil
}

// chargedJob is the part of a job that its charge is counted by.
type chargedJob struct {
	project, user, caller, provider, model string
	created                                time.Time
	jobs.Charge
}

// chargeOf returns the charge of a job. Its state is the same for all charges: budgets count all alike.
func chargeOf(j *jobs.Job) chargedJob {
	c := chargedJob{j.ProjectID, j.UserID, j.Caller, j.Provider, j.Model, fromMicros(micros(j.CreatedAt)), j.Charge}
	return c.plain()
}

func (c chargedJob) plain() chargedJob {
	if c.State == jobs.ChargeNone {
		return chargedJob{}
	}
	c.State = jobs.ChargeReserved
	return c
}

// countedBy reports whether a budget counts the charge.
func (c *chargedJob) countedBy(b *jobs.Budget) bool {
	return c.State != jobs.ChargeNone && c.Currency == b.Currency &&
		b.Matches(&jobs.Job{ProjectID: c.project, UserID: c.user, Caller: c.caller, Provider: c.provider, Model: c.model})
}

// charges are the changes of charges in a transaction.
type charges struct {
	// stored are the charges of the jobs that were read or written, by job.
	stored map[string]chargedJob
	// diffs are the charges that the transaction adds; those to take off are negative.
	diffs []chargedJob
	// summed says of a budget that was saved how many of diffs its sum includes.
	summed map[string]int
}

func (c *charges) read(j *jobs.Job) {
	if c.stored == nil {
		c.stored = map[string]chargedJob{}
	}
	c.stored[j.ID] = chargeOf(j)
}

// changed notes that a job was written, whose charge was from before.
func (c *charges) changed(from chargedJob, j *jobs.Job) {
	c.change(from, chargeOf(j))
	c.read(j)
}

// change notes that a charge replaces another one.
func (c *charges) change(from, to chargedJob) {
	if from == to {
		return
	}
	from.Amount = -from.Amount
	for _, one := range []chargedJob{from, to} {
		if one.State != jobs.ChargeNone && one.Amount != 0 {
			c.diffs = append(c.diffs, one)
		}
	}
}

// storedCharge returns the charge of a job as it is stored; zero for a missing job.
func (t *tx) storedCharge(jobID string) (c chargedJob, err error) {
	if c, ok := t.charges.stored[jobID]; ok {
		return c, nil
	}
	var created int64
	err = t.row([]any{&c.project, &c.user, &c.caller, &c.provider, &c.model, &created, &c.Amount, &c.Currency, &c.State},
		`select project_id, user_id, caller, provider, model, created_at, charge, currency, charge_state from job where id = $1`, jobID)
	if errors.Is(err, sql.ErrNoRows) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("load the charge of job %s: %w", jobID, err)
	}
	c.created = fromMicros(created)
	return c.plain(), nil
}

// writeCharges adds the differences to the budgets.
func (t *tx) writeCharges() error {
	if len(t.charges.diffs) == 0 {
		return nil
	}
	if err := t.db.shareText(t, budgetList); err != nil {
		return fmt.Errorf("lock the list of budgets: %w", err)
	}
	budgets, err := t.budgets()
	if err != nil {
		return err
	}
	for _, b := range budgets { // by name, so that transactions do not lock the rows in different orders
		sums := map[time.Time]jobs.Micros{}
		var order []time.Time
		for _, d := range t.charges.diffs[t.charges.summed[b.Name]:] {
			if !d.countedBy(&b) {
				continue
			}
			since := b.Since(d.created)
			if _, ok := sums[since]; !ok {
				order = append(order, since)
			}
			sums[since] += d.Amount
		}
		for _, since := range order {
			if sums[since] == 0 {
				continue
			}
			if _, err := t.exec(`insert into budget_spent (name, since, amount) values ($1, $2, $3)
				on conflict (name, since) do update set amount = budget_spent.amount + excluded.amount`, b.Name, micros(since), int64(sums[since])); err != nil {
				return fmt.Errorf("add to budget %s: %w", b.Name, err)
			}
		}
	}
	return nil
}

const spentOf = `select amount from budget_spent where name = $1 and since = $2`

// Spent returns what the period of a budget costs that a time belongs to.
func (s *Store) Spent(ctx context.Context, b jobs.Budget, at time.Time) (jobs.Micros, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var sum int64
	err := s.read.QueryRowContext(ctx, spentOf, b.Name, micros(b.Since(at))).Scan(&sum)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return jobs.Micros(sum), s.fault(ctx, "spent", err)
}

func (e *effects) Spent(_ context.Context, b jobs.Budget, at time.Time) (jobs.Micros, error) {
	var sum int64
	since := b.Since(at)
	e.independent = true // the sums are written at the end
	defer func() { e.independent = false }()
	if err := e.row([]any{&sum}, spentOf, b.Name, micros(since)); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read what budget %s spent: %w", b.Name, err)
	}
	for _, d := range e.charges.diffs[e.charges.summed[b.Name]:] {
		if d.countedBy(&b) && b.Since(d.created).Equal(since) {
			sum += int64(d.Amount)
		}
	}
	return jobs.Micros(sum), nil
}

func (e *effects) SaveBudget(ctx context.Context, b *jobs.Budget) error {
	if err := e.LockBudgets(ctx); err != nil {
		return err
	}
	if err := e.db.lockText(e.tx, budgetList); err != nil {
		return fmt.Errorf("lock the list of budgets: %w", err)
	}
	if b.CreatedAt.IsZero() {
		b.CreatedAt = e.now
	}
	b.UpdatedAt = e.now
	_, err := e.exec(`insert into budget (`+budgetColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		on conflict (name) do update set project_id = excluded.project_id, user_id = excluded.user_id, caller = excluded.caller,
			provider = excluded.provider, model = excluded.model, period = excluded.period, currency = excluded.currency,
			amount = excluded.amount, warn = excluded.warn, action = excluded.action, updated_at = excluded.updated_at`,
		b.Name, b.ProjectID, b.UserID, b.Caller, b.Provider, b.Model, b.Period, b.Currency, int64(b.Limit), int64(b.Warn), b.Action,
		micros(b.CreatedAt), micros(b.UpdatedAt))
	if err == nil {
		err = e.sumBudget(b)
	}
	if err != nil {
		return fmt.Errorf("save budget: %w", err)
	}
	return nil
}

// sumBudget sums the jobs of the current period of a budget. Nobody else adds charges meanwhile.
func (e *effects) sumBudget(b *jobs.Budget) error {
	if _, err := e.exec(`delete from budget_spent where name = $1`, b.Name); err != nil {
		return err
	}
	since := b.Since(e.now)
	text, args := spentBy(*b, since)
	var sum int64
	if err := e.row([]any{&sum}, text, args...); err != nil {
		return err
	}
	if e.charges.summed == nil {
		e.charges.summed = map[string]int{}
	}
	e.charges.summed[b.Name] = len(e.charges.diffs)
	_, err := e.exec(`insert into budget_spent (name, since, amount) values ($1, $2, $3)`, b.Name, micros(since), sum)
	return err
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

func (e *effects) RemoveBudget(_ context.Context, name string) error {
	n, err := e.exec(`delete from budget where name = $1`, name)
	if err == nil {
		_, err = e.exec(`delete from budget_spent where name = $1`, name)
	}
	if err != nil {
		return fmt.Errorf("remove budget: %w", err)
	}
	if n == 0 {
		return missing("budget", name)
	}
	return nil
}
