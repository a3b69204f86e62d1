package workflow

import (
	"context"
	"fmt"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/workflow/runs"
)

// Decide approves or rejects a waiting step. An empty step means the only one that waits; by
// names the person.
func (e *Engine) Decide(ctx context.Context, runID, step string, item int, approved bool, by, comment string) (*runs.Run, error) {
	if step == "" {
		rows, err := e.o.Store.Steps(ctx, runID)
		if err != nil {
			return nil, err
		}
		a, err := e.load(ctx, runID)
		if err != nil {
			return nil, err
		}
		var open []string
		for _, row := range rows {
			if row.Status == runs.StepWaiting && a.st.steps[row.Name] != nil && a.st.steps[row.Name].def.Approve != nil && (row.Item >= 0 || a.st.steps[row.Name].def.forEach == nil) {
				open = append(open, row.Name)
				item = row.Item
			}
		}
		if len(open) != 1 {
			return nil, fmt.Errorf("%w: %d steps wait for approval; name one", gaff.ErrConflict, len(open))
		}
		step = open[0]
	}
	return e.move(ctx, runID, e.o.Store.WriteRuns, func(a *advance) (bool, error) {
		err := a.decide(step, item, approved, by, excerpt.Text(comment, 2000))
		return err == nil, err
	})
}

// decide completes or fails a step that waits for approval.
func (a *advance) decide(name string, item int, approved bool, by, comment string) error {
	s, u := a.st.find(name, item)
	switch {
	case s == nil || u == nil:
		return fmt.Errorf("step %s of run %s: %w", name, a.st.run.ID, gaff.ErrNotFound)
	case s.def.Approve == nil:
		return fmt.Errorf("%w: step %s is not an approve step", gaff.ErrInvalid, name)
	case u.Status != runs.StepWaiting || u.Item == runs.WholeStep && s.def.forEach != nil:
		return fmt.Errorf("%w: step %s is not waiting for approval; it is %s", gaff.ErrConflict, name, u.Status)
	}
	u.Decider = by
	if approved {
		a.complete(s, u, map[string]any{"approved": true, "by": by, "comment": comment})
		return nil
	}
	reason := "rejected by " + by
	if comment != "" {
		reason += ": " + comment
	}
	a.fail(s, u, reason, true)
	return nil
}
