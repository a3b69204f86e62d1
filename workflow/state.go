package workflow

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gaff/internal/excerpt"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// state is a run and its steps during an advance.
type state struct {
	run     runs.Run
	project jobs.Project
	steps   map[string]*stepState
}

type stepState struct {
	def *step
	// row is the row of the step itself; items are those of a for_each.
	row   *runs.Step
	items []*runs.Step
}

// units returns the rows that are executed: the items, or the step itself.
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

// find returns the row of a step or item; nil if unknown.
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

// with returns the state with some rows replaced.
func (st *state) with(rows map[*runs.Step]*runs.Step) *state {
	pick := func(u *runs.Step) *runs.Step {
		if row := rows[u]; row != nil {
			return row
		}
		return u
	}
	view := &state{run: st.run, steps: make(map[string]*stepState, len(st.steps))}
	for name, s := range st.steps {
		v := &stepState{def: s.def, row: pick(s.row)}
		for _, u := range s.items {
			v.items = append(v.items, pick(u))
		}
		view.steps[name] = v
	}
	return view
}

// used reports whether an event started the run or ended one of its waits. Each event counts
// once.
func (st *state) used(eventID string) bool {
	if st.run.EventID == eventID {
		return true
	}
	for _, s := range st.steps {
		for _, u := range s.units() {
			if u.EventID == eventID {
				return true
			}
		}
	}
	return false
}

// waiting describes for people what the run is waiting for.
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
	return excerpt.Text(strings.Join(reasons, "; "), 1000)
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
