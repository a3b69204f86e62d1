// Package jobs turns providers' events into what an application is after: the
// status of its jobs, the files they made, and a call to whatever comes next. All that
// one event leads to is written in one transaction together with the success of its
// delivery, so it happens exactly once.
package jobs

import (
	"cmp"
	"encoding/json"
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

// Settled reports whether the status is an end.
func (s JobStatus) Settled() bool { return s >= JobCompleted }

// ParseJobStatus is the reverse of [JobStatus.String]; ok is false for other text.
func ParseJobStatus(text string) (s JobStatus, ok bool) {
	for i, name := range jobStatusNames {
		if name == text {
			return JobStatus(i), true
		}
	}
	return 0, false
}

// Who settled a job.
const (
	SettledByWebhook        = "webhook"
	SettledByReconciliation = "reconciliation"
)

// Job is work at a provider, such as a picture to generate.
type Job struct {
	ID       string // job_... or the id that the asker chose
	Provider string // its name
	Model    string // the provider's name for the work; empty if unknown
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

// begun is when a job was submitted, or is about to be.
func (j *Job) begun() time.Time {
	for _, at := range []time.Time{j.SubmittedAt, j.SentAt} {
		if !at.IsZero() {
			return at
		}
	}
	return j.CreatedAt
}

// learn takes over what an update says. What the job knows already stays.
func (j *Job) learn(u Update) {
	j.Status = u.Status
	j.Kind = cmp.Or(j.Kind, u.Kind)
	j.ProjectID = cmp.Or(j.ProjectID, u.ProjectID)
	j.UserID = cmp.Or(j.UserID, u.UserID)
	if u.Status == JobFailed {
		j.Error, j.ErrorType = u.Error, u.ErrorType
	}
	if u.Result != nil {
		j.Result = u.Result
	}
	if u.Cost != "" {
		j.Cost = u.Cost
	}
}

// Project groups jobs, media and runs. It is created when its id is first used, or on request.
type Project struct {
	ID string // chosen by the caller
	// Name and Owner are for people; empty until someone sets them.
	Name, Owner string
	// Metadata is the caller's JSON object; nil if unset.
	Metadata             json.RawMessage
	CreatedAt, UpdatedAt time.Time
}
