package workflow

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/robfig/cron/v3"

	"gaff/internal/cel"
	"gaff/internal/sorting"
)

// Compiled is a checked workflow with compiled expressions.
type Compiled struct {
	*Workflow
	// Hash identifies this version: it is the hash of Definition.
	Hash       string
	Definition json.RawMessage

	steps     []*step
	byName    map[string]*step
	triggers  []*trigger
	schedules []*schedule
}

type step struct {
	*Step
	// needs are the steps that must be done before: those listed, and those that the
	// expressions read.
	needs []string
	// fallbackOf is the step that this one replaces if that fails.
	fallbackOf string

	when, forEach        *cel.Expression
	model, input, meta   value // submit
	source, eventType    string
	condition            *cel.Expression
	correlation          value
	url, body            value
	headers              map[string]value
	message              value
	data                 value
	startRefs, judgeRefs []string // steps whose values are read to start it, and to judge an event
}

type trigger struct {
	source, eventType string
	filter            *cel.Expression
	project, key      value
	input             value
}

type schedule struct {
	*Schedule
	cron    cron.Schedule
	zone    *time.Location
	project value
	input   value
}

// Compile checks a workflow that was built in Go. The error is a [Faults].
func Compile(w *Workflow) (*Compiled, error) {
	c, faults := compile(w, &checker{w: w})
	if len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

// Providers returns the names of the providers that the workflow submits jobs to.
func (c *Compiled) Providers() []string {
	var names []string
	for _, st := range c.Steps {
		if st.Submit == nil {
			continue
		}
		for _, c := range append([]Candidate{{Provider: st.Submit.Provider}}, st.Submit.Fallback...) {
			if c.Provider != "" && !slices.Contains(names, c.Provider) {
				names = append(names, c.Provider)
			}
		}
	}
	return names
}

func compile(w *Workflow, k *checker) (*Compiled, Faults) {
	c := &Compiled{Workflow: w, byName: map[string]*step{}}
	k.names()
	if len(k.faults) > 0 {
		return nil, k.faults // later checks would repeat them
	}
	lang := newLanguage(w)
	for i := range w.Steps {
		st := &step{Step: &w.Steps[i]}
		c.steps = append(c.steps, st)
		c.byName[st.Name] = st
	}
	for i, st := range c.steps {
		k.step(lang, fmt.Sprintf("steps[%d]", i), st)
	}
	k.fallbacks(c)
	k.cycles(c)
	for i := range w.On {
		k.trigger(lang, fmt.Sprintf("on[%d]", i), &w.On[i], c)
	}
	for i := range w.Schedule {
		k.schedule(lang, fmt.Sprintf("schedule[%d]", i), &w.Schedule[i], c)
	}
	if len(k.faults) > 0 {
		sorting.By(k.faults, func(a, b Fault) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, k.faults
	}
	var err error
	if c.Hash, c.Definition, err = w.Hash(); err != nil {
		k.fault("", "%v", err)
		return nil, k.faults
	}
	return c, nil
}
