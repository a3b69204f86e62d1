package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"gaff"
)

// Provider is a service that works on jobs. Its methods are called by many goroutines at
// once; they bound their own calls to less than a minute.
type Provider interface {
	// Name is what jobs call it, and its source.
	Name() string
	// Check says what is wrong with a submission, as an [InvalidError], before anything
	// is written: the model's name, the input's form, a key that is not set.
	Check(s *Submission) error
	// Account is a fingerprint of the key that it works under; empty without one.
	Account() string
	// Submit hands the work over. A *[Rejected] means that the provider will not take it,
	// a *[NotNow] that it did not take it this time; after any other error it may have it.
	Submit(ctx context.Context, j *Job, input json.RawMessage, webhookURL string) (Accepted, error)
	// CanPoll reports whether the job says enough to ask after it.
	CanPoll(j *Job) bool
	// Poll tells where the job stands, with its result once it is there. ErrNoSuchWork
	// means that the provider does not know it.
	Poll(ctx context.Context, j *Job) (Update, error)
	// Cancel asks the provider to stop. ErrEnded means that the work has ended already,
	// ErrNoSuchWork that the provider does not know it.
	Cancel(ctx context.Context, j *Job) error
}

// WebhookOnly marks a Provider to which gaff submits nothing and that it cannot ask:
// applications do, and its webhooks tell the rest.
type WebhookOnly interface{ WebhookOnly() }

// Finder is a Provider that can look for work of which only the input is known, because
// the answer to its submit was lost.
type Finder interface {
	// Find returns the work that was submitted with the input at about sentAt, other than
	// those for which known is true. ErrNoSuchWork means that there is none yet.
	Find(ctx context.Context, j *Job, input json.RawMessage, known func(requestID string) bool) (Accepted, error)
}

// Repeater is a Provider that takes work once, however often it is submitted, so that a
// submit of unknown outcome may be repeated.
type Repeater interface{ Repeatable() bool }

// AddressChecker is a Provider that judges addresses before a key is sent to them.
type AddressChecker interface {
	CheckAddress(address string) error
}

// Accepted is a provider's answer to a submit.
type Accepted struct {
	RequestID                         string
	StatusURL, ResponseURL, CancelURL string // empty where it tells none
}

// HeaderRelay is a Provider whose webhooks have headers of its own, such as signatures. gaff
// forwards those with a webhook to a job's callback URL.
type HeaderRelay interface {
	// RelaysHeader reports whether a header, by its canonical name, is one of them.
	RelaysHeader(name string) bool
}

var (
	// ErrNoSuchWork: the provider does not know the job.
	ErrNoSuchWork = errors.New("the provider does not know it")
	// ErrEnded: the provider has finished the job.
	ErrEnded = errors.New("it has ended already")
)

// Rejected is a provider's final no.
type Rejected struct {
	// Text is for people, Type a code for programs, which may be empty.
	Text, Type string
}

func (e *Rejected) Error() string { return e.Text }

// NotNow is a no that may be a yes later. Nothing was taken.
type NotNow struct {
	// After is when to come again; zero if the provider did not say.
	After time.Duration
	Err   error
}

func (e *NotNow) Error() string { return e.Err.Error() }

func (e *NotNow) Unwrap() error { return e.Err }

// InvalidError is a mistake in what was asked for. It is a gaff.ErrInvalid.
type InvalidError struct {
	Field string // as the API names it
	Text  string // what is wrong, and what would be right
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Text }

func (e *InvalidError) Unwrap() error { return gaff.ErrInvalid }
