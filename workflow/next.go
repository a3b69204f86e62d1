package workflow

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"gaff/internal/excerpt"
	"gaff/workflow/runs"
)

// advance is one forward movement of a run: its changed rows, and what else must happen in
// the same transaction.
type advance struct {
	c      *Compiled
	st     *state
	now    time.Time
	values values
	log    *slog.Logger

	dirty     map[*runs.Step]bool
	order     []*runs.Step   // the keys of dirty, in the order of the changes
	dropped   []string       // steps whose items are removed
	freed     []string       // slots to free
	cancels   []string       // jobs to cancel
	searches  []runs.StepRef // waits for which earlier events are searched
	calls     []*runs.Step   // http calls to make
	approvals []*runs.Step   // approvals to ask for
	emits     []emission
	refused   []error // of jobs that were not accepted
	changed   bool    // the run's own row changed
	due       bool    // the run's deadline changed
	vars      map[string]any
	err       error // of the store: nothing may be written
}

func (c *Compiled) advance(st *state, now time.Time, v values) *advance {
	return &advance{c: c, st: st, now: now, values: v, log: slog.New(slog.DiscardHandler), dirty: map[*runs.Step]bool{}}
}

func (a *advance) touch(u *runs.Step) {
	if !a.dirty[u] {
		a.dirty[u] = true
		a.order = append(a.order, u)
	}
}

// variables returns the variables of expressions that read the steps refs.
func (a *advance) variables(refs []string) (map[string]any, error) {
	steps := map[string]any{}
	for _, name := range refs {
		v, err := a.values.step(name)
		if err != nil {
			return nil, err
		}
		steps[name] = v
	}
	r, p := &a.st.run, &a.st.project
	if a.vars == nil {
		a.vars = map[string]any{
			"input": decode(r.Input),
			"run": map[string]any{
				"id": r.ID, "workflow": r.Workflow, "projectId": r.ProjectID, "userId": r.UserID, "createdAt": r.CreatedAt, "cost": r.Cost,
			},
			"project": map[string]any{"id": p.ID, "name": p.Name, "owner": p.Owner, "metadata": decode(p.Metadata)},
		}
	}
	vars := make(map[string]any, 6)
	for name, v := range a.vars {
		vars[name] = v
	}
	vars["steps"] = steps
	return vars, nil
}

// unitVariables returns the variables of a step or item, with item and index for an item.
func (a *advance) unitVariables(refs []string, u *runs.Step) (map[string]any, error) {
	vars, err := a.variables(refs)
	if err != nil || u.Item < 0 {
		return vars, err
	}
	over, err := a.values.items(u.Name)
	if err != nil {
		return nil, err
	}
	if u.Item < len(over) {
		vars["item"], vars["index"] = over[u.Item], int64(u.Item)
	}
	return vars, nil
}

// next does everything that can be done now.
func (a *advance) next() {
	if a.st.run.Status.Settled() {
		return
	}
	a.deadlines()
	for progress := true; progress && a.err == nil; {
		progress = false
		if a.failing() == nil {
			for _, def := range a.c.steps {
				if a.startReady(a.st.steps[def.Name]) {
					progress = true
				}
				if a.err != nil || a.failing() != nil {
					break
				}
			}
		}
		for _, def := range a.c.steps {
			if a.rollUp(a.st.steps[def.Name]) {
				progress = true
			}
		}
	}
	if a.err == nil {
		a.settle()
	}
}

// deadlines ends steps whose deadline passed, and starts those whose next attempt is due.
func (a *advance) deadlines() {
	if due := a.st.run.DueAt; !due.IsZero() && !due.After(a.now) {
		a.stopAll(fmt.Sprintf("the run took longer than %s", a.c.Timeout))
		a.end(runs.Failed, fmt.Sprintf("took longer than %s", a.c.Timeout))
		return
	}
	for _, def := range a.c.steps {
		s := a.st.steps[def.Name]
		for _, u := range s.units() {
			if u.DueAt.IsZero() || u.DueAt.After(a.now) {
				continue
			}
			switch u.Status {
			case runs.StepRetrying:
				u.Status, u.DueAt = runs.StepPending, time.Time{}
				if s.def.forEach == nil {
					a.begin(s, u)
				}
				a.touch(u)
			case runs.StepRunning:
				if u.JobID != "" {
					a.cancels = append(a.cancels, u.JobID)
				}
				a.fail(s, u, fmt.Sprintf("took longer than %s", s.def.Timeout), false)
			case runs.StepWaiting:
				switch {
				case s.def.Approve == nil:
					a.fail(s, u, fmt.Sprintf("no such event came within %s", s.def.WaitFor.Deadline), false)
				case s.def.Approve.OnDeadline == "approve":
					u.Decider = "deadline"
					a.complete(s, u, map[string]any{"approved": true, "by": "deadline", "comment": ""})
				default:
					a.fail(s, u, fmt.Sprintf("nobody decided within %s", s.def.Approve.Deadline), true)
				}
			default: // other statuses have no deadline
			}
		}
	}
}

// needState reports whether a needed step is done, and whether it is lost: then the steps that
// need it are skipped.
func (a *advance) needState(name string) (done, lost bool) {
	s := a.st.steps[name]
	switch s.row.Status {
	case runs.StepCompleted:
		return true, false
	case runs.StepSkipped:
		return true, a.skippedByFailure(s)
	case runs.StepFailed:
		switch s.def.OnFailure.Do {
		case DoContinue:
			return true, false
		case DoSkip:
			return true, true
		case DoRun:
			return true, false // its fallback is needed too
		}
	default: // not done, or cancelled with the run
	}
	return false, false
}

// skippedByFailure reports whether a step was skipped because a step that it needs failed.
func (a *advance) skippedByFailure(s *stepState) bool {
	if s.row.Status != runs.StepSkipped {
		return false
	}
	for _, need := range s.def.needs {
		if need == s.def.fallbackOf {
			continue
		}
		other := a.st.steps[need]
		if other.row.Status == runs.StepFailed && other.def.OnFailure.Do == DoSkip || a.skippedByFailure(other) {
			return true
		}
	}
	return false
}

// startReady starts a step or its items if possible, and reports whether it changed anything.
func (a *advance) startReady(s *stepState) (progress bool) {
	switch s.row.Status {
	case runs.StepPending:
		return a.startIfReady(s)
	case runs.StepRunning, runs.StepWaiting:
		if s.def.forEach == nil {
			return false
		}
		for _, u := range s.items {
			if u.Status == runs.StepPending && a.err == nil {
				a.begin(s, u)
				progress = true
			}
		}
	default: // nothing to start
	}
	return progress
}

func (a *advance) startIfReady(s *stepState) bool {
	lost := ""
	for _, need := range s.def.needs {
		if need == s.def.fallbackOf {
			switch a.st.steps[need].row.Status {
			case runs.StepFailed:
			case runs.StepCompleted, runs.StepSkipped:
				a.skip(s, need+" did not fail")
				return true
			default:
				return false
			}
			continue
		}
		done, gone := a.needState(need)
		if !done {
			return false
		}
		if gone && lost == "" {
			lost = need
		}
	}
	if lost != "" {
		a.skip(s, "needs "+lost+", which did not succeed")
		return true
	}
	if s.def.when != nil {
		vars, err := a.variables(s.def.startRefs)
		if err != nil {
			a.err = err
			return false
		}
		met, err := s.def.when.Bool(vars)
		if err != nil {
			a.fail(s, s.row, "when: "+err.Error(), true)
			return true
		}
		if !met {
			a.skip(s, "its condition was false")
			return true
		}
	}
	if s.def.forEach == nil {
		a.begin(s, s.row)
		return true
	}
	return a.createItems(s)
}

// createItems evaluates a for_each and adds its items.
func (a *advance) createItems(s *stepState) bool {
	vars, err := a.variables(s.def.startRefs)
	if err != nil {
		a.err = err
		return false
	}
	v, err := s.def.forEach.Value(vars)
	over, isList := v.([]any)
	switch {
	case err != nil:
	case !isList:
		err = fmt.Errorf("%s does not give a list", excerpt.Line(s.def.ForEach, 79))
	case len(over) > MaxItems:
		err = fmt.Errorf("%d items; the maximum is %d", len(over), MaxItems)
	default:
		s.row.Input, err = encode(over)
	}
	s.row.StartedAt = a.now
	s.row.Attempt++
	if err != nil {
		a.fail(s, s.row, "for_each: "+err.Error(), true)
		return true
	}
	s.row.Status, s.row.Error, s.row.SettledAt = runs.StepRunning, "", time.Time{}
	a.touch(s.row)
	s.items = nil
	for i := range over {
		u := &runs.Step{RunID: a.st.run.ID, Name: s.def.Name, Item: i}
		s.items = append(s.items, u)
		a.touch(u)
	}
	return true
}

// rollUp derives a step's status from its items, and reports whether it changed.
func (a *advance) rollUp(s *stepState) (progress bool) {
	if s.def.forEach == nil || !s.row.Status.Active() {
		return false
	}
	var count [runs.StepCancelled + 1]int
	failed := ""
	for _, u := range s.items {
		count[u.Status]++
		if u.Status == runs.StepFailed && failed == "" {
			failed = fmt.Sprintf("item %d: %s", u.Item, u.Error)
		}
	}
	before := s.row.Status
	open := count[runs.StepPending] + count[runs.StepQueued] + count[runs.StepRunning] + count[runs.StepRetrying]
	switch {
	case open > 0:
		s.row.Status = runs.StepRunning
	case count[runs.StepWaiting] > 0:
		s.row.Status = runs.StepWaiting
	case count[runs.StepFailed]+count[runs.StepCancelled] > 0:
		s.row.Status, s.row.SettledAt = runs.StepFailed, a.now
		s.row.Error = fmt.Sprintf("%d of %d items failed: %s", count[runs.StepFailed], len(s.items), failed)
		if count[runs.StepFailed] == 0 {
			s.row.Status, s.row.Error = runs.StepCancelled, "the run ended before it did"
		}
	default:
		s.row.Status, s.row.SettledAt, s.row.Error = runs.StepCompleted, a.now, ""
	}
	if s.row.Status != before {
		a.touch(s.row)
		return true
	}
	return false
}

// failing returns a step that fails the run; nil if there is no such step. A failed item counts
// before the other items end, so that no more are started.
func (a *advance) failing() *stepState {
	for _, def := range a.c.steps {
		s := a.st.steps[def.Name]
		failed := s.row.Status == runs.StepFailed
		if !failed && def.forEach != nil && s.row.Status.Active() && (def.OnFailure.Do == "" || def.OnFailure.Do == DoFail) {
			failed = slices.ContainsFunc(s.items, func(u *runs.Step) bool { return u.Status == runs.StepFailed })
		}
		if !failed {
			continue
		}
		switch def.OnFailure.Do {
		case "", DoFail:
			return s
		case DoRun:
			if a.st.steps[def.OnFailure.Run].row.Status == runs.StepSkipped {
				return s
			}
		}
	}
	return nil
}

// settle ends the run if all steps have ended, or if one failed it.
func (a *advance) settle() {
	if a.st.run.Status.Settled() {
		return
	}
	bad := a.failing()
	running, open := false, false
	for _, def := range a.c.steps {
		s := a.st.steps[def.Name]
		for _, u := range s.units() {
			if bad != nil && (u.Status == runs.StepQueued || u.Status == runs.StepWaiting || u.Status == runs.StepRetrying ||
				u.Status == runs.StepPending && u.Item >= 0) {
				a.release(u)
				u.Status, u.SettledAt, u.DueAt, u.Error = runs.StepCancelled, a.now, time.Time{}, "the run failed before"
				a.touch(u)
			}
			running = running || u.Status == runs.StepRunning
		}
		open = open || !s.row.Status.Settled()
	}
	if bad != nil {
		for _, def := range a.c.steps {
			a.rollUp(a.st.steps[def.Name])
		}
		// Running jobs are paid for, so the run waits for them.
		if !running {
			reason := bad.row.Error
			a.end(runs.Failed, fmt.Sprintf("step %s: %s", bad.def.Name, reason))
		}
		return
	}
	if !open {
		a.end(runs.Completed, "")
	}
}

func (a *advance) end(status runs.Status, reason string) {
	a.st.run.Status, a.st.run.Error, a.st.run.SettledAt = status, excerpt.Text(reason, 2000), a.now
	a.changed = true
}
