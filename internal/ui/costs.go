package ui

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/jobs"
)

type costsView struct {
	By, Since string
	From      time.Time // the start of the period; zero: all time
	Totals    jobs.CostSums
	Rows      jobs.CostSums
	Plots     []plot
	Budgets   []budgetRow
	Held      []jobs.Job
	CSV       templ.SafeURL
	DailyCSV  templ.SafeURL
}

// budgetRow is a budget with what its period costs so far.
type budgetRow struct {
	jobs.Budget
	Spent jobs.Micros
}

// share returns how much of the budget is spent, in percent.
func (b budgetRow) share() int64 { return int64(b.Spent) * 100 / max(int64(b.Limit), 1) }

// scope says which jobs the budget is for.
func (b budgetRow) scope() string {
	var parts []string
	for _, p := range [...][2]string{
		{"project ", b.ProjectID}, {"user ", b.UserID}, {"key ", b.Caller}, {"provider ", b.Provider}, {"model ", b.Model},
	} {
		if p[1] != "" {
			parts = append(parts, p[0]+p[1])
		}
	}
	if len(parts) == 0 {
		return "all jobs"
	}
	return strings.Join(parts, ", ")
}

// maxHeld bounds the jobs on the page that wait for an approval.
const maxHeld = 50

// costSpans are the periods of the page, by the value of since.
var costSpans = [][2]string{{"month", "This month"}, {"30d", "Last 30 days"}, {"90d", "Last 90 days"}, {"day", "Today"}, {"", "All time"}}

func (c *console) costs(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Costs", "costs", "job"
	v := costsView{By: q.query("by"), Since: "month"}
	if q.URL.Query().Has("since") {
		v.Since = q.query("since")
	}
	if v.By == "" {
		v.By = "project"
	}
	f := jobs.CostFilter{}
	switch v.Since {
	case "month", "day":
		b := jobs.Budget{Period: v.Since}
		f.Since = b.Since(q.now)
	case "30d", "90d":
		days, _ := strconv.Atoi(strings.TrimSuffix(v.Since, "d"))
		f.Since = startOfDay(q.now).AddDate(0, 0, 1-days)
	case "":
	default:
		return nil, &problem{http.StatusBadRequest, "Invalid request", "Unknown period: " + visible(clip(v.Since, 40)) + "."}
	}
	if !slices.Contains(jobs.CostGroups, v.By) {
		return nil, &problem{http.StatusBadRequest, "Invalid request", "Unknown group: " + visible(clip(v.By, 40)) + "."}
	}
	var err error
	if v.Totals, err = c.o.Store.Costs(q.Context(), f); err != nil {
		return nil, err
	}
	f.By = v.By
	if v.Rows, err = c.o.Store.Costs(q.Context(), f); err != nil {
		return nil, err
	}
	if v.Budgets, err = c.budgets(q); err != nil {
		return nil, err
	}
	held, err := c.o.Store.Jobs(q.Context(), jobs.JobFilter{Held: true, Cursor: gaff.Cursor{Limit: maxHeld}})
	if err != nil {
		return nil, err
	}
	v.Held = held.Items
	v.From = f.Since
	since := ""
	if !f.Since.IsZero() {
		since = f.Since.Format(time.DateOnly)
	}
	v.CSV = filtered("/api/v1/costs.csv", "by", v.By, "since", since)
	v.DailyCSV = filtered("/api/v1/costs.csv", "by", v.By, "daily", "true", "since", since)
	if v.Plots, err = c.costPlots(q, f, v.Rows.Sums); err != nil {
		return nil, err
	}
	return costsPage(v), nil
}

// budgets returns all budgets with what their current periods cost so far.
func (c *console) budgets(q *request) (rows []budgetRow, err error) {
	budgets, err := c.o.Store.Budgets(q.Context())
	if err != nil {
		return nil, err
	}
	for _, b := range budgets {
		spent, err := c.o.Store.Spent(q.Context(), b, q.now)
		if err != nil {
			return nil, err
		}
		rows = append(rows, budgetRow{b, spent})
	}
	return rows, nil
}

// chargeText writes a charge in a few words; empty without one.
func chargeText(c jobs.Charge) string {
	if c.State == jobs.ChargeNone {
		return ""
	}
	return c.Amount.String() + " " + c.Currency + ", " + c.State.String()
}
