// Package runs has the rows of workflow runs and the operations of a store on them. It knows
// no definitions and no expressions, so that a store links no expression language.
package runs

import (
	"encoding/json"
	"time"

	"gaff"
)

// Run is one execution of a workflow.
type Run struct {
	ID string `json:"id"` // run_...
	// Workflow is the workflow's name. Version is the hash of the definition that the run
	// started with; it never changes.
	Workflow  string          `json:"workflow"`
	Version   string          `json:"version"`
	ProjectID string          `json:"projectId,omitempty"`
	UserID    string          `json:"userId,omitempty"`
	Status    Status          `json:"status"`
	Input     json.RawMessage `json:"input,omitempty"` // an object
	// Error is the reason of a failed run; empty for other statuses.
	Error string `json:"error,omitempty"`
	// Waiting describes for people what the run is waiting for; empty once settled.
	Waiting string `json:"waiting,omitempty"`
	// Cost is the sum that providers reported for the run's jobs, in the provider's units;
	// 0 if they report none.
	Cost float64 `json:"cost"`
	// Revision increases with every write. SaveRun compares it to detect concurrent writes.
	Revision int64 `json:"-"`
	// EventID is the event that started the run; empty if a person or program did. Hop is
	// the number of events between it and an external event; it ends loops of events.
	EventID string `json:"eventId,omitempty"`
	Hop     int    `json:"-"`
	// Key is an idempotency key: unless empty, it is unique among the runs of the workflow,
	// and a second start with the same key returns the first run.
	Key string `json:"-"`
	// FormerKey is the key that an older version would have stored. InsertRun also looks
	// for it, and does not store it.
	FormerKey string `json:"-"`
	// DueAt is the time at which the whole run times out; zero for never.
	DueAt     time.Time `json:"dueAt,omitzero"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
	UpdatedAt time.Time `json:"updatedAt,omitzero"`
	SettledAt time.Time `json:"settledAt,omitzero"` // zero until settled
}

// Status is the status of a run.
type Status int

const (
	// Running is the status of every run that has not ended, also of one that only waits.
	Running Status = iota
	Completed
	Failed
	Cancelled
)

var statusNames = [...]string{"running", "completed", "failed", "cancelled"}

// String returns the status in lower case.
func (s Status) String() string { return name(statusNames[:], int(s)) }

// Settled reports whether the run has ended. Retrying a failed or cancelled run makes it
// running again.
func (s Status) Settled() bool { return s != Running }

// ParseStatus is the reverse of [Status.String]; ok is false for unknown names.
func ParseStatus(text string) (s Status, ok bool) {
	for i, name := range statusNames {
		if name == text {
			return Status(i), true
		}
	}
	return 0, false
}

// Filter selects runs. Zero fields select all.
type Filter struct {
	Workflow, ProjectID string
	Status              *Status
	gaff.Cursor
}

// WorkflowVersion is a stored definition. Runs keep the version that they started with.
type WorkflowVersion struct {
	// Hash is the SHA-256 of Definition, in hex.
	Hash, Name string
	Definition json.RawMessage
	CreatedAt  time.Time
}
