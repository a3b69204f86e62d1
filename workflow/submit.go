package workflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// submission is the evaluated input of a submit step, as stored with the step.
type submission struct {
	Provider string          `json:"provider"`
	Model    string          `json:"model"`
	Kind     string          `json:"kind,omitempty"`
	Input    json.RawMessage `json:"input"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
	// Priority is that of the job.
	Priority int `json:"priority,omitempty"`
	// NoReuse has the provider do the work even if an earlier job has the result.
	NoReuse bool `json:"noReuse,omitempty"`
	// Fallback is used after Provider and Model.
	Fallback []jobs.Candidate `json:"fallback,omitempty"`
}

// submit adds the job of a step and updates its row.
func (e *Engine) submit(ctx context.Context, tx runs.Tx, a *advance, run *runs.Run, s *stepState, row *runs.Step) error {
	input, err := a.values.input(row.Name, row.Item)
	if err != nil {
		return err
	}
	var sub submission
	if err := json.Unmarshal(input, &sub); err != nil {
		return fmt.Errorf("read the input of step %s: %w", row.Name, err)
	}
	stepID := row.Name
	if row.Item >= 0 {
		stepID += "/" + strconv.Itoa(row.Item)
	}
	jobID, err := e.o.Jobs.Enqueue(ctx, tx, Submission{
		Provider: sub.Provider, Model: sub.Model, Kind: sub.Kind, ProjectID: run.ProjectID, UserID: run.UserID,
		RunID: run.ID, StepID: stepID, Input: sub.Input, Metadata: sub.Metadata, Fallback: sub.Fallback, NoReuse: sub.NoReuse, Priority: sub.Priority,
		IdempotencyKey: run.ID + "/" + stepKey(s, row), Hop: run.Hop,
	})
	if err != nil {
		return fmt.Errorf("submit step %s: %w", row.Name, err)
	}
	now := tx.Now()
	row.Status, row.JobID, row.StartedAt = runs.StepRunning, jobID, now
	if s.def.Timeout > 0 {
		row.DueAt = now.Add(time.Duration(s.def.Timeout))
	}
	return nil
}

// stepKey identifies one attempt of a step or item within its run. "film/2" is the second
// attempt of a step. "images/3/1.2" is the second attempt of item 3, of the items of the first
// attempt of the step: each attempt of a step has items of its own.
func stepKey(s *stepState, u *runs.Step) string {
	if u.Item < 0 {
		return fmt.Sprintf("%s/%d", u.Name, u.Attempt)
	}
	return fmt.Sprintf("%s/%d/%d.%d", u.Name, u.Item, s.row.Attempt, u.Attempt)
}

// handleJobSettled moves the run that submitted a job after the job settled.
func (e *Engine) handleJobSettled(ctx context.Context, ev *gaff.Event) error {
	var settled jobs.JobSettled
	if err := json.Unmarshal(ev.Data, &settled); err != nil {
		return gaff.Discard(fmt.Errorf("read %s: %w", ev.Type, err))
	}
	ref, err := e.o.Store.StepOfJob(ctx, settled.JobID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil // of no run, or abandoned by its run
	}
	if err != nil {
		return err
	}
	j, err := e.o.Store.Job(ctx, settled.JobID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return e.finish(ctx, ref.RunID, func(a *advance) (bool, error) {
		s, u := a.st.find(ref.Step, ref.Item)
		if u == nil || u.JobID != j.ID || u.Status != runs.StepRunning {
			return false, nil
		}
		if cost := jobCost(j); cost > 0 {
			u.Cost += cost
			a.st.run.Cost += cost
			if u != s.row {
				s.row.Cost += cost
				a.touch(s.row)
			}
		}
		switch j.Status {
		case jobs.JobCompleted:
			result := j.Result
			if len(result) == 0 {
				result = json.RawMessage("null")
			}
			a.completeRaw(u, result)
		case jobs.JobCancelled:
			a.fail(s, u, "the job was cancelled", true)
		default:
			reason := cmp.Or(j.Error, "the job failed")
			if j.ErrorType != "" {
				reason = j.ErrorType + ": " + reason
			}
			a.fail(s, u, reason, false)
		}
		return true, nil
	})
}

// jobCost returns the cost that a provider reported, in its units; 0 if unknown.
func jobCost(j *jobs.Job) float64 {
	cost, err := strconv.ParseFloat(j.Cost, 64)
	if err != nil || math.IsNaN(cost) || math.IsInf(cost, 0) || cost < 0 {
		return 0
	}
	return cost
}
