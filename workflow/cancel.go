package workflow

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gaff"
	"gaff/workflow/runs"
)

// Cancel cancels a run, and its jobs at their providers. by names the person.
func (e *Engine) Cancel(ctx context.Context, runID, by string) (*runs.Run, error) {
	return e.move(ctx, runID, e.o.Store.WriteRuns, func(a *advance) (bool, error) {
		err := a.cancel(by)
		return err == nil, err
	})
}

// cancel cancels the run.
func (a *advance) cancel(by string) error {
	if a.st.run.Status.Settled() {
		return fmt.Errorf("%w: the run is already %s", gaff.ErrConflict, a.st.run.Status)
	}
	a.stopAll("cancelled by " + by)
	a.end(runs.Cancelled, "cancelled by "+by)
	return nil
}

// stopAll cancels all started steps.
func (a *advance) stopAll(reason string) {
	for _, def := range a.c.steps {
		s := a.st.steps[def.Name]
		for _, u := range append(slices.Clone(s.items), s.row) {
			if !u.Status.Active() && !(u.Status == runs.StepPending && u.Item >= 0) {
				continue
			}
			if u.Status == runs.StepRunning && u.JobID != "" {
				a.cancels = append(a.cancels, u.JobID)
			}
			a.release(u)
			u.Status, u.SettledAt, u.DueAt, u.Error = runs.StepCancelled, a.now, time.Time{}, reason
			a.touch(u)
		}
	}
}
