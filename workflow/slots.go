package workflow

import (
	"context"
	"errors"
	"strings"
	"time"

	"gaff"
	"gaff/workflow/runs"
)

// ProviderSlot and WorkflowSlot name the limits of a provider's key and of a workflow.
func ProviderSlot(provider string) string { return "provider/" + provider }

func WorkflowSlot(name string) string { return "workflow/" + name }

// limit is how many places there are under a name; 0 means no bound.
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

// takeSlots takes a place under each limit, or none. full remembers those that have none.
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

// wakeQueued lets the runs go on that wait longest for a place.
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

// wakeRest passes the news of a free place on, if there is one still.
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

// handleTimer works a deadline, or the news of a free place.
func (e *Engine) handleTimer(ctx context.Context, m message) error {
	err := e.finish(ctx, m.RunID, func(a *advance) (bool, error) {
		if a.st.run.Status.Settled() {
			return false, nil
		}
		// Only what is due, or waits for a place, changes anything.
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
	// Whether or not this run took the place, there may be another.
	if werr := e.wakeRest(ctx, m); werr != nil {
		e.log.Warn("wake who waits for a place", "slot", m.Slot, "error", werr)
	}
	return err
}
