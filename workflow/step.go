package workflow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"gaff/internal/excerpt"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// begin starts one attempt of a step or item.
func (a *advance) begin(s *stepState, u *runs.Step) {
	u.Attempt++
	u.AttemptsSinceReset++
	u.Error, u.JobID, u.Result, u.Decider = "", "", nil, ""
	u.StartedAt, u.SettledAt, u.DueAt = a.now, time.Time{}, time.Time{}
	a.touch(u)
	vars, err := a.unitVariables(s.def.startRefs, u)
	if err != nil {
		a.err = err
		return
	}
	switch d := s.def; {
	case d.Submit != nil:
		err = a.beginSubmit(d, u, vars)
	case d.HTTP != nil:
		err = a.beginCall(d, u, vars)
	case d.WaitFor != nil:
		err = a.beginWait(d, u, vars)
	case d.Approve != nil:
		err = a.beginApproval(d, u, vars)
	case d.Emit != nil:
		err = a.emit(s, u, vars)
	}
	if err != nil {
		a.fail(s, u, err.Error(), true)
	}
}

func (a *advance) beginSubmit(d *step, u *runs.Step, vars map[string]any) (err error) {
	sub := submission{Provider: d.Submit.Provider, Kind: d.Submit.Kind, Priority: d.Submit.Priority, NoReuse: d.Submit.Reuse != nil && !*d.Submit.Reuse}
	if sub.Model, err = evalText(d.model, vars); err != nil {
		return err
	}
	if sub.Input, err = evalJSON(d.input, vars); err != nil {
		return err
	}
	if sub.Metadata, err = evalJSON(d.meta, vars); err != nil {
		return err
	}
	for _, c := range d.Submit.Fallback {
		sub.Fallback = append(sub.Fallback, jobs.Candidate(c))
	}
	if u.Input, err = encode(sub); err != nil {
		return err
	}
	u.Status = runs.StepQueued
	if sub.Provider != "" {
		u.Slots[1] = ProviderSlot(sub.Provider)
	}
	if a.c.Concurrency > 0 {
		u.Slots[0] = WorkflowSlot(a.c.Name)
	}
	return nil
}

func (a *advance) beginCall(d *step, u *runs.Step, vars map[string]any) (err error) {
	c := call{Method: cmp.Or(d.HTTP.Method, "POST")}
	if c.URL, err = evalText(d.url, vars); err != nil {
		return err
	}
	if c.Body, err = evalJSON(d.body, vars); err != nil {
		return err
	}
	if u.Input, err = encode(c); err != nil {
		return err
	}
	u.Status = runs.StepRunning
	a.calls = append(a.calls, u)
	return nil
}

func (a *advance) beginWait(d *step, u *runs.Step, vars map[string]any) error {
	key, err := evalText(d.correlation, vars)
	if err != nil {
		return err
	}
	u.Status, u.WaitSource, u.WaitType, u.WaitKey, u.EventID = runs.StepWaiting, d.source, d.eventType, key, ""
	u.DueAt = a.deadline(d.WaitFor.Deadline)
	a.searches = append(a.searches, runs.StepRef{RunID: u.RunID, Step: u.Name, Item: u.Item})
	return nil
}

func (a *advance) beginApproval(d *step, u *runs.Step, vars map[string]any) error {
	message, err := evalText(d.message, vars)
	if err != nil {
		return err
	}
	if u.Input, err = encode(map[string]any{"message": message}); err != nil {
		return err
	}
	u.Status, u.DueAt = runs.StepWaiting, a.deadline(d.Approve.Deadline)
	a.approvals = append(a.approvals, u)
	return nil
}

func (a *advance) emit(s *stepState, u *runs.Step, vars map[string]any) error {
	data, err := evalJSON(s.def.data, vars)
	if err != nil {
		return err
	}
	if data == nil {
		data = json.RawMessage(`{}`)
	}
	u.Input = data
	a.emits = append(a.emits, emission{eventType: s.def.Emit.Type, data: data})
	a.complete(s, u, map[string]any{"type": s.def.Emit.Type})
	return nil
}

// deadline returns the time after d; zero for 0, which means no deadline.
func (a *advance) deadline(d Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return a.now.Add(time.Duration(d))
}

// release frees the slots of a running step, and ends its wait.
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

// maxAttempts returns how many attempts a step has.
func (d *step) maxAttempts() int {
	switch {
	case d.Retry != nil:
		return d.Retry.Attempts
	case d.HTTP != nil:
		return 5
	}
	return 1
}

// retryDelay returns the delay before the next attempt: that of the retry rule, with a jitter
// of up to 20 %. The jitter depends on the names, so that it is the same in every node.
func (d *step) retryDelay(u *runs.Step) time.Duration {
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
	wait := min(float64(first)*math.Pow(factor, float64(u.AttemptsSinceReset-1)), float64(most))
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%s/%d/%d", u.RunID, u.Name, u.Item, u.Attempt)
	return time.Duration(wait * (0.8 + 0.4*float64(h.Sum32()%1000)/1000))
}

// fail ends an attempt. The step has another one if attempts are left and final is false.
func (a *advance) fail(s *stepState, u *runs.Step, reason string, final bool) {
	a.release(u)
	u.Error, u.DueAt = excerpt.Text(reason, 2000), time.Time{}
	if !final && u.AttemptsSinceReset < s.def.maxAttempts() {
		u.Status, u.DueAt = runs.StepRetrying, a.now.Add(s.def.retryDelay(u))
	} else {
		u.Status, u.SettledAt = runs.StepFailed, a.now
	}
	a.touch(u)
}

func (a *advance) skip(s *stepState, reason string) {
	s.row.Status, s.row.Error, s.row.SettledAt = runs.StepSkipped, reason, a.now
	a.touch(s.row)
}
