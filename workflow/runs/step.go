package runs

import (
	"encoding/json"
	"time"
)

// WholeStep is the Item of the row of a step itself, as opposed to one of its items.
const WholeStep = -1

// Step is a step of a run, or one item of a step with for_each.
type Step struct {
	RunID string `json:"-"`
	Name  string `json:"name"`
	// Item counts from 0 within a step that has items; WholeStep for the step itself.
	Item   int        `json:"item"`
	Status StepStatus `json:"status"`
	// Attempt counts all attempts of this step or item. Tries counts those since it was
	// last started or retried by a person; the retry rule limits it.
	Attempt            int `json:"attempt"`
	AttemptsSinceReset int `json:"-"`
	// JobID is the job of the last attempt; empty for steps that submit no job.
	JobID string `json:"jobId"`
	// Input is the evaluated input, Result the output. Both are nil until known, and in
	// lists of steps without values.
	Input  json.RawMessage `json:"input,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	// Error is the last failure, or the reason for skipping the step.
	Error string `json:"error,omitempty"`
	// WaitSource, WaitType and WaitKey are set while the step waits for an event. WaitKey is
	// the correlation id that the event must have; empty accepts any.
	WaitSource string `json:"-"`
	WaitType   string `json:"-"`
	WaitKey    string `json:"-"`
	// EventID is the event that ended the wait.
	EventID string `json:"eventId,omitempty"`
	// Slots name the limits under which the step has a slot or is queued for one; empty if
	// unlimited.
	Slots [2]string `json:"-"`
	// Decider is who decided an approval; empty until then and for other steps.
	Decider string `json:"decider,omitempty"`
	// DueAt is the deadline of a running or waiting step, or the time of the next attempt;
	// zero if unset.
	DueAt time.Time `json:"dueAt,omitzero"`
	Cost  float64   `json:"cost"`
	// StartedAt and SettledAt are the start and end of the last attempt; zero until then.
	StartedAt time.Time `json:"startedAt,omitzero"`
	SettledAt time.Time `json:"settledAt,omitzero"`
	UpdatedAt time.Time `json:"-"`
}

// StepRef identifies a step or an item of a run.
type StepRef struct {
	RunID, Step string
	Item        int
}

// StepStatus is the status of a step of a run, or of one item of a step with for_each.
type StepStatus int

const (
	// StepPending: the steps that it depends on have not completed.
	StepPending StepStatus = iota
	// StepQueued: ready to start, but a limit has no free slot.
	StepQueued
	// StepRunning: its job or call was started; for a step with items, some items were.
	StepRunning
	// StepWaiting: it waits for an event or for an approval.
	StepWaiting
	// StepRetrying: it failed and has another attempt scheduled.
	StepRetrying
	StepCompleted
	StepFailed
	// StepSkipped: its condition was false, or a step that it depends on was skipped.
	StepSkipped
	// StepCancelled: the run ended first.
	StepCancelled
)

var stepStatusNames = [...]string{"pending", "queued", "running", "waiting", "retrying", "completed", "failed", "skipped", "cancelled"}

// String returns the status in lower case.
func (s StepStatus) String() string { return name(stepStatusNames[:], int(s)) }

// Settled reports whether the step has ended.
func (s StepStatus) Settled() bool { return s >= StepCompleted }

// Active reports whether the step was started and has not ended.
func (s StepStatus) Active() bool { return s > StepPending && s < StepCompleted }

func name(names []string, n int) string {
	if n < 0 || n >= len(names) {
		return "unknown"
	}
	return names[n]
}
