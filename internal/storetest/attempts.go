package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"gaff"
	"gaff/jobs"
)

// A job moves to its next candidate with its row, its former attempt and the time of the change.
func testAttempts(s *suite) {
	plan := &jobs.Plan{Alias: "fast", Candidates: []jobs.Candidate{{Provider: "a", Model: "m"}, {Provider: "b", Model: "n", Input: "input", Result: "result"}}}
	j := &jobs.Job{ID: "job_1", Provider: "a", Model: "m", RequestID: "r1", ProjectID: "p", Status: jobs.JobProcessing, Attempt: 1, Charge: jobs.Charge{Amount: 5, Currency: "USD", State: jobs.ChargeReserved}}
	write := func(fn func(tx jobs.Tx) error) {
		s.Helper()
		if err := s.st.Write(s.ctx, fn); err != nil {
			s.Fatal(err)
		}
	}
	write(func(tx jobs.Tx) error {
		if err := tx.InsertJob(s.ctx, j); err != nil {
			return err
		}
		return tx.SavePlan(s.ctx, j.ID, plan)
	})
	past := jobs.Attempt{
		N: 1, Provider: "a", Model: "m", RequestID: "r1", Error: "blocked", ErrorType: "policy", Cost: "2",
		Charge: jobs.Charge{Amount: 30, Currency: "USD", State: jobs.ChargeBilled}, SentAt: time.UnixMicro(1_000_000).UTC(), EndedAt: time.UnixMicro(2_000_000).UTC(),
	}
	write(func(tx jobs.Tx) error {
		now, err := tx.Job(s.ctx, j.ID)
		if err != nil {
			return err
		}
		now.Provider, now.Model, now.RequestID, now.Attempt, now.Charge = "b", "n", "", 2, jobs.Charge{}
		if err := tx.NextAttempt(s.ctx, now, past); err != nil {
			return err
		}
		now.Charge = jobs.Charge{Amount: 7, Currency: "USD", State: jobs.ChargeReserved}
		return tx.SaveJob(s.ctx, now)
	})
	now, err := s.st.Job(s.ctx, j.ID)
	if err != nil || now.Provider != "b" || now.Model != "n" || now.RequestID != "" || now.Attempt != 2 || now.Status != jobs.JobProcessing || now.Charge.Amount != 7 {
		s.Errorf("the job is %+v, %v", now, err)
	}
	got, attempts, err := s.st.JobPlan(s.ctx, j.ID)
	if err != nil || got == nil || got.Alias != "fast" || !slices.Equal(got.Candidates, plan.Candidates) || got.Since.IsZero() {
		s.Errorf("the plan is %+v, %v", got, err)
	}
	if !slices.Equal(attempts, []jobs.Attempt{past}) {
		s.Errorf("the attempts are %+v, want %+v", attempts, past)
	}
	sums, err := s.st.Costs(s.ctx, jobs.CostFilter{By: "provider"})
	if want := []jobs.CostSum{{Key: "a", Currency: "USD", Charged: 30, Jobs: 1}, {Key: "b", Currency: "USD", Reserved: 7, Jobs: 1}}; err != nil || !slices.Equal(sums.Sums, want) {
		s.Errorf("the sums are %+v, %v; want %+v", sums, err, want)
	}
	for i := range 3 {
		write(func(tx jobs.Tx) error {
			return tx.InsertJob(s.ctx, &jobs.Job{ID: fmt.Sprint("wait_", i), Provider: "c", Submit: jobs.SubmitWaiting})
		})
	}
	for id, want := range map[string]int64{"wait_0": 1, "wait_2": 3, j.ID: 0, "unknown": 0} {
		if got, err := s.st.JobPosition(s.ctx, id); err != nil || got != want {
			s.Errorf("the position of %s is %d, %v; want %d", id, got, err, want)
		}
	}
	write(func(tx jobs.Tx) error {
		if id, err := tx.JobOfAttempt(s.ctx, "a", "r1"); err != nil || id != j.ID {
			s.Errorf("request r1 is of job %q, %v", id, err)
		}
		if _, err := tx.JobOfAttempt(s.ctx, "b", "r1"); !errors.Is(err, gaff.ErrNotFound) {
			s.Errorf("request r1 of b: %v, want ErrNotFound", err)
		}
		return tx.RemoveJob(s.ctx, j.ID)
	})
	if got, attempts, err := s.st.JobPlan(s.ctx, j.ID); got != nil || attempts != nil || err != nil {
		s.Errorf("after its removal the job has %+v and %+v, %v", got, attempts, err)
	}
	write(func(tx jobs.Tx) error {
		if _, err := tx.JobOfAttempt(s.ctx, "a", "r1"); !errors.Is(err, gaff.ErrNotFound) {
			s.Errorf("the attempt of a removed job: %v, want ErrNotFound", err)
		}
		return nil
	})
}
