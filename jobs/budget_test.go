package jobs_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
)

// holding is a pair with a budget that has room for one job, and holds the others.
func holding(t *testing.T) *pair {
	p := newPair(t)
	if err := p.SaveBudget(t.Context(), jobs.Budget{Name: "all", Period: "month", Currency: "USD", Limit: 150_000, Action: jobs.BudgetHolds}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pair) submit(s jobs.Submission) *jobs.Job {
	p.t.Helper()
	s.Provider, s.Model, s.Input = "a", "m", json.RawMessage(`{}`)
	j, _, err := p.Submit(p.t.Context(), s)
	if err != nil {
		p.t.Fatal(err)
	}
	synctest.Wait()
	return p.now(j.ID)
}

func (p *pair) spent() jobs.Micros {
	p.t.Helper()
	list, err := p.st.Budgets(p.t.Context())
	if err != nil || len(list) == 0 {
		p.t.Fatal(list, err)
	}
	sum, err := p.st.Spent(p.t.Context(), list[0], time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	return sum
}

func TestHeldJobIsSubmittedWhenItIsApproved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := holding(t)
		p.submit(jobs.Submission{})
		j := p.submit(jobs.Submission{})
		time.Sleep(time.Hour)
		synctest.Wait()
		if j = p.now(j.ID); j.Submit != jobs.SubmitHeld || len(p.a.submits()) != 1 || p.spent() != 100_000 {
			t.Fatalf("the second job is %s after %d submits, and %s are spent", j.Submit, len(p.a.submits()), p.spent())
		}
		page, err := p.st.Jobs(t.Context(), jobs.JobFilter{Held: true})
		if err != nil || len(page.Items) != 1 || page.Items[0].ID != j.ID {
			t.Errorf("the held jobs are %v, %v", page.Items, err)
		}
		if got := p.internal(t, j.ID); !slices.Contains(got, "budget.held") {
			t.Errorf("the events are %q, want budget.held", got)
		}
		if _, err := p.Approve(t.Context(), j.ID, "key:boss", "ok"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if j = p.now(j.ID); j.Submit != jobs.SubmitAccepted || p.spent() != 200_000 {
			t.Errorf("the approved job is %s, and %s are spent", j.Submit, p.spent())
		}
		if _, err := p.Approve(t.Context(), j.ID, "key:boss", ""); !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("approved twice: %v, want ErrConflict", err)
		}
	})
}

func TestRejectedHeldJobFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := holding(t)
		p.submit(jobs.Submission{})
		j := p.submit(jobs.Submission{Fallback: []jobs.Candidate{{Provider: "b", Model: "m"}}})
		if _, err := p.Reject(t.Context(), j.ID, "key:boss", "too dear"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if j = p.now(j.ID); j.Status != jobs.JobFailed || j.ErrorType != "budget_rejected" || !strings.Contains(j.Error, "key:boss: too dear") {
			t.Errorf("the job is %s with %q", j.Status, j.Error)
		}
		if p.spent() != 100_000 || len(p.b.submits()) > 0 {
			t.Errorf("%s are spent, and b got %q", p.spent(), p.b.submits())
		}
	})
}

func TestHeldJobCanBeCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := holding(t)
		p.submit(jobs.Submission{})
		j := p.submit(jobs.Submission{})
		if j, err := p.Cancel(t.Context(), j.ID); err != nil || j.Status != jobs.JobCancelled || j.Charge.State != jobs.ChargeNone {
			t.Errorf("the job is %+v, %v", j, err)
		}
		if _, err := p.Approve(t.Context(), j.ID, "", ""); !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("approved after its end: %v, want ErrConflict", err)
		}
	})
}

func TestBudgetThatRefusesWinsOverOneThatHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := holding(t)
		if err := p.SaveBudget(t.Context(), jobs.Budget{Name: "strict", Period: "month", Currency: "USD", Limit: 150_000}); err != nil {
			t.Fatal(err)
		}
		p.submit(jobs.Submission{})
		_, _, err := p.Submit(t.Context(), jobs.Submission{Provider: "a", Model: "m"})
		if full, ok := errors.AsType[*jobs.BudgetError](err); !ok || full.Budget.Name != "strict" {
			t.Errorf("%v, want the rejection of strict", err)
		}
	})
}

func TestExcessOfAChargeBlocksFurtherSubmits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		if err := p.SaveBudget(t.Context(), jobs.Budget{Name: "all", Period: "month", Currency: "USD", Limit: 500_000}); err != nil {
			t.Fatal(err)
		}
		p.a.poll = func() (jobs.Update, error) {
			return jobs.Update{Status: jobs.JobCompleted, Result: json.RawMessage(`{}`), Cost: "60"}, nil
		}
		j := p.submit(jobs.Submission{})
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if p.spent() != 600_000 {
			t.Errorf("%s are spent, want 0.60", p.spent())
		}
		log, err := p.st.JobLog(t.Context(), j.ID)
		if err != nil || !slices.ContainsFunc(log, func(e jobs.LogEntry) bool {
			return e.What == "charge" && strings.Contains(e.Text, "0.50 more than the estimate")
		}) {
			t.Errorf("the log is %+v, %v; want the excess", log, err)
		}
		if _, _, err := p.Submit(t.Context(), jobs.Submission{Provider: "a", Model: "m"}); !errors.Is(err, gaff.ErrInvalid) {
			t.Errorf("a submit over the budget: %v", err)
		}
	})
}

func TestCallThatAnswersWithTheResultReservesAndSettles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		if err := p.SaveBudget(t.Context(), jobs.Budget{Name: "all", Period: "month", Currency: "USD", Limit: 150_000, Action: jobs.BudgetHolds}); err != nil {
			t.Fatal(err)
		}
		call := func(id string) jobs.Submission { return jobs.Submission{ID: id, Provider: "a", Model: "m"} }
		if err := p.Reserve(t.Context(), call("run-1")); err != nil || p.spent() != 100_000 {
			t.Fatalf("%v, and %s are reserved; want 0.10", err, p.spent())
		}
		if _, ok := errors.AsType[*jobs.BudgetError](p.Reserve(t.Context(), call("run-2"))); !ok {
			t.Error("a second call was admitted")
		}
		time.Sleep(5 * time.Minute) // it is not polled meanwhile
		j, err := p.Record(t.Context(), call("run-1"), jobs.Update{Provider: "a", RequestID: "r", Status: jobs.JobCompleted, Result: json.RawMessage(`{}`), Cost: "3"}, time.Now())
		if err != nil || j.Status != jobs.JobCompleted || p.spent() != 30_000 {
			t.Errorf("the job is %+v, %v, and %s are spent; want 0.03", j, err, p.spent())
		}
		if err := p.Reserve(t.Context(), call("run-3")); err != nil {
			t.Fatal(err)
		}
		if err := p.Release(t.Context(), "run-3"); err != nil || p.spent() != 30_000 {
			t.Errorf("released: %v, and %s are spent", err, p.spent())
		}
		if err := p.Reserve(t.Context(), call("run-4")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Hour) // its gateway ended before the answer
		synctest.Wait()
		if j := p.now("run-4"); j.ErrorType != "submit_outcome_unknown" || p.spent() != 130_000 {
			t.Errorf("the job is %s %q, and %s are spent; want its estimate to stay", j.Status, j.ErrorType, p.spent())
		}
	})
}
