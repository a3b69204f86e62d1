package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// memory has the values of a run without a store.
type memory struct{ st *state }

func (m memory) items(name string) ([]any, error) {
	over, _ := decode(m.st.steps[name].row.Input).([]any)
	return over, nil
}

func (m memory) input(name string, item int) (json.RawMessage, error) {
	_, u := m.st.find(name, item)
	return u.Input, nil
}

func (m memory) step(name string) (map[string]any, error) {
	s := m.st.steps[name]
	one := func(u *runs.Step) map[string]any {
		return map[string]any{
			"status": u.Status.String(), "result": decode(u.Result), "error": u.Error, "job": u.JobID, "cost": u.Cost, "media": []any{}, "items": []any{},
			"index": int64(u.Item), "item": nil,
		}
	}
	v := one(s.row)
	items := []any{}
	for _, u := range s.items {
		items = append(items, one(u))
	}
	v["items"] = items
	return v, nil
}

// model drives a run randomly and checks its invariants.
type model struct {
	t     *testing.T
	c     *Compiled
	st    *state
	now   time.Time
	text  string
	begun map[string]int // tries, by step, item and attempt
	held  map[string]int // places
	jobs  int
}

// move changes and advances the run, as the engine does in a transaction.
func (m *model) move(what string, do func(a *advance) error) {
	m.t.Helper()
	a := m.c.advance(m.st, m.now, memory{m.st})
	if do != nil {
		if err := do(a); err != nil {
			if !errors.Is(err, gaff.ErrConflict) && !errors.Is(err, gaff.ErrNotFound) && !errors.Is(err, gaff.ErrInvalid) {
				m.t.Fatalf("%s: %v\n%s", what, err, m.text)
			}
			return
		}
	}
	a.next()
	if a.err != nil {
		m.t.Fatalf("%s: %v\n%s", what, a.err, m.text)
	}
	for _, slot := range a.freed {
		if m.held[slot]--; m.held[slot] < 0 {
			m.t.Fatalf("%s: a place under %s was given back that nobody had\n%s", what, slot, m.text)
		}
	}
	for _, u := range a.order {
		if s := m.st.steps[u.Name]; u != s.row && !slices.Contains(s.items, u) {
			m.t.Fatalf("%s: a row of %s is written that is not there\n%s", what, u.Name, m.text)
		}
	}
	m.submit()
	m.check(what)
}

// submit starts queued steps while one of the two slots is free.
func (m *model) submit() {
	if m.st.run.Status.Settled() {
		return
	}
	for _, def := range m.c.steps {
		for _, u := range m.st.steps[def.Name].units() {
			if u.Status != runs.StepQueued || m.held[u.Slots[1]] >= 2 {
				continue
			}
			m.held[u.Slots[1]]++
			m.jobs++
			u.Status, u.JobID = runs.StepRunning, fmt.Sprint("job", m.jobs)
			key := stepKey(m.st.steps[def.Name], u)
			if m.begun[key]++; m.begun[key] > 1 {
				m.t.Fatalf("%s was submitted twice\n%s", key, m.text)
			}
			m.mayRun(def)
		}
	}
}

// mayRun checks that the steps that a step needs are done.
func (m *model) mayRun(def *step) {
	for _, need := range def.needs {
		s := m.st.steps[need]
		ok := s.row.Status == runs.StepCompleted || s.row.Status == runs.StepSkipped || s.row.Status == runs.StepFailed &&
			(s.def.OnFailure.Do == DoContinue || s.def.OnFailure.Do == DoRun)
		if !ok {
			m.t.Fatalf("%s runs although %s is %s\n%s", def.Name, need, s.row.Status, m.text)
		}
	}
}

func (m *model) check(what string) {
	held := map[string]int{}
	for _, def := range m.c.steps {
		s := m.st.steps[def.Name]
		for _, u := range s.units() {
			if u.Status == runs.StepRunning {
				held[u.Slots[1]]++
			}
			if m.st.run.Status.Settled() && u.Status.Active() {
				m.t.Fatalf("%s: the run is %s and %s is %s\n%s", what, m.st.run.Status, u.Name, u.Status, m.text)
			}
			if u.Status == runs.StepRetrying && u.DueAt.IsZero() {
				m.t.Fatalf("%s: %s is tried again at no time\n%s", what, u.Name, m.text)
			}
		}
		if m.st.run.Status == runs.Completed && !s.row.Status.Settled() {
			m.t.Fatalf("%s: the run is completed and %s is %s\n%s", what, def.Name, s.row.Status, m.text)
		}
		if len(s.items) > 0 && s.row.Status == runs.StepCompleted && slices.ContainsFunc(s.items, func(u *runs.Step) bool { return u.Status != runs.StepCompleted }) {
			m.t.Fatalf("%s: %s is completed, not all of its items are\n%s", what, def.Name, m.text)
		}
	}
	for slot, n := range m.held {
		if n != held[slot] {
			m.t.Fatalf("%s: %d places are taken under %s, %d run\n%s", what, n, slot, held[slot], m.text)
		}
	}
	if m.st.run.Status == runs.Running && m.st.waiting(m.c) == "" {
		for _, def := range m.c.steps {
			for _, u := range append(m.st.steps[def.Name].items, m.st.steps[def.Name].row) {
				what += fmt.Sprintf(" %s/%d=%s", u.Name, u.Item, u.Status)
			}
		}
		m.t.Fatalf("%s: the run is under way and waits for nothing\n%s", what, m.text)
	}
	if m.st.run.Status == runs.Failed && m.st.run.Error == "" {
		m.t.Fatalf("%s: the run failed for no reason\n%s", what, m.text)
	}
}

// chance reads numbers from the fuzzer's bytes; zeros when they are used up.
type chance struct{ b []byte }

func (c *chance) next(n int) int {
	if len(c.b) == 0 {
		return 0
	}
	v := int(c.b[0]) % n
	c.b = c.b[1:]
	return v
}

// invent returns a random workflow.
func invent(c *chance) string {
	var b strings.Builder
	b.WriteString("name: f\nsteps:\n")
	n := 1 + c.next(6)
	for i := range n {
		fmt.Fprintf(&b, "  - name: s%d\n", i)
		var needs []string
		for j := range i {
			if c.next(3) == 0 {
				needs = append(needs, fmt.Sprintf("s%d", j))
			}
		}
		if len(needs) > 0 {
			fmt.Fprintf(&b, "    needs: [%s]\n", strings.Join(needs, ", "))
		}
		if i > 0 && c.next(4) == 0 {
			fmt.Fprintf(&b, "    when: steps.s%d.status == 'completed'\n", c.next(i))
		}
		if c.next(3) == 0 {
			fmt.Fprintf(&b, "    for_each: '%s'\n", []string{"[1,2,3]", "[]", "[1]", "[1,2].map(x, x / 0)"}[c.next(4)])
		}
		kind := c.next(5)
		switch kind {
		case 0, 1, 2:
			b.WriteString("    submit: {provider: fal, model: m, input: {}}\n")
			if c.next(2) == 0 {
				b.WriteString("    retry: {attempts: 2, wait: 1m}\n")
			}
			if c.next(3) == 0 {
				b.WriteString("    timeout: 10m\n")
			}
		case 3:
			b.WriteString("    approve: {deadline: 1h}\n")
		case 4:
			b.WriteString("    emit: {type: x}\n")
		}
		switch c.next(5) {
		case 0:
			b.WriteString("    on_failure: skip\n")
		case 1:
			b.WriteString("    on_failure: continue\n")
		case 2:
			if i+1 < n {
				fmt.Fprintf(&b, "    on_failure: {run: s%d}\n", i+1+c.next(n-i-1))
			}
		}
	}
	return b.String()
}

// FuzzNext invents workflows and the events of their runs. For all of them: no attempt is
// submitted twice, no step runs before the steps that it needs, slots are freed, a running run
// waits for something, and every run ends.
func FuzzNext(f *testing.F) {
	for seed := range 200 {
		b := make([]byte, 96)
		x := uint32(seed)*2654435761 + 12345
		for i := range b {
			x ^= x << 13
			x ^= x >> 17
			x ^= x << 5
			b[i] = byte(x >> 8)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ch := &chance{b[:min(len(b), 400)]}
		text := invent(ch)
		c, err := Parse("f.yaml", []byte(text))
		if err != nil {
			return // steps that wait for one another
		}
		m := &model{t: t, c: c, now: time.Unix(1_000_000, 0), text: text, begun: map[string]int{}, held: map[string]int{}}
		m.st = newState(c, runs.Run{ID: "run_1", Workflow: "f", Input: json.RawMessage(`{}`)}, jobs.Project{}, nil)
		m.move("start", nil)
		for i := range 1000 {
			var open []*runs.Step
			for _, def := range c.steps {
				for _, u := range m.st.steps[def.Name].units() {
					if u.Status == runs.StepRunning || u.Status == runs.StepWaiting {
						open = append(open, u)
					}
				}
			}
			luck := ch.next(12)
			if len(ch.b) == 0 && i > 20 {
				luck = 0 // to the end
			}
			switch {
			case luck == 9:
				m.move("cancel", func(a *advance) error { return a.cancel("x") })
			case luck >= 10 || m.st.run.Status.Settled():
				if len(ch.b) == 0 {
					return
				}
				def := c.steps[ch.next(len(c.steps))]
				item := runs.WholeStep
				if n := len(m.st.steps[def.Name].items); n > 0 && ch.next(2) == 0 {
					item = ch.next(n)
				}
				name := def.Name
				if ch.next(3) == 0 {
					name, item = "", runs.WholeStep
				}
				m.move("retry", func(a *advance) error { return a.retry(name, item) })
			case luck == 8 || len(open) == 0:
				m.now = m.now.Add(2 * time.Hour)
				m.move("time", nil)
			default:
				u := open[ch.next(len(open))]
				s := m.st.steps[u.Name]
				m.move("end of "+u.Name, func(a *advance) error {
					if s.def.Approve != nil {
						return a.decide(u.Name, u.Item, luck < 6, "x", "")
					}
					if luck < 6 {
						a.completeRaw(u, json.RawMessage(`{}`))
					} else {
						a.fail(s, u, "no luck", false)
					}
					return nil
				})
			}
		}
		if !m.st.run.Status.Settled() {
			t.Fatalf("the run does not end: %s\n%s", m.st.waiting(c), text)
		}
	})
}
