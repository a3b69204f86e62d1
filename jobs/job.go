// Package jobs has the jobs at providers, their files and projects. It submits jobs, polls and
// cancels them, and turns the providers' webhooks into their status and files. All effects of one
// event are written in one transaction with the success of its delivery, so they happen exactly
// once.
//
// A webhook passes webhook.go (which job), settle.go (what changes), media.go (files) and
// callback.go (the caller's copy).
package jobs

import (
	"cmp"
	"encoding/json"
	"time"

	"gaff"
)

// JobStatus is the status of a job. It only moves forward, and an end is final.
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
	// SettledBySubmit: the answer to the submit held the result.
	SettledBySubmit = "submit"
	// SettledByReuse: the result is that of an earlier, equal job.
	SettledByReuse = "reuse"
)

// Job is work at a provider, such as a picture to generate.
type Job struct {
	ID       string `json:"id"`              // job_… or an id of the caller's own
	Provider string `json:"provider"`        // its name
	Model    string `json:"model,omitempty"` // the provider's name for the work; empty if unknown
	// Kind is image, video, audio or a name of the caller's own; may be empty.
	Kind      string `json:"kind,omitempty"`
	ProjectID string `json:"projectId,omitempty"`
	UserID    string `json:"userId,omitempty"`
	// RequestID is the provider's name for the work; unique within Provider.
	RequestID string    `json:"requestId,omitempty"`
	Status    JobStatus `json:"status"`
	// Result is what the provider returned, as sent; nil until completed. Lists leave out
	// those of more than MaxListed bytes; ResultSize is its length in any case.
	Result     json.RawMessage `json:"result,omitempty"`
	ResultSize int64           `json:"resultSize"`
	// Error is text for people; ErrorType a code for programs, such as
	// "content_policy_violation". Both empty unless failed.
	Error     string `json:"error,omitempty"`
	ErrorType string `json:"errorType,omitempty"`
	// SettledBy is one of the SettledBy… constants; empty until settled.
	SettledBy string `json:"settledBy,omitempty"`
	// Metadata is the caller's JSON object; may be nil.
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	CreatedAt time.Time       `json:"createdAt,omitzero"`
	// SubmittedAt and SettledAt are zero until it happened.
	SubmittedAt time.Time `json:"submittedAt,omitzero"`
	SettledAt   time.Time `json:"settledAt,omitzero"`
	UpdatedAt   time.Time `json:"updatedAt,omitzero"`

	// Submit is the state of its submit; SubmitNone for work that an application submitted.
	Submit SubmitState `json:"submit,omitzero"`
	// SentAt is when the submit was begun; zero before.
	SentAt time.Time `json:"-"`
	// Account names, by a fingerprint, the key under which it was submitted; empty if
	// another program did.
	Account string `json:"-"`
	// Caller names who submitted it. Empty: gaff itself, or unknown (older versions).
	Caller string `json:"-"`
	// IdempotencyKey is the caller's own; unique among theirs where not empty.
	IdempotencyKey string `json:"idempotencyKey,omitempty"`
	// RunID and StepID are the workflow step that the job works for; empty if none.
	RunID  string `json:"runId,omitempty"`
	StepID string `json:"stepId,omitempty"`
	// StatusURL, ResponseURL and CancelURL are the provider's URLs of the work; may be empty.
	StatusURL   string `json:"-"`
	ResponseURL string `json:"-"`
	CancelURL   string `json:"-"`
	// WebhookURL is the URL that the provider was given; may be empty.
	WebhookURL string `json:"-"`
	// Callback is a URL of the caller's that gets the provider's webhook; may be empty.
	Callback string `json:"-"`
	// Cost is what the provider billed, in its own units, as a number; empty if unknown.
	Cost string `json:"cost,omitempty"`
	// Charge is what it costs in money.
	Charge Charge `json:"charge,omitzero"`
	// Priority is from MinPriority to MaxPriority; of jobs of a provider that wait, the highest is
	// submitted first.
	Priority int `json:"priority"`
	// ReusedFrom is the job whose result this one has, in place of work at the provider; empty if it
	// has its own. Saved is what that job cost, in the currency of Charge.
	ReusedFrom string `json:"reusedFrom,omitempty"`
	Saved      Micros `json:"saved,omitzero"`
	// ReuseKey is a hash of what the result depends on, of a job whose result may be reused. It is
	// stored with a new job only, and not read.
	ReuseKey string `json:"-"`
	// NextPollAt is when the provider is polled next; zero: never. Polls counts the polls, Misses
	// those in a row of which the provider did not know the job.
	NextPollAt time.Time `json:"nextAskAt,omitzero"`
	Polls      int       `json:"asks"`
	Misses     int       `json:"-"`
	// Attempt counts the candidates of a job that were used so far, from 1; 0: it has one provider only.
	Attempt int `json:"attempt"`
	// CallKey is a hash of the call that a proxied submit came by; empty for others.
	CallKey string `json:"-"`
	// OwedBy names the call, and so the process, that owes the caller its answer; empty once
	// the caller has it. While it is not, a repetition of the call means the same job.
	OwedBy string `json:"-"`
}

// MaxListed is the longest result of a job that lists hold, in bytes.
const MaxListed = 64 << 10

// MaxMetadata bounds the metadata of a job, in bytes.
const MaxMetadata = 64 << 10

// SubmitState is the state of a job's submit.
type SubmitState int

// The order is not a direction: a submit that was not accepted waits again.
const (
	// SubmitNone: gaff does not submit it.
	SubmitNone SubmitState = iota
	// SubmitWaiting: nothing was sent yet.
	SubmitWaiting
	// SubmitSending: it may have been sent. This is stored before the provider is called, so that
	// it is not called again after a crash.
	SubmitSending
	// SubmitAccepted: the provider accepted it.
	SubmitAccepted
	// SubmitUnknown: it was sent, and the response was lost. It is not sent again.
	SubmitUnknown
	// SubmitRejected: the provider rejected it.
	SubmitRejected
	// SubmitHeld: a budget has no room, and the job waits for an approval.
	SubmitHeld
)

var submitNames = [...]string{"", "waiting", "sending", "accepted", "unknown", "refused", "held"}

// String returns the state in lower case; empty for SubmitNone.
func (s SubmitState) String() string {
	if s < 0 || int(s) >= len(submitNames) {
		return ""
	}
	return submitNames[s]
}

// LogEntry is a line of a job's log: a call to the provider, or its answer.
type LogEntry struct {
	At   time.Time
	What string // submit, webhook, ask, cancel, register, fallback, hold, charge, reuse
	Text string
}

// Update is what a provider's event or answer says about a job.
type Update struct {
	// Provider is the job's provider.
	Provider string
	// JobID is the caller's own id, if the event has it; else RequestID finds the job.
	JobID     string
	RequestID string
	// OwnJobID is the job to change in place of JobID if that is a job of another provider,
	// such as the one whose result this provider works on; may be empty.
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
	// Cost is the billed amount; see [Job].
	Cost string
	// Uncertain is set for a failure that the provider did not report: it may have done the work, or
	// yet do it.
	Uncertain bool
	// Progress is how far the work is, for the job's log: a number from 0 to 1, or a text. It may
	// be empty.
	Progress string
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
	Metadata json.RawMessage
	// PublicMedia gives each file a permanent link when its copy is stored.
	PublicMedia          bool
	CreatedAt, UpdatedAt time.Time
}
