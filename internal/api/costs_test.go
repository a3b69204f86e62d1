package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/api"
	"gaff/internal/wire"
	"gaff/jobs"
	"gaff/store/sqlite"
)

func TestBudgetRejectsSubmitsWith402(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	gw, err := gaff.New(gaff.Options{Store: st, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := jobs.NewService(t.Context(), jobs.ServiceOptions{
		Store: st, Router: gw, Log: log, Providers: []jobs.Provider{studio{}},
		Price: func(string, string) jobs.Price { return jobs.Price{Job: "0.40", Currency: "USD"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	c := caller{api.New(api.Options{Store: st, Gateway: gw, Jobs: ledger, Authorizer: tokens{}, Log: log}), t}
	const budget = "/api/v1/budgets/film"
	if a := c.call(http.MethodPut, budget, "admin", `{"projectId":"=film","period":"month","limit":"1.00","warn":"0.50"}`); a.status != http.StatusOK {
		t.Fatalf("put: %d %s", a.status, a.body)
	}
	for _, wrong := range []string{`{"period":"week","limit":"1"}`, `{"period":"day","limit":"-1"}`, `{"period":"day","limit":"1","warn":"2"}`, `{"period":"day"}`} {
		if a := c.call(http.MethodPut, budget, "admin", wrong); a.status != http.StatusBadRequest && a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", wrong, a.status, a.body)
		}
	}
	if a := c.call(http.MethodPut, budget, "admin", `{"period":"day","limit":"ten"}`); !strings.Contains(a.body, `limit: \"ten\" is not an amount`) {
		t.Errorf("a limit without digits: %d %s", a.status, a.body)
	}
	if a := c.call(http.MethodPut, budget, "operator", `{"period":"day","limit":"1"}`); a.status != http.StatusForbidden {
		t.Errorf("an operator's put: %d", a.status)
	}
	const job = `{"provider":"studio","model":"m","projectId":"=film","input":{}}`
	for i, want := range []int{http.StatusAccepted, http.StatusAccepted, http.StatusPaymentRequired} {
		a := c.call(http.MethodPost, "/api/v1/jobs", "operator", job)
		if a.status != want {
			t.Errorf("submit %d: %d %s", i, a.status, a.body)
		}
		if want == http.StatusPaymentRequired && !strings.Contains(a.body, "budget film: 0.80 of 1.00 USD") {
			t.Errorf("the reason is %s", a.body)
		}
	}
	var budgets wire.Budgets
	c.get(t, "/api/v1/budgets", &budgets)
	if len(budgets.Docs) != 1 || budgets.Docs[0].Spent != "0.80" || budgets.Docs[0].Name != "film" {
		t.Errorf("budgets: %+v", budgets)
	}
	var costs wire.Costs
	c.get(t, "/api/v1/costs?by=project", &costs)
	if want := (wire.CostSum{Key: "=film", Currency: "USD", Charged: "0.00", Estimated: "0.00", Reserved: "0.80", Jobs: 2, Saved: "0.00"}); len(costs.Docs) != 1 || costs.Docs[0] != want {
		t.Errorf("costs: %+v, want %+v", costs.Docs, want)
	}
	if a := c.call(http.MethodGet, "/api/v1/costs.csv?by=project", "viewer", ""); !strings.Contains(a.body, "'=film,USD,0.00,0.00,0.80,2") {
		t.Errorf("the CSV is %s", a.body)
	}
	for _, wrong := range []string{"/api/v1/costs?since=yesterday", "/api/v1/costs.csv?by=month", "/api/v1/costs?by=month"} {
		if a := c.call(http.MethodGet, wrong, "viewer", ""); a.status/100 != 4 {
			t.Errorf("%s: %d", wrong, a.status)
		}
	}
	if a := c.call(http.MethodPut, budget, "admin", `{"projectId":"=film","period":"month","limit":"1.00","action":"hold"}`); a.status != http.StatusOK {
		t.Fatalf("hold: %d %s", a.status, a.body)
	}
	held := decodeInto[wire.JobDetail](t, c.call(http.MethodPost, "/api/v1/jobs", "operator", job).body)
	if a := c.call(http.MethodPost, "/api/v1/jobs/"+held.ID+"/reject", "admin", `{"comment":"too dear"}`); !strings.Contains(a.body, "rejected by someone: too dear") {
		t.Errorf("reject: %d %s; want the person's name", a.status, a.body)
	}
	if a := c.call(http.MethodDelete, budget, "admin", ""); a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	if a := c.call(http.MethodDelete, budget, "admin", ""); a.status != http.StatusNotFound {
		t.Errorf("delete again: %d", a.status)
	}
	if a := c.call(http.MethodPost, "/api/v1/jobs", "operator", job); a.status != http.StatusAccepted {
		t.Errorf("without a budget: %d %s", a.status, a.body)
	}
}

// manyCosts stores 1,200 charges of a cent: of 40 days, and 30 projects.
func manyCosts(t *testing.T, st jobs.Store) {
	t.Helper()
	err := st.Write(t.Context(), func(tx jobs.Tx) error {
		for n := range 1200 {
			err := tx.InsertJob(t.Context(), &jobs.Job{
				ID: fmt.Sprint("job_", n), Provider: "p", ProjectID: fmt.Sprint("film-", n%30), UserID: fmt.Sprint("user-", n),
				CreatedAt: time.Date(2026, 10, 1+n/30, 12, 0, 0, 0, time.UTC), Charge: jobs.Charge{Amount: 10_000, Currency: "USD", State: jobs.ChargeBilled},
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func costsAPI(t *testing.T, wrap func(api.Store) api.Store) caller {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	gw, err := gaff.New(gaff.Options{Store: st, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	manyCosts(t, st)
	return caller{api.New(api.Options{Store: wrap(st), Gateway: gw, Authorizer: tokens{}, Log: log}), t}
}

func TestCostsCSVHasAllSums(t *testing.T) {
	t.Parallel()
	c := costsAPI(t, func(st api.Store) api.Store { return st })
	for _, query := range []string{"by=project&daily=true", "by=user"} {
		a := c.call(http.MethodGet, "/api/v1/costs.csv?"+query, "viewer", "")
		lines := strings.Split(strings.TrimSpace(a.body), "\n")
		if len(lines) != 1201 {
			t.Errorf("%s: %d lines, want 1201: %.200s", query, len(lines), a.body)
		}
		if days := lines[1:]; strings.Contains(query, "daily") && !slices.IsSortedFunc(days, func(a, b string) int { return strings.Compare(a[:10], b[:10]) }) {
			t.Errorf("%s: the days are not in order", query)
		}
	}
}

func TestCostsSayIfTheyAreNotAll(t *testing.T) {
	t.Parallel()
	c := costsAPI(t, func(st api.Store) api.Store { return st })
	for query, more := range map[string]bool{"by=project&daily=true": true, "by=user": true, "by=project": false, "by=user&until=2026-10-10": false} {
		var costs wire.Costs
		c.get(t, "/api/v1/costs?"+query, &costs)
		if costs.More != more || more && len(costs.Docs) != jobs.MaxCosts {
			t.Errorf("%s: %d sums, and more is %v; want %v", query, len(costs.Docs), costs.More, more)
		}
	}
}

// fewCosts is a store that returns no more than a hundred sums.
type fewCosts struct{ api.Store }

func (s fewCosts) Costs(ctx context.Context, f jobs.CostFilter) (jobs.CostSums, error) {
	f.Limit = min(f.Limit, 100)
	return s.Store.Costs(ctx, f)
}

func TestCostsCSVIsRefusedIfItIsNotWhole(t *testing.T) {
	t.Parallel()
	c := costsAPI(t, func(st api.Store) api.Store { return fewCosts{st} })
	a := c.call(http.MethodGet, "/api/v1/costs.csv?by=user", "viewer", "")
	if a.status != http.StatusBadRequest || !strings.Contains(a.body, "choose a shorter period") {
		t.Errorf("%d %.200s, want 400 and what to do", a.status, a.body)
	}
}
