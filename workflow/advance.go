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

// maxConflicts is the number of times that a run is loaded again after another node changed
// it meanwhile.
const maxConflicts = 10

// applyFunc runs fn in a transaction, as Store.WriteRuns does.
type applyFunc func(ctx context.Context, fn func(runs.Tx) error) error

// move loads a run, calls change, advances the run as far as possible and stores it with
// apply. change reports false if nothing is to be stored. It may be called more than once.
func (e *Engine) move(ctx context.Context, runID string, apply applyFunc, change func(a *advance) (bool, error)) (*runs.Run, error) {
	defer e.locks.lock(runID)()
	for attempt := 0; ; attempt++ {
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
		if errors.Is(err, gaff.ErrConflict) && attempt < maxConflicts {
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
	return e.advanceOf(ctx, c, newState(c, *run, *project, rows), time.Now()), nil
}

// advanceOf returns an advance whose expressions read values of the store.
func (e *Engine) advanceOf(ctx context.Context, c *Compiled, st *state, now time.Time) *advance {
	a := c.advance(st, now, &loader{ctx: ctx, store: e.o.Store, st: st})
	a.log = e.log
	return a
}

// applyDelivery returns an applyFunc that also finishes the delivery of ctx.
func (e *Engine) applyDelivery(ctx context.Context) (applyFunc, error) {
	lease, ok := gaff.LeaseFrom(ctx)
	if !ok {
		return nil, gaff.Discard(errors.New("workflow handler called outside a delivery"))
	}
	return func(ctx context.Context, fn func(runs.Tx) error) error {
		return e.o.Store.ApplyRuns(ctx, lease, fn)
	}, nil
}

// finish is move for a handler: it finishes the delivery in the same transaction.
func (e *Engine) finish(ctx context.Context, runID string, change func(a *advance) (bool, error)) error {
	apply, err := e.applyDelivery(ctx)
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
		return nil // removed meanwhile
	case err != nil:
		return err
	case wrote:
		return gaff.Finished
	}
	return nil
}

// commit stores an advance. A step whose job is rejected fails, and the run advances from there.
func (e *Engine) commit(ctx context.Context, a *advance, apply applyFunc, fn func(runs.Tx) error) error {
	for {
		err := apply(ctx, fn)
		rejected, ok := errors.AsType[*rejectedError](err)
		if !ok {
			return err
		}
		a.fail(rejected.step, rejected.unit, rejected.err.Error(), true)
		a.refused = append(a.refused, rejected.err)
		if a.next(); a.err != nil {
			return a.err
		}
	}
}

// rejectedError reports a job that is invalid, so that another attempt would fail too.
type rejectedError struct {
	step *stepState
	unit *runs.Step
	err  error
}

func (e *rejectedError) Error() string { return e.err.Error() }

// write stores an advance and submits the jobs that have a slot, in one transaction. It may be
// called more than once for the same advance, so it works on copies. It sets out to the run
// as written.
func (e *Engine) write(ctx context.Context, tx runs.Tx, a *advance, out *runs.Run) error {
	w := &writing{e: e, tx: tx, a: a, run: a.st.run, rows: map[*runs.Step]*runs.Step{}, full: map[string]bool{}}
	for _, u := range a.order {
		w.edit(u)
	}
	for _, slot := range a.freed {
		if _, err := tx.FreeSlot(ctx, slot); err != nil {
			return err
		}
	}
	if refuser, ok := e.o.Jobs.(Refuser); ok {
		for _, err := range a.refused {
			if err := refuser.Refused(ctx, tx, err); err != nil {
				return err
			}
		}
	}
	if err := w.startQueued(ctx); err != nil {
		return err
	}
	w.run.Waiting = w.state().waiting(a.c)
	if err := tx.SaveRun(ctx, &w.run); err != nil {
		return err
	}
	if err := w.saveSteps(ctx); err != nil {
		return err
	}
	if err := e.notify(ctx, tx, a, &w.run); err != nil {
		return err
	}
	// A slot that was freed, and not taken again, goes to another run.
	for _, slot := range slices.Compact(slices.Sorted(slices.Values(a.freed))) {
		if !w.full[slot] {
			if err := e.wakeQueued(ctx, tx, slot, w.run.ID, w.run.Hop); err != nil {
				return err
			}
		}
	}
	*out = w.run
	return nil
}

// writing is one execution of write.
type writing struct {
	e     *Engine
	tx    runs.Tx
	a     *advance
	run   runs.Run
	rows  map[*runs.Step]*runs.Step // copies of the rows to save
	order []*runs.Step              // the keys of rows, in the order of the changes
	full  map[string]bool           // limits without a free slot
}

// edit returns the copy of a row that will be saved.
func (w *writing) edit(u *runs.Step) *runs.Step {
	if w.rows[u] == nil {
		copied := *u
		w.rows[u] = &copied
		w.order = append(w.order, u)
	}
	return w.rows[u]
}

// startQueued submits the jobs of queued steps for which slots are free.
func (w *writing) startQueued(ctx context.Context) error {
	if w.run.Status.Settled() {
		return nil
	}
	for _, def := range w.a.c.steps {
		s := w.a.st.steps[def.Name]
		for _, u := range s.units() {
			if u.Status != runs.StepQueued {
				continue
			}
			took, err := w.e.takeSlots(ctx, w.tx, u.Slots, w.full)
			if err != nil {
				return err
			}
			if !took {
				continue
			}
			err = w.e.submit(ctx, w.tx, w.a, &w.run, s, w.edit(u))
			if errors.Is(err, gaff.ErrInvalid) {
				return &rejectedError{s, u, err}
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// state returns the state of the advance with the edited rows.
func (w *writing) state() *state {
	if len(w.order) == 0 {
		return w.a.st
	}
	return w.a.st.with(w.rows)
}

// saveSteps stores the changed rows, and one timer for each time at which they are due.
func (w *writing) saveSteps(ctx context.Context) error {
	for _, name := range w.a.dropped {
		if err := w.tx.DropItems(ctx, w.run.ID, name); err != nil {
			return err
		}
	}
	timers := map[int64]bool{}
	timer := func(at time.Time) error {
		if at.IsZero() || timers[at.UnixMicro()] {
			return nil
		}
		timers[at.UnixMicro()] = true
		return w.e.emitIn(ctx, w.tx, eventAdvance, message{RunID: w.run.ID}, at, w.run.Hop)
	}
	if w.a.due {
		if err := timer(w.run.DueAt); err != nil {
			return err
		}
	}
	steps := make([]runs.Step, 0, len(w.order))
	for _, u := range w.order {
		row := *w.rows[u]
		steps = append(steps, row)
		if err := timer(row.DueAt); err != nil {
			return err
		}
	}
	return w.tx.SaveSteps(ctx, w.run.ID, steps)
}

// SaveProject creates a project, or sets its name, owner and metadata.
func (e *Engine) SaveProject(ctx context.Context, p *jobs.Project) error {
	return e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return tx.SaveProject(ctx, p) })
}
