package jobs

import (
	"context"
	"encoding/json"
	"time"

	"gaff"
)

// Store applies effects.
type Store interface {
	// Write runs fn in one transaction of its own: for what begins outside a delivery,
	// such as a job that someone asks for. What holds for Apply's fn holds for this one.
	Write(ctx context.Context, fn func(tx Tx) error) error
	// Apply runs fn and finishes the delivery as succeeded, in one transaction: either
	// all that fn wrote and the success are there, or nothing is. An error of fn is
	// returned as it is, and nothing is written. fn may be called more than once, so
	// it must not change anything outside tx; it must not block.
	Apply(ctx context.Context, l gaff.Lease, fn func(tx Tx) error) error
	// EventTx returns the transaction that stores an event, as [gaff.Effects] get it. The rules of
	// Apply's fn hold for it. Nil if it is not one of this store.
	EventTx(tx any) Tx
}

// Tx is one transaction over the rows of jobs, media and projects.
type Tx interface {
	// Now is the time to write into rows.
	Now() time.Time
	// Job and JobByRequest return gaff.ErrNotFound for an unknown job.
	Job(ctx context.Context, id string) (*Job, error)
	JobByRequest(ctx context.Context, provider, requestID string) (*Job, error)
	// InsertJob adds a job, or returns gaff.ErrConflict, and has written nothing, where
	// another job of the provider has its RequestID.
	InsertJob(ctx context.Context, j *Job) error
	// SaveJob writes a job's fields; gaff.ErrConflict if that would move it backwards.
	SaveJob(ctx context.Context, j *Job) error
	// AddMedia adds a row and reports true, or false when its job has one at this
	// position already.
	AddMedia(ctx context.Context, m *Media) (bool, error)
	// JobByKey finds a job by its caller's idempotency key; with orNone also one of the key
	// that has no caller, if the caller has none.
	JobByKey(ctx context.Context, caller, key string, orNone bool) (*Job, error)
	// ReusableJobs returns the completed jobs of a reuse key that ended since a time, the latest first,
	// at most a few. A job that was erased, or one of whose files was removed, is not among them.
	ReusableJobs(ctx context.Context, key string, since time.Time) ([]*Job, error)
	// LockQueue has other transactions that call it, or LockBudgets, wait until this one ends. Who adds to
	// the queue, or releases jobs, calls it before.
	LockQueue(ctx context.Context) error
	// QueueState returns how many jobs of a provider are waiting, at most limit, and whether some of them
	// are in the queue.
	QueueState(ctx context.Context, provider string, limit int) (waiting int, queued bool, err error)
	// JoinQueue adds a job to the queue. LeaveQueue removes it, and takes the lock of the queue itself.
	JoinQueue(ctx context.Context, q *QueuedJob) error
	LeaveQueue(ctx context.Context, jobID string) error
	// NextQueued returns the jobs of a provider whose turn it is, at most q.Limit.
	NextQueued(ctx context.Context, provider string, q QueueQuery) ([]QueuedJob, error)
	// ReleaseJob stores that a job in the queue does not wait any more; held as in a QueuedJob.
	ReleaseJob(ctx context.Context, jobID string, held bool) error
	// UnsentJobs counts the jobs of a provider that were released since a time and not sent.
	UnsentJobs(ctx context.Context, provider string, since time.Time) (int, error)
	// CleanQueue removes rows from the queue that count for nothing any more: of jobs that have ended,
	// and of those that no limit counts and that were released before a time.
	CleanQueue(ctx context.Context, before time.Time) error
	// UnderWay counts the jobs that limits of a scope count, by name; names without jobs are missing.
	// Paces returns when the next one may be submitted by their rates; at once, if the name is missing.
	UnderWay(ctx context.Context, scope string, names []string) (map[string]int, error)
	Paces(ctx context.Context, scope string, names []string) (map[string]time.Time, error)
	SetPace(ctx context.Context, key LimitKey, at time.Time) error
	// RemoveJob removes a job that came to nothing, with its input and its log.
	RemoveJob(ctx context.Context, jobID string) error
	// JobErased reports whether a job was erased that has one of the names: an id, or a provider and
	// request. Empty names are ignored.
	JobErased(ctx context.Context, refs ...JobRef) (bool, error)
	// DropBody removes the body of an event, and cancels its deliveries that are not done, other
	// than the one of ctx's lease.
	DropBody(ctx context.Context, eventID string) error
	// DropFile adds a key to the list of files that are to be deleted from storage.
	DropFile(ctx context.Context, key string) error
	// JobsByCall returns jobs of a CallKey, made since, whose callers are owed an answer; the
	// oldest first.
	JobsByCall(ctx context.Context, key string, since time.Time) ([]*Job, error)
	// Input returns what a job was submitted with; nil if it is not kept.
	Input(ctx context.Context, jobID string) (json.RawMessage, error)
	SaveInput(ctx context.Context, jobID string, input json.RawMessage) error
	// AddLogEntry adds to a job's log, of which the newest lines are kept.
	AddLogEntry(ctx context.Context, jobID, what, text string) error
	// DuePolls returns jobs of a provider whose NextPollAt has passed, the oldest first, and
	// sets it to until, so that no other node takes them.
	DuePolls(ctx context.Context, provider string, limit int, until time.Time) ([]*Job, error)
	// KeepPoll moves the NextPollAt of such a job from one time to another while it is being polled. It does nothing if
	// the job has got another NextPollAt since, and then returns false.
	KeepPoll(ctx context.Context, jobID string, from, to time.Time) (bool, error)
	// NextPoll is the earliest NextPollAt of a provider's jobs; zero if no job has one.
	NextPoll(ctx context.Context, provider string) (time.Time, error)
	// Durations returns how long a model's jobs take; with N 0 if unknown.
	Durations(ctx context.Context, provider, model string) (Durations, error)
	SaveDurations(ctx context.Context, w Durations) error
	// Media returns gaff.ErrNotFound for an unknown id. SaveMedia writes the later findings about
	// a file: media and content type, size, hash, storage and
	// metadata.
	Media(ctx context.Context, id string) (*Media, error)
	SaveMedia(ctx context.Context, m *Media) error
	// CopiesPending reports whether copies of a job's files are to be made. JobMedia returns the
	// job's files.
	CopiesPending(ctx context.Context, jobID string) (bool, error)
	JobMedia(ctx context.Context, jobID string) ([]Media, error)
	// Setting returns a value that all nodes share; empty if unset.
	Setting(ctx context.Context, name string) (string, error)
	SetSetting(ctx context.Context, name, value string) error
	// Emit adds an internal event with its deliveries. A known DedupeKey adds nothing.
	Emit(ctx context.Context, ev *gaff.Event, ds []gaff.Delivery) error
	// Budgets returns all budgets, by name. LockBudgets has other transactions that call it wait until
	// this one ends. Spent returns what the period of a budget costs that a time belongs to, with
	// reservations.
	Budgets(ctx context.Context) ([]Budget, error)
	LockBudgets(ctx context.Context) error
	Spent(ctx context.Context, b Budget, at time.Time) (Micros, error)
	// SavePlan stores the candidates of a new job, and Plan returns them; nil if it has none.
	SavePlan(ctx context.Context, jobID string, p *Plan) error
	Plan(ctx context.Context, jobID string) (*Plan, error)
	// NextAttempt stores a former attempt of a job, and the job with the fields of the next one.
	NextAttempt(ctx context.Context, j *Job, past Attempt) error
	// JobOfAttempt returns the id of the job that has a former attempt with the request, or
	// gaff.ErrNotFound.
	JobOfAttempt(ctx context.Context, provider, requestID string) (jobID string, err error)
	// SaveBudget creates or overwrites a budget; RemoveBudget returns gaff.ErrNotFound for an unknown
	// one.
	SaveBudget(ctx context.Context, b *Budget) error
	RemoveBudget(ctx context.Context, name string) error
	// SeeProject creates the project unless it exists.
	SeeProject(ctx context.Context, projectID string) error
	// Project returns gaff.ErrNotFound for an unknown id.
	Project(ctx context.Context, id string) (*Project, error)
	// SaveProject creates the project or overwrites its fields.
	SaveProject(ctx context.Context, p *Project) error
}

// JobRef names a job: by its id, or by its provider and request.
type JobRef struct{ ID, Provider, RequestID string }

type jobRefKey struct{}

// ReadsJob names the job that the fn of [Store].Apply reads first. A store that gathers several
// deliveries in a transaction may read their jobs at once; nothing else comes of it.
func ReadsJob(ctx context.Context, ref JobRef) context.Context {
	return context.WithValue(ctx, jobRefKey{}, ref)
}

// JobRefFrom returns the job of [ReadsJob]; zero without one.
func JobRefFrom(ctx context.Context) JobRef {
	ref, _ := ctx.Value(jobRefKey{}).(JobRef)
	return ref
}

// Router names the deliveries that an event leads to; a [gaff.Gateway] is one.
type Router interface {
	Route(ev *gaff.Event) []gaff.Delivery
}

// Reader answers the API about jobs, media and projects. Unknown ids return gaff.ErrNotFound.
type Reader interface {
	Job(ctx context.Context, id string) (*Job, error)
	// JobLog returns a job's log, oldest first, and JobInput what it was submitted with
	// (nil if that is not kept). An unknown id has neither.
	JobLog(ctx context.Context, id string) ([]LogEntry, error)
	JobInput(ctx context.Context, id string) (json.RawMessage, error)
	// JobPosition returns the place of a job, from 1, among the jobs of its provider that wait to be
	// submitted, in the order in which that is done unless limits have no room; 0 if it does not wait.
	// No number is larger than gaff.MaxLogCount+1.
	JobPosition(ctx context.Context, id string) (int64, error)
	// JobPlan returns a job's candidates, nil if it has none, and its former attempts, the oldest first.
	JobPlan(ctx context.Context, id string) (*Plan, []Attempt, error)
	Jobs(ctx context.Context, f JobFilter) (gaff.Page[Job], error)
	// JobCards returns the prompts and first pictures of jobs, by id, for lists. Unknown ids are left
	// out.
	JobCards(ctx context.Context, ids []string) (map[string]Card, error)
	// Outcomes returns the jobs that were created since a time, newest first, of the newest
	// gaff.SearchWindow jobs. Long errors are cut.
	Outcomes(ctx context.Context, since time.Time) ([]Outcome, error)
	// JobCounts counts the jobs of a project by their status; of all jobs if project is empty.
	// No number is larger than gaff.MaxLogCount+1.
	JobCounts(ctx context.Context, project string) (map[JobStatus]int64, error)
	// Durations returns how long jobs take, by model: of the thousand that were heard of last.
	Durations(ctx context.Context) ([]Durations, error)
	// Costs returns the sums of charges, the largest first; with Daily the largest ones, by day.
	Costs(ctx context.Context, f CostFilter) (CostSums, error)
	// Budgets returns all budgets, by name, and Spent what the period of one costs that a time belongs
	// to, with reservations.
	Budgets(ctx context.Context) ([]Budget, error)
	Spent(ctx context.Context, b Budget, at time.Time) (Micros, error)
	MediaByID(ctx context.Context, id string) (*Media, error)
	Media(ctx context.Context, f MediaFilter) (gaff.Page[Media], error)
	// MediaByLink returns the file whose LinkToken is the token.
	MediaByLink(ctx context.Context, token string) (*Media, error)
	// MediaCount counts the files of a project, up to gaff.MaxLogCount+1.
	MediaCount(ctx context.Context, project string) (int64, error)
	Project(ctx context.Context, id string) (*Project, error)
	Projects(ctx context.Context, c gaff.Cursor) (gaff.Page[Project], error)
}

// JobFilter chooses jobs. Zero fields choose all.
type JobFilter struct {
	Provider, ProjectID, UserID, RequestID string
	Status                                 *JobStatus
	// Held chooses jobs that wait for an approval.
	Held bool
	// Unfinished chooses queued and processing jobs.
	Unfinished bool
	Model      string
	// ErrorType is the code of a failure; [NoErrorType] chooses failed jobs without one.
	ErrorType string
	// Since is the earliest time of creation, Until the first one after the period.
	Since, Until time.Time
	// Query is a text in the model or in the input, such as words of a prompt. A page searches
	// gaff.SearchWindow jobs; its Next continues after them.
	Query string
	gaff.Cursor
}

// MediaFilter chooses media. Zero fields choose all.
type MediaFilter struct {
	ProjectID, JobID, MediaType string
	Storage                     *Storage
	// Model is that of the job. Since and Until bound the time of creation, as in a JobFilter.
	Model        string
	Since, Until time.Time
	gaff.Cursor
}
