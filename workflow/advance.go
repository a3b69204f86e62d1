package workflow

import (
	"context"
	"errors"
	"slices"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// maxConflicts is how often a run is read anew when other nodes change it at the same time.
const maxConflicts = 10

// move loads a run, lets change do something to it, does all that can be done then, and
// stores it with apply. change returns false if there is nothing to do. It may be called
// more than once.
func (e *Engine) move(ctx context.Context, runID string, apply func(context.Context, func(runs.Tx) error) error,
	change func(a *advance) (bool, error)) (*runs.Run, error) {
	defer e.locks.lock(runID)()
	for try := 0; ; try++ {
		a, err := e.load(ctx, runID)
		if err != nil {
			return nil, err
		}
		ok, err := change(a)
		if err != nil || !ok {
			return &a.st.run, err
		}
		a.next()
		if a.err != nil {
			return nil, a.err
		}
		var written runs.Run
		err = e.commit(ctx, a, apply, func(tx runs.Tx) error { return e.write(ctx, tx, a, &written) })
		if errors.Is(err, gaff.ErrConflict) && try < maxConflicts {
			continue
		}
		return &written, err
	}
}

func (e *Engine) load(ctx context.Context, runID string) (*advance, error) {
	run, err := e.o.Store.Run(ctx, runID)
	if err != nil {
		return nil, err
	}
	c, err := e.version(ctx, run.Version)
	if err != nil {
		return nil, err
	}
	project, err := e.project(ctx, run)
	if err != nil {
		return nil, err
	}
	rows, err := e.o.Store.Steps(ctx, runID)
	if err != nil {
		return nil, err
	}
	st := newState(c, *run, *project, rows)
	return c.advance(st, time.Now(), &loader{ctx: ctx, e: e, st: st}), nil
}

// applying finishes the delivery that ctx is of together with what is written.
func (e *Engine) applying(ctx context.Context) (func(context.Context, func(runs.Tx) error) error, error) {
	lease, ok := gaff.LeaseFrom(ctx)
	if !ok {
		return nil, gaff.Discard(errors.New("workflow handler called outside a delivery"))
	}
	return func(ctx context.Context, fn func(runs.Tx) error) error {
		return e.o.Store.ApplyRuns(ctx, lease, fn)
	}, nil
}

// finish is move for a handler: the delivery ends with the transaction.
func (e *Engine) finish(ctx context.Context, runID string, change func(a *advance) (bool, error)) error {
	apply, err := e.applying(ctx)
	if err != nil {
		return err
	}
	wrote := false
	_, err = e.move(ctx, runID, apply, func(a *advance) (bool, error) {
		ok, err := change(a)
		wrote = ok && err == nil
		return ok, err
	})
	switch {
	case errors.Is(err, gaff.ErrNotFound):
		return nil // the run was removed since
	case err != nil:
		return err
	case wrote:
		return gaff.Finished
	}
	return nil
}

// commit stores an advance. A job that cannot be asked for, whatever is done, fails its step,
// and the run is moved again.
func (e *Engine) commit(ctx context.Context, a *advance, apply func(context.Context, func(runs.Tx) error) error,
	fn func(runs.Tx) error) error {
	for {
		err := apply(ctx, fn)
		refused, ok := errors.AsType[*rejectedError](err)
		if !ok {
			return err
		}
		a.fail(refused.step, refused.unit, refused.err.Error(), true)
		if a.next(); a.err != nil {
			return a.err
		}
	}
}

// rejectedError is a job that is refused for what it is.
type rejectedError struct {
	step *stepState
	unit *runs.Step
	err  error
}

func (e *rejectedError) Error() string { return e.err.Error() }

// write stores an advance: in one transaction, whole or not at all. It may be called more
// than once for the same advance, so it works on copies; out, if not nil, is set to the
// run as it was written.
func (e *Engine) write(ctx context.Context, tx runs.Tx, a *advance, out *runs.Run) error {
	run := a.st.run
	now := tx.Now()
	// The state as it will be, with rows that the queue below may change.
	rows := make(map[*runs.Step]*runs.Step, len(a.order))
	var order []*runs.Step
	edit := func(u *runs.Step) *runs.Step {
		if rows[u] == nil {
			copied := *u
			rows[u] = &copied
			order = append(order, u)
		}
		return rows[u]
	}
	for _, u := range a.order {
		edit(u)
	}
	for _, slot := range a.freed {
		if _, err := tx.FreeSlot(ctx, slot); err != nil {
			return err
		}
	}
	full := map[string]bool{}
	if !run.Status.Settled() {
		for _, def := range a.c.steps {
			for _, u := range a.st.steps[def.Name].units() {
				if u.Status != runs.StepQueued {
					continue
				}
				took, err := e.takeSlots(ctx, tx, u.Slots, full)
				if err != nil {
					return err
				}
				if !took {
					continue
				}
				row := edit(u)
				err = e.submit(ctx, tx, a, &run, def, row, now)
				if errors.Is(err, gaff.ErrInvalid) {
					return &rejectedError{a.st.steps[def.Name], u, err}
				}
				if err != nil {
					return err
				}
			}
		}
	}
	view := a.st
	if len(order) > 0 {
		view = a.st.with(rows)
	}
	run.Waiting = view.waiting(a.c)
	if err := tx.SaveRun(ctx, &run); err != nil {
		return err
	}
	for _, name := range a.dropped {
		if err := tx.DropItems(ctx, run.ID, name); err != nil {
			return err
		}
	}
	if a.due {
		if err := e.emitIn(ctx, tx, eventAdvance, message{RunID: run.ID}, run.DueAt, run.Hop); err != nil {
			return err
		}
	}
	steps := make([]runs.Step, 0, len(order))
	timers := map[int64]bool{}
	for _, u := range order {
		row := rows[u]
		if steps = append(steps, *row); row.DueAt.IsZero() {
			continue
		}
		if us := row.DueAt.UnixMicro(); !timers[us] {
			timers[us] = true
			if err := e.emitIn(ctx, tx, eventAdvance, message{RunID: run.ID}, row.DueAt, run.Hop); err != nil {
				return err
			}
		}
	}
	if err := tx.SaveSteps(ctx, run.ID, steps); err != nil {
		return err
	}
	if err := e.notify(ctx, tx, a, &run); err != nil {
		return err
	}
	// A place that was given back and not taken again is for another run; and one that this
	// run was woken for.
	for _, slot := range slices.Compact(slices.Sorted(slices.Values(a.freed))) {
		if !full[slot] {
			if err := e.wake(ctx, tx, slot, run.ID, run.Hop); err != nil {
				return err
			}
		}
	}
	if out != nil {
		*out = run
	}
	return nil
}

// SaveProject makes a project or sets its name, owner and metadata.
func (e *Engine) SaveProject(ctx context.Context, p *jobs.Project) error {
	return e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return tx.SaveProject(ctx, p) })
}
