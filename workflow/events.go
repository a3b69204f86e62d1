package workflow

import (
	"context"
	"encoding/json"
	"time"

	"gaff"
	"gaff/workflow/runs"
)

// Types of the internal events that advance runs, and of those that announce changes of runs.
const (
	eventAdvance  = "workflow.advance"
	eventSearch   = "workflow.look"
	eventCall     = "workflow.call"
	eventCancel   = "workflow.cancel_job"
	eventSchedule = "workflow.schedule"

	// EventRun… are for handlers, destinations and other workflows. Their data is a
	// [RunEvent].
	EventRunCompleted = "run.completed"
	EventRunFailed    = "run.failed"
	EventRunCancelled = "run.cancelled"
	// EventApprovalWanted announces a step that waits for approval.
	EventApprovalWanted = "run.approval_wanted"
)

// RunEvent is the data of the public internal events about a run.
type RunEvent struct {
	RunID     string `json:"runId"`
	Workflow  string `json:"workflow"`
	ProjectID string `json:"projectId"`
	UserID    string `json:"userId"`
	Status    string `json:"status"`
	Error     string `json:"error,omitempty"`
	// Step, Item and Message are set if an approval is wanted; Item is -1 for a step
	// without items.
	Step    string  `json:"step,omitempty"`
	Item    int     `json:"item"`
	Message string  `json:"message,omitempty"`
	Cost    float64 `json:"cost"`
}

// message is the data of the events that advance runs.
type message struct {
	RunID   string    `json:"runId,omitempty"`
	Step    string    `json:"step,omitempty"`
	Item    int       `json:"item,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
	JobID   string    `json:"jobId,omitempty"`
	Slot    string    `json:"slot,omitempty"`
	Since   time.Time `json:"since,omitzero"`

	Workflow string    `json:"workflow,omitempty"`
	Cron     string    `json:"cron,omitempty"`
	At       time.Time `json:"at,omitzero"`
}

// emit adds an event in a transaction of its own.
func (e *Engine) emit(ctx context.Context, eventType string, m message) error {
	return e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return e.emitIn(ctx, tx, eventType, m, time.Time{}, 0) })
}

// emitIn adds an event that advances a run, to be processed at a time; now if zero. Its hop is
// the run's, because the limit against loops counts runs, not steps.
func (e *Engine) emitIn(ctx context.Context, tx runs.Tx, eventType string, m message, at time.Time, hop int) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return e.accept(ctx, tx, &gaff.Event{Source: gaff.InternalSource, Type: eventType, CorrelationID: m.RunID, Data: data, Hop: hop}, at)
}

// accept adds an event with its deliveries.
func (e *Engine) accept(ctx context.Context, tx runs.Tx, ev *gaff.Event, at time.Time) error {
	ev.ReceivedAt = tx.Now()
	ds := e.o.Router.Route(ev)
	for i := range ds {
		if at.After(ds[i].RunAt) {
			ds[i].RunAt = at
		}
	}
	return tx.Emit(ctx, ev, ds)
}

// notify emits the events that follow from an advance.
func (e *Engine) notify(ctx context.Context, tx runs.Tx, a *advance, run *runs.Run) error {
	for _, ref := range a.searches {
		if err := e.emitIn(ctx, tx, eventSearch, message{RunID: run.ID, Step: ref.Step, Item: ref.Item}, time.Time{}, run.Hop); err != nil {
			return err
		}
	}
	for _, u := range a.calls {
		m := message{RunID: run.ID, Step: u.Name, Item: u.Item, Attempt: u.Attempt}
		if err := e.emitIn(ctx, tx, eventCall, m, time.Time{}, run.Hop); err != nil {
			return err
		}
	}
	for _, jobID := range a.cancels {
		if err := e.emitIn(ctx, tx, eventCancel, message{RunID: run.ID, JobID: jobID}, time.Time{}, run.Hop); err != nil {
			return err
		}
	}
	public := func(eventType, key string, data any) error {
		text, err := json.Marshal(data)
		if err != nil {
			return err
		}
		return e.accept(ctx, tx, &gaff.Event{
			Source: gaff.InternalSource, Type: eventType, DedupeKey: key, CorrelationID: run.ID, Data: text,
			ParentID: run.EventID, Hop: run.Hop + 1,
		}, time.Time{})
	}
	for _, em := range a.emits {
		if err := public(em.eventType, "", em.data); err != nil {
			return err
		}
	}
	about := RunEvent{
		RunID: run.ID, Workflow: run.Workflow, ProjectID: run.ProjectID, UserID: run.UserID, Status: run.Status.String(),
		Error: run.Error, Item: runs.WholeStep, Cost: run.Cost,
	}
	for _, u := range a.approvals {
		if u.Status != runs.StepWaiting {
			continue
		}
		ask := about
		ask.Step, ask.Item = u.Name, u.Item
		var given struct{ Message string }
		_ = json.Unmarshal(u.Input, &given)
		ask.Message = given.Message
		if err := public(EventApprovalWanted, "", ask); err != nil {
			return err
		}
	}
	if run.Status.Settled() && a.changed {
		return public("run."+run.Status.String(), "", about)
	}
	return nil
}

// emission is an event that an emit step makes.
type emission struct {
	eventType string
	data      json.RawMessage
}
