package workflow

import (
	"context"
	"errors"
	"strings"
	"time"

	"gaff"
	"gaff/workflow/runs"
)

// ProviderSlot returns the name of the limit of a provider.
func ProviderSlot(provider string) string { return "provider/" + provider }

// WorkflowSlot returns the name of the limit of a workflow.
func WorkflowSlot(name string) string { return "workflow/" + name }

// limit returns the number of slots under a name; 0 means unlimited.
func (e *Engine) limit(slot string) int {
	kind, name, _ := strings.Cut(slot, "/")
	if kind == "provider" {
		return e.o.Limits[name]
	}
	if c := (*e.current.Load())[name]; c != nil {
		return c.Concurrency
	}
	return 0
}

// takeSlots takes a slot of each limit, or none and reports false. It adds exhausted limits to
// full.
func (e *Engine) takeSlots(ctx context.Context, tx runs.Tx, slots [2]string, full map[string]bool) (bool, error) {
	for _, slot := range slots {
		if full[slot] {
			return false, nil
		}
	}
	var taken []string
	for _, slot := range slots {
		if slot == "" {
			continue
		}
		ok, err := tx.TakeSlot(ctx, slot, e.limit(slot))
		if err != nil {
			return false, err
		}
		if !ok {
			full[slot] = true
			for _, back := range taken {
				if _, err := tx.FreeSlot(ctx, back); err != nil {
					return false, err
				}
			}
			return false, nil
		}
		taken = append(taken, slot)
	}
	return true, nil
}

// wakeQueued advances the run that has been queued longest for a slot.
func (e *Engine) wakeQueued(ctx context.Context, tx runs.Tx, slot, except string, hop int) error {
	queued, err := tx.QueuedRuns(ctx, slot, 2)
	if err != nil {
		return err
	}
	for _, run := range queued {
		if run == except {
			continue
		}
		return e.emitIn(ctx, tx, eventAdvance, message{RunID: run, Slot: slot}, time.Time{}, hop)
	}
	return nil
}

// wakeRest wakes the next run if the limit of m still has a free slot.
func (e *Engine) wakeRest(ctx context.Context, m message) error {
	slots, err := e.o.Store.Slots(ctx)
	if err != nil {
		return err
	}
	for _, s := range slots {
		if limit := e.limit(s.Slot); s.Slot == m.Slot && s.Queued > 0 && (limit < 1 || s.Used < limit) {
			return e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return e.wakeQueued(ctx, tx, m.Slot, m.RunID, 0) })
		}
	}
	return nil
}

// handleTimer processes a deadline, or a freed slot.
func (e *Engine) handleTimer(ctx context.Context, m message) error {
	err := e.finish(ctx, m.RunID, func(a *advance) (bool, error) {
		if a.st.run.Status.Settled() {
			return false, nil
		}
		// Only a due or queued step can change.
		if due := a.st.run.DueAt; !due.IsZero() && !due.After(a.now) {
			return true, nil
		}
		for _, s := range a.st.steps {
			for _, u := range s.units() {
				if u.Status == runs.StepQueued && m.Slot != "" || !u.DueAt.IsZero() && !u.DueAt.After(a.now) {
					return true, nil
				}
			}
		}
		return false, nil
	})
	if m.Slot == "" || err != nil && !errors.Is(err, gaff.Finished) {
		return err
	}
	// This run may have left a slot free.
	if werr := e.wakeRest(ctx, m); werr != nil {
		e.log.Warn("wake the next queued run", "slot", m.Slot, "error", werr)
	}
	return err
}
