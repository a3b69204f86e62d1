package workflow

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"gaff/workflow/runs"
)

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

func (a *advance) skip(s *stepState, reason string) {
	s.row.Status, s.row.Error, s.row.SettledAt = runs.StepSkipped, reason, a.now
	a.touch(s.row)
}
