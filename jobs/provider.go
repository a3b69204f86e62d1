package jobs

import (
	"context"
	"encoding/json"
	"time"

	"gaff"
	"gaff/internal/redact"
)

// Provider is a service that works on jobs. Its methods are called by many goroutines at
// once; they bound their own calls to less than a minute.
type Provider interface {
	// Name is the name that jobs and its source have.
	Name() string
	// Check returns the mistake in a submission, as an [InvalidError], before the job is stored:
	// an unknown model, input of the wrong form, an unset key.
	Check(s *Submission) error
	// Account is a fingerprint of the key that it works under; empty without one.
	Account() string
	// Submit submits the work. A *[Rejected] means that the provider will not accept it, a
	// *[NotNow] that it did not accept it this time; after any other error it may have it.
	Submit(ctx context.Context, j *Job, input json.RawMessage, webhookURL string) (Accepted, error)
	// CanPoll reports whether enough is known of the job to poll it.
	CanPoll(j *Job) bool
	// Poll returns the job's status, with its result once there is one. ErrNoSuchWork means that
	// the provider does not know it.
	Poll(ctx context.Context, j *Job) (Update, error)
	// Cancel asks the provider to stop. ErrEnded means that the work has ended already,
	// ErrNoSuchWork that the provider does not know it.
	Cancel(ctx context.Context, j *Job) error
}

// WebhookOnly marks a Provider that gaff can neither submit to nor poll: applications submit, and
// its webhooks bring the rest.
type WebhookOnly interface{ WebhookOnly() }

// Finder is a Provider that can look for work of which only the input is known, because
// the answer to its submit was lost.
type Finder interface {
	// Find returns the work that was submitted with the input at about sentAt, other than
	// those for which known is true. ErrNoSuchWork means that it was not found.
	Find(ctx context.Context, j *Job, input json.RawMessage, known func(requestID string) bool) (Accepted, error)
}

// Repeater is a Provider that takes work once, however often it is submitted, so that a
// submit of unknown outcome may be repeated.
type Repeater interface{ Repeatable() bool }

// AddressChecker is a Provider that judges addresses before a key is sent to them.
type AddressChecker interface {
	CheckAddress(address string) error
}

// PolledOnly is a Provider that may send no webhooks, so that its jobs are polled.
type PolledOnly interface{ Polled() bool }

// Slow is a Provider whose submits may take longer than a minute, such as one that answers with the
// result.
type Slow interface{ SubmitTimeout() time.Duration }

// Paced is a Provider with limits of its own.
type Paced interface {
	// Pace returns how many requests a second polls may make, and how many submits may be sent at
	// once; zero for the limits of the service.
	Pace() (rate float64, submits int)
	// Usual returns how long a job usually takes, until jobs have been measured; zero if unknown.
	Usual() time.Duration
}

// Accepted is a provider's answer to a submit.
type Accepted struct {
	RequestID                         string
	StatusURL, ResponseURL, CancelURL string // may be empty
	// Update is the end of work that the provider finished before it answered; nil: it goes on.
	Update *Update
}

// HeaderRelay is a Provider whose webhooks have headers of its own, such as signatures. gaff
// forwards those with a webhook to a job's callback URL.
type HeaderRelay interface {
	// RelaysHeader reports whether a header, by its canonical name, is one of them.
	RelaysHeader(name string) bool
}

var (
	// ErrNoSuchWork: the provider does not know the job.
	ErrNoSuchWork error = redact.Const("the provider does not know it")
	// ErrNoCancel: the provider has no way to stop work.
	ErrNoCancel error = redact.Const("the provider cannot stop it")
	// ErrEnded: the provider has finished the job.
	ErrEnded error = redact.Const("it has ended already")
)

// Rejected is the final rejection of a submit.
type Rejected struct {
	// Text is for people, Type a code for programs, which may be empty.
	Text, Type string
}

func (e *Rejected) Error() string { return e.Text }

// NotNow means that a submit was not accepted, and that a later one may be.
type NotNow struct {
	// After is the delay that the provider asked for; zero if it did not.
	After time.Duration
	Err   error
}

func (e *NotNow) Error() string { return e.Err.Error() }

func (e *NotNow) Unwrap() error { return e.Err }

// InvalidError is a mistake in a request. It is a gaff.ErrInvalid.
type InvalidError struct {
	Field string // as the API names it
	Text  string // the problem, and what to write instead
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Text }

func (e *InvalidError) Unwrap() error { return gaff.ErrInvalid }
