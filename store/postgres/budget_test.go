package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gaff"
	"gaff/internal/pgtest"
	"gaff/jobs"
	"gaff/store/postgres"
)

// taker is a provider that takes all submissions.
type taker struct{ jobs.Provider }

func (taker) Name() string                 { return "acme" }
func (taker) Check(*jobs.Submission) error { return nil }
func (taker) Account() string              { return "" }
func (taker) CanPoll(*jobs.Job) bool       { return false }

// Two nodes that take 200 submits at once never admit more than a budget allows.
func TestBudgetHoldsOverNodes(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	var nodes []*jobs.Service
	var st *postgres.Store
	for range 2 {
		var err error
		if st, err = postgres.Open(t.Context(), address, postgres.Options{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		log := slog.New(slog.DiscardHandler)
		gw, err := gaff.New(gaff.Options{Store: st, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		node, err := jobs.NewService(t.Context(), jobs.ServiceOptions{
			Store: st, Router: gw, Log: log, Providers: []jobs.Provider{taker{}}, Shared: true,
			Price: func(string, string) jobs.Price { return jobs.Price{Job: "0.03", Currency: "USD"} },
		})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, node)
	}
	budget := jobs.Budget{Name: "film", ProjectID: "film", Period: "month", Currency: "USD", Limit: 1_000_000, Warn: 500_000, Action: jobs.BudgetRefuses}
	if err := nodes[0].SaveBudget(t.Context(), budget); err != nil {
		t.Fatal(err)
	}
	var admitted, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			_, _, err := nodes[i%2].Submit(context.Background(), jobs.Submission{Provider: "acme", Model: "m", ProjectID: "film", Input: json.RawMessage(`{}`)})
			switch _, full := errors.AsType[*jobs.BudgetError](err); {
			case err == nil:
				admitted.Add(1)
			case full:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if admitted.Load() != 33 || refused.Load() != 167 {
		t.Errorf("%d admitted and %d refused, want 33 and 167", admitted.Load(), refused.Load())
	}
	spent, err := st.Spent(t.Context(), budget, time.Now())
	if err != nil || spent != 990_000 {
		t.Errorf("%s are reserved, %v; want 0.99", spent, err)
	}
	page, err := st.Events(t.Context(), gaff.EventFilter{Source: gaff.InternalSource, Cursor: gaff.Cursor{Limit: 500}})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, ev := range page.Items {
		counts[ev.Type]++
	}
	if counts["budget.warning"] != 1 || counts["budget.reached"] != 1 {
		t.Errorf("events: %v, want one of budget.warning and budget.reached", counts)
	}
}
