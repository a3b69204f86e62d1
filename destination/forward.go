// Package forward hands events on to other applications. A [Destination] is a gaff.Handler
// with a lane of its own, so a receiver that is slow or down holds up nobody else:
//
//	d, err := New(Spec{
//		Name: "app", URL: "https://app.example.com/webhooks/gaff", Events: []string{"gaff:job.*"}, Secrets: []string{secret},
//	}, Options{})
//	err = d.Attach(gw)
//
// Signed by Standard Webhooks, retried with growing waits, held back while the receiver is
// down: docs/forwarding.md tells it in full. What a receiver needs is in package client.
package destination

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"gaff"
	"gaff/internal/id"
	"gaff/internal/redact"
	"gaff/internal/safehttp"
	"gaff/jobs"
)

// Options of a destination. The zero value works.
type Options struct {
	// Client makes the requests; nil means one that reaches public addresses and those of
	// Allow only, and follows no redirects.
	Client *http.Client
	Allow  []netip.Prefix
	// Lookup finds the job and media of an event, for the envelope; nil: none are sent.
	Lookup Lookup
	// BaseURL is the gateway's public one, for the source of CloudEvents; may be empty.
	BaseURL string
	// Publish hands a message to a broker, for destinations of kind queue.
	Publish func(ctx context.Context, m Message) error
	// Disabled is called when the receiver says that it is gone (410), so that it can be
	// kept; may be nil. The destination holds everything back either way.
	Disabled func(name, reason string)
	// Log is told when a circuit opens and closes. Nil means slog.Default().
	Log *slog.Logger
}

// Message is what a broker is handed.
type Message struct {
	ID      string // the delivery's, the same at each try
	Key     string // the order key, or the event's id
	Header  map[string]string
	Payload []byte
}

// Lookup finds what an envelope says beside the event. Not to know a job is no error.
type Lookup interface {
	JobOf(ctx context.Context, ev *gaff.Event) (*jobs.Job, []jobs.Media, error)
}

// Destination forwards events. It is a gaff.Handler, and the gate of its lane.
type Destination struct {
	*compiled
	o      Options
	client *http.Client
	health health
}

var (
	_ gaff.Handler = (*Destination)(nil)
	_ gaff.Limiter = (*Destination)(nil)
)

// New makes a destination; the error tells all that is wrong with s, as gaff.ErrInvalid.
func New(s Spec, o Options) (*Destination, error) {
	c, err := s.compile()
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	d := &Destination{compiled: c, o: o, client: o.Client}
	if c.Kind == KindQueue && o.Publish == nil {
		return nil, fmt.Errorf("%w: %w", gaff.ErrInvalid, Fault{"kind", "this program has no broker to hand events to"})
	}
	if d.client == nil {
		d.client = NewClient(o.Allow)
	}
	d.health.init(c)
	return d, nil
}

// NewClient makes the client for destinations, to be shared by many.
func NewClient(allow []netip.Prefix) *http.Client {
	return safehttp.New(safehttp.Options{Allow: allow, UserAgent: "gaff", IdlePerHost: maxConcurrency})
}

// Spec returns how the destination was set up, with its defaults.
func (d *Destination) Spec() Spec { return d.compiled.Spec }

// Attach adds the destination to a gateway, or puts it in the place of the one of its name.
func (d *Destination) Attach(gw *gaff.Gateway) error {
	return gw.Attach("", "", d, d.HandleOptions())
}

// HandleOptions are how the destination wants to be run.
func (d *Destination) HandleOptions() gaff.HandleOptions {
	o := gaff.HandleOptions{
		Name: d.Name, Workers: d.Concurrency, Match: d.Matches, Limiter: d,
		Retry: &gaff.RetryPolicy{
			MaxAttempts: d.MaxAttempts, First: time.Duration(d.FirstWait), Factor: 3, Max: time.Duration(d.LongestWait),
			// Ours ends first and tells more.
			Timeout: time.Duration(d.Timeout) + 5*time.Second,
		},
	}
	switch d.Order {
	case OrderSkipDead:
		o.Order = gaff.OrderSkipDead
	case OrderHoldDead:
		o.Order = gaff.OrderHoldDead
	case OrderLatest:
		o.Order = gaff.OrderLatest
	}
	if o.Order != gaff.NoOrder {
		o.OrderKey = func(s *gaff.Subject) string { return at(s.Doc(), d.pointer) }
	}
	return o
}

var filterVars = []string{"source", "type", "data", "webhookId", "correlationId"}

// Matches reports whether an event is for the destination.
func (d *Destination) Matches(s *gaff.Subject) bool {
	for _, g := range d.globs {
		if g.matches(s.Event) {
			return d.passes(s)
		}
	}
	return false
}

func (d *Destination) passes(s *gaff.Subject) bool {
	if d.filter == nil {
		return true
	}
	ok, err := d.filter.Bool(map[string]any{
		"source": s.Event.Source, "type": s.Event.Type, "data": s.Doc(), "webhookId": s.Event.WebhookID,
		"correlationId": s.Event.CorrelationID,
	})
	return err == nil && ok
}

// Handle sends the event once.
func (d *Destination) Handle(ctx context.Context, ev *gaff.Event) error {
	if d.Kind == KindPull {
		return gaff.Snooze(time.Minute) // a person's retry; it waits to be fetched
	}
	delivery, ok := gaff.DeliveryFrom(ctx)
	if !ok {
		delivery.ID = ev.ID
	}
	started := time.Now()
	out, err := d.outgoing(ctx, ev, delivery.ID, started)
	if err != nil {
		d.health.abstain()
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(d.Timeout), fmt.Errorf("no answer within %s", time.Duration(d.Timeout)))
	defer cancel()
	if d.Kind == KindQueue {
		return d.publish(ctx, out, delivery, ev)
	}
	ex := d.exchange(ctx, cancel, out)
	ex.note(ctx)
	return d.judge(ctx, ex, delivery)
}

// Probe sends an event of gaff's own making, "gaff:test", once, whatever the filter and the
// state say, and returns what was sent and answered. The error is that of the exchange, or
// tells that there was none.
func (d *Destination) Probe(ctx context.Context) (*Exchange, error) {
	now := time.Now()
	ev := &gaff.Event{
		ID: id.New(id.Event, now), Source: gaff.InternalSource, Type: "test", ReceivedAt: now,
		Data: json.RawMessage(`{"message":"a test of gaff's; there is nothing to do"}`),
	}
	out, err := d.outgoing(ctx, ev, ev.ID, now)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(d.Timeout), fmt.Errorf("no answer within %s", time.Duration(d.Timeout)))
	defer cancel()
	ex := d.exchange(ctx, cancel, out)
	return ex, ex.err
}

func (d *Destination) publish(ctx context.Context, out *outgoing, delivery gaff.Delivery, ev *gaff.Event) error {
	key := delivery.Key
	if key == "" {
		key = ev.ID
	}
	m := Message{ID: delivery.ID, Key: key, Header: map[string]string{}, Payload: out.body}
	for name, values := range out.header {
		m.Header[name] = values[0]
	}
	err := d.o.Publish(ctx, m)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	d.record(delivery.ID, err)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", d.Topic, err)
	}
	return nil
}

// judge turns an answer into what becomes of the delivery.
func (d *Destination) judge(ctx context.Context, ex *Exchange, delivery gaff.Delivery) error {
	if ex.err != nil {
		if errors.Is(context.Cause(ctx), context.Canceled) || errors.Is(context.Cause(ctx), gaff.ErrStopped) {
			d.health.abstain()
			return ex.err
		}
		d.record(delivery.ID, ex.err)
		return ex.err
	}
	status := ex.Response.Status
	if status/100 == 2 {
		d.record(delivery.ID, nil)
		return nil
	}
	err := error(&statusError{status, ex.hint()})
	now := time.Now()
	switch {
	case status == http.StatusGone:
		d.health.abstain()
		d.disable("the receiver answered 410 Gone")
		return err
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		if !ex.hasRetryAfter {
			break
		}
		// The receiver works, so its circuit stays closed.
		after := min(ex.retryAfter, time.Duration(d.LongestWait))
		d.health.hold(now.Add(after), err)
		policy := d.HandleOptions().Retry
		return gaff.RetryAfter(max(after, policy.Wait(delivery.Attempts+1)), err)
	case d.final(status):
		// It is alive, and means this event.
		d.health.answered(err)
		return gaff.Discard(err)
	}
	d.record(delivery.ID, err)
	return err
}

// statusError is an answer other than 2xx. hint quotes the receiver.
type statusError struct {
	status int
	hint   string
}

func (e *statusError) Error() string {
	if e.hint == "" {
		return e.LogText()
	}
	return e.LogText() + ": " + e.hint
}

// LogText returns the status alone: the answer is with the attempt.
func (e *statusError) LogText() string {
	return fmt.Sprintf("answered %d %s", e.status, http.StatusText(e.status))
}

// HTTPStatus returns the status of the answer, by which failures are grouped.
func (e *statusError) HTTPStatus() int { return e.status }

func (d *Destination) final(status int) bool {
	for _, s := range d.Final {
		if s == status {
			return true
		}
	}
	return false
}

func (d *Destination) record(deliveryID string, err error) {
	opened, closed := d.health.record(deliveryID, err, time.Now())
	if opened {
		d.o.Log.Warn("circuit opened: deliveries wait until the receiver answers again", "destination", d.Name, "error", redact.Error(err))
	}
	if closed {
		d.o.Log.Info("circuit closed", "destination", d.Name)
	}
}

func (d *Destination) disable(reason string) {
	d.health.pause(StateDisabled, reason)
	d.o.Log.Warn("destination disabled; resume it when the receiver is back", "destination", d.Name, "reason", reason)
	if d.o.Disabled != nil {
		d.o.Disabled(d.Name, reason)
	}
}

// Reader is where [NewLookup] looks.
type Reader interface {
	Job(ctx context.Context, id string) (*jobs.Job, error)
	Jobs(ctx context.Context, f jobs.JobFilter) (gaff.Page[jobs.Job], error)
	Media(ctx context.Context, f jobs.MediaFilter) (gaff.Page[jobs.Media], error)
}

// NewLookup finds jobs by what events say: an inner event's jobId, a sender's request id,
// or the job's id in the body's metadata.
func NewLookup(r Reader) Lookup { return lookup{r} }

type lookup struct{ r Reader }

// maxMedia bounds the files in an envelope.
const maxMedia = 500

func (l lookup) JobOf(ctx context.Context, ev *gaff.Event) (*jobs.Job, []jobs.Media, error) {
	j, err := l.job(ctx, ev)
	if err != nil || j == nil {
		return nil, nil, err
	}
	page, err := l.r.Media(ctx, jobs.MediaFilter{JobID: j.ID, Cursor: gaff.Cursor{Limit: maxMedia}})
	if err != nil {
		return nil, nil, err
	}
	files := make([]jobs.Media, 0, len(page.Items))
	for i := len(page.Items) - 1; i >= 0; i-- {
		files = append(files, page.Items[i])
	}
	return j, files, nil
}

func (l lookup) job(ctx context.Context, ev *gaff.Event) (*jobs.Job, error) {
	var data struct {
		JobID    any `json:"jobId"`
		Metadata struct {
			JobID    any `json:"job_id"`
			Original any `json:"original_job_id"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal(ev.Data, &data) // what does not fit is not there
	if ev.Source != gaff.InternalSource && ev.CorrelationID != "" {
		page, err := l.r.Jobs(ctx, jobs.JobFilter{Provider: ev.Source, RequestID: ev.CorrelationID, Cursor: gaff.Cursor{Limit: 1}})
		if err != nil {
			return nil, err
		}
		if len(page.Items) > 0 {
			return l.r.Job(ctx, page.Items[0].ID) // with its whole result
		}
	}
	ids := []any{data.JobID}
	if ev.Source != gaff.InternalSource {
		ids = []any{data.Metadata.Original, data.Metadata.JobID}
	}
	for _, v := range ids {
		id, _ := v.(string)
		if id == "" {
			continue
		}
		j, err := l.r.Job(ctx, id)
		if err == nil {
			return j, nil
		}
		if !errors.Is(err, gaff.ErrNotFound) {
			return nil, err
		}
	}
	return nil, nil
}
