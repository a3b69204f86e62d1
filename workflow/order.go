package workflow

import (
	"fmt"
	"slices"
	"strings"
)

// fallbacks links steps with their fallbacks, the steps that on_failure names.
func (k *checker) fallbacks(c *Compiled) {
	for i, st := range c.steps {
		if st.OnFailure.Do != DoRun {
			continue
		}
		path := fmt.Sprintf("steps[%d].on_failure", i)
		other := c.byName[st.OnFailure.Run]
		switch {
		case other == nil:
			k.fault(path, "unknown step %q", st.OnFailure.Run)
			continue
		case other == st:
			k.fault(path, "a step cannot be its own fallback; use retry to repeat it")
			continue
		case other.fallbackOf != "":
			k.fault(path, "%s is already the fallback of %s", other.Name, other.fallbackOf)
			continue
		}
		other.fallbackOf = st.Name
		if !slices.Contains(other.needs, st.Name) {
			other.needs = append(other.needs, st.Name)
		}
	}
	// A step that needs another one also needs its fallback.
	for _, st := range c.steps {
		for _, need := range slices.Clone(st.needs) {
			if owner := c.byName[need]; owner != nil && owner.OnFailure.Do == DoRun && owner.OnFailure.Run != st.Name &&
				c.byName[owner.OnFailure.Run] != nil && !slices.Contains(st.needs, owner.OnFailure.Run) {
				st.needs = append(st.needs, owner.OnFailure.Run)
			}
		}
	}
}

// cycles adds a fault for steps that wait for one another.
func (k *checker) cycles(c *Compiled) {
	const (
		unseen = iota
		open
		done
	)
	state := map[string]int{}
	var trail []string
	var visit func(st *step) bool
	visit = func(st *step) bool {
		state[st.Name] = open
		trail = append(trail, st.Name)
		for _, need := range st.needs {
			other := c.byName[need]
			if other == nil {
				continue
			}
			if state[need] == open {
				loop := append(slices.Clone(trail[slices.Index(trail, need):]), need)
				i := slices.IndexFunc(k.w.Steps, func(s Step) bool { return s.Name == st.Name })
				k.fault(fmt.Sprintf("steps[%d]", i), "steps wait for one another: %s", strings.Join(loop, " needs "))
				return false
			}
			if state[need] == unseen && !visit(other) {
				return false
			}
		}
		trail = trail[:len(trail)-1]
		state[st.Name] = done
		return true
	}
	for _, st := range c.steps {
		if state[st.Name] == unseen && !visit(st) {
			return
		}
	}
}

// Needs returns the steps that must be done before a step: those listed, those that its
// expressions read, and the one that it is the fallback of.
func (c *Compiled) Needs(name string) []string {
	if st := c.byName[name]; st != nil && st.needs != nil {
		return slices.Clone(st.needs)
	}
	return []string{}
}
