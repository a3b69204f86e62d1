package wire

import (
	"encoding/base64"
	"unicode/utf8"

	"gaff"
)

// Event is an event with its outcome, without its body.
type Event struct {
	ID            string `json:"id" example:"evt_01KAVJ0Z6M3Q8R5T7W9XYZABCD"`
	WebhookID     string `json:"webhookId" doc:"The sender's id of the event; the event's own id if the sender gave none."`
	Source        string `json:"source" example:"fal"`
	Type          string `json:"type" example:"generation.completed"`
	Status        string `json:"status" enum:"pending,success,error"`
	Unhandled     bool   `json:"unhandled" doc:"No handler was registered for it."`
	Error         Text   `json:"error"`
	RetryCount    int    `json:"retryCount"`
	Duplicates    int    `json:"duplicates" doc:"How many more times the same id was received."`
	Conflict      bool   `json:"conflict" doc:"The same id was received again with a different body."`
	Violations    int    `json:"violations" doc:"How many problems the data has by the JSON Schema of its source and type; 0 without a schema."`
	CorrelationID Text   `json:"correlationId"`
	ParentID      Text   `json:"parentId"`
	ReceivedAt    Time   `json:"receivedAt"`
	OccurredAt    Time   `json:"occurredAt"`
	ProcessedAt   Time   `json:"processedAt"`
	UpdatedAt     Time   `json:"updatedAt"`
}

// NewEvent makes the document of an event.
func NewEvent(l gaff.Log) Event {
	return Event{
		ID: l.ID, WebhookID: webhookID(l), Source: l.Source, Type: l.Type, Status: l.Status.String(), Unhandled: l.Unhandled,
		Error: Text(l.Error), RetryCount: l.RetryCount, Duplicates: l.Duplicates, Conflict: l.Conflict, Violations: l.Violations,
		CorrelationID: Text(l.CorrelationID), ParentID: Text(l.ParentID), ReceivedAt: Time{l.ReceivedAt},
		OccurredAt: Time{l.OccurredAt}, ProcessedAt: Time{l.ProcessedAt}, UpdatedAt: Time{l.UpdatedAt},
	}
}

// webhookID is the sender's id of an event, or the event's own.
func webhookID(l gaff.Log) string {
	if l.WebhookID != "" {
		return l.WebhookID
	}
	return l.ID
}

// EventDetail is an event with its request, deliveries, copies and children.
type EventDetail struct {
	Event
	Data       JSON          `json:"data" doc:"The body as JSON, numbers as sent."`
	Damaged    bool          `json:"bodyDamaged" doc:"The stored body differs from the received one, and is left out."`
	Request    *Request      `json:"request" doc:"Null for internal events."`
	Proof      *Verification `json:"proof" doc:"How the sender was verified; null for internal events."`
	Deliveries []Delivery    `json:"deliveries" nullable:"false"`
	Copies     []Copy        `json:"copies" nullable:"false" doc:"Later requests with the same id and a different body."`
	ProjectID  Text          `json:"projectId" doc:"Of events that were published through gaff: their project."`
	Children   []string      `json:"children" nullable:"false" doc:"Ids of the events that this one's handlers emitted."`

	Violation *Violation `json:"violation" doc:"How the data violates its JSON Schema; null if it does not, and once the body is removed."`
}

// Violation says how the data of an event violates a JSON Schema.
type Violation struct {
	Schema   string    `json:"schema" doc:"The event type that the schema is for, or *."`
	Problems []Problem `json:"problems" nullable:"false" doc:"At most 20, sorted by path."`
	More     int       `json:"more" doc:"The number of problems that are left out."`
}

// Problem is one problem of a value.
type Problem struct {
	Path    string `json:"path" doc:"The JSON pointer of the value; empty for the whole data."`
	Keyword Text   `json:"keyword" example:"required" doc:"The keyword of the schema."`
	Message string `json:"message"`
}

// NewViolation makes the document of a violation; nil for nil.
func NewViolation(v *gaff.SchemaViolation) *Violation {
	if v == nil {
		return nil
	}
	doc := &Violation{Schema: v.Schema, Problems: []Problem{}, More: v.More}
	for _, p := range v.Problems {
		doc.Problems = append(doc.Problems, Problem{p.Path, Text(p.Keyword), p.Message})
	}
	return doc
}

// NewEventDetail makes the document of an event whose secrets are masked already.
func NewEventDetail(d *gaff.EventDetail) EventDetail {
	doc := EventDetail{
		Event: NewEvent(d.Log), Data: JSON(d.Data), Damaged: d.Damaged, Deliveries: []Delivery{}, Copies: []Copy{}, Children: texts(d.Children),
		Violation: NewViolation(d.Violation),
	}
	if r := d.Request; r != nil {
		doc.Request = &Request{r.Method, r.URL, r.RemoteAddr, r.Header, NewBody(r.Body)}
		doc.ProjectID = Text(d.ProjectID)
		doc.Proof = &Verification{d.Verification.Scheme, Text(d.Verification.KeyID), Text(d.Verification.Subject), Text(d.Verification.Dialect)}
	}
	for _, delivery := range d.Deliveries {
		doc.Deliveries = append(doc.Deliveries, NewDeliveryDetail(delivery, d.Attempts))
	}
	for _, c := range d.Copies {
		doc.Copies = append(doc.Copies, Copy{Time{c.ReceivedAt}, c.Header, NewBody(c.Body)})
	}
	return doc
}

// Request is a request as it was received.
type Request struct {
	Method     string              `json:"method"`
	URL        string              `json:"url" doc:"Secrets are masked."`
	RemoteAddr string              `json:"remoteAddr"`
	Headers    map[string][]string `json:"headers" doc:"Secrets are masked."`
	Body
}

// Body is the body of a request, as text or in base64.
type Body struct {
	Body       *string `json:"body" doc:"Null if the body is not UTF-8; bodyBase64 has it then."`
	BodyBase64 Text    `json:"bodyBase64"`
}

// NewBody makes the document of a body.
func NewBody(body []byte) Body {
	text := string(body)
	if utf8.ValidString(text) {
		return Body{Body: &text}
	}
	return Body{BodyBase64: Text(base64.StdEncoding.EncodeToString(body))}
}

// Bytes returns the exact bytes of the body.
func (b Body) Bytes() ([]byte, error) {
	switch {
	case b.BodyBase64 != "":
		return base64.StdEncoding.DecodeString(string(b.BodyBase64))
	case b.Body != nil:
		return []byte(*b.Body), nil
	}
	return nil, nil
}

// Verification says how the sender of a request was verified.
type Verification struct {
	Scheme  string `json:"scheme" example:"hmac-sha256"`
	KeyID   Text   `json:"keyId" doc:"A fingerprint of the key that matched."`
	Subject Text   `json:"subject"`
	Dialect Text   `json:"dialect"`
}

// Copy is a later request with the id of an event and a different body.
type Copy struct {
	ReceivedAt Time                `json:"receivedAt"`
	Headers    map[string][]string `json:"headers"`
	Body
}

// Started names the deliveries that a retry or replay made due.
type Started struct {
	Deliveries []string `json:"deliveries" nullable:"false"`
}

// NewStarted makes the document of the deliveries' ids.
func NewStarted(ids []string) Started { return Started{texts(ids)} }

// EventQuery chooses events.
type EventQuery struct {
	Source    string `query:"source" flag:"source" doc:"Only of this source."`
	Type      string `query:"type" flag:"type" doc:"Only of this type."`
	Status    string `query:"status" flag:"status" enum:"pending,success,error" doc:"Only with this status: pending, success or error."`
	Query     string `query:"q" flag:"q" doc:"Text in the ids, the error or the body. A page searches 50,000 events; nextCursor continues after them."`
	Since     string `query:"since" flag:"since" doc:"Received at or after: a time, or a duration such as 24h for that long ago."`
	Until     string `query:"until" flag:"until" doc:"Received before."`
	WebhookID string `query:"webhookId" flag:"webhook-id" doc:"Only with this id of the sender's."`
	JobID     string `query:"jobId" flag:"job" doc:"Only the provider's webhooks about this job."`
	ProjectID string `query:"projectId" flag:"project" doc:"Only the providers' webhooks about jobs of this project."`
	Conflict  bool   `query:"conflict" flag:"conflict" doc:"Only those that were received again with a different body."`
	Violation bool   `query:"violation" flag:"violation" doc:"Only those that violate the JSON Schema of their source and type."`
	Internal  bool   `query:"inner" flag:"inner" doc:"Also the events that gaff emitted itself."`
}

// Filter returns the query as stores take it.
func (q EventQuery) Filter(c gaff.Cursor) (f gaff.EventFilter, err error) {
	f = gaff.EventFilter{
		Source: q.Source, Type: q.Type, Query: q.Query, WebhookID: q.WebhookID, JobID: q.JobID, ProjectID: q.ProjectID, Conflict: q.Conflict, Violation: q.Violation, Internal: q.Internal, Cursor: c,
	}
	if status, ok := gaff.ParseStatus(q.Status); ok {
		f.Status = &status
	}
	f.Since, f.Until, err = period(q.Since, q.Until)
	return f, err
}
