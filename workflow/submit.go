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

// submission is what a submit was given, as it is stored with the step.
type submission struct {
	Provider string          `json:"provider"`
	Model    string          `json:"model"`
	Kind     string          `json:"kind,omitempty"`
	Input    json.RawMessage `json:"input"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

// submit adds the job of a step.
func (e *Engine) submit(ctx context.Context, tx runs.Tx, a *advance, run *runs.Run, def *step, row *runs.Step, now time.Time) error {
	input := row.Input
	if input == nil {
		// It was made ready in an earlier transaction.
		var err error
		if input, err = a.v.(*loader).input(row.Name, row.Item); err != nil {
			return err
		}
	}
	var sub submission
	if err := json.Unmarshal(input, &sub); err != nil {
		return fmt.Errorf("read what step %s was given: %w", row.Name, err)
	}
	stepID := row.Name
	if row.Item >= 0 {
		stepID += "/" + strconv.Itoa(row.Item)
	}
	key := run.ID + "/" + stepKey(a.st.steps[row.Name], row)
	jobID, err := e.o.Jobs.Enqueue(ctx, tx, Submission{
		Provider: sub.Provider, Model: sub.Model, Kind: sub.Kind, ProjectID: run.ProjectID, UserID: run.UserID,
		RunID: run.ID, StepID: stepID, Input: sub.Input, Metadata: sub.Metadata,
		IdempotencyKey: key, Hop: run.Hop,
	})
	if err != nil {
		return fmt.Errorf("submit step %s: %w", row.Name, err)
	}
	row.Status, row.JobID, row.StartedAt = runs.StepRunning, jobID, now
	if def.Timeout > 0 {
		row.DueAt = now.Add(time.Duration(def.Timeout))
	}
	return nil
}

// stepKey names one try of a step or item within its run: "images/3/1.2" is the second try
// of an item in the first round of its step, "film/2" the second try of a step. The items of
// a step that begins anew are new ones.
func stepKey(s *stepState, u *runs.Step) string {
	if u.Item < 0 {
		return fmt.Sprintf("%s/%d", u.Name, u.Attempt)
	}
	return fmt.Sprintf("%s/%d/%d.%d", u.Name, u.Item, s.row.Attempt, u.Attempt)
}

// jobSettled takes a job's end into the run that asked for it.
func (e *Engine) jobSettled(ctx context.Context, ev *gaff.Event) error {
	var settled jobs.JobSettled
	if err := json.Unmarshal(ev.Data, &settled); err != nil {
		return gaff.Discard(fmt.Errorf("read %s: %w", ev.Type, err))
	}
	ref, err := e.o.Store.StepOfJob(ctx, settled.JobID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil // not a run's, or one that the run has given up
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

// jobCost is what a provider reported, in its units; 0 if it reports nothing.
func jobCost(j *jobs.Job) float64 {
	cost, err := strconv.ParseFloat(j.Cost, 64)
	if err != nil || math.IsNaN(cost) || math.IsInf(cost, 0) || cost < 0 {
		return 0
	}
	return cost
}
