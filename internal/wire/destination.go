package wire

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/internal/redact"
)

// Destination is where events are forwarded to, with its health and backlog.
type Destination struct {
	Name            string            `json:"name"`
	Kind            string            `json:"kind" enum:"http,pull,queue,archive"`
	URL             Text              `json:"url" doc:"A password in it is masked."`
	Topic           Text              `json:"topic"`
	Events          []string          `json:"events" nullable:"false" example:"[\"gaff:job.completed\"]"`
	Filter          Text              `json:"filter"`
	Format          string            `json:"format" enum:"envelope,original,cloudevents,cloudevents-binary,spec"`
	Transform       Text              `json:"transform" doc:"The CEL expression that makes the body."`
	TransformJS     Text              `json:"transformJs" doc:"The JavaScript that makes the body; empty without."`
	Headers         map[string]string `json:"headers" doc:"Secrets are masked."`
	Secrets         []string          `json:"secrets" nullable:"false" doc:"The last characters of the signing secrets."`
	SignatureHeader Text              `json:"signatureHeader" doc:"The header with the HMAC-SHA-256 of the body in hex, if there is one."`
	OAuth           *DestinationOAuth `json:"oauth" doc:"OAuth2 client credentials; null without."`
	TLS             *DestinationTLS   `json:"tls" doc:"The client certificate; null without."`
	Batch           *DestinationBatch `json:"batch" doc:"Events that are sent in one request, or written to one file; null for one event a request."`
	Key             Text              `json:"key" doc:"The JSON pointer or CEL expression of the key, such as a tenant."`
	KeyConcurrency  int               `json:"keyConcurrency" doc:"Events of one key that are sent at once; 0 without a key."`
	KeyRate         float64           `json:"keyRate" doc:"Requests per second of one key; 0 for no limit."`
	Delay           string            `json:"delay" doc:"How long after its receipt an event is sent first."`
	Timeout         string            `json:"timeout"`
	MaxAttempts     int               `json:"maxAttempts"`
	FirstWait       string            `json:"firstWait"`
	LongestWait     string            `json:"longestWait"`
	Final           []int             `json:"final" doc:"The response statuses that make a delivery dead at once."`
	Concurrency     int               `json:"concurrency"`
	Rate            float64           `json:"rate" doc:"Requests per second; 0 for no limit."`
	Burst           int               `json:"burst"`
	Order           Text              `json:"order" enum:"skip-dead,hold-dead,latest"`
	OrderBy         Text              `json:"orderBy"`
	BreakAfter      int               `json:"breakAfter"`
	BreakFor        string            `json:"breakFor"`
	BreakRate       float64           `json:"breakRate" doc:"The share of failed attempts that opens the circuit; 0 for none."`
	BreakWindow     string            `json:"breakWindow" doc:"The time of the attempts that count for breakRate."`
	Archive         *Archive          `json:"archive" doc:"How far an archive is; null for other kinds."`
	Lease           string            `json:"lease"`
	Origin          string            `json:"origin" enum:"config,api" doc:"A destination of the configuration is changed there."`
	UpdatedAt       Time              `json:"updatedAt"`
	Health          DestinationHealth `json:"health"`
	Backlog         Backlog           `json:"backlog"`
}

// DestinationOAuth is how a destination gets its tokens, without the secret.
type DestinationOAuth struct {
	TokenURL string   `json:"tokenUrl" doc:"Viewers see its host."`
	ClientID Text     `json:"clientId"`
	Scopes   []string `json:"scopes" nullable:"false"`
	Audience Text     `json:"audience"`
	Auth     string   `json:"auth" enum:"header,body" doc:"How the client identifies itself."`
}

// DestinationTLS is the client certificate of a destination.
type DestinationTLS struct {
	Subject   Text `json:"subject" doc:"Null without a client certificate, or if its file cannot be read."`
	ExpiresAt Time `json:"expiresAt"`
	CA        bool `json:"ca" doc:"Whether the receiver's certificate must be signed by authorities of the destination's own."`
}

// DestinationBatch says how events are sent together.
type DestinationBatch struct {
	Size   int    `json:"size" doc:"The most events."`
	Wait   string `json:"wait" doc:"How long the first one waits for others."`
	Format string `json:"format" enum:"array,lines"`
}

// Archive is how far an archive is.
type Archive struct {
	Cursor   Text  `json:"cursor" doc:"The last event that was archived, or left out because it is not selected."`
	Events   int64 `json:"events"`
	Files    int64 `json:"files"`
	LastFile Text  `json:"lastFile"`
	At       Time  `json:"at" doc:"When the last file was written."`
}

// newDestinationParts makes the documents of a destination's optional parts.
func (doc *Destination) newDestinationParts(d *destination.Managed, viewer bool) {
	if o := d.ShownOAuth(); o != nil {
		if viewer {
			o.TokenURL = redact.Host(o.TokenURL)
		}
		doc.OAuth = &DestinationOAuth{o.TokenURL, Text(o.ClientID), append([]string{}, o.Scopes...), Text(o.Audience), cmp.Or(o.Auth, destination.OAuthHeader)}
	}
	if d.TLS != nil {
		doc.TLS = &DestinationTLS{CA: d.TLS.CA != ""}
		if c := d.ClientCertificate(); c != nil {
			doc.TLS.Subject, doc.TLS.ExpiresAt = Text(c.Subject.String()), Time{c.NotAfter}
		}
	}
	if b := d.Batch; b != nil {
		doc.Batch = &DestinationBatch{b.Size, duration(b.Wait), b.Format}
	}
	if a := d.Archive; a != nil {
		doc.Archive = &Archive{Cursor: Text(a.Cursor), Events: a.Events, Files: a.Files, LastFile: Text(a.LastFile)}
		if a.At != nil {
			doc.Archive.At = Time{*a.At}
		}
	}
}

// DestinationHealth is the state of a destination.
type DestinationHealth struct {
	State       string `json:"state" enum:"active,paused,disabled"`
	Reason      Text   `json:"reason" doc:"Why it is paused or disabled."`
	Circuit     string `json:"circuit" enum:"closed,open,half-open" doc:"The circuit breaker of this node."`
	RetryAt     Time   `json:"retryAt" doc:"When it is tried again."`
	Failures    int    `json:"failures" doc:"Since the last success."`
	LastSuccess Time   `json:"lastSuccess"`
	LastFailure Time   `json:"lastFailure"`
	LastError   Text   `json:"lastError"`
	Sent        int64  `json:"sent" doc:"By this node, since it started."`
	Failed      int64  `json:"failed" doc:"By this node, since it started."`
}

// Backlog is the deliveries of a destination that are not done.
type Backlog struct {
	Waiting int64 `json:"waiting"`
	Held    int64 `json:"held" doc:"Those of them that wait for an earlier one of their key."`
	Dead    int64 `json:"dead"`
	NextDue Time  `json:"nextDue"`
}

// NewDestination makes the document of a destination. Viewers see no path and no header's value,
// because either can be the receiver's secret.
func NewDestination(d destination.Managed, viewer bool) Destination {
	url := redact.Address(d.URL)
	if viewer {
		url = redact.Host(d.URL)
	}
	doc := Destination{
		Name: d.Name, Kind: d.Kind, URL: Text(url), Topic: Text(d.Topic), Events: d.Events, Filter: Text(d.Filter),
		Format: d.Format, Transform: Text(d.Transform), SignatureHeader: Text(d.SignatureHeader), Headers: map[string]string{}, Secrets: []string{}, Delay: duration(d.Delay), Timeout: duration(d.Timeout),
		MaxAttempts: d.MaxAttempts, FirstWait: duration(d.FirstWait), LongestWait: duration(d.LongestWait),
		Final: d.Final, Concurrency: d.Concurrency, Rate: d.Rate, Burst: d.Burst, Order: Text(d.Order), OrderBy: Text(d.OrderBy),
		BreakAfter: d.BreakAfter, BreakFor: duration(d.BreakFor), Lease: duration(d.Lease), Origin: d.Origin,
		UpdatedAt: Time{d.UpdatedAt},
		Health: DestinationHealth{
			State: string(d.Health.State), Reason: Text(d.Health.Reason), Circuit: string(d.Health.Circuit), RetryAt: Time{d.Health.RetryAt},
			Failures: d.Health.Failures, LastSuccess: Time{d.Health.LastSuccess}, LastFailure: Time{d.Health.LastFailure},
			LastError: Text(d.Health.LastError), Sent: d.Health.Sent, Failed: d.Health.Failed,
		},
		Backlog: Backlog{d.Counts.Waiting, d.Counts.Held, d.Counts.Dead, Time{d.Counts.NextDue}},
	}
	doc.TransformJS = Text(d.TransformJS)
	doc.Key, doc.KeyConcurrency, doc.KeyRate = Text(d.Key), d.KeyConcurrency, d.KeyRate
	doc.BreakRate, doc.BreakWindow = d.BreakRate, duration(d.BreakWindow)
	doc.newDestinationParts(&d, viewer)
	for name, value := range d.Headers {
		if viewer || redact.SecretName(name) {
			value = redact.Masked
		}
		doc.Headers[name] = value
	}
	for _, secret := range d.Secrets {
		doc.Secrets = append(doc.Secrets, hint(secret))
	}
	return doc
}

// hint returns the last characters of a secret; of a short one, none.
func hint(secret string) string {
	if len(secret) < 20 {
		return "…"
	}
	return "…" + secret[len(secret)-4:]
}

func duration(d destination.Duration) string { return time.Duration(d).String() }

// NewSecretDestination is a destination with a signing secret that was just made.
type NewSecretDestination struct {
	Destination
	Secret Text `json:"secret" doc:"The new signing secret; no other answer has it. Null if the request set secrets, or nothing is signed."`
}

// Pause says why a destination is paused.
type Pause struct {
	Reason string `json:"reason,omitempty" maxLength:"500"`
}

// Rotation replaces the signing secret of a destination.
type Rotation struct {
	Drop bool `json:"drop,omitempty" doc:"Sign with the new secret alone; otherwise the previous one signs as well."`
}

// Exchange is a test request to a destination with its response.
type Exchange struct {
	OK         bool                  `json:"ok"`
	Error      Text                  `json:"error"`
	DurationMs float64               `json:"durationMs"`
	Request    destination.Sent      `json:"request"`
	Response   *destination.Received `json:"response"`
}

// NewExchange makes the document of an exchange; err is its failure, nil if it succeeded.
func NewExchange(ex *destination.Exchange, err error) Exchange {
	doc := Exchange{
		DurationMs: ex.DurationMs, Request: ex.Request, Response: ex.Response, OK: ex.Response != nil && ex.Response.Status/100 == 2,
	}
	if err != nil {
		doc.Error = Text(err.Error())
	}
	return doc
}

// Envelope is an encoded [client.Envelope]; nil is null.
type Envelope json.RawMessage

// MarshalJSON writes the envelope as it is, or null.
func (e Envelope) MarshalJSON() ([]byte, error) { return JSON(e).MarshalJSON() }

// UnmarshalJSON keeps the bytes; null becomes nil.
func (e *Envelope) UnmarshalJSON(text []byte) error { return (*JSON)(e).UnmarshalJSON(text) }

// OriginalRequest is a webhook as its sender sent it.
type OriginalRequest struct {
	Method     string              `json:"method"`
	URL        string              `json:"url"`
	Headers    map[string][]string `json:"headers" doc:"The end-to-end headers, including the signature."`
	BodyBase64 string              `json:"bodyBase64"`
}

// NewOriginalRequest makes the document of an event's request; nil for internal events.
func NewOriginalRequest(ev *gaff.Event) *OriginalRequest {
	header, body, ok := destination.Original(ev)
	if !ok {
		return nil
	}
	return &OriginalRequest{ev.Request.Method, ev.Request.URL, header, base64.StdEncoding.EncodeToString(body)}
}

// Pull asks for deliveries.
type Pull struct {
	Destination string `json:"destination" maxLength:"64" doc:"A destination of kind pull."`
	Max         int    `json:"max,omitempty" minimum:"1" maximum:"100" default:"10"`
	Wait        string `json:"wait,omitempty" doc:"How long to wait for the first delivery, up to 60s, such as 20s."`
	Lease       string `json:"lease,omitempty" doc:"How long the caller holds them; empty for the destination's own lease."`
}

// Pulled is a delivery that a client holds.
type Pulled struct {
	Lease      string           `json:"lease" doc:"The token that acknowledges it."`
	Until      Time             `json:"until" doc:"When another client gets it, unless it is acknowledged before."`
	DeliveryID string           `json:"deliveryId" doc:"The same at each attempt; store it to process each delivery once."`
	Attempt    int              `json:"attempt"`
	EventID    string           `json:"eventId"`
	Source     string           `json:"source"`
	Type       string           `json:"type"`
	Key        Text             `json:"key" doc:"Deliveries of one key are processed in order."`
	Envelope   Envelope         `json:"envelope" doc:"As posted to http destinations; null if the destination's format is original."`
	Request    *OriginalRequest `json:"request" doc:"As received; null unless the destination's format is original."`
}

// NewPulled makes the document of a pulled delivery.
func NewPulled(p destination.Pulled) Pulled {
	doc := Pulled{
		Lease: p.Lease, Until: Time{p.Until}, DeliveryID: p.Delivery.ID, Attempt: p.Attempt, EventID: p.Event.ID, Source: p.Event.Source,
		Type: p.Event.Type, Key: Text(p.Delivery.Key), Envelope: Envelope(p.Envelope),
	}
	if p.Original {
		doc.Request = NewOriginalRequest(p.Event)
	}
	return doc
}

// PulledList is the answer to a pull.
type PulledList struct {
	Deliveries []Pulled `json:"deliveries" nullable:"false"`
}

// NewPulledList makes the document of pulled deliveries.
func NewPulledList(pulled []destination.Pulled) PulledList {
	out := PulledList{[]Pulled{}}
	for _, p := range pulled {
		out.Deliveries = append(out.Deliveries, NewPulled(p))
	}
	return out
}

// Leases names pulled deliveries.
type Leases struct {
	Leases []string `json:"leases" minItems:"1" maxItems:"100" nullable:"false"`
}

// Extension prolongs leases.
type Extension struct {
	Leases
	Lease string `json:"lease" doc:"How much longer, from now, such as 5m."`
}

// Failure reports deliveries that failed.
type Failure struct {
	Leases
	Error string `json:"error,omitempty" maxLength:"2000" doc:"The reason; it is stored with the attempt."`
	Delay string `json:"delay,omitempty" doc:"When the next attempt is due; empty for the destination's own schedule."`
	Dead  bool   `json:"dead,omitempty" doc:"Make no more attempts."`
}

// EndedLease is the result for one lease.
type EndedLease struct {
	Lease string `json:"lease"`
	OK    bool   `json:"ok"`
	Error Text   `json:"error" doc:"Such as an expired lease: another client may have the delivery."`
}

// EndedLeases is the result for several leases.
type EndedLeases struct {
	Leases []EndedLease `json:"leases" nullable:"false"`
	Until  Time         `json:"until,omitzero" doc:"Until when extended leases are held; other answers leave it out."`
}

// NewEndedLeases makes the document of leases that ended.
func NewEndedLeases(ended []destination.Ended) EndedLeases {
	out := EndedLeases{Leases: []EndedLease{}}
	for _, e := range ended {
		doc := EndedLease{Lease: e.Lease, OK: e.Err == nil}
		if e.Err != nil {
			doc.Error = Text(e.Err.Error())
		}
		out.Leases = append(out.Leases, doc)
	}
	return out
}

// Subscription is a place in the log of events.
type Subscription struct {
	Name      string   `json:"name"`
	Events    []string `json:"events" nullable:"false"`
	Filter    Text     `json:"filter"`
	Cursor    Text     `json:"cursor" doc:"The last acknowledged event."`
	CreatedAt Time     `json:"createdAt"`
	SeenAt    Time     `json:"seenAt" doc:"A subscription that is not used for 30 days is removed."`
}

// NewSubscription makes the document of a subscription.
func NewSubscription(sub destination.Subscription) Subscription {
	return Subscription{sub.Name, texts(sub.Events), Text(sub.Filter), Text(sub.Cursor), Time{sub.CreatedAt}, Time{sub.SeenAt}}
}

// Subscribe creates a subscription or continues one.
type Subscribe struct {
	Name   string   `json:"name" maxLength:"100"`
	Events []string `json:"events,omitempty" maxItems:"64" doc:"source:type with *, as of destinations."`
	Filter string   `json:"filter,omitempty" doc:"A CEL condition, as of destinations."`
	From   string   `json:"from,omitempty" doc:"Where a new subscription starts: now, beginning, or after an event's id. A known one continues where it was."`
}

// Subscribed is a subscription that was created or continued.
type Subscribed struct {
	Subscription
	Created bool `json:"created"`
}

// Heard is an event of a subscription.
type Heard struct {
	ID         string           `json:"id"`
	Source     string           `json:"source"`
	Type       string           `json:"type"`
	WebhookID  Text             `json:"webhookId"`
	ReceivedAt Time             `json:"receivedAt"`
	Envelope   Envelope         `json:"envelope"`
	Request    *OriginalRequest `json:"request"`
}

// HeardList is the next events of a subscription.
type HeardList struct {
	Events []Heard `json:"events" nullable:"false"`
	Cursor Text    `json:"cursor" doc:"Acknowledge it when these events are processed."`
	Gone   bool    `json:"gone" doc:"Events before these were removed from the log in the meantime."`
}

// Acknowledgement moves a subscription on.
type Acknowledgement struct {
	Cursor string `json:"cursor"`
}
