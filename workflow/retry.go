package workflow

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gaff"
	"gaff/workflow/runs"
)

// Retry continues a failed or cancelled run. With a step it starts again from that step; with an
// item other than runs.WholeStep it repeats that item. All dependent steps are repeated, the
// others keep their results.
func (e *Engine) Retry(ctx context.Context, runID, step string, item int) (*runs.Run, error) {
	return e.move(ctx, runID, e.o.Store.WriteRuns, func(a *advance) (bool, error) {
		err := a.retry(step, item)
		return err == nil, err
	})
}

// retry continues a run: from the failed steps, from a step, or with one item of a step. Other
// steps that failed the run, or were cancelled with it, are repeated too, because the run could
// not continue without them. So are all dependent steps.
func (a *advance) retry(name string, item int) error {
	ended := a.st.run.Status.Settled() || a.failing() != nil
	var target *stepState
	if name == "" {
		if a.st.run.Status != runs.Failed && a.st.run.Status != runs.Cancelled {
			return fmt.Errorf("%w: the run is %s; name the step to retry from", gaff.ErrConflict, a.st.run.Status)
		}
	} else {
		s, u := a.st.find(name, item)
		if s == nil || u == nil {
			return fmt.Errorf("step %s of run %s: %w", name, a.st.run.ID, gaff.ErrNotFound)
		}
		if !u.Status.Settled() {
			return fmt.Errorf("%w: it is %s; only a step that has ended can be retried", gaff.ErrConflict, u.Status)
		}
		target = s
	}
	var redo []*stepState
	if ended {
		for _, def := range a.c.steps {
			s := a.st.steps[def.Name]
			broken := slices.ContainsFunc(s.items, func(u *runs.Step) bool {
				return u.Status == runs.StepFailed || u.Status == runs.StepCancelled
			})
			if s.row.Status == runs.StepFailed && a.fatal(s) || s.row.Status == runs.StepCancelled || s.row.Status.Active() && broken {
				redo = append(redo, s)
			}
		}
	}
	after := map[string]bool{}
	for _, s := range redo {
		a.redo(s)
		a.dependents(s.def.Name, after)
	}
	if target != nil {
		a.dependents(name, after)
		if _, u := a.st.find(name, item); item == runs.WholeStep {
			if !slices.Contains(redo, target) {
				a.redo(target)
			}
		} else {
			a.resetRow(u)
			if target.row.Status.Settled() {
				target.row.Status, target.row.Error, target.row.SettledAt = runs.StepRunning, "", time.Time{}
				a.touch(target.row)
			}
		}
	}
	for _, def := range a.c.steps {
		if s := a.st.steps[def.Name]; after[def.Name] && s.row.Status != runs.StepPending {
			a.reset(s)
		}
	}
	a.st.run.Status, a.st.run.Error, a.st.run.SettledAt = runs.Running, "", time.Time{}
	if a.c.Timeout > 0 {
		a.st.run.DueAt, a.due = a.now.Add(time.Duration(a.c.Timeout)), true
	}
	a.changed = true
	return nil
}

// fatal reports whether a failed step fails the run.
func (a *advance) fatal(s *stepState) bool {
	switch s.def.OnFailure.Do {
	case DoContinue, DoSkip:
		return false
	case DoRun:
		return a.st.steps[s.def.OnFailure.Run].row.Status == runs.StepSkipped
	}
	return true
}

// dependents adds the steps that need a step, directly or indirectly.
func (a *advance) dependents(name string, into map[string]bool) {
	for _, def := range a.c.steps {
		if slices.Contains(def.needs, name) && !into[def.Name] {
			into[def.Name] = true
			a.dependents(def.Name, into)
		}
	}
}

// redo repeats a step. Of a step with items it repeats those that did not succeed; all of them if
// all succeeded.
func (a *advance) redo(s *stepState) {
	if s.def.forEach == nil || len(s.items) == 0 || s.row.Status == runs.StepCompleted || s.row.Status == runs.StepSkipped {
		a.reset(s)
		return
	}
	for _, u := range s.items {
		if u.Status.Settled() && u.Status != runs.StepCompleted {
			a.resetRow(u)
		}
	}
	s.row.Status, s.row.Error, s.row.SettledAt = runs.StepRunning, "", time.Time{}
	a.touch(s.row)
}

// reset makes a step pending, and removes its items.
func (a *advance) reset(s *stepState) {
	for _, u := range s.items {
		a.abandon(u)
	}
	if len(s.items) > 0 {
		a.dropped = append(a.dropped, s.def.Name)
		a.order = slices.DeleteFunc(a.order, func(u *runs.Step) bool { return slices.Contains(s.items, u) })
		s.items = nil
	}
	a.resetRow(s.row)
}

// resetRow makes one row pending.
func (a *advance) resetRow(u *runs.Step) {
	a.abandon(u)
	u.Status, u.AttemptsSinceReset, u.Error, u.JobID, u.Result, u.EventID, u.Decider = runs.StepPending, 0, "", "", nil, "", ""
	u.StartedAt, u.SettledAt, u.DueAt = time.Time{}, time.Time{}, time.Time{}
	a.touch(u)
}

// abandon cancels the job of a row and frees its slots.
func (a *advance) abandon(u *runs.Step) {
	if u.Status == runs.StepRunning && u.JobID != "" {
		a.cancels = append(a.cancels, u.JobID)
	}
	a.release(u)
}
