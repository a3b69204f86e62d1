package workflow

import (
	"fmt"
	"slices"
	"strings"
)

// fallbacks ties steps to those that are done in their place.
func (k *checker) fallbacks(c *Compiled) {
	for i, st := range c.steps {
		if st.OnFailure.Do != DoRun {
			continue
		}
		path := fmt.Sprintf("steps[%d].on_failure", i)
		other := c.byName[st.OnFailure.Run]
		switch {
		case other == nil:
			k.fault(path, "there is no step %q", st.OnFailure.Run)
			continue
		case other == st:
			k.fault(path, "a step cannot be done in its own place; use retry to try it again")
			continue
		case other.fallbackOf != "":
			k.fault(path, "%s is done in the place of %s already", other.Name, other.fallbackOf)
			continue
		}
		other.fallbackOf = st.Name
		if !slices.Contains(other.needs, st.Name) {
			other.needs = append(other.needs, st.Name)
		}
	}
	// Whoever needs a step needs what is done in its place.
	for _, st := range c.steps {
		for _, need := range slices.Clone(st.needs) {
			if owner := c.byName[need]; owner != nil && owner.OnFailure.Do == DoRun && owner.OnFailure.Run != st.Name &&
				c.byName[owner.OnFailure.Run] != nil && !slices.Contains(st.needs, owner.OnFailure.Run) {
				st.needs = append(st.needs, owner.OnFailure.Run)
			}
		}
	}
}

// cycles reports steps that wait for one another.
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

// Needs are the steps that must be done before one: those listed, those that its expressions
// speak of, and the one in whose place it is done.
func (c *Compiled) Needs(name string) []string {
	if st := c.byName[name]; st != nil && st.needs != nil {
		return slices.Clone(st.needs)
	}
	return []string{}
}
