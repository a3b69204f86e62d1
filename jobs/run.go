package jobs

import (
	"context"
	"encoding/json"
	"time"

	"gaff"
)

// Project gathers jobs, media and runs. It is made when its id is first seen, or on
// request.
type Project struct {
	ID string // the asker's own
	// Name and Owner are for people; empty until someone sets them.
	Name, Owner string
	// Metadata is the asker's own JSON object; nil if none.
	Metadata             json.RawMessage
	CreatedAt, UpdatedAt time.Time
}

// RunStatus is where a run stands.
type RunStatus int

const (
	// RunRunning: something of it runs, waits, or will.
	RunRunning RunStatus = iota
	RunCompleted
	RunFailed
	RunCancelled
)

var runStatusNames = [...]string{"running", "completed", "failed", "cancelled"}

// String returns the status in lower case.
func (s RunStatus) String() string { return name(runStatusNames[:], int(s)) }

// Settled reports whether the status is an end. A failed or cancelled run goes on when
// someone retries it.
func (s RunStatus) Settled() bool { return s != RunRunning }

// ParseRunStatus is the reverse of [RunStatus.String]; ok is false for other text.
func ParseRunStatus(text string) (s RunStatus, ok bool) {
	n, ok := index(runStatusNames[:], text)
	return RunStatus(n), ok
}

// StepStatus is where a step of a run stands, or one item of a step with for_each.
type StepStatus int

const (
	// StepPending: what it needs is not done yet.
	StepPending StepStatus = iota
	// StepQueued: ready, and waiting for a place under a limit.
	StepQueued
	// StepRunning: its job or call is under way; for a step with items: some are.
	StepRunning
	// StepWaiting: for an event, or for a person's decision.
	StepWaiting
	// StepRetrying: it failed and will be tried again.
	StepRetrying
	StepCompleted
	StepFailed
	// StepSkipped: its condition was false, or what it needs was skipped.
	StepSkipped
	// StepCancelled: the run ended before it did.
	StepCancelled
)

var stepStatusNames = [...]string{"pending", "queued", "running", "waiting", "retrying", "completed", "failed", "skipped", "cancelled"}

// String returns the status in lower case.
func (s StepStatus) String() string { return name(stepStatusNames[:], int(s)) }

// Settled reports whether the status is an end.
func (s StepStatus) Settled() bool { return s >= StepCompleted }

// Active reports whether the step was begun and has not ended.
func (s StepStatus) Active() bool { return s > StepPending && s < StepCompleted }

func name(names []string, n int) string {
	if n < 0 || n >= len(names) {
		return "unknown"
	}
	return names[n]
}

func index(names []string, text string) (int, bool) {
	for i, name := range names {
		if name == text {
			return i, true
		}
	}
	return 0, false
}

// Run is one execution of a workflow.
type Run struct {
	ID string // run_...
	// Workflow is the workflow's name, Version the hash of the definition that the run
	// began with and keeps.
	Workflow, Version string
	ProjectID, UserID string
	Status            RunStatus
	Input             json.RawMessage // an object
	// Error says why it failed; empty unless failed.
	Error string
	// Waiting says in words what the run waits for; empty when it has ended.
	Waiting string
	// Cost is the sum of what providers reported for its jobs, in the provider's units;
	// 0 if they report none.
	Cost float64
	// Revision counts the writes; it guards against two at once.
	Revision int64
	// EventID is the event that started it, empty if a person or program did; Hop its
	// distance from the outside, so that a loop of events ends.
	EventID string
	Hop     int
	// Key, if not empty, is unique among the runs of the workflow: a second start with it
	// is none.
	Key string
	// FormerKey is what an older version stored in place of Key. It is looked for when the run
	// is inserted, and not stored.
	FormerKey string
	// DueAt is when the whole run times out; zero if never.
	DueAt                time.Time
	CreatedAt, UpdatedAt time.Time
	SettledAt            time.Time // zero until settled
}

// WholeStep is the Item of a row that is about the step itself.
const WholeStep = -1

// Step is a step of a run, or one item of a step with for_each.
type Step struct {
	RunID, Name string
	// Item counts from 0 within a step that has items; WholeStep for the step itself.
	Item   int
	Status StepStatus
	// Attempt counts the tries of this step or item; Tries those since it last began
	// anew, which is what its retry rule counts.
	Attempt, Tries int
	// JobID is the job of the last try; empty for other kinds of step.
	JobID string
	// Input is what the step was given, Result what came of it; nil where there is none,
	// and in lists of rows without values.
	Input, Result json.RawMessage
	// Error is the last failure, or the reason why it was skipped.
	Error string
	// WaitSource, WaitType and WaitKey are set while the step waits for an event; the key
	// is the correlation id that the event must have, empty for any.
	WaitSource, WaitType, WaitKey string
	// EventID is the event that ended the wait.
	EventID string
	// Slots name the limits under which the step has a place, or waits for one; empty
	// where there is no limit.
	Slots [2]string
	// Decider is who decided an approval; empty for other steps and until then.
	Decider string
	// DueAt is the deadline of what runs or waits, or the time of the next try; zero if
	// there is none.
	DueAt time.Time
	Cost  float64
	// StartedAt is when the last try began, SettledAt when it ended; zero until then.
	StartedAt, SettledAt, UpdatedAt time.Time
}

// WorkflowVersion is a definition as runs of it keep it.
type WorkflowVersion struct {
	// Hash is the SHA-256 of Definition, in hex.
	Hash, Name string
	Definition json.RawMessage
	CreatedAt  time.Time
}

// RunTx is the part of a [Tx] about projects, workflows and runs.
type RunTx interface {
	// SeeProject makes the project unless it exists.
	SeeProject(ctx context.Context, projectID string) error
	// SaveProject makes the project, or overwrites its fields.
	SaveProject(ctx context.Context, p *Project) error
	// SaveWorkflow keeps a version; one that is known is left alone.
	SaveWorkflow(ctx context.Context, v *WorkflowVersion) error
	// InsertRun adds a run and reports true, or false when its workflow has one with this
	// key; r.ID is then that one's.
	InsertRun(ctx context.Context, r *Run) (bool, error)
	// SaveRun writes a run's fields and counts its revision up. It returns
	// gaff.ErrConflict, and has written nothing, when someone else wrote it since.
	SaveRun(ctx context.Context, r *Run) error
	// SaveSteps adds or overwrites rows of a run.
	SaveSteps(ctx context.Context, runID string, steps []Step) error
	// DropItems removes the items of a step.
	DropItems(ctx context.Context, runID, step string) error
	// TakeSlot takes one of limit places under a name, if one is free. A limit below 1
	// bounds nothing.
	TakeSlot(ctx context.Context, slot string, limit int) (bool, error)
	// FreeSlot gives a place back and returns how many are taken now.
	FreeSlot(ctx context.Context, slot string) (int, error)
	// QueuedRuns are the runs that wait longest for a place, without doubles, at most
	// limit.
	QueuedRuns(ctx context.Context, slot string, limit int) ([]string, error)
}

// RunFilter chooses runs. Zero fields choose all.
type RunFilter struct {
	Workflow, ProjectID string
	Status              *RunStatus
	gaff.Cursor
}

// StepRef names a step or item of a run.
type StepRef struct {
	RunID, Step string
	Item        int
}

// SlotUse says how full a limit is.
type SlotUse struct {
	Slot         string
	Used, Queued int
}

// RunReader answers the engine and the API about projects, workflows and runs. Unknown
// ids return gaff.ErrNotFound.
type RunReader interface {
	Project(ctx context.Context, id string) (*Project, error)
	Projects(ctx context.Context, c gaff.Cursor) (gaff.Page[Project], error)
	Run(ctx context.Context, id string) (*Run, error)
	Runs(ctx context.Context, f RunFilter) (gaff.Page[Run], error)
	// Steps are all rows of a run without Input and Result, by step and item.
	Steps(ctx context.Context, runID string) ([]Step, error)
	// StepValues are a step's rows with Input and Result, by item; the step's own row is
	// the first.
	StepValues(ctx context.Context, runID, step string) ([]Step, error)
	// StepMedia are the files of a step's last jobs, by item.
	StepMedia(ctx context.Context, runID, step string) (map[int][]Media, error)
	// StepOfJob finds the step that a job belongs to.
	StepOfJob(ctx context.Context, jobID string) (StepRef, error)
	// WaitingFor are the steps that wait for an event of this kind: with this key, or
	// with none.
	WaitingFor(ctx context.Context, source, eventType, key string) ([]StepRef, error)
	// WorkflowVersion returns a version that was kept; OpenVersions the hashes of those
	// that have runs which are not settled.
	WorkflowVersion(ctx context.Context, hash string) (*WorkflowVersion, error)
	OpenVersions(ctx context.Context) ([]string, error)
	// WaitingOf are the steps of a version's runs that wait for an event.
	WaitingOf(ctx context.Context, hash string) ([]StepRef, error)
	// Slots are the limits under which someone waits for a place.
	Slots(ctx context.Context) ([]SlotUse, error)
	// RunCounts are the runs of a workflow by status name.
	RunCounts(ctx context.Context) (map[string]map[string]int, error)
}
