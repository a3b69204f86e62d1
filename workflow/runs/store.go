package runs

import (
	"context"

	"gaff"
	"gaff/jobs"
)

// Store writes runs. WriteRuns and ApplyRuns are Write and Apply of [jobs.Store] with a
// transaction that includes runs.
type Store interface {
	WriteRuns(ctx context.Context, fn func(tx Tx) error) error
	ApplyRuns(ctx context.Context, l gaff.Lease, fn func(tx Tx) error) error
}

// Tx is one transaction over workflows and runs, and over the jobs that they submit.
type Tx interface {
	jobs.Tx
	// SaveWorkflow stores a version; it does nothing if the version is stored already.
	SaveWorkflow(ctx context.Context, v *WorkflowVersion) error
	// InsertRun adds a run and reports true. If the workflow has a run with this key, it
	// sets r.ID to that run's and reports false.
	InsertRun(ctx context.Context, r *Run) (bool, error)
	// SaveRun writes a run's fields and increments its revision. It writes nothing and
	// returns gaff.ErrConflict if the stored revision differs.
	SaveRun(ctx context.Context, r *Run) error
	// SaveSteps adds or overwrites rows of a run.
	SaveSteps(ctx context.Context, runID string, steps []Step) error
	// DropItems removes the items of a step.
	DropItems(ctx context.Context, runID, step string) error
	// TakeSlot takes one of limit slots under a name, and reports false if none is free. A
	// limit below 1 means unlimited.
	TakeSlot(ctx context.Context, slot string, limit int) (bool, error)
	// FreeSlot returns a slot and reports how many are taken now.
	FreeSlot(ctx context.Context, slot string) (int, error)
	// QueuedRuns returns the runs that have been queued longest for a slot, each once, at
	// most limit.
	QueuedRuns(ctx context.Context, slot string, limit int) ([]string, error)
}

// SlotUse is the use of one limit.
type SlotUse struct {
	Slot         string
	Used, Queued int
}

// Reader reads workflows and runs. Unknown ids return gaff.ErrNotFound.
type Reader interface {
	Run(ctx context.Context, id string) (*Run, error)
	Runs(ctx context.Context, f Filter) (gaff.Page[Run], error)
	// Steps returns all rows of a run without Input and Result, by step and item.
	Steps(ctx context.Context, runID string) ([]Step, error)
	// StepValues returns a step's rows with Input and Result, by item; the row of the step
	// itself is first.
	StepValues(ctx context.Context, runID, step string) ([]Step, error)
	// StepMedia returns the files of a step's last jobs, by item.
	StepMedia(ctx context.Context, runID, step string) (map[int][]jobs.Media, error)
	// StepOfJob returns the step that submitted a job.
	StepOfJob(ctx context.Context, jobID string) (StepRef, error)
	// WaitingFor returns the steps that wait for such an event, with this key or any key.
	WaitingFor(ctx context.Context, source, eventType, key string) ([]StepRef, error)
	// WorkflowVersion returns a stored version. OpenVersions returns the hashes of those
	// with running runs.
	WorkflowVersion(ctx context.Context, hash string) (*WorkflowVersion, error)
	OpenVersions(ctx context.Context) ([]string, error)
	// WaitingApprovals returns the steps and items that wait for an approval, those that have waited
	// longest first, at most limit of them.
	WaitingApprovals(ctx context.Context, limit int) ([]StepRef, error)
	// WaitingOf returns the steps of a version's runs that wait for an event.
	WaitingOf(ctx context.Context, hash string) ([]StepRef, error)
	// Slots returns the limits that have steps queued.
	Slots(ctx context.Context) ([]SlotUse, error)
	// RunCounts counts the runs of each workflow by status name.
	RunCounts(ctx context.Context) (map[string]map[string]int, error)
}
