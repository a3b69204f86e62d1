// Package jobs turns providers' events into what an application is after: the
// status of its jobs, the files they made, and a call to whatever comes next. All that
// one event leads to is written in one transaction together with the success of its
// delivery, so it happens exactly once.
package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"gaff"
)

// JobStatus is where a job stands. It only moves forward, and an end is final.
type JobStatus int

// The order is the direction in which a job moves; the last three are ends.
const (
	JobQueued JobStatus = iota
	JobProcessing
	JobCompleted
	JobFailed
	JobCancelled
)

var jobStatusNames = [...]string{"queued", "processing", "completed", "failed", "cancelled"}

// String returns the status in lower case, "cancelled" with two l.
func (s JobStatus) String() string {
	if s < 0 || int(s) >= len(jobStatusNames) {
		return "unknown"
	}
	return jobStatusNames[s]
}

// ParseJobStatus is the reverse of [JobStatus.String]; ok is false for other text.
func ParseJobStatus(text string) (s JobStatus, ok bool) {
	for i, name := range jobStatusNames {
		if name == text {
			return JobStatus(i), true
		}
	}
	return 0, false
}

// Settled reports whether the status is an end.
func (s JobStatus) Settled() bool { return s >= JobCompleted }

// Who settled a job.
const (
	SettledByWebhook        = "webhook"
	SettledByReconciliation = "reconciliation"
)

// Job is a unit of outside work that was asked for, such as a generation at fal.
type Job struct {
	ID       string // job_... or the id that the asker chose
	Provider string // such as "fal"
	Model    string // such as "fal-ai/flux/dev"; empty if not known
	// Kind is image, video, audio or whatever the asker calls it; may be empty.
	Kind              string
	ProjectID, UserID string
	// RequestID is the provider's name for the work; unique within Provider.
	RequestID string
	Status    JobStatus
	// Result is what the provider returned, as sent; nil until completed. Lists leave out
	// those of more than MaxListed bytes; ResultSize is how long it is all the same.
	Result     json.RawMessage
	ResultSize int64
	// Error is text for people; ErrorType a code for programs, such as
	// "content_policy_violation". Both empty unless failed.
	Error, ErrorType string
	// SettledBy is one of the SettledBy… constants; empty until settled.
	SettledBy string
	// Metadata is the asker's own JSON object; nil if none.
	Metadata  json.RawMessage
	CreatedAt time.Time
	// SubmittedAt and SettledAt are zero until it happened.
	SubmittedAt, SettledAt time.Time
	UpdatedAt              time.Time

	// Submit is how far its submit has come; SubmitNone for work that others submitted.
	Submit SubmitState
	// SentAt is when the submit was begun; zero before.
	SentAt time.Time
	// Account names, by a fingerprint, the key under which it was submitted; empty if
	// another program did.
	Account string
	// Caller names who asked for it. Empty: gaff itself, or not known (older versions).
	Caller string
	// IdempotencyKey is the caller's own; unique among theirs where not empty.
	IdempotencyKey string
	// RunID and StepID are the workflow step that the job works for; empty if none.
	RunID, StepID string
	// StatusURL, ResponseURL and CancelURL are the provider's addresses of the work; empty
	// where it has told none.
	StatusURL, ResponseURL, CancelURL string
	// WebhookURL is the address that the provider was given; empty: none was.
	WebhookURL string
	// Callback is an address of the asker's to which the provider's webhook is passed on;
	// empty: to none.
	Callback string
	// Cost is what the provider billed, in units of its own, as a number; empty if it has
	// not told.
	Cost string
	// NextPollAt is when the provider will be asked; zero: not at all. Asks counts how
	// often it was, Misses how often in a row it did not know the job.
	NextPollAt    time.Time
	Polls, Misses int
	// CallKey is a hash of the call that a proxied submit came by; empty for others.
	CallKey string
	// OwedBy names the call, and so the process, that owes the caller its answer; empty once
	// the caller has it. While it is not, a repetition of the call means the same job.
	OwedBy string
}

// MaxListed is the longest result of a job that lists hold, in bytes.
const MaxListed = 64 << 10

// MaxMetadata bounds the metadata of a job, in bytes.
const MaxMetadata = 64 << 10

// SubmitState is how far the submit of a job has come.
type SubmitState int

// The order is no direction: a submit that was not taken waits again.
const (
	// SubmitNone: gaff does not submit it.
	SubmitNone SubmitState = iota
	// SubmitWaiting: nothing was sent yet.
	SubmitWaiting
	// SubmitSending: it may have been sent. Stored before the provider is called, so that
	// whoever comes after a crash does not call it again.
	SubmitSending
	// SubmitAccepted: the provider has it.
	SubmitAccepted
	// SubmitUnknown: it was sent, and the answer was lost. It is not sent again.
	SubmitUnknown
	// SubmitRejected: the provider did not take it.
	SubmitRejected
)

var submitNames = [...]string{"", "waiting", "sending", "accepted", "unknown", "refused"}

// String returns the state in lower case; empty for SubmitNone.
func (s SubmitState) String() string {
	if s < 0 || int(s) >= len(submitNames) {
		return ""
	}
	return submitNames[s]
}

// AddLogEntry is a line of a job's log: what was asked of the provider, and what it said.
type LogEntry struct {
	At   time.Time
	What string // submit, webhook, ask, cancel, register
	Text string
}

// Media types of the files that jobs produce.
const (
	MediaImage = "generated-image"
	MediaVideo = "generated-video"
	MediaAudio = "generated-audio"
	MediaModel = "generated-model"
	MediaFile  = "generated-file"
)

// Media is a file that a job produced.
type Media struct {
	ID        string // med_...
	JobID     string
	ProjectID string
	// Position is the file's place in the results of its job: the provider's name, a
	// colon and a JSON pointer, such as "fal:/images/0". Unique within the job, so no
	// file has two rows.
	Position string
	// URL is where the provider keeps it. A "data:" link of more than 4 KiB is in the job's
	// result, and stands here as "data:image/png;sha256=…"; see [Media.Shortened].
	URL         string
	MediaType   string // one of the Media… constants
	ContentType string // empty if not known
	Size        int64  // bytes; 0 if not known
	SHA256      string // lower case hex; empty if not known
	// Storage is how far a copy of our own has come, and StorageError what went wrong with
	// it last; empty if nothing did.
	Storage      Storage
	StorageError string
	// StoredKey and ThumbnailKey are the keys of the copy and of a small picture of it in
	// the storage; empty where there is none. StoredAt is zero until the copy is kept.
	StoredKey, ThumbnailKey string
	// StoredURL is a link to the copy that is good for a while. It is not kept, but made
	// when a row is read, where links are given out; else empty.
	StoredURL string
	StoredAt  time.Time
	// Metadata holds width, height, duration, generatedAt and what else is known.
	Metadata  json.RawMessage
	CreatedAt time.Time
}

// Storage is how far the copy of a file has come.
type Storage int

const (
	// StorageNone: no copy was asked for.
	StorageNone Storage = iota
	// StoragePending: it is to be made, or tried again.
	StoragePending
	// StorageStored: it is kept.
	StorageStored
	// StorageGone: the provider has the file no more.
	StorageGone
	// StorageFailed: it could not be made, and will not be unless someone asks again.
	StorageFailed
)

var storageNames = [...]string{"none", "pending", "stored", "gone", "failed"}

// String returns the name in lower case.
func (s Storage) String() string {
	if s < 0 || int(s) >= len(storageNames) {
		return "unknown"
	}
	return storageNames[s]
}

// ParseStorage is the reverse of [Storage.String]; ok is false for other text.
func ParseStorage(text string) (s Storage, ok bool) {
	for i, name := range storageNames {
		if name == text {
			return Storage(i), true
		}
	}
	return 0, false
}

// Types of the inner events about files; their data is a [MediaEvent].
const (
	// MediaCreated: a job produced a file.
	MediaCreated = "media.created"
	// MediaStored: a copy of it is kept.
	MediaStored = "media.stored"
)

// MediaEvent is the data of the inner events about a file. Size and SHA256 are those of
// the copy, zero before there is one.
type MediaEvent struct {
	MediaID     string `json:"mediaId"`
	JobID       string `json:"jobId"`
	ProjectID   string `json:"projectId"`
	MediaType   string `json:"mediaType"`
	ContentType string `json:"contentType"`
	Size        int64  `json:"size"`
	SHA256      string `json:"sha256"`
	Storage     string `json:"storage"`
}

// Event makes an inner event of a type about the file. One of a key is kept once.
func (m *Media) Event(eventType, key string, now time.Time) (*gaff.Event, error) {
	data, err := json.Marshal(MediaEvent{
		MediaID: m.ID, JobID: m.JobID, ProjectID: m.ProjectID, MediaType: m.MediaType, ContentType: m.ContentType,
		Size: m.Size, SHA256: m.SHA256, Storage: m.Storage.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("describe media %s: %w", m.ID, err)
	}
	return &gaff.Event{
		Source: gaff.InternalSource, Type: eventType, DedupeKey: "media:" + m.ID + ":" + key, CorrelationID: m.JobID, ReceivedAt: now, Data: data,
	}, nil
}

// Update is what a provider's event says about a job.
type Update struct {
	// Provider is the job's provider.
	Provider string
	// JobID is the asker's own id, if the event carries it; else RequestID finds the job.
	JobID     string
	RequestID string
	// OwnJobID is the job to change in place of JobID if that is a job of another provider,
	// such as the one whose result this provider works on. Empty: there is none.
	OwnJobID string
	// Create allows a job that is not known yet to be made from the fields here. Only
	// for events whose proof shows that they are about our own work.
	Create            bool
	ProjectID, UserID string
	Kind              string
	Status            JobStatus
	Result            json.RawMessage
	Error, ErrorType  string
	// Files are the results of a completed job.
	Files []Media // Position, URL, MediaType, ContentType, Size, Metadata are read
	// FilesTotal is how many files the result names, if Files has only the first of them.
	FilesTotal int
	// Fetch is set when the work is done and its result must be asked for.
	Fetch bool
	// Subject is the provider's customer in whose name it speaks; empty if it does not say.
	Subject string
	// Cost is what was billed; see [Job].
	Cost string
}

// Interpreter reads a provider's event as a change to a job. An error that is not
// marked by [gaff.Discard] is retried.
type Interpreter interface {
	Interpret(ev *gaff.Event) (Update, error)
}

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
}

// JobRef names a job: by its id, or by its provider and request.
type JobRef struct{ ID, Provider, RequestID string }

type jobRefKey struct{}

// ReadsJob tells [Store].Apply which job its fn reads first. A store that gathers several
// deliveries in a transaction may read their jobs at once; nothing else comes of it.
func ReadsJob(ctx context.Context, ref JobRef) context.Context {
	return context.WithValue(ctx, jobRefKey{}, ref)
}

// JobRefFrom returns what was told by [ReadsJob]; zero if nothing was.
func JobRefFrom(ctx context.Context) JobRef {
	ref, _ := ctx.Value(jobRefKey{}).(JobRef)
	return ref
}

// Tx is one transaction over the rows of jobs, media and projects.
type Tx interface {
	// Now is the time to write into rows.
	Now() time.Time
	// Job and JobByRequest return gaff.ErrNotFound if there is none.
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
	// RemoveJob removes a job that came to nothing, with its input and its log.
	RemoveJob(ctx context.Context, jobID string) error
	// JobsByCall returns jobs of a CallKey, made since, whose callers are owed an answer; the
	// oldest first.
	JobsByCall(ctx context.Context, key string, since time.Time) ([]*Job, error)
	// Input returns what a job was submitted with; nil if it is not kept.
	Input(ctx context.Context, jobID string) (json.RawMessage, error)
	SaveInput(ctx context.Context, jobID string, input json.RawMessage) error
	// AddLogEntry adds to a job's log, of which the newest lines are kept.
	AddLogEntry(ctx context.Context, jobID, what, text string) error
	// DuePolls returns jobs of a provider whose NextAskAt has come, the oldest first, and
	// puts them off until then, so that no other node takes them.
	DuePolls(ctx context.Context, provider string, limit int, until time.Time) ([]*Job, error)
	// NextPoll is the earliest NextAskAt of a provider's jobs; zero if there is none.
	NextPoll(ctx context.Context, provider string) (time.Time, error)
	// Durations returns what is kept of how long a model's jobs take; one of N 0 if nothing is.
	Durations(ctx context.Context, provider, model string) (Durations, error)
	SaveDurations(ctx context.Context, w Durations) error
	// Media returns gaff.ErrNotFound if there is none. SaveMedia writes what becomes known
	// of a file after its row was added: media and content type, size, hash, storage and
	// metadata.
	Media(ctx context.Context, id string) (*Media, error)
	SaveMedia(ctx context.Context, m *Media) error
	// Setting returns a value that all nodes share; empty if there is none.
	Setting(ctx context.Context, name string) (string, error)
	SetSetting(ctx context.Context, name, value string) error
	// Emit adds an inner event with its deliveries. A known DedupeKey adds nothing.
	Emit(ctx context.Context, ev *gaff.Event, ds []gaff.Delivery) error
	// SeeProject creates the project unless it exists.
	SeeProject(ctx context.Context, projectID string) error
	// SaveProject creates the project or overwrites its fields.
	SaveProject(ctx context.Context, p *Project) error
}

// Router names the deliveries that an event leads to; a [gaff.Gateway] is one.
type Router interface {
	Route(ev *gaff.Event) []gaff.Delivery
}

// JobFilter chooses jobs. Zero fields choose all.
type JobFilter struct {
	Provider, ProjectID, UserID, RequestID string
	Status                                 *JobStatus
	gaff.Cursor
}

// MediaFilter chooses media. Zero fields choose all.
type MediaFilter struct {
	ProjectID, JobID, MediaType string
	Storage                     *Storage
	gaff.Cursor
}

// Reader answers the API about jobs, media and projects. Unknown ids return gaff.ErrNotFound.
type Reader interface {
	Job(ctx context.Context, id string) (*Job, error)
	// JobLog returns a job's log, oldest first, and JobInput what it was submitted with
	// (nil if that is not kept). An unknown id has neither.
	JobLog(ctx context.Context, id string) ([]LogEntry, error)
	JobInput(ctx context.Context, id string) (json.RawMessage, error)
	Jobs(ctx context.Context, f JobFilter) (gaff.Page[Job], error)
	// JobCounts counts the jobs of a project by their status; of all jobs if project is empty.
	// No number is larger than gaff.MaxLogCount+1.
	JobCounts(ctx context.Context, project string) (map[JobStatus]int64, error)
	// Durations returns how long jobs take, by model: of the thousand that were heard of last.
	Durations(ctx context.Context) ([]Durations, error)
	MediaByID(ctx context.Context, id string) (*Media, error)
	Media(ctx context.Context, f MediaFilter) (gaff.Page[Media], error)
	// MediaCount counts the files of a project, up to gaff.MaxLogCount+1.
	MediaCount(ctx context.Context, project string) (int64, error)
	Project(ctx context.Context, id string) (*Project, error)
	Projects(ctx context.Context, c gaff.Cursor) (gaff.Page[Project], error)
}
