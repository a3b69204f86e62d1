package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gaff"
)

// Budget limits what jobs may cost in a period. Empty fields match all jobs.
type Budget struct {
	// Name is 1 to 64 lower case letters, digits, - and _.
	Name                                       string
	ProjectID, UserID, Caller, Provider, Model string
	// Period is day or month, in UTC.
	Period   string
	Currency string
	// Limit is what a period may cost, Warn the amount from which gaff:budget.warning is emitted;
	// zero for none.
	Limit, Warn Micros
	// Action is what happens to a submit that has no room: refuse or hold.
	Action               string
	CreatedAt, UpdatedAt time.Time
}

// Values of Budget.Action.
const (
	// BudgetRefuses rejects the submit.
	BudgetRefuses = "refuse"
	// BudgetHolds has the job wait for an approval.
	BudgetHolds = "hold"
)

// Events about budgets, of the source "gaff".
const (
	eventBudgetWarning = "budget.warning"
	eventBudgetReached = "budget.reached"
	eventBudgetHeld    = "budget.held"
)

var (
	budgetName   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	currencyCode = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9 _-]{0,31}$`)
)

// Check returns an [InvalidError] for a budget that cannot be stored.
func (b *Budget) Check() error {
	switch {
	case !budgetName.MatchString(b.Name):
		return &InvalidError{"name", fmt.Sprintf("%.60q: want lower case letters, digits, - and _, at most 64", b.Name)}
	case b.Period != "day" && b.Period != "month":
		return &InvalidError{"period", fmt.Sprintf("%.20q: want day or month", b.Period)}
	case b.Action != BudgetRefuses && b.Action != BudgetHolds:
		return &InvalidError{"action", fmt.Sprintf("%.20q: want refuse or hold", b.Action)}
	case !currencyCode.MatchString(b.Currency):
		return &InvalidError{"currency", fmt.Sprintf("%.40q: want a code such as USD, or the unit of a provider", b.Currency)}
	case b.Limit <= 0:
		return &InvalidError{"limit", "must be more than zero, such as 100.00"}
	case b.Warn < 0 || b.Warn > b.Limit:
		return &InvalidError{"warn", "must be from zero to the limit"}
	}
	return checkFields(map[string]string{
		"projectId": b.ProjectID, "userId": b.UserID, "caller": b.Caller, "provider": b.Provider, "model": b.Model,
	}, nil, "")
}

// Since returns when the period of a time began.
func (b *Budget) Since(at time.Time) time.Time {
	at = at.UTC()
	if b.Period == "month" {
		return time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
}

// Matches reports whether a budget is for a job.
func (b *Budget) Matches(j *Job) bool {
	for _, pair := range [...][2]string{
		{b.ProjectID, j.ProjectID}, {b.UserID, j.UserID}, {b.Caller, j.Caller}, {b.Provider, j.Provider}, {b.Model, j.Model},
	} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return true
}

// BudgetError is the rejection of a submit that a budget has no room for. It is a gaff.ErrInvalid.
type BudgetError struct {
	Budget Budget
	// Spent is what the period costs already, with the estimates of jobs that have not ended.
	Spent, Estimate Micros
}

func (e *BudgetError) Error() string {
	b := e.Budget
	return fmt.Sprintf("budget %s: %s of %s %s are spent or reserved this %s, and this job is estimated at %s; raise the budget, or wait for the next %s",
		b.Name, e.Spent, b.Limit, b.Currency, b.Period, e.Estimate, b.Period)
}

// Unwrap returns gaff.ErrInvalid.
func (e *BudgetError) Unwrap() error { return gaff.ErrInvalid }

// budgetEvent is the data of gaff:budget.warning and gaff:budget.reached.
type budgetEvent struct {
	Budget   string `json:"budget"`
	Period   string `json:"period"`
	Since    string `json:"since"`
	Currency string `json:"currency"`
	Spent    string `json:"spent"`
	Limit    string `json:"limit"`
	Warn     string `json:"warn"`
	// JobID and Estimate are those of the job, of gaff:budget.held.
	JobID    string `json:"jobId,omitempty"`
	Estimate string `json:"estimate,omitempty"`
}

// admit reserves the estimate of a job that is about to be submitted, and rejects it if a budget has
// no room. If only budgets that hold jobs have no room, the job is held, and reserves nothing: held is
// what to store by hold once the job is stored. The lock on budgets is held until the transaction
// ends, so that no two jobs get the same room.
func (l *Service) admit(ctx context.Context, tx Tx, j *Job) (held *BudgetError, err error) {
	l.reserve(j)
	full, err := l.admitByAll(ctx, tx, j)
	if err != nil || full == nil {
		return nil, err
	}
	if full.Budget.Action != BudgetHolds || j.Submit != SubmitWaiting {
		return nil, full
	}
	j.Submit, j.Charge = SubmitHeld, Charge{}
	return full, nil
}

// hold stores why a job waits for an approval.
func (l *Service) hold(ctx context.Context, tx Tx, j *Job, full *BudgetError) error {
	text := fmt.Sprintf("held: budget %s has %s of %s %s spent or reserved this %s, and this job is estimated at %s",
		full.Budget.Name, full.Spent, full.Budget.Limit, full.Budget.Currency, full.Budget.Period, full.Estimate)
	if err := tx.AddLogEntry(ctx, j.ID, "hold", text); err != nil {
		return err
	}
	if err := l.BudgetReached(ctx, tx, full); err != nil {
		return err
	}
	return l.emitHeld(ctx, tx, j, full)
}

// admitByAll checks all budgets. full is one that has no room, first of all one that rejects.
func (l *Service) admitByAll(ctx context.Context, tx Tx, j *Job) (full *BudgetError, err error) {
	budgets, err := tx.Budgets(ctx)
	if err != nil {
		return nil, err
	}
	locked := false
	for _, b := range budgets {
		if !b.Matches(j) {
			continue
		}
		if !locked {
			if err := tx.LockBudgets(ctx); err != nil {
				return nil, err
			}
			locked = true
		}
		err := l.admitBy(ctx, tx, b, j)
		one, ok := errors.AsType[*BudgetError](err)
		if err != nil && !ok {
			return nil, err
		}
		if ok && (full == nil || full.Budget.Action == BudgetHolds) {
			full = one
		}
	}
	return full, nil
}

// admitBy checks one budget. A job of another currency, or without an estimate, needs no room, but
// is rejected once the budget is spent.
func (l *Service) admitBy(ctx context.Context, tx Tx, b Budget, j *Job) error {
	since := b.Since(tx.Now())
	spent, err := tx.Spent(ctx, b, tx.Now())
	if err != nil {
		return err
	}
	estimate := Micros(0)
	if j.Charge.Currency == b.Currency {
		estimate = j.Charge.Amount
	}
	if spent+estimate > b.Limit || spent >= b.Limit {
		return &BudgetError{b, spent, estimate}
	}
	if b.Warn > 0 && spent+estimate >= b.Warn {
		return l.emitBudget(ctx, tx, eventBudgetWarning, b, since, spent+estimate)
	}
	return nil
}

func describeBudget(b Budget, since time.Time, spent Micros) budgetEvent {
	return budgetEvent{
		Budget: b.Name, Period: b.Period, Since: since.Format(time.DateOnly), Currency: b.Currency,
		Spent: spent.String(), Limit: b.Limit.String(), Warn: b.Warn.String(),
	}
}

// emitHeld adds the event about a job that waits for an approval.
func (l *Service) emitHeld(ctx context.Context, tx Tx, j *Job, full *BudgetError) error {
	d := describeBudget(full.Budget, full.Budget.Since(tx.Now()), full.Spent)
	d.JobID, d.Estimate = j.ID, full.Estimate.String()
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	ev := &gaff.Event{
		Source: gaff.InternalSource, Type: eventBudgetHeld, CorrelationID: j.ID, ReceivedAt: tx.Now(), Data: data,
		DedupeKey: strings.Join([]string{eventBudgetHeld, j.ID, strconv.Itoa(j.Attempt)}, ":"),
	}
	return tx.Emit(ctx, ev, l.o.Router.Route(ev))
}

// emitBudget adds an event about a budget, once a period.
func (l *Service) emitBudget(ctx context.Context, tx Tx, eventType string, b Budget, since time.Time, spent Micros) error {
	day := since.Format(time.DateOnly)
	data, err := json.Marshal(describeBudget(b, since, spent))
	if err != nil {
		return err
	}
	ev := &gaff.Event{
		Source: gaff.InternalSource, Type: eventType, CorrelationID: "budget:" + b.Name, ReceivedAt: tx.Now(), Data: data,
		DedupeKey: strings.Join([]string{eventType, b.Name, b.Period, day, b.Limit.String(), b.Warn.String()}, ":"),
	}
	return tx.Emit(ctx, ev, l.o.Router.Route(ev))
}

// reached emits the event about a budget whose transaction was rolled back with the submit.
func (l *Service) reached(ctx context.Context, err error) {
	full, ok := errors.AsType[*BudgetError](err)
	if !ok {
		return
	}
	ctx = context.WithoutCancel(ctx)
	err = l.o.Store.Write(ctx, func(tx Tx) error { return l.BudgetReached(ctx, tx, full) })
	if err != nil {
		l.o.Log.Error("the event about a spent budget is not stored", "budget", full.Budget.Name, "error", err)
	}
}

// BudgetReached adds gaff:budget.reached for the [BudgetError] of an Enqueue whose transaction was
// rolled back. It does nothing for other errors.
func (l *Service) BudgetReached(ctx context.Context, tx Tx, err error) error {
	full, ok := errors.AsType[*BudgetError](err)
	if !ok {
		return nil
	}
	return l.emitBudget(ctx, tx, eventBudgetReached, full.Budget, full.Budget.Since(tx.Now()), full.Spent)
}

// SaveBudget creates a budget, or overwrites the one of its name.
func (l *Service) SaveBudget(ctx context.Context, b Budget) error {
	b.Action = cmp.Or(b.Action, BudgetRefuses)
	if err := b.Check(); err != nil {
		return err
	}
	return l.o.Store.Write(ctx, func(tx Tx) error { return tx.SaveBudget(ctx, &b) })
}

// RemoveBudget removes a budget, or returns gaff.ErrNotFound.
func (l *Service) RemoveBudget(ctx context.Context, name string) error {
	return l.o.Store.Write(ctx, func(tx Tx) error { return tx.RemoveBudget(ctx, name) })
}
