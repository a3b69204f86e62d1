// Package destination forwards events to other applications. A [Destination] is a gaff.Handler
// with a queue of its own, so that a slow receiver, or one that is down, delays no other:
//
//	d, err := New(Spec{
//		Name: "app", URL: "https://app.example.com/webhooks/gaff", Events: []string{"gaff:job.*"}, Secrets: []string{secret},
//	}, Options{})
//	err = d.Attach(gw)
//
// Requests are signed by Standard Webhooks, retried with growing delays, and held back while
// the receiver is down: see docs/forwarding.md. Receivers verify them with package client. A
// [Manager] has all destinations of a gateway, and serves applications that pull or listen.
package destination

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"gaff"
	"gaff/internal/javascript"
)

// Options of a destination. The zero value works.
type Options struct {
	// Client makes the requests; nil means one that reaches public addresses and those of
	// Allow only, and follows no redirects. TLSClient makes the one of a destination with
	// certificates of its own.
	Client    *http.Client
	TLSClient func(*tls.Config) *http.Client
	Allow     []netip.Prefix
	// Lookup finds the job and media of an event, for the envelope; nil: envelopes have neither.
	Lookup Lookup
	// BaseURL is the gateway's public one, for the source of CloudEvents; may be empty.
	BaseURL string
	// Publish sends a message to a broker, for destinations of kind queue.
	Publish func(ctx context.Context, m Message) error
	// Disabled is called when the receiver answers 410 Gone, to store that; may be nil. The
	// destination holds its deliveries back either way.
	Disabled func(name, reason string)
	// Log gets a line when a circuit opens or closes. Nil means slog.Default().
	Log *slog.Logger
}

// Destination forwards events. It is a gaff.Handler, and the gaff.Limiter of its queue.
type Destination struct {
	*compiled
	o      Options
	client *http.Client
	health health

	tokens  *tokens   // nil without OAuth
	keys    *keyRates // nil without a rate of keys
	batches batches
}

var (
	_ gaff.Handler = (*Destination)(nil)
	_ gaff.Limiter = (*Destination)(nil)
)

// New makes a destination. The error has all mistakes in s, and is gaff.ErrInvalid.
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
	switch {
	case c.tls != nil && o.TLSClient != nil:
		d.client = o.TLSClient(c.tls)
	case c.tls != nil:
		d.client = NewTLSClient(o.Allow, c.tls)
	case d.client == nil:
		d.client = NewClient(o.Allow)
	}
	d.tokens, d.keys = newTokens(c.OAuth, d.client), newKeyRates(c.KeyRate)
	d.health.init(c)
	return d, nil
}

// NewClient makes the client for destinations, to be shared by many.
func NewClient(allow []netip.Prefix) *http.Client {
	return NewTLSClient(allow, nil)
}

// Spec returns the specification, with its defaults.
func (d *Destination) Spec() Spec { return d.compiled.Spec }

// Attach adds the destination to a gateway, or replaces the one of its name.
func (d *Destination) Attach(gw *gaff.Gateway) error {
	return gw.Attach("", "", d, d.HandleOptions())
}

// HandleOptions returns the options to attach the destination with.
func (d *Destination) HandleOptions() gaff.HandleOptions {
	o := gaff.HandleOptions{
		Name: d.Name, Workers: d.workers(), Match: d.Matches, Limiter: d, Delay: time.Duration(d.Delay),
		Retry: &gaff.RetryPolicy{
			MaxAttempts: d.MaxAttempts, First: time.Duration(d.FirstWait), Factor: 3, Max: time.Duration(d.LongestWait),
			// The request's own timeout ends first, with a better error.
			Timeout: time.Duration(d.Timeout) + 5*time.Second,
		},
	}
	if d.Batch != nil {
		o.Retry.Timeout += time.Duration(d.Batch.Wait)
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
	if d.key != nil {
		o.Order, o.OrderKey = gaff.PerKey(d.KeyConcurrency), d.key
	}
	return o
}

// ReadsBody reports whether [Destination.Matches] or [Destination.DeliveryOf] reads the data of events.
func (d *Destination) ReadsBody() bool { return d.filter != nil || d.HandleOptions().OrderKey != nil }

// DeliveryOf returns the delivery of an event to the destination, past its filter.
func (d *Destination) DeliveryOf(s *gaff.Subject) gaff.Delivery {
	o := d.HandleOptions()
	delivery := gaff.Delivery{Handler: d.Name, Queue: d.Name, MaxAttempts: d.MaxAttempts}
	o.SetOrder(&delivery, s)
	return delivery
}

// Handle sends the event once.
func (d *Destination) Handle(ctx context.Context, ev *gaff.Event) error {
	if d.Kind == KindPull {
		return gaff.Snooze(time.Minute) // a user's retry: it stays in the queue until it is pulled
	}
	delivery, ok := gaff.DeliveryFrom(ctx)
	if !ok {
		delivery.ID = ev.ID
	}
	started := time.Now()
	if wait := d.keys.take(delivery.Key, started); wait > 0 {
		d.health.abstain()
		return gaff.Snooze(wait)
	}
	out, err := d.message(ctx, ev)
	if err != nil || out.drop {
		d.health.abstain()
		switch {
		case err == nil:
			gaff.SetDetail(ctx, "nothing was sent: the transformation returned null")
		case errors.Is(err, javascript.ErrBusy):
			return gaff.Snooze(busyWait) // it counts no attempt
		}
		return err
	}
	if d.Batch != nil {
		return d.inBatch(ctx, out, delivery)
	}
	if err := d.authenticate(out, delivery.ID, started); err != nil {
		d.health.abstain()
		return gaff.Discard(err)
	}
	ctx, cancel := d.withTimeout(ctx)
	defer cancel()
	if d.Kind == KindQueue {
		return d.publish(ctx, out, delivery, ev)
	}
	ex := d.send(ctx, cancel, out)
	ex.note(ctx)
	return d.judge(ctx, ex, delivery)
}

// withTimeout bounds an attempt by the destination's timeout.
func (d *Destination) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := time.Duration(d.Timeout)
	return context.WithTimeoutCause(ctx, limit, noAnswer(limit))
}

// noAnswer is the error of an attempt whose time is over. Each attempt has one, so its text is written only
// when it is needed.
type noAnswer time.Duration

func (limit noAnswer) Error() string { return fmt.Sprintf("no answer within %s", time.Duration(limit)) }

// LogText is the same text: it quotes nothing from outside.
func (limit noAnswer) LogText() string { return limit.Error() }
