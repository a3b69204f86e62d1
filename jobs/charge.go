package jobs

import (
	"time"
)

// ChargeState says how a job's charge is known.
type ChargeState int

// The order is not a direction.
const (
	// ChargeNone: nothing is known, or nothing was charged.
	ChargeNone ChargeState = iota
	// ChargeReserved: the job has not ended; the amount is the estimate that budgets count.
	ChargeReserved
	// ChargeEstimated: the job has ended, and the amount comes from a price table.
	ChargeEstimated
	// ChargeBilled: the amount is the provider's own figure, times the price of its unit.
	ChargeBilled
)

var chargeStates = [...]string{"", "reserved", "estimated", "billed"}

// String returns the state in lower case; empty for ChargeNone.
func (s ChargeState) String() string {
	if s < 0 || int(s) >= len(chargeStates) {
		return ""
	}
	return chargeStates[s]
}

// Charge is what a job costs. The currency is an ISO code, or the provider's unit if no price of it
// is known.
type Charge struct {
	Amount   Micros      `json:"amount"`
	Currency string      `json:"currency"`
	State    ChargeState `json:"state"`
}

// Price is what jobs of a model cost, as decimal numbers; empty if unknown.
type Price struct {
	// Job is the estimate for one job, Unit the price of a unit that the provider reports.
	Job, Unit string
	// Currency is that of Job and Unit.
	Currency string
	// UnitName is what the provider's figure counts, if Unit is unknown.
	UnitName string
}

// price is the price of a job's model.
func (l *Service) price(j *Job) Price {
	if l.o.Price == nil {
		return Price{}
	}
	return l.o.Price(j.Provider, j.Model)
}

// reserve sets the estimate of a job that is about to be submitted.
func (l *Service) reserve(j *Job) {
	p := l.price(j)
	if amount, err := ParseMicros(p.Job); err == nil {
		j.Charge = Charge{amount, p.Currency, ChargeReserved}
	}
}

// charge sets what a job that has ended costs: the provider's figure, else the estimate. A job that
// failed without a figure, or was never accepted, costs nothing.
func (l *Service) charge(j *Job) {
	p := l.price(j)
	if j.Cost != "" && p.Unit != "" {
		if amount, err := Multiply(j.Cost, p.Unit); err == nil {
			j.Charge = Charge{amount, p.Currency, ChargeBilled}
			return
		}
	}
	estimate, err := ParseMicros(p.Job)
	begun := j.Submit != SubmitWaiting && j.Submit != SubmitRejected && j.Submit != SubmitHeld
	units, unitsErr := Multiply(j.Cost, "1")
	switch {
	case err != nil && unitsErr == nil && p.UnitName != "":
		j.Charge = Charge{units, p.UnitName, ChargeBilled}
	case err != nil, !begun, j.Status == JobFailed && j.Submit != SubmitUnknown:
		j.Charge = Charge{}
	default:
		j.Charge = Charge{estimate, p.Currency, ChargeEstimated}
	}
}

// CostFilter chooses the jobs whose charges are summed, by the time of their submit. Zero fields
// choose all.
type CostFilter struct {
	// By is the member by which the sums are grouped: project, user, model, provider, day, run or
	// caller; empty: one sum for each currency.
	By string
	// Daily also groups by day: CostSum.Day is set, and the sums are sorted by it.
	Daily                              bool
	Provider, Model, ProjectID, UserID string
	Since, Until                       time.Time
	// Limit is how many sums are returned at most; zero: MaxCosts.
	Limit int
}

// CostGroups are the values of CostFilter.By.
var CostGroups = []string{"project", "user", "model", "provider", "day", "run", "caller"}

// MaxCosts is how many sums a store returns unless CostFilter.Limit is set, and MaxCostRows how many a
// table for spreadsheets has.
const (
	MaxCosts    = 1000
	MaxCostRows = 100_000
)

// CostSums are the largest sums of charges.
type CostSums struct {
	Sums []CostSum
	// More is set if there are more sums than the limit: these are not all.
	More bool
}

// CostSum is the sum of charges in one currency. Amounts of currencies and units are never added.
type CostSum struct {
	// Key is the project, user, model and so on; a day as 2006-01-02.
	Key, Currency string
	// Day is the day, as 2006-01-02 in UTC; empty unless CostFilter.Daily is set.
	Day string
	// Charged is the sum for jobs that have ended, of which Estimated comes from price tables.
	// Reserved is the sum of estimates for jobs that have not.
	Charged, Estimated, Reserved Micros
	// Jobs counts those with a charge, of which Reused have the result of an earlier job. Saved is what
	// those avoided.
	Jobs, Reused int64
	Saved        Micros
}
