package wire

import (
	"cmp"
	"fmt"
	"time"

	"gaff/jobs"
)

// Charge is what a job costs.
type Charge struct {
	Amount   string `json:"amount" example:"0.025" doc:"A decimal number."`
	Currency string `json:"currency" example:"USD" doc:"An ISO code, or the provider's unit if no price of it is known."`
	State    string `json:"state" enum:"reserved,estimated,billed" doc:"reserved: the estimate of a job that has not ended; estimated: from a price table; billed: the provider's own figure, times the price of its unit."`
}

// newCharge makes the document of a charge; nil without one.
func newCharge(c jobs.Charge) *Charge {
	if c.State == jobs.ChargeNone {
		return nil
	}
	return &Charge{c.Amount.String(), c.Currency, c.State.String()}
}

// CostQuery chooses the jobs whose charges are summed.
type CostQuery struct {
	By        string `query:"by" flag:"by" enum:"project,user,model,provider,day,run,caller" doc:"Group by project, user, model, provider, day, run or caller; empty: one sum for each currency."`
	Daily     bool   `query:"daily" flag:"daily" doc:"Also group by day, in UTC: each sum has a day."`
	Since     string `query:"since" flag:"since" doc:"Only jobs made from this time (RFC 3339, or a day such as 2026-11-01)."`
	Until     string `query:"until" flag:"until" doc:"Only jobs made before this time."`
	Provider  string `query:"provider" flag:"provider" doc:"Only of this provider."`
	Model     string `query:"model" flag:"model" doc:"Only of this model."`
	ProjectID string `query:"projectId" flag:"project" doc:"Only of this project."`
	UserID    string `query:"userId" flag:"user" doc:"Only of this user."`
}

// Filter returns the query as stores take it. The error is for the caller.
func (q CostQuery) Filter() (f jobs.CostFilter, err error) {
	f = jobs.CostFilter{By: q.By, Daily: q.Daily, Provider: q.Provider, Model: q.Model, ProjectID: q.ProjectID, UserID: q.UserID}
	for _, at := range []struct {
		name, text string
		to         *time.Time
	}{{"since", q.Since, &f.Since}, {"until", q.Until, &f.Until}} {
		if at.text == "" {
			continue
		}
		if *at.to, err = time.Parse(time.RFC3339, at.text); err != nil {
			if *at.to, err = time.Parse(time.DateOnly, at.text); err != nil {
				return f, fmt.Errorf("%s: %.40q is not a time; write one such as 2026-11-01 or 2026-11-01T12:00:00Z", at.name, at.text)
			}
		}
	}
	return f, nil
}

// Costs are sums of charges.
type Costs struct {
	Docs []CostSum `json:"docs" nullable:"false" doc:"The largest first, at most 1,000; with daily, these by day."`
	More bool      `json:"more" doc:"There are more sums than these, so these do not add up to the whole. GET /api/v1/costs.csv has all; a shorter period has fewer."`
}

// CostSum is the sum of charges in one currency.
type CostSum struct {
	Key       string `json:"key" doc:"The project, user, model and so on; empty for jobs without one."`
	Day       string `json:"day,omitempty" doc:"With daily: the day, in UTC." example:"2026-11-29"`
	Currency  string `json:"currency" doc:"Amounts of different currencies are never added."`
	Charged   string `json:"charged" doc:"For jobs that have ended."`
	Estimated string `json:"estimated" doc:"The part of charged that comes from price tables."`
	Reserved  string `json:"reserved" doc:"Estimates for jobs that have not ended."`
	Jobs      int64  `json:"jobs" doc:"Jobs with a charge."`
	Saved     string `json:"saved" doc:"What jobs avoided that have the result of an earlier one."`
	Reused    int64  `json:"reused" doc:"Those jobs. Jobs counts them, too, with a charge of 0."`
}

// NewCosts makes the document of sums.
func NewCosts(sums jobs.CostSums) Costs {
	out := Costs{Docs: []CostSum{}, More: sums.More}
	for _, c := range sums.Sums {
		out.Docs = append(out.Docs, NewCostSum(c))
	}
	return out
}

// NewCostSum makes the document of a sum.
func NewCostSum(c jobs.CostSum) CostSum {
	return CostSum{c.Key, c.Day, c.Currency, c.Charged.String(), c.Estimated.String(), c.Reserved.String(), c.Jobs, c.Saved.String(), c.Reused}
}

// BudgetBody is a budget as it is set. Empty members match all jobs.
type BudgetBody struct {
	ProjectID string `json:"projectId,omitempty" maxLength:"256"`
	UserID    string `json:"userId,omitempty" maxLength:"256"`
	Caller    string `json:"caller,omitempty" maxLength:"256" doc:"The key that submits, as caller in costs."`
	Provider  string `json:"provider,omitempty" maxLength:"256"`
	Model     string `json:"model,omitempty" maxLength:"256"`
	Period    string `json:"period" enum:"day,month" doc:"In UTC."`
	Currency  string `json:"currency,omitempty" doc:"USD if it is missing." example:"USD"`
	Limit     string `json:"limit" example:"100.00" doc:"What the period may cost. A submit that would exceed it is answered 402."`
	Action    string `json:"action,omitempty" enum:"refuse,hold" doc:"For a submit that has no room: refuse it with 402 (if the member is missing), or hold the job until it is approved."`
	Warn      string `json:"warn,omitempty" example:"80.00" doc:"The amount from which gaff:budget.warning is emitted, once a period."`
}

// Budget returns the budget of a name. The error is for the caller.
func (b BudgetBody) Budget(name string) (out jobs.Budget, err error) {
	out = jobs.Budget{
		Name: name, ProjectID: b.ProjectID, UserID: b.UserID, Caller: b.Caller, Provider: b.Provider, Model: b.Model, Period: b.Period,
		Currency: cmp.Or(b.Currency, "USD"), Action: cmp.Or(b.Action, jobs.BudgetRefuses),
	}
	if out.Limit, err = jobs.ParseMicros(b.Limit); err != nil {
		return out, &jobs.InvalidError{Field: "limit", Text: fmt.Sprintf("%.40q %v", b.Limit, err)}
	}
	if b.Warn != "" {
		if out.Warn, err = jobs.ParseMicros(b.Warn); err != nil {
			return out, &jobs.InvalidError{Field: "warn", Text: fmt.Sprintf("%.40q %v", b.Warn, err)}
		}
	}
	return out, nil
}

// Budget is a budget and what its period costs so far.
type Budget struct {
	Name      string `json:"name"`
	ProjectID Text   `json:"projectId"`
	UserID    Text   `json:"userId"`
	Caller    Text   `json:"caller"`
	Provider  Text   `json:"provider"`
	Model     Text   `json:"model"`
	Period    string `json:"period"`
	Currency  string `json:"currency"`
	Limit     string `json:"limit"`
	Warn      Text   `json:"warn"`
	Action    string `json:"action" enum:"refuse,hold"`
	Since     Time   `json:"since" doc:"When the current period began."`
	Spent     string `json:"spent" doc:"What the period costs so far, with reservations."`
	Excess    Text   `json:"excess" doc:"By how much spent exceeds the limit, because providers charged more than was estimated, or held jobs were approved; null if it does not."`
	CreatedAt Time   `json:"createdAt"`
	UpdatedAt Time   `json:"updatedAt"`
}

// NewBudget makes the document of a budget.
func NewBudget(b jobs.Budget, since time.Time, spent jobs.Micros) Budget {
	d := Budget{
		Name: b.Name, ProjectID: Text(b.ProjectID), UserID: Text(b.UserID), Caller: Text(b.Caller), Provider: Text(b.Provider),
		Model: Text(b.Model), Period: b.Period, Currency: b.Currency, Limit: b.Limit.String(), Action: b.Action, Since: Time{since}, Spent: spent.String(),
		CreatedAt: Time{b.CreatedAt}, UpdatedAt: Time{b.UpdatedAt},
	}
	if b.Warn > 0 {
		d.Warn = Text(b.Warn.String())
	}
	if spent > b.Limit {
		d.Excess = Text((spent - b.Limit).String())
	}
	return d
}

// HoldBody is a decision about a job that a budget holds.
type HoldBody struct {
	Comment string `json:"comment,omitempty" maxLength:"500" doc:"For the job's log."`
}

// Budgets are all budgets.
type Budgets struct {
	Docs []Budget `json:"docs" nullable:"false"`
}
