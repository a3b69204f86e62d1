package gaff

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

// Request is a webhook as it came in.
type Request struct {
	// Method and URL are the request line as the sender knew it: URL is the
	// configured public base joined with the path and query, not what a proxy
	// rewrote, because some senders sign the address too.
	Method, URL string
	// RemoteAddr is the peer's address without the port.
	RemoteAddr string
	// Header holds the headers as received. Names are canonical.
	Header http.Header
	// Body holds the exact bytes that were signed. Never nil for a received
	// request, but possibly empty.
	Body []byte
	// Plain is Body unpacked, if it came with a Content-Encoding and was unpacked; else nil.
	// It is not stored.
	Plain []byte
	// ReceivedAt is when the last byte of the body was read, by this machine's clock.
	ReceivedAt time.Time
}

// Event is an accepted webhook, or an inner event that a handler emitted. It never
// changes after it has been stored; what became of it stands in its [Log] and its
// deliveries.
type Event struct {
	// ID is ours: "evt_" and a ULID. The store gives it.
	ID string
	// Source and Type together find the handlers.
	Source, Type string
	// WebhookID is the sender's own id of the event, such as fal's request_id.
	// Empty where the sender has none.
	WebhookID string
	// DedupeKey is unique within Source: the sender's id joined with the status,
	// or the SHA-256 of the body.
	DedupeKey string
	// SignedKey is a second key, unique within Source, of an event whose id its signature
	// does not cover: a hash of what is signed. Empty: DedupeKey is covered.
	SignedKey string
	// CorrelationID is the sender's own name for the piece of work that the event is
	// about, such as fal's request_id or Last Frame's job_id. Empty if it has none.
	CorrelationID string
	// CallbackToken is the last part of the address that the webhook came to,
	// /api/v1/webhooks/{source}/{handle}; empty for the plain address. It is not
	// covered by any signature.
	CallbackToken string
	// OccurredAt is the sender's own time of the event; zero if not told.
	OccurredAt time.Time
	// ReceivedAt is when gaff had the whole request.
	ReceivedAt time.Time
	// Data is the body as valid JSON. Numbers are kept as sent, however large.
	Data json.RawMessage
	// Parsed is what the source's [Parser] made of Data, so that it is not decoded twice.
	// Nil for a large body, and once the event was read from the store, as for a retry:
	// whoever uses it must be able to do without.
	Parsed any
	// Request is the call as received; nil for events that gaff emitted itself.
	Request *Request
	// Damaged is set if the store has other bytes than were received; Data and the request's
	// body are empty then. Handlers are never called with such an event.
	Damaged bool
	// Verification says how the sender was proven; zero for inner events.
	Verification Verification
	// ParentID is the event whose handler emitted this one; empty for webhooks.
	ParentID string
	// Hop is the distance from the outside: 0 for a webhook, its parent's plus one
	// for an emitted event. More than [MaxHops] is refused, so a loop ends.
	Hop int
}

// MaxHops bounds how long a chain of emitted events may grow.
const MaxHops = 32

// InternalSource is the source of the events that gaff emits itself.
const InternalSource = "gaff"

// Status is the outcome of an event over all its deliveries.
type Status int

const (
	// StatusPending: kept, being worked, or waiting for its next automatic try.
	StatusPending Status = iota
	// StatusSuccess: every delivery succeeded, or there was none to make.
	StatusSuccess
	// StatusError: a delivery is dead.
	StatusError
)

var statusNames = [...]string{"pending", "success", "error"}

// String returns "pending", "success" or "error".
func (s Status) String() string {
	if s < 0 || int(s) >= len(statusNames) {
		return "unknown"
	}
	return statusNames[s]
}

// ParseStatus is the reverse of [Status.String]; ok is false for any other text.
func ParseStatus(text string) (s Status, ok bool) {
	for i, name := range statusNames {
		if name == text {
			return Status(i), true
		}
	}
	return 0, false
}

// Log is the webhook log of one event: the event with its outcome.
type Log struct {
	Event
	Status Status
	// Unhandled is set when no handler was registered for source:type at the time.
	Unhandled bool
	// Error is the last failure; empty if there was none, or success followed it.
	Error string
	// RetryCount is the number of tries after each delivery's first.
	RetryCount int
	// Duplicates counts later arrivals of the same id; Conflict is set when one of
	// them had another body.
	Duplicates int
	Conflict   bool
	// ProcessedAt is when a delivery was last tried to an end; zero if never.
	ProcessedAt time.Time
	UpdatedAt   time.Time
}

// State is where a delivery stands. See docs/states.md for the drawing.
type State int

const (
	// StatePending: waiting for a worker, no try has failed yet.
	StatePending State = iota
	// StateRunning: a worker has claimed it, and runs it or is about to. It is never stored,
	// but read from the claims; Pending and Retrying are those that nobody has claimed.
	StateRunning
	// StateRetrying: a try failed, the next one is due at RunAt.
	StateRetrying
	// StateSucceeded, StateDead and StateCanceled are ends. Dead and canceled
	// deliveries can be retried by a person.
	StateSucceeded
	StateDead
	StateCanceled
)

var stateNames = [...]string{"pending", "running", "retrying", "succeeded", "dead", "canceled"}

// String returns the state's name in lower case.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return "unknown"
	}
	return stateNames[s]
}

// ParseState is the reverse of [State.String]; ok is false for any other text.
func ParseState(text string) (s State, ok bool) {
	for i, name := range stateNames {
		if name == text {
			return State(i), true
		}
	}
	return 0, false
}

// Done reports whether the delivery needs no more work.
func (s State) Done() bool { return s >= StateSucceeded }

// Order is how the deliveries of one key in a lane follow one another.
type Order int

const (
	// NoOrder: all that is due is worked at once.
	NoOrder Order = iota
	// OrderSkipDead: one after the other, as their events came; after a dead one the next
	// is worked.
	OrderSkipDead
	// OrderHoldDead: the same, but a dead one holds the others of its key until it is
	// retried with success, or canceled.
	OrderHoldDead
	// OrderLatest: one after the other, and what waits is left out as soon as a newer one
	// of the key is there.
	OrderLatest
)

// Delivery is one event for one handler.
type Delivery struct {
	// ID is "dlv_", the ULID of the event, a hyphen and the delivery's number
	// within the event.
	ID      string
	EventID string
	Handler string
	// Queue is the queue that it waits in: the handler's name where that has workers of
	// its own, else empty.
	Queue string
	State State
	// Key is what Order is kept by within the lane: deliveries of one key follow one
	// another, those of others do not wait for them. Empty for no order.
	Key   string
	Order Order
	// Held is set while an earlier delivery of the key is not done.
	Held bool
	// Attempts is the number of tries that have ended. MaxAttempts is how many there
	// may be before the delivery is dead.
	Attempts, MaxAttempts int
	// RunAt is when the next try is due.
	RunAt time.Time
	// Error is the last failure.
	Error                string
	CreatedAt, UpdatedAt time.Time
	// FinishedAt is zero until State.Done.
	FinishedAt time.Time

	// Source, Type and WebhookID repeat the event's, for lists.
	Source, Type, WebhookID string
}

// Outcome names of an attempt.
const (
	AttemptSucceeded = "succeeded"
	AttemptFailed    = "failed"
	AttemptDiscarded = "discarded"
	AttemptPanicked  = "panicked"
	AttemptTimedOut  = "timed_out"
	AttemptSnoozed   = "snoozed"
	AttemptLost      = "lost"
	// AttemptSuperseded: left out, for a newer one of its key was there ([OrderLatest]).
	AttemptSuperseded = "superseded"
)

// Attempt is one try of a delivery.
type Attempt struct {
	DeliveryID string
	// Number counts from 1 within the delivery.
	Number int
	// Outcome is one of the Attempt… constants.
	Outcome   string
	StartedAt time.Time
	Duration  time.Duration
	// Error is the failure as text; Detail holds more, such as a panic's stack or
	// the response of a destination.
	Error, Detail string
}

// Rejection is a request that was refused. Secrets in its headers are masked and
// only the first bytes of its body are kept.
type Rejection struct {
	ID     string // rej_...
	Source string
	// Status is the HTTP status that was answered.
	Status int
	// Reason is for the operator; the sender is told less.
	Reason     string
	Method     string
	URL        string
	RemoteAddr string
	Header     http.Header
	Body       []byte
	BodySize   int64
	ReceivedAt time.Time
	// Whole is the request as it came, for the store to keep apart in bounded size; nil
	// where it is not to be kept. It is never set on what a store returns.
	Whole *Request
	// Rescuable tells that the request is kept whole and can be verified again; RescuedAs
	// is the event that it became, empty if none.
	Rescuable bool
	RescuedAs string
}

// Verification is what a [Verifier] learned about the sender.
type Verification struct {
	// Scheme names how the request was proven, such as "hmac-sha256" or "fal-jwks".
	Scheme string
	// KeyID names the key that matched, never its value: a fingerprint of a secret or
	// a key id.
	KeyID string
	// Subject is the authenticated party where the scheme has one, such as fal's
	// user id.
	Subject string
	// Dialect tells a [Parser] which of a source's forms of speech this is, where the
	// proof settles that. Empty for sources with one.
	Dialect string
	// ID and Type are the event's id and type where the verifier's description
	// tells where they stand (Standard Webhooks' webhook-id, for one).
	ID, Type string
	// Status is joined with the id to tell events apart, as that of an [Envelope].
	Status string
	// Secrets are the places of the sender's secret in the request, as [Source.Secrets]
	// names them; the gateway sets them.
	Secrets []string
	// Content is what is to be read in place of the body, as JSON, where the body is a
	// sealed form of it (a JSON Web Token, an encrypted message); empty: the body itself.
	Content string
	// Signed is the SHA-256, in hex, of what the signature covers, if that is not what tells
	// events apart: a request that repeats it under another id is the same event. Empty: the
	// id is covered, or nothing is signed.
	Signed string
}

// Verifier checks that a request was sent by whom it claims.
//
// Verify must not read the clock: freshness is judged against r.ReceivedAt, so a
// captured request verifies the same way in a test or a replay as it did live. It
// returns an error that wraps [ErrUnverifiable] when the check cannot be made just now
// (public keys not to be had): the sender is then told to come again. Any other error
// refuses the request. It is called by many goroutines at once.
type Verifier interface {
	Verify(ctx context.Context, r *Request) (Verification, error)
}

// Parser reads what the gateway must know about an authentic request, and nothing
// more. An error refuses the request as unreadable (400).
//
// The body of r is [Request.Text]: unpacked, and UTF-8 without a byte order mark. Of a form
// the escapes may still be bytes of the charset that the content type names.
type Parser interface {
	Parse(r *Request, v Verification) (Envelope, error)
}

// Envelope is what a [Parser] reads from a request.
type Envelope struct {
	// Type is the event's type, such as "generation.completed". Required.
	Type string
	// ID is the sender's own id of the event; empty if it has none.
	ID string
	// Status is joined with ID to make the dedupe key, for senders that use one id
	// for several events of one piece of work.
	Status string
	// CorrelationID is the sender's name for the piece of work; see [Event].
	CorrelationID string
	// OccurredAt is the sender's own time of the event; zero if not told.
	OccurredAt time.Time
	// Data is the body as valid JSON; nil means that the body itself is it.
	Data json.RawMessage
	// Parsed is handed on to the event; see [Event]. Nil if there is nothing to hand on.
	Parsed any
	// Split is set where one request brings several events, or none: Batch holds them,
	// each with its Data. Of the envelope itself nothing else is read then.
	Split bool
	Batch []Envelope
}

// Reply is a fixed answer to a sender.
type Reply struct {
	Status      int
	ContentType string
	Header      http.Header
	Body        []byte
	// Reason says to the operator why a call was refused (a Status from 400 on); Note is
	// logged. Neither is sent.
	Reason, Detail string
}

// Handshaker answers the calls by which a sender tests that an address is ours: a GET
// with a challenge to echo, a signed ping that wants a pong. Such a call is no event.
type Handshaker interface {
	// Methods lists the HTTP methods, besides POST, that the sender uses for it.
	Methods() []string
	// Handshake answers r. v is zero and err the verifier's refusal if r did not
	// verify. ok is false when r is an ordinary webhook after all.
	Handshake(ctx context.Context, r *Request, v Verification, err error) (rep Reply, ok bool)
}

// Source joins a name in the URL to a way of trusting and reading it.
type Source struct {
	// Name is the part of the address after /api/v1/webhooks/: lower case letters,
	// digits, "-" and "_", at most 64. "manage" and "gaff" are taken.
	Name     string
	Verifier Verifier
	Parser   Parser
	// Handshaker may be nil: the sender has no such call.
	Handshaker Handshaker
	// Ack is answered in place of the usual JSON; nil for the usual.
	Ack *Reply
	// EmptyErrors leaves the body of refusals empty, for senders that take a body for a failure.
	EmptyErrors bool
	// CheckCallbackToken judges the last part of an address with one, PathPrefix{source}/{handle},
	// of an authentic request; an error refuses it as a wrong signature would. Nil: any
	// handle is taken, and means nothing.
	CheckCallbackToken func(handle string) error
	// Admit judges an event of an authentic request before it is stored. An error rejects
	// the request with 429, so that the sender comes again. Nil: all are stored.
	Admit func(ctx context.Context, ev *Event) error
	// MaxBodyBytes bounds the body, in bytes. Zero means 1 MiB.
	MaxBodyBytes int64
	// AcceptGzip allows "Content-Encoding: gzip" and "deflate"; the unpacked size is bounded
	// by MaxBodyBytes too. The signature may cover the bytes as sent or the unpacked ones.
	AcceptGzip bool
	// Retry overrides the gateway's policy for this source's deliveries; nil keeps it.
	Retry *RetryPolicy
	// DisabledReason says why the source refuses everything, such as a secret that is not
	// set; empty for a source that works. It is logged at start and shown.
	DisabledReason string
	// Guard bounds who may send and how much.
	Guard Guard
	// Secrets names the places of requests that hold the sender's secret as it is, such as a
	// shared token: "header:NAME", "query:NAME", "form:NAME", "json:/POINTER" (with "*" for
	// each item of a list), or "body". They are masked for every reader, and in Event.Data.
	Secrets []string
	// Headers names the headers that the Verifier reads. Of a rejected request only their
	// values are stored, and those of harmless ones.
	Headers []string
	// About describes the source to people: what the verifier expects, and where to
	// enter the address. Keys and values are free text; nothing secret.
	About map[string]string

	verified   *rate.Limiter // of Guard.Rate, for verified requests
	unverified *clientLimits // the same for each client address, for others
}
