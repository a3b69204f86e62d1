package destination

import (
	"fmt"
	"net/http"
	"time"

	"gaff"
	"gaff/client"
	"gaff/internal/jsonscan"
)

// Kinds of destinations.
const (
	// KindHTTP posts to URL.
	KindHTTP = "http"
	// KindPull stores the events until an application pulls them.
	KindPull = "pull"
	// KindQueue publishes them to a broker; URL names it: nats, kafka, redis, rediss or sqs.
	KindQueue = "queue"
	// KindArchive writes them to files in a folder or bucket, which URL names: a path, s3 or gs.
	KindArchive = "archive"
)

// Formats of messages.
const (
	// FormatEnvelope is gaff's own form, [client.Envelope].
	FormatEnvelope = "envelope"
	// FormatOriginal is the request as it was received: its body's bytes and its headers,
	// the signature included. Internal events, which have no request, are sent as envelopes.
	FormatOriginal = "original"
	// FormatCloudEvents is CloudEvents 1.0 in structured mode, with the envelope as data;
	// FormatCloudEventsBinary the same in binary mode.
	FormatCloudEvents       = "cloudevents"
	FormatCloudEventsBinary = "cloudevents-binary"
	// FormatSpec is the body that applications of the webhook specification receive already:
	// request_id, status, result and metadata, made of the event's job.
	FormatSpec = "spec"
)

// Orders.
const (
	OrderSkipDead = "skip-dead"
	OrderHoldDead = "hold-dead"
	OrderLatest   = "latest"
)

// Spec says which events go where, and how. A zero field means the default that its comment names. The tags
// besides json are for gaff.yaml (package internal/config explains them).
type Spec struct {
	// Name is the name of the handler and of its deliveries: at most 64 lower case letters,
	// digits, - and _.
	Name string `json:"name" yaml:"-"`
	// Kind is http (the default), pull, queue or archive.
	Kind string `json:"kind,omitempty" yaml:"kind"`
	// URL is where to send to; none for pull. Topic is a queue's subject, topic, stream or
	// (for SQS) the queue's URL.
	URL   string `json:"url,omitempty" yaml:"url" secret:"path"`
	Topic string `json:"topic,omitempty" yaml:"topic" ref:"true"`

	// Events chooses by "source:type" with * for any run of characters: "shop:*",
	// "gaff:job.*". A source of * leaves out internal events, and a star in the type those that
	// drive gaff itself. Empty means "*:*".
	Events []string `json:"events,omitempty" yaml:"events" list:"one"`
	// Filter is a CEL condition over source, type, data, webhookId and correlationId. An
	// event that it cannot be evaluated for is not sent.
	Filter string `json:"filter,omitempty" yaml:"filter"`

	// Format is one of the Format… constants; empty means envelope.
	Format string `json:"format,omitempty" yaml:"format"`
	// Transform is a CEL expression over the members of the envelope. Its value, an object, is
	// the body.
	Transform string `json:"transform,omitempty" yaml:"transform"`
	// TransformJS is JavaScript with a function transform(event, out), instead of Transform. It gets the
	// envelope, and returns the body: an object, an array or a text; null sends nothing.
	TransformJS string `json:"transformJs,omitempty" yaml:"transform_js" ref:"true"`
	// Headers are sent as well.
	Headers map[string]string `json:"headers,omitempty" yaml:"headers"`
	// Secrets sign by Standard Webhooks: each of them, so that a receiver that knows one
	// accepts. Empty: not signed.
	Secrets []string `json:"secrets,omitempty" yaml:"secrets"`
	// SignatureHeader names a header for the HMAC-SHA-256 of the body in hex, keyed by the text
	// of the first secret, for receivers without Standard Webhooks. Empty means none, for the
	// format spec the header of that specification.
	SignatureHeader string `json:"signatureHeader,omitempty" yaml:"signature_header"`

	// OAuth gets a bearer token with client credentials; nil sends none.
	OAuth *OAuth `json:"oauth,omitempty" yaml:"oauth"`
	// TLS has the client certificate, and the authorities to trust; nil: no certificate, those of the
	// system.
	TLS *TLS `json:"tls,omitempty" yaml:"tls"`

	// Delay is how long after its receipt an event is sent first; zero means at once.
	Delay Duration `json:"delay,omitzero" yaml:"delay"`
	// Timeout is for one attempt, from the connection to the response. Zero means 15 s.
	Timeout Duration `json:"timeout,omitzero" yaml:"timeout"`
	// MaxAttempts is the number of attempts: zero means 12, over about a day and a half.
	MaxAttempts int `json:"maxAttempts,omitempty" yaml:"max_attempts"`
	// FirstWait is the wait after the first failure (10 s); it grows threefold up to
	// LongestWait (6 h).
	FirstWait   Duration `json:"firstWait,omitzero" yaml:"first_wait"`
	LongestWait Duration `json:"longestWait,omitzero" yaml:"longest_wait"`
	// Final lists the statuses with which a delivery is dead at once. Nil means 400, 405,
	// 413, 414, 415, 422 and 431; an empty list none.
	Final []int `json:"final,omitzero" yaml:"final" list:"one"`

	// Concurrency is how many are sent at once: zero means 8.
	Concurrency int `json:"concurrency,omitempty" yaml:"concurrency"`
	// Rate is how many a second at most; zero has no bound. Burst is how many may come
	// together; zero means as many as Rate, at least one.
	Rate  float64 `json:"rate,omitempty" yaml:"rate"`
	Burst int     `json:"burst,omitempty" yaml:"burst"`

	// Key is a JSON pointer into the event's data, or a CEL expression over the variables of Filter,
	// such as the tenant. KeyConcurrency is how many events of one key are sent at once (1), KeyRate
	// how many a second; zero has no limit. So one tenant's backlog does not delay the others.
	Key            string  `json:"key,omitempty" yaml:"key"`
	KeyConcurrency int     `json:"keyConcurrency,omitempty" yaml:"key_concurrency"`
	KeyRate        float64 `json:"keyRate,omitempty" yaml:"key_rate"`

	// Batch sends several events in one request; nil sends one.
	Batch *Batch `json:"batch,omitempty" yaml:"batch"`

	// Order keeps the events of one key in order: skip-dead, hold-dead or latest; empty
	// means skip-dead where OrderBy is set. OrderBy is a JSON pointer into the event's data.
	Order   string `json:"order,omitempty" yaml:"order"`
	OrderBy string `json:"orderBy,omitempty" yaml:"order_by"`

	// BreakAfter failures in a row, of more than one delivery, open the circuit (5; less
	// than zero: never) for BreakFor (10 s), doubling up to 5 minutes.
	BreakAfter int      `json:"breakAfter,omitempty" yaml:"break_after"`
	BreakFor   Duration `json:"breakFor,omitzero" yaml:"break_for"`
	// BreakRate also opens it if this share of the attempts of BreakWindow (1m) failed, such as 0.5,
	// of at least 20. Zero: never.
	BreakRate   float64  `json:"breakRate,omitempty" yaml:"break_rate"`
	BreakWindow Duration `json:"breakWindow,omitzero" yaml:"break_window"`

	// Lease is how long a client has a pulled delivery. Zero means 60 s.
	Lease Duration `json:"lease,omitzero" yaml:"lease"`
}

// Duration is written as text: "15s".
type Duration time.Duration

// MarshalText writes it as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("invalid duration %.40q: want one such as 15s or 2m", text)
	}
	*d = Duration(v)
	return nil
}

// WithDefaults returns s with what the zero values stand for.
func (s Spec) WithDefaults() Spec {
	def := func(d *Duration, to time.Duration) {
		if *d == 0 {
			*d = Duration(to)
		}
	}
	if s.Kind == "" {
		s.Kind = KindHTTP
	}
	if s.Format == "" {
		s.Format = FormatEnvelope
	}
	if len(s.Events) == 0 {
		s.Events = []string{"*:*"}
	}
	def(&s.Timeout, 15*time.Second)
	def(&s.FirstWait, 10*time.Second)
	def(&s.LongestWait, max(6*time.Hour, time.Duration(s.FirstWait)))
	def(&s.BreakFor, 10*time.Second)
	def(&s.Lease, time.Minute)
	if s.MaxAttempts == 0 {
		s.MaxAttempts = 12
	}
	if s.Final == nil {
		s.Final = finalStatuses
	}
	if s.Concurrency == 0 {
		s.Concurrency = 8
	}
	if s.Burst == 0 {
		s.Burst = max(int(s.Rate), 1)
	}
	def(&s.BreakWindow, time.Minute)
	if s.Key != "" && s.KeyConcurrency == 0 {
		s.KeyConcurrency = 1
	}
	if s.Kind == KindArchive {
		s.Batch = s.Batch.forArchive()
	}
	s.Batch = s.Batch.withDefaults()
	if s.Order == "" && s.OrderBy != "" {
		s.Order = OrderSkipDead
	}
	if s.BreakAfter == 0 {
		s.BreakAfter = 5
	}
	return s
}

var finalStatuses = []int{
	http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong,
	http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusRequestHeaderFieldsTooLarge,
}

// ReadSpec reads a spec strictly: a field that is not known is an error.
func ReadSpec(text []byte) (s Spec, err error) {
	if err := jsonscan.Strict(text, &s); err != nil {
		return s, fmt.Errorf("%w: %w", gaff.ErrInvalid, err)
	}
	return s, nil
}

// NewSecret makes a secret for signing.
func NewSecret() string { return client.NewSecret() }
