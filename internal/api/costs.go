package api

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/wire"
	"gaff/jobs"
)

type costsInput struct{ wire.CostQuery }

func (s *server) getCosts(ctx context.Context, in *costsInput) (none wire.Costs, err error) {
	f, err := in.Filter()
	if err != nil {
		return none, huma.Error400BadRequest(err.Error())
	}
	sums, err := s.o.Store.Costs(ctx, f)
	if err != nil {
		return none, err
	}
	return wire.NewCosts(sums), nil
}

func describeCostsCSV(_ huma.API, op *huma.Operation) {
	for _, name := range []string{"by", "daily", "since", "until", "provider", "model", "projectId", "userId"} {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "query", Schema: &huma.Schema{Type: "string"}, Description: "As for get-costs."})
	}
	op.Responses = map[string]*huma.Response{"200": response("All sums, at most 100,000; 400 if there are more", "text/csv", &huma.Schema{Type: "string"})}
}

// getCostsCSV answers with all sums as a table, for spreadsheets, or refuses: a part of them would be read
// as the whole.
func (s *server) getCostsCSV(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	query := wire.CostQuery{
		By: q.Get("by"), Daily: q.Get("daily") == "true", Since: q.Get("since"), Until: q.Get("until"), Provider: q.Get("provider"), Model: q.Get("model"),
		ProjectID: q.Get("projectId"), UserID: q.Get("userId"),
	}
	f, err := query.Filter()
	if err == nil && query.By != "" && !slices.Contains(jobs.CostGroups, query.By) {
		err = huma.Error400BadRequest("by: want " + strings.Join(jobs.CostGroups, ", "))
	} else if err != nil {
		err = huma.Error400BadRequest(err.Error())
	}
	var sums jobs.CostSums
	if err == nil {
		f.Limit = jobs.MaxCostRows
		sums, err = s.o.Store.Costs(r.Context(), f)
	}
	if err == nil && sums.More {
		err = huma.Error400BadRequest(fmt.Sprintf("there are more than %d sums: choose a shorter period with since and until, or a provider, model, project or user", jobs.MaxCostRows))
	}
	if err != nil {
		s.reject(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="costs.csv"`)
	out := csv.NewWriter(w)
	var day []string // the first column of daily sums
	if f.Daily {
		day = []string{"day"}
	}
	_ = out.Write(append(day, "key", "currency", "charged", "estimated", "reserved", "jobs", "saved", "reused"))
	for _, sum := range sums.Sums {
		c := wire.NewCostSum(sum)
		if f.Daily {
			day = []string{c.Day}
		}
		_ = out.Write(append(day, cell(c.Key), cell(c.Currency), c.Charged, c.Estimated, c.Reserved, strconv.FormatInt(c.Jobs, 10), c.Saved, strconv.FormatInt(c.Reused, 10)))
	}
	out.Flush()
}

// cell returns a text that no spreadsheet reads as a formula.
func cell(text string) string {
	if text != "" && strings.ContainsAny(text[:1], "=+-@\t\r") {
		return "'" + text
	}
	return text
}

type budgetInput struct {
	Name string `path:"name" maxLength:"64"`
}

type budgetBodyInput struct {
	Name string `path:"name" maxLength:"64"`
	Body wire.BudgetBody
}

// budget makes the document of a budget with what it costs so far.
func (s *server) budget(ctx context.Context, b jobs.Budget) (none wire.Budget, err error) {
	now := time.Now()
	spent, err := s.o.Store.Spent(ctx, b, now)
	if err != nil {
		return none, err
	}
	return wire.NewBudget(b, b.Since(now), spent), nil
}

func (s *server) listBudgets(ctx context.Context, _ *noInput) (none wire.Budgets, err error) {
	all, err := s.o.Store.Budgets(ctx)
	if err != nil {
		return none, err
	}
	out := wire.Budgets{Docs: []wire.Budget{}}
	for _, b := range all {
		d, err := s.budget(ctx, b)
		if err != nil {
			return none, err
		}
		out.Docs = append(out.Docs, d)
	}
	return out, nil
}

// findBudget returns the budget of a name.
func (s *server) findBudget(ctx context.Context, name string) (none jobs.Budget, err error) {
	all, err := s.o.Store.Budgets(ctx)
	if err != nil {
		return none, err
	}
	for _, b := range all {
		if b.Name == name {
			return b, nil
		}
	}
	return none, huma.Error404NotFound("budget " + name + ": not found")
}

func (s *server) getBudget(ctx context.Context, in *budgetInput) (none wire.Budget, err error) {
	b, err := s.findBudget(ctx, in.Name)
	if err != nil {
		return none, err
	}
	return s.budget(ctx, b)
}

func (s *server) saveBudget(ctx context.Context, in *budgetBodyInput) (none wire.Budget, err error) {
	if s.o.Jobs == nil {
		return none, errNoJobs
	}
	b, err := in.Body.Budget(in.Name)
	if err != nil {
		return none, err
	}
	if err := s.o.Jobs.SaveBudget(ctx, b); err != nil {
		return none, err
	}
	return s.getBudget(ctx, &budgetInput{in.Name})
}

func (s *server) removeBudget(ctx context.Context, in *budgetInput) error {
	if s.o.Jobs == nil {
		return errNoJobs
	}
	return s.o.Jobs.RemoveBudget(ctx, in.Name)
}

type holdInput struct {
	ID   string         `path:"id" maxLength:"150"`
	Body *wire.HoldBody `required:"false"`
}

func (s *server) approveJob(ctx context.Context, in *holdInput) (wire.JobDetail, error) {
	return s.decideJob(ctx, in, Jobs.Approve)
}

func (s *server) rejectJob(ctx context.Context, in *holdInput) (wire.JobDetail, error) {
	return s.decideJob(ctx, in, Jobs.Reject)
}

// decideJob decides about a job that a budget holds.
func (s *server) decideJob(ctx context.Context, in *holdInput, decide func(j Jobs, ctx context.Context, jobID, by, comment string) (*jobs.Job, error)) (none wire.JobDetail, err error) {
	if s.o.Jobs == nil {
		return none, errNoJobs
	}
	comment := ""
	if in.Body != nil {
		comment = in.Body.Comment
	}
	j, err := decide(s.o.Jobs, ctx, in.ID, noteOf(ctx).who.String(), comment)
	if err != nil {
		return none, err
	}
	return s.jobDetail(ctx, j)
}

// listLimits answers with the use of all limits.
func (s *server) listLimits(ctx context.Context, _ *noInput) (none wire.Limits, err error) {
	if s.o.Jobs == nil {
		return wire.NewLimits(nil, time.Now()), nil
	}
	list, err := s.o.Jobs.LimitUse(ctx)
	return wire.NewLimits(list, time.Now()), err
}
