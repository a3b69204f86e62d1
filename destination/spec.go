package destination

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/client"
	"gaff/internal/cel"
	"gaff/internal/jsonpointer"
)

// Kinds of destinations.
const (
	// KindHTTP posts to URL.
	KindHTTP = "http"
	// KindPull keeps the events until an application fetches them.
	KindPull = "pull"
	// KindQueue hands them to a broker; URL names it: nats, kafka, redis, rediss or sqs.
	KindQueue = "queue"
)

// What is sent.
const (
	// FormatEnvelope is gaff's own form, [client.Envelope].
	FormatEnvelope = "envelope"
	// FormatOriginal is the request as it was received: its body's bytes and its headers,
	// the signature included. Inner events, which have none, are sent as envelopes.
	FormatOriginal = "original"
	// FormatCloudEvents is CloudEvents 1.0 in structured mode, with the envelope as data;
	// FormatCloudEventsBinary the same in binary mode.
	FormatCloudEvents       = "cloudevents"
	FormatCloudEventsBinary = "cloudevents-binary"
	// FormatSpec is the body of fal's webhook in the dialect with a shared secret: request_id,
	// status, result and metadata, made of the event's job. It is for applications that receive
	// that body already.
	FormatSpec = "spec"
)

// Orders.
const (
	OrderSkipDead = "skip-dead"
	OrderHoldDead = "hold-dead"
	OrderLatest   = "latest"
)

// Spec says where events go, which, and how. Zero fields are the defaults that are named. The tags
// besides json are for gaff.yaml (package internal/config explains them).
type Spec struct {
	// Name is the handler's, under which deliveries are kept: lower case letters, digits, -
	// and _, at most 64.
	Name string `json:"name" yaml:"-"`
	// Kind is http (the default), pull or queue.
	Kind string `json:"kind,omitempty" yaml:"kind"`
	// URL is where to send to; none for pull. Topic is a queue's subject, topic, stream or
	// (for SQS) the queue's URL.
	URL   string `json:"url,omitempty" yaml:"url" secret:"path"`
	Topic string `json:"topic,omitempty" yaml:"topic" ref:"true"`

	// Events chooses by "source:type" with * for any run of characters: "fal:*",
	// "gaff:job.*". A source of * leaves out gaff's inner events, and a star in the type those
	// by which gaff drives itself. Empty means "*:*".
	Events []string `json:"events,omitempty" yaml:"events" list:"one"`
	// Filter is a CEL condition over source, type, data, webhookId and correlationId. An
	// event that it cannot be evaluated for is not sent.
	Filter string `json:"filter,omitempty" yaml:"filter"`

	// Format is one of the Format… constants; empty means envelope.
	Format string `json:"format,omitempty" yaml:"format"`
	// Transform is a CEL expression over the members of the envelope. Its value, an object, is
	// the body.
	Transform string `json:"transform,omitempty" yaml:"transform"`
	// Headers are sent as well.
	Headers map[string]string `json:"headers,omitempty" yaml:"headers"`
	// Secrets sign by Standard Webhooks: each of them, so that a receiver that knows one
	// accepts. Empty: not signed.
	Secrets []string `json:"secrets,omitempty" yaml:"secrets"`
	// SignatureHeader names a header for the HMAC-SHA-256 of the body in hex, keyed by the text
	// of the first secret, for receivers without Standard Webhooks. Empty means none, for the
	// format spec X-Fal-Signature.
	SignatureHeader string `json:"signatureHeader,omitempty" yaml:"signature_header"`

	// Timeout is for one try, from the dialling to the answer. Zero means 15 s.
	Timeout Duration `json:"timeout,omitzero" yaml:"timeout"`
	// MaxAttempts is how many tries there are: zero means 12, over about a day and a half.
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

	// Order keeps the events of one key in order: skip-dead, hold-dead or latest; empty
	// means skip-dead where OrderBy is set. OrderBy is a JSON pointer into the event's data.
	Order   string `json:"order,omitempty" yaml:"order"`
	OrderBy string `json:"orderBy,omitempty" yaml:"order_by"`

	// BreakAfter failures in a row, of more than one delivery, open the circuit (5; less
	// than zero: never) for BreakFor (10 s), doubling up to 5 minutes.
	BreakAfter int      `json:"breakAfter,omitempty" yaml:"break_after"`
	BreakFor   Duration `json:"breakFor,omitzero" yaml:"break_for"`

	// Lease is how long a pulled delivery belongs to who fetched it. Zero means 60 s.
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
		return fmt.Errorf("%.40q is no duration; write one like 15s or 2m", text)
	}
	*d = Duration(v)
	return nil
}

var finalStatuses = []int{
	http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong,
	http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusRequestHeaderFieldsTooLarge,
}

// Bounds of a spec.
const (
	maxConcurrency = 256
	maxEvents      = 64
	maxHeaders     = 32
	maxSecrets     = 4
	maxText        = 2048
)

var nameSyntax = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// Fault is something wrong with a spec: Field is its name in JSON.
type Fault struct{ Field, Problem string }

func (f Fault) Error() string { return f.Field + ": " + f.Problem }

// Faults are all that is wrong with a spec, in one line.
type Faults []Fault

func (f Faults) Error() string {
	var all []string
	for _, one := range f {
		all = append(all, one.Error())
	}
	return strings.Join(all, "; ")
}

// Check reports everything that is wrong, as Faults that are gaff.ErrInvalid.
func (s *Spec) Check() error {
	_, err := s.compile()
	return err
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
	if s.Order == "" && s.OrderBy != "" {
		s.Order = OrderSkipDead
	}
	if s.BreakAfter == 0 {
		s.BreakAfter = 5
	}
	return s
}

// compiled is a spec that was found good.
type compiled struct {
	Spec
	globs   []glob
	filter  *cel.Expression
	pointer []string
	header  http.Header
	// standard are the secrets that sign by Standard Webhooks.
	standard  []string
	transform *cel.Expression
}

func (given *Spec) compile() (*compiled, error) {
	c := &compiled{Spec: given.WithDefaults(), header: http.Header{}}
	var faults Faults
	fault := func(field, format string, args ...any) {
		faults = append(faults, Fault{field, fmt.Sprintf(format, args...)})
	}
	if !nameSyntax.MatchString(c.Name) {
		fault("name", "%.80q is none: it begins with a lower case letter or a digit and has up to 64 of those, - and _", c.Name)
	}
	c.checkTarget(fault)
	if len(c.Events) > maxEvents {
		fault("events", "more than %d", maxEvents)
	}
	for i, text := range c.Events {
		g, err := newGlob(text)
		if err != nil {
			fault(fmt.Sprintf("events[%d]", i), "%v", err)
		}
		c.globs = append(c.globs, g)
	}
	var err error
	if c.Filter != "" {
		if c.filter, err = cel.CompileBool(c.Filter, filterVars...); err != nil {
			fault("filter", "%v", err)
		}
	}
	c.checkBody(fault)
	c.checkHeaders(fault)
	c.checkSecrets(fault)
	if c.Order != "" || c.OrderBy != "" {
		if !slices.Contains([]string{OrderSkipDead, OrderHoldDead, OrderLatest}, c.Order) {
			fault("order", "%.40q is none; skip-dead, hold-dead and latest are", c.Order)
		}
		if c.pointer, err = parsePointer(c.OrderBy); err != nil {
			fault("orderBy", "%v", err)
		}
	}
	c.checkNumbers(fault)
	if faults != nil {
		return nil, fmt.Errorf("%w: %w", gaff.ErrInvalid, faults)
	}
	return c, nil
}

func (c *compiled) checkTarget(fault func(string, string, ...any)) {
	u, err := url.Parse(c.URL)
	switch c.Kind {
	case KindHTTP:
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || len(c.URL) > maxText:
			fault("url", "must be a whole URL, such as https://app.example.com/webhooks/gaff")
		case u.User != nil:
			fault("url", "must not hold a user or password: send it as a header (Authorization)")
		case u.Fragment != "":
			fault("url", "must not hold a fragment (#…)")
		}
		if c.Topic != "" {
			fault("topic", "is for the kind queue")
		}
	case KindPull:
		if c.URL != "" || c.Topic != "" {
			fault("url", "a destination of kind pull has no address: it is asked")
		}
	case KindQueue:
		if err != nil || !slices.Contains([]string{"nats", "kafka", "redis", "rediss", "sqs"}, u.Scheme) {
			fault("url", "must name the broker: nats://, kafka://, redis://, rediss:// or sqs://")
		}
		if c.Topic == "" || len(c.Topic) > 512 {
			fault("topic", "must name the subject, topic, stream or queue")
		}
		if c.Format == FormatCloudEventsBinary {
			fault("format", "brokers are sent envelope, original or cloudevents")
		}
	default:
		fault("kind", "%.40q is none; http, pull and queue are", c.Kind)
	}
}

// own are headers that are not the user's to set.
var own = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Trailer", "Te", client.HeaderID, client.HeaderTimestamp, client.HeaderSignature}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func (c *compiled) checkHeaders(fault func(string, string, ...any)) {
	if len(c.Headers) > maxHeaders {
		fault("headers", "more than %d", maxHeaders)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		value := c.Headers[name]
		switch {
		case !headerName.MatchString(name) || len(name) > 128:
			fault("headers", "%.40q is no header's name", name)
		case slices.Contains(own, http.CanonicalHeaderKey(name)):
			fault("headers", "%s is set by gaff itself", http.CanonicalHeaderKey(name))
		case strings.ContainsAny(value, "\r\n\x00") || len(value) > maxText:
			fault("headers", "the value of %s holds a line break, or is longer than %d bytes", name, maxText)
		default:
			c.header.Set(name, value)
		}
	}
}

func (c *compiled) checkNumbers(fault func(string, string, ...any)) {
	for _, f := range [...]struct {
		field string
		d     Duration
	}{{"timeout", c.Timeout}, {"firstWait", c.FirstWait}, {"longestWait", c.LongestWait}, {"breakFor", c.BreakFor}, {"lease", c.Lease}} {
		if f.d < Duration(time.Millisecond) || f.d > Duration(7*24*time.Hour) {
			fault(f.field, "must be between 1ms and 168h")
		}
	}
	if c.Timeout > Duration(10*time.Minute) {
		fault("timeout", "must not be longer than 10m")
	}
	if c.LongestWait < c.FirstWait {
		fault("longestWait", "must not be shorter than firstWait")
	}
	if c.MaxAttempts < 1 || c.MaxAttempts > 1000 {
		fault("maxAttempts", "must be 1 to 1000")
	}
	if c.Concurrency < 1 || c.Concurrency > maxConcurrency {
		fault("concurrency", "must be 1 to %d", maxConcurrency)
	}
	if !(c.Rate >= 0 && c.Rate <= 1e6) {
		fault("rate", "must be 0 (no bound) to 1000000 a second")
	}
	if c.Burst < 1 || c.Burst > 1e6 {
		fault("burst", "must be 1 to 1000000")
	}
	for _, status := range c.Final {
		if status < 300 || status > 599 {
			fault("final", "%d is no status of a refusal", status)
		}
	}
}

// NewSecret makes a secret for signing.
func NewSecret() string { return client.NewSecret() }

// glob is one of Spec.Events.
type glob struct{ source, kind []string }

func newGlob(text string) (glob, error) {
	source, kind, ok := strings.Cut(text, ":")
	if !ok || source == "" || kind == "" || len(text) > 256 || strings.ContainsAny(text, " \t\r\n,") {
		return glob{}, fmt.Errorf(`%.80q is not of the form source:type, such as "fal:*" or "gaff:job.completed"`, text)
	}
	return glob{strings.Split(source, "*"), strings.Split(kind, "*")}, nil
}

func (g glob) matches(ev *gaff.Event) bool {
	if ev.Source == gaff.InternalSource && (len(g.source) > 1 || mechanical(ev.Type) && len(g.kind) > 1 && !strings.HasPrefix(g.kind[0], "workflow.")) {
		return false
	}
	return like(g.source, ev.Source) && (like(g.kind, ev.Type) || g.finished(ev))
}

// finished reports whether the pattern is "gaff:job.finished" or "gaff:run.finished", which
// stand for every way in which a job or a run ends, and the event is one of them.
func (g glob) finished(ev *gaff.Event) bool {
	if ev.Source != gaff.InternalSource || len(g.kind) != 1 {
		return false
	}
	subject, ok := strings.CutSuffix(g.kind[0], ".finished")
	if !ok || subject != "job" && subject != "run" {
		return false
	}
	switch strings.TrimPrefix(ev.Type, subject+".") {
	case "completed", "failed", "cancelled":
		return true
	}
	return false
}

// mechanical tells the inner events by which gaff drives itself: they are told to those who
// name them in full, not by a star.
func mechanical(eventType string) bool {
	switch eventType {
	case "job.submit", "job.ask", "job.callback", gaff.EventAlertNotice:
		return true
	}
	return strings.HasPrefix(eventType, "workflow.")
}

// like matches text against a pattern that was split at its stars, in linear time.
func like(parts []string, text string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return text == first
	}
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}

func parsePointer(text string) ([]string, error) {
	if text == "" || text[0] != '/' || len(text) > 512 {
		return nil, fmt.Errorf("%.60q is no JSON pointer; one such as /metadata/project_id is wanted", text)
	}
	return jsonpointer.Tokens(text), nil
}

// at returns the value at a pointer as text; "" if there is none, or it is no text, number
// or boolean.
func at(doc any, pointer []string) string {
	for _, token := range pointer {
		switch v := doc.(type) {
		case map[string]any:
			doc = v[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) || strconv.Itoa(i) != token {
				return ""
			}
			doc = v[i]
		default:
			return ""
		}
	}
	switch v := doc.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}
