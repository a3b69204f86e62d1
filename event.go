package gaff

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"
)

// Event is an accepted webhook, or an internal event that a handler emitted. It never
// changes after it has been stored; its [Log] and its deliveries have its outcome.
type Event struct {
	// ID is ours: "evt_" and a ULID. The store gives it.
	ID string `json:"id"`
	// Source and Type together find the handlers.
	Source string `json:"source"`
	Type   string `json:"type"`
	// WebhookID is the sender's own id of the event, such as a request id.
	// Empty where the sender has none.
	WebhookID string `json:"webhookId,omitempty"`
	// DedupeKey is unique within Source: the sender's id joined with the status,
	// or the SHA-256 of the body.
	DedupeKey string `json:"-"`
	// SignedKey is a second key, unique within Source, of an event whose id its signature
	// does not cover: a hash of the signed content. Empty: DedupeKey is covered.
	SignedKey string `json:"-"`
	// CorrelationID is the sender's own name for the piece of work that the event is
	// about, such as the id of a request or a job. Empty if it has none.
	CorrelationID string `json:"correlationId,omitempty"`
	// CallbackToken is the last part of the address that the webhook came to,
	// /api/v1/webhooks/{source}/{handle}; empty for the plain address. It is not
	// covered by any signature.
	CallbackToken string `json:"-"`
	// ProjectID is the project that a published event belongs to; empty for webhooks.
	ProjectID string `json:"-"`
	// OccurredAt is the sender's own time of the event; zero if not told.
	OccurredAt time.Time `json:"occurredAt,omitzero"`
	// ReceivedAt is when gaff had the whole request.
	ReceivedAt time.Time `json:"receivedAt,omitzero"`
	// Data is the body as valid JSON. Numbers are kept as sent, however large.
	Data json.RawMessage `json:"data,omitempty"`
	// Parsed is what the source's [Parser] made of Data, so that it is not decoded twice.
	// Nil for a large body, and once the event was read from the store, as for a retry:
	// handlers must work without it.
	Parsed any `json:"-"`
	// Request is the call as received; nil for events that gaff emitted itself.
	Request *Request `json:"-"`
	// Damaged is set if the store has other bytes than were received; Data and the request's
	// body are empty then. Handlers are never called with such an event.
	Damaged bool `json:"-"`
	// Verification says how the sender was verified; zero for internal events.
	Verification Verification `json:"-"`
	// ParentID is the event whose handler emitted this one; empty for webhooks.
	ParentID string `json:"parentId,omitempty"`
	// Hop is the distance from the outside: 0 for a webhook, its parent's plus one
	// for an emitted event. More than [MaxHops] is refused, so a loop ends.
	Hop int `json:"-"`
	// Redaction is that of the event's source, if it is applied after the handlers have processed
	// the event: a repeated request is compared and stored with it. Nil without one; not stored.
	Redaction *Redaction `json:"-"`
	// Violation says how Data violates the schema of its source and type; nil if it does not. It is
	// set on new events, and in an [EventDetail].
	Violation *SchemaViolation `json:"-"`
	// Reply is the reply to the sender, who waits for a handler ([Source.Answer]); nil: nobody waits.
	// It is not stored.
	Reply *PendingReply `json:"-"`
}

// MaxHops bounds how long a chain of emitted events may grow.
const MaxHops = 32

// InternalSource is the source of the events that gaff emits itself.
const InternalSource = "gaff"

// Status is the outcome of an event over all its deliveries.
type Status int

const (
	// StatusPending: stored, being processed, or waiting for its next automatic attempt.
	StatusPending Status = iota
	// StatusSuccess: every delivery succeeded, or the event has no deliveries.
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

// MarshalText returns the name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of [Status.MarshalText].
func (s *Status) UnmarshalText(text []byte) error {
	status, ok := ParseStatus(string(text))
	if !ok {
		return fmt.Errorf("unknown status %.60q: want one of %q", text, statusNames)
	}
	*s = status
	return nil
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
	Status Status `json:"status"`
	// Unhandled is set when no handler was registered for source:type at the time.
	Unhandled bool `json:"unhandled"`
	// Error is the last failure; empty without one, or if success followed it.
	Error string `json:"error,omitempty"`
	// RetryCount is the number of attempts after each delivery's first.
	RetryCount int `json:"retryCount"`
	// Duplicates counts later arrivals of the same id; Conflict is set when one of
	// them had another body.
	Duplicates int  `json:"duplicates"`
	Conflict   bool `json:"conflict"`
	// Violations is the number of problems that the data has by its schema.
	Violations int `json:"violations"`
	// ProcessedAt is when a delivery was last tried to an end; zero if never.
	ProcessedAt time.Time `json:"processedAt,omitzero"`
	UpdatedAt   time.Time `json:"updatedAt,omitzero"`
}

// Rejection is a request that was refused. Secrets in its headers are masked and
// only the first bytes of its body are kept.
type Rejection struct {
	ID     string `json:"id"` // rej_...
	Source string `json:"source"`
	// Status is the HTTP status that was answered.
	Status int `json:"status"`
	// Reason is for the operator; the sender gets less.
	Reason     string      `json:"reason"`
	Method     string      `json:"method"`
	URL        string      `json:"url"`
	RemoteAddr string      `json:"remoteAddr"`
	Header     http.Header `json:"headers"`
	Body       []byte      `json:"-"` // body, or bodyBase64
	BodySize   int64       `json:"bodySize"`
	ReceivedAt time.Time   `json:"receivedAt,omitzero"`
	// Whole is the request as it came, for the store to keep apart in bounded size; nil
	// where it is not to be kept. It is never set on what a store returns.
	Whole *Request `json:"-"`
	// Rescuable means that the whole request is stored and can be verified again; RescuedAs
	// is the event that it became, or empty.
	Rescuable bool   `json:"rescuable"`
	RescuedAs string `json:"rescuedAs,omitempty"`
}

// rejectionMembers are those of a rejection but for its body.
type rejectionMembers Rejection

// rejectionDocument is a rejection as the API has it: a body that is not UTF-8 is in base64.
type rejectionDocument struct {
	rejectionMembers
	Body       *string `json:"body"`
	BodyBase64 []byte  `json:"bodyBase64,omitempty"`
}

// MarshalJSON encodes a rejection as the API does.
func (r Rejection) MarshalJSON() ([]byte, error) {
	d := rejectionDocument{rejectionMembers: rejectionMembers(r)}
	if body := string(r.Body); utf8.ValidString(body) {
		d.Body = &body
	} else {
		d.BodyBase64 = r.Body
	}
	return json.Marshal(d)
}

// UnmarshalJSON is the reverse of [Rejection.MarshalJSON].
func (r *Rejection) UnmarshalJSON(text []byte) error {
	var d rejectionDocument
	if err := json.Unmarshal(text, &d); err != nil {
		return err
	}
	*r = Rejection(d.rejectionMembers)
	r.Body = d.BodyBase64
	if d.Body != nil {
		r.Body = []byte(*d.Body)
	}
	return nil
}

// Copy is a later arrival of a known id with another body.
type Copy struct {
	ReceivedAt time.Time
	Header     map[string][]string
	Body       []byte
	// Damaged is set if the store has another body than was received; Body is empty then.
	Damaged bool
}

// EventDetail is an event with all that became of it.
type EventDetail struct {
	Log
	Deliveries []Delivery
	Attempts   []Attempt
	Copies     []Copy
	// Children are the ids of the events emitted by this one's handlers.
	Children []string
}
