package workflow

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/workflow/runs"
)

// SetWorkflows replaces the current workflows. Runs keep the version that they started with.
func (e *Engine) SetWorkflows(cs []*Compiled) error {
	next := map[string]*Compiled{}
	for _, c := range cs {
		if next[c.Name] != nil {
			return fmt.Errorf("two workflows have the name %q", c.Name)
		}
		next[c.Name] = c
	}
	e.current.Store(&next)
	for _, c := range cs {
		e.remember(c)
	}
	return nil
}

// Reload is SetWorkflows for a started engine.
func (e *Engine) Reload(ctx context.Context, cs []*Compiled) error {
	if err := e.SetWorkflows(cs); err != nil {
		return err
	}
	return e.schedule(ctx, time.Now())
}

// maxVersions is the maximum number of versions in memory.
const maxVersions = 2000

// remember caches a version and routes its event types to the engine.
func (e *Engine) remember(c *Compiled) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.versions) > maxVersions {
		clear(e.versions)
	}
	e.versions[c.Hash] = c
	wanted := maps.Clone(*e.wanted.Load())
	c.addEventTypes(wanted)
	e.routed[c.Hash] = true
	e.wanted.Store(&wanted)
}

// addEventTypes adds the event types that start a run of the workflow or end a wait.
func (c *Compiled) addEventTypes(wanted map[string]bool) {
	for _, t := range c.triggers {
		wanted[t.source+":"+t.eventType] = true
	}
	for _, st := range c.steps {
		if st.WaitFor != nil {
			wanted[st.source+":"+st.eventType] = true
		}
	}
}

// unroute stops routing events to versions that are neither current nor open. If such a version
// gets a run at the same moment, the next refresh routes it, and searches the events between.
func (e *Engine) unroute(open []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	routed, wanted := map[string]bool{}, map[string]bool{}
	for _, c := range *e.current.Load() {
		routed[c.Hash] = true
		c.addEventTypes(wanted)
	}
	for _, hash := range open {
		if c := e.versions[hash]; c != nil && e.routed[hash] {
			routed[hash] = true
			c.addEventTypes(wanted)
		}
	}
	e.routed = routed
	e.wanted.Store(&wanted)
}

// Workflows returns the current workflows, sorted by name.
func (e *Engine) Workflows() []*Compiled {
	current := *e.current.Load()
	out := make([]*Compiled, 0, len(current))
	for _, name := range slices.Sorted(maps.Keys(current)) {
		out = append(out, current[name])
	}
	return out
}

// Workflow returns the current workflow of a name, or gaff.ErrNotFound.
func (e *Engine) Workflow(name string) (*Compiled, error) {
	if c := (*e.current.Load())[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("workflow %.60q: %w; there are %s", name, gaff.ErrNotFound,
		strings.Join(append(slices.Sorted(maps.Keys(*e.current.Load())), "no others"), ", "))
}

// version returns a stored version.
func (e *Engine) version(ctx context.Context, hash string) (*Compiled, error) {
	e.mu.Lock()
	c := e.versions[hash]
	e.mu.Unlock()
	if c != nil {
		return c, nil
	}
	v, err := e.o.Store.WorkflowVersion(ctx, hash)
	if err != nil {
		return nil, err
	}
	w, err := FromJSON(v.Definition)
	if err != nil {
		return nil, err
	}
	c, err = Compile(w)
	if err != nil {
		return nil, fmt.Errorf("workflow %s: this program cannot read version %.12s: %w", v.Name, hash, err)
	}
	c.Hash, c.Definition = v.Hash, v.Definition
	e.remember(c)
	return c, nil
}

// Version returns the definition that a run started with.
func (e *Engine) Version(ctx context.Context, run *runs.Run) (*Compiled, error) {
	return e.version(ctx, run.Version)
}

// refresh routes the events of all versions with open runs, searches the events that arrived
// before their routing, and wakes runs that are queued although a slot is free.
func (e *Engine) refresh(ctx context.Context) error {
	hashes, err := e.o.Store.OpenVersions(ctx)
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		e.mu.Lock()
		routed := e.routed[hash] && e.versions[hash] != nil
		e.mu.Unlock()
		if routed {
			continue
		}
		c, err := e.version(ctx, hash)
		if err != nil {
			e.log.Error("cannot use a workflow version that has open runs", "hash", hash, "error", err)
			continue
		}
		e.remember(c)
		refs, err := e.o.Store.WaitingOf(ctx, hash)
		if err != nil {
			return err
		}
		for _, ref := range refs {
			if err := e.emit(ctx, eventSearch, message{RunID: ref.RunID, Step: ref.Step, Item: ref.Item}); err != nil {
				return err
			}
		}
	}
	e.unroute(hashes)
	slots, err := e.o.Store.Slots(ctx)
	if err != nil {
		return err
	}
	for _, s := range slots {
		if limit := e.limit(s.Slot); limit < 1 || s.Used < limit {
			if err := e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return e.wakeQueued(ctx, tx, s.Slot, "", 0) }); err != nil {
				return err
			}
		}
	}
	return nil
}
