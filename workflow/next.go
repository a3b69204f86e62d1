package workflow

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// state is a run with its rows, as it is being changed.
type state struct {
	run     runs.Run
	project jobs.Project
	steps   map[string]*stepState
}

type stepState struct {
	def *step
	// row is about the step itself; items are those of a for_each.
	row   *runs.Step
	items []*runs.Step
}

// units are what runs: the items, or the step itself.
func (s *stepState) units() []*runs.Step {
	if s.def.forEach != nil {
		return s.items
	}
	return []*runs.Step{s.row}
}

func newState(c *Compiled, run runs.Run, project jobs.Project, rows []runs.Step) *state {
	st := &state{run: run, project: project, steps: map[string]*stepState{}}
	for _, def := range c.steps {
		st.steps[def.Name] = &stepState{def: def, row: &runs.Step{RunID: run.ID, Name: def.Name, Item: runs.WholeStep}}
	}
	for i := range rows {
		row := &rows[i]
		s := st.steps[row.Name]
		switch {
		case s == nil:
		case row.Item == runs.WholeStep:
			s.row = row
		default:
			s.items = append(s.items, row)
		}
	}
	for _, s := range st.steps {
		slices.SortFunc(s.items, func(a, b *runs.Step) int { return a.Item - b.Item })
	}
	return st
}

// find returns a step's or an item's row; nil if there is none.
func (st *state) find(name string, item int) (*stepState, *runs.Step) {
	s := st.steps[name]
	if s == nil {
		return nil, nil
	}
	if item == runs.WholeStep {
		return s, s.row
	}
	i, ok := slices.BinarySearchFunc(s.items, item, func(row *runs.Step, n int) int { return row.Item - n })
	if !ok {
		return s, nil
	}
	return s, s.items[i]
}

// values gives what expressions read. It sees the changes that are under way.
type values interface {
	// step is the value of steps.NAME.
	step(name string) (map[string]any, error)
	// items are what a for_each goes over.
	items(name string) ([]any, error)
}

// submission is what a submit was given, as it is stored with the step.
type submission struct {
	Provider string          `json:"provider"`
	Model    string          `json:"model"`
	Kind     string          `json:"kind,omitempty"`
	Input    json.RawMessage `json:"input"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

// call is what an http step was given, as it is stored; headers are not.
type call struct {
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// emission is an event that a step makes.
type emission struct {
	step, eventType string
	item            int
	data            json.RawMessage
}

// advance is one forward movement of a run: what it changes, and what else must happen in
// the same transaction.
type advance struct {
	c   *Compiled
	st  *state
	now time.Time
	v   values

	dirty   map[*runs.Step]bool
	order   []*runs.Step // of dirty, as they were touched
	dropped []string     // steps whose items are removed
	freed   []string     // places given back
	cancels []string     // jobs to cancel
	looks   []runs.StepRef
	calls   []*runs.Step
	polls   []*runs.Step // approvals wanted
	emits   []emission
	changed bool // the run's own row
	due     bool // when the run times out
	vars    map[string]any
	err     error // of the store: nothing may be written
}

func (c *Compiled) advance(st *state, now time.Time, v values) *advance {
	return &advance{c: c, st: st, now: now, v: v, dirty: map[*runs.Step]bool{}}
}

func (a *advance) touch(u *runs.Step) {
	if !a.dirty[u] {
		a.dirty[u] = true
		a.order = append(a.order, u)
	}
}

// variables are those of expressions, with the steps that they name.
func (a *advance) variables(refs []string) (map[string]any, error) {
	steps := map[string]any{}
	for _, name := range refs {
		v, err := a.v.step(name)
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

// next does all that can be done now.
func (a *advance) next() {
	if a.st.run.Status.Settled() {
		return
	}
	a.deadlines()
	for progress := true; progress && a.err == nil; {
		progress = false
		if a.failing() == nil {
			for _, def := range a.c.steps {
				if a.visit(a.st.steps[def.Name]) {
					progress = true
				}
				if a.err != nil || a.failing() != nil {
					break
				}
			}
		}
		for _, def := range a.c.steps {
			if a.gather(a.st.steps[def.Name]) {
				progress = true
			}
		}
	}
	if a.err == nil {
		a.settle()
	}
}

// deadlines ends what took too long, and begins again what was to be.
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
			default: // no other is due to do something
			}
		}
	}
}

// need tells how a needed step stands: done, or not yet, or gone in a way that takes those
// with it that need it.
func (a *advance) need(name string) (done, lost bool) {
	s := a.st.steps[name]
	switch s.row.Status {
	case runs.StepCompleted:
		return true, false
	case runs.StepSkipped:
		return true, a.lost(s)
	case runs.StepFailed:
		switch s.def.OnFailure.Do {
		case DoContinue:
			return true, false
		case DoSkip:
			return true, true
		case DoRun:
			return true, false // the step in its place is needed too
		}
	default: // not done yet, or canceled with the run
	}
	return false, false
}

// lost tells whether a skipped step was skipped because of a failure.
func (a *advance) lost(s *stepState) bool {
	if s.row.Status != runs.StepSkipped {
		return false
	}
	for _, need := range s.def.needs {
		if need == s.def.fallbackOf {
			continue
		}
		other := a.st.steps[need]
		if other.row.Status == runs.StepFailed && other.def.OnFailure.Do == DoSkip || a.lost(other) {
			return true
		}
	}
	return false
}

// visit begins a step, or its items, if it can be.
func (a *advance) visit(s *stepState) (progress bool) {
	switch s.row.Status {
	case runs.StepPending:
		return a.ready(s)
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
	default: // it waits for its turn, or is done
	}
	return progress
}

func (a *advance) ready(s *stepState) bool {
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
		done, gone := a.need(need)
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
		yes, err := s.def.when.eval(vars)
		truth, isBool := yes.(bool)
		if err == nil && !isBool {
			err = fmt.Errorf("%s gives %s; true or false is wanted", shorten(s.def.When), shorten(asText(yes)))
		}
		if err != nil {
			a.fail(s, s.row, "when: "+err.Error(), true)
			return true
		}
		if !truth {
			a.skip(s, "its condition was false")
			return true
		}
	}
	if s.def.forEach == nil {
		a.begin(s, s.row)
		return true
	}
	return a.spread(s)
}

// spread makes the items of a for_each.
func (a *advance) spread(s *stepState) bool {
	vars, err := a.variables(s.def.startRefs)
	if err != nil {
		a.err = err
		return false
	}
	v, err := s.def.forEach.eval(vars)
	over, isList := v.([]any)
	switch {
	case err != nil:
	case !isList:
		err = fmt.Errorf("%s gives no list", shorten(s.def.ForEach))
	case len(over) > MaxItems:
		err = fmt.Errorf("%d items; at most %d are possible", len(over), MaxItems)
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

// begin makes one try of a step or item.
func (a *advance) begin(s *stepState, u *runs.Step) {
	u.Attempt++
	u.Tries++
	u.Error, u.JobID, u.Result, u.Decider = "", "", nil, ""
	u.StartedAt, u.SettledAt, u.DueAt = a.now, time.Time{}, time.Time{}
	a.touch(u)
	vars, err := a.variables(s.def.startRefs)
	if err == nil && u.Item >= 0 {
		var over []any
		if over, err = a.v.items(s.def.Name); err == nil && u.Item < len(over) {
			vars["item"], vars["index"] = over[u.Item], int64(u.Item)
		}
	}
	if err != nil {
		a.err = err
		return
	}
	if err := a.start(s, u, vars); err != nil {
		a.fail(s, u, err.Error(), true)
	}
}

func (a *advance) start(s *stepState, u *runs.Step, vars map[string]any) error {
	text := func(v value) (string, error) {
		if v == nil {
			return "", nil
		}
		out, err := v.eval(vars)
		return asText(out), err
	}
	raw := func(v value) (json.RawMessage, error) {
		if v == nil {
			return nil, nil
		}
		out, err := v.eval(vars)
		if err != nil {
			return nil, err
		}
		return encode(out)
	}
	switch d := s.def; {
	case d.Submit != nil:
		sub := submission{Provider: d.Submit.Provider, Kind: d.Submit.Kind}
		var err error
		if sub.Model, err = text(d.model); err != nil {
			return err
		}
		if sub.Input, err = raw(d.input); err != nil {
			return err
		}
		if sub.Metadata, err = raw(d.meta); err != nil {
			return err
		}
		if u.Input, err = encode(sub); err != nil {
			return err
		}
		u.Status, u.Slots = runs.StepQueued, [2]string{"", ProviderSlot(sub.Provider)}
		if a.c.Concurrency > 0 {
			u.Slots[0] = WorkflowSlot(a.c.Name)
		}
	case d.HTTP != nil:
		c := call{Method: d.HTTP.Method}
		if c.Method == "" {
			c.Method = "POST"
		}
		var err error
		if c.URL, err = text(d.url); err != nil {
			return err
		}
		if c.Body, err = raw(d.body); err != nil {
			return err
		}
		if u.Input, err = encode(c); err != nil {
			return err
		}
		u.Status = runs.StepRunning
		a.calls = append(a.calls, u)
	case d.WaitFor != nil:
		key, err := text(d.correlation)
		if err != nil {
			return err
		}
		u.Status, u.WaitSource, u.WaitType, u.WaitKey, u.EventID = runs.StepWaiting, d.source, d.eventType, key, ""
		if d.WaitFor.Deadline > 0 {
			u.DueAt = a.now.Add(time.Duration(d.WaitFor.Deadline))
		}
		a.looks = append(a.looks, runs.StepRef{RunID: u.RunID, Step: u.Name, Item: u.Item})
	case d.Approve != nil:
		message, err := text(d.message)
		if err != nil {
			return err
		}
		if u.Input, err = encode(map[string]any{"message": message}); err != nil {
			return err
		}
		u.Status = runs.StepWaiting
		if d.Approve.Deadline > 0 {
			u.DueAt = a.now.Add(time.Duration(d.Approve.Deadline))
		}
		a.polls = append(a.polls, u)
	case d.Emit != nil:
		data, err := raw(d.data)
		if err != nil {
			return err
		}
		if data == nil {
			data = json.RawMessage(`{}`)
		}
		u.Input = data
		a.emits = append(a.emits, emission{step: d.Name, eventType: d.Emit.Type, item: u.Item, data: data})
		a.complete(s, u, map[string]any{"type": d.Emit.Type})
	}
	return nil
}

// ProviderSlot and WorkflowSlot name the limits of a provider's key and of a workflow.
func ProviderSlot(provider string) string { return "provider/" + provider }
func WorkflowSlot(name string) string     { return "workflow/" + name }

// release gives back the places of what ran.
func (a *advance) release(u *runs.Step) {
	if u.Status == runs.StepRunning {
		for _, slot := range u.Slots {
			if slot != "" {
				a.freed = append(a.freed, slot)
			}
		}
	}
	u.Slots = [2]string{}
	u.WaitSource, u.WaitType, u.WaitKey = "", "", ""
}

func (a *advance) complete(s *stepState, u *runs.Step, result any) {
	text, err := encode(result)
	if err != nil {
		a.fail(s, u, err.Error(), true)
		return
	}
	a.completeRaw(u, text)
}

func (a *advance) completeRaw(u *runs.Step, result json.RawMessage) {
	a.release(u)
	u.Status, u.Result, u.Error, u.SettledAt, u.DueAt = runs.StepCompleted, result, "", a.now, time.Time{}
	a.touch(u)
}

// attempts is how often a step is tried.
func (d *step) attempts() int {
	switch {
	case d.Retry != nil:
		return d.Retry.Attempts
	case d.HTTP != nil:
		return 5
	}
	return 1
}

// wait is how long to wait after so many tries: the rule's wait, up to a fifth shorter or
// longer, by the name of what waits, so that many do not come back together.
func (d *step) wait(u *runs.Step) time.Duration {
	first, factor, most := 10*time.Second, 2.0, 10*time.Minute
	if r := d.Retry; r != nil {
		if r.Wait > 0 {
			first = time.Duration(r.Wait)
		}
		if r.Factor > 0 {
			factor = r.Factor
		}
		if r.MaxWait > 0 {
			most = time.Duration(r.MaxWait)
		}
	}
	wait := min(float64(first)*math.Pow(factor, float64(u.Tries-1)), float64(most))
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%s/%d/%d", u.RunID, u.Name, u.Item, u.Attempt)
	return time.Duration(wait * (0.8 + 0.4*float64(h.Sum32()%1000)/1000))
}

// fail ends a try. Final failures are not tried again.
func (a *advance) fail(s *stepState, u *runs.Step, reason string, final bool) {
	a.release(u)
	u.Error, u.DueAt = clip(reason, 2000), time.Time{}
	if !final && u.Tries < s.def.attempts() {
		u.Status, u.DueAt = runs.StepRetrying, a.now.Add(s.def.wait(u))
	} else {
		u.Status, u.SettledAt = runs.StepFailed, a.now
	}
	a.touch(u)
}

func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func (a *advance) skip(s *stepState, reason string) {
	s.row.Status, s.row.Error, s.row.SettledAt = runs.StepSkipped, reason, a.now
	a.touch(s.row)
}

// gather makes a step's own row say what its items do.
func (a *advance) gather(s *stepState) (progress bool) {
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

// failing is a step whose failure is the run's; nil if there is none. An item's counts
// before the others have ended: nothing more is begun then.
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

// settle ends the run if there is nothing left to do.
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
			a.gather(a.st.steps[def.Name])
		}
		// What is paid for already is waited for.
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
	a.st.run.Status, a.st.run.Error, a.st.run.SettledAt = status, clip(reason, 2000), a.now
	a.changed = true
}

// stopAll ends everything that was begun.
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

// cancel ends the run on someone's order.
func (a *advance) cancel(by string) error {
	if a.st.run.Status.Settled() {
		return fmt.Errorf("%w: the run is %s already", gaff.ErrConflict, a.st.run.Status)
	}
	a.stopAll("cancelled by " + by)
	a.end(runs.Cancelled, "cancelled by "+by)
	return nil
}

// decide is a person's answer to an approval.
func (a *advance) decide(name string, item int, approved bool, by, comment string) error {
	s, u := a.st.find(name, item)
	switch {
	case s == nil || u == nil:
		return fmt.Errorf("step %s of run %s: %w", name, a.st.run.ID, gaff.ErrNotFound)
	case s.def.Approve == nil:
		return fmt.Errorf("%w: step %s waits for no decision; it is no approve step", gaff.ErrInvalid, name)
	case u.Status != runs.StepWaiting || u.Item == runs.WholeStep && s.def.forEach != nil:
		return fmt.Errorf("%w: step %s waits for no decision now; it is %s", gaff.ErrConflict, name, u.Status)
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

// retry makes a run go on: from what failed, from a step, or with one item of a step. What
// else failed the run, or was ended by its end, is done again too: else it could not go on.
// What comes after all that is done anew.
func (a *advance) retry(name string, item int) error {
	ended := a.st.run.Status.Settled() || a.failing() != nil
	var target *stepState
	if name == "" {
		if a.st.run.Status != runs.Failed && a.st.run.Status != runs.Cancelled {
			return fmt.Errorf("%w: the run is %s; name the step to begin from", gaff.ErrConflict, a.st.run.Status)
		}
	} else {
		s, u := a.st.find(name, item)
		if s == nil || u == nil {
			return fmt.Errorf("step %s of run %s: %w", name, a.st.run.ID, gaff.ErrNotFound)
		}
		if !u.Status.Settled() {
			return fmt.Errorf("%w: it is %s; only what has ended can be done again", gaff.ErrConflict, u.Status)
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
		a.again(s)
		a.followers(s.def.Name, after)
	}
	if target != nil {
		a.followers(name, after)
		if _, u := a.st.find(name, item); item == runs.WholeStep {
			if !slices.Contains(redo, target) {
				a.again(target)
			}
		} else {
			a.anew(u)
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

// fatal tells whether a failed step failed the run.
func (a *advance) fatal(s *stepState) bool {
	switch s.def.OnFailure.Do {
	case DoContinue, DoSkip:
		return false
	case DoRun:
		return a.st.steps[s.def.OnFailure.Run].row.Status == runs.StepSkipped
	}
	return true
}

// followers are the steps that need a step, and those that need them.
func (a *advance) followers(name string, into map[string]bool) {
	for _, def := range a.c.steps {
		if slices.Contains(def.needs, name) && !into[def.Name] {
			into[def.Name] = true
			a.followers(def.Name, into)
		}
	}
}

// again does a step anew. Of one with items, those that succeeded are kept, unless all did.
func (a *advance) again(s *stepState) {
	if s.def.forEach == nil || len(s.items) == 0 || s.row.Status == runs.StepCompleted || s.row.Status == runs.StepSkipped {
		a.reset(s)
		return
	}
	for _, u := range s.items {
		if u.Status.Settled() && u.Status != runs.StepCompleted {
			a.anew(u)
		}
	}
	s.row.Status, s.row.Error, s.row.SettledAt = runs.StepRunning, "", time.Time{}
	a.touch(s.row)
}

// reset takes a step back to where it had not begun.
func (a *advance) reset(s *stepState) {
	for _, u := range s.items {
		a.abandon(u)
	}
	if len(s.items) > 0 {
		a.dropped = append(a.dropped, s.def.Name)
		a.order = slices.DeleteFunc(a.order, func(u *runs.Step) bool { return slices.Contains(s.items, u) })
		s.items = nil
	}
	a.anew(s.row)
}

// anew takes one row back.
func (a *advance) anew(u *runs.Step) {
	a.abandon(u)
	u.Status, u.Tries, u.Error, u.JobID, u.Result, u.EventID, u.Decider = runs.StepPending, 0, "", "", nil, "", ""
	u.StartedAt, u.SettledAt, u.DueAt = time.Time{}, time.Time{}, time.Time{}
	a.touch(u)
}

// abandon gives up what a row is doing.
func (a *advance) abandon(u *runs.Step) {
	if u.Status == runs.StepRunning && u.JobID != "" {
		a.cancels = append(a.cancels, u.JobID)
	}
	a.release(u)
}

// waiting says in words what the run waits for.
func (st *state) waiting(c *Compiled) string {
	if st.run.Status.Settled() {
		return ""
	}
	var reasons []string
	for _, def := range c.steps {
		s := st.steps[def.Name]
		if !s.row.Status.Active() {
			continue
		}
		if why := s.waiting(); why != "" {
			reasons = append(reasons, def.Name+": "+why)
		}
	}
	if len(reasons) > 5 {
		reasons = append(reasons[:5], fmt.Sprintf("and %d more steps", len(reasons)-5))
	}
	return clip(strings.Join(reasons, "; "), 1000)
}

func (s *stepState) waiting() string {
	units := s.units()
	var count [runs.StepCancelled + 1]int
	slots := map[string]bool{}
	var due time.Time
	for _, u := range units {
		count[u.Status]++
		if u.Status == runs.StepQueued {
			for _, slot := range u.Slots {
				if slot != "" {
					slots[slot] = true
				}
			}
		}
		if u.Status == runs.StepRetrying && (due.IsZero() || u.DueAt.Before(due)) {
			due = u.DueAt
		}
	}
	number := func(n int, one, many string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %s", n, many)
	}
	var parts []string
	if n := count[runs.StepRunning]; n > 0 {
		switch {
		case s.def.Submit != nil:
			parts = append(parts, number(n, "job", "jobs")+" at "+s.def.Submit.Provider)
		default:
			parts = append(parts, number(n, "call", "calls")+" under way")
		}
	}
	if n := count[runs.StepQueued]; n > 0 {
		var names []string
		for slot := range slots {
			names = append(names, slot)
		}
		slices.Sort(names)
		parts = append(parts, number(n, "job waits", "jobs wait")+" for a free place under the limit of "+strings.Join(names, " or "))
	}
	if n := count[runs.StepRetrying]; n > 0 {
		parts = append(parts, number(n, "failed and is", "failed and are")+" tried again from "+due.UTC().Format(time.RFC3339))
	}
	if n := count[runs.StepWaiting]; n > 0 {
		if s.def.Approve != nil {
			parts = append(parts, number(n, "decision", "decisions")+" by a person")
		} else {
			parts = append(parts, number(n, "event", "events")+" "+s.def.source+":"+s.def.eventType)
		}
	}
	if s.def.forEach != nil && len(parts) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d done", count[runs.StepCompleted], len(units)))
	}
	return strings.Join(parts, ", ")
}
