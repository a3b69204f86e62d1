package destination

import (
	"context"
	"net/http"

	"gaff"
	"gaff/client"
	"gaff/internal/redact"
)

// Preview is what a destination would do with an event. Nothing is sent.
type Preview struct {
	// Matches is whether Spec.Events chooses the event, Passes whether the filter does. FilterError is
	// why the filter has no value for it; such an event does not pass.
	Matches, Passes bool
	FilterError     error
	// Envelope is the event as it would be sent without a transformation.
	Envelope []byte
	// Body and Header are those of the request, without the destination's own headers and
	// signatures. Secrets are masked.
	// Drop is set if the transformation leaves the event out, Err if it failed.
	Body   []byte
	Header http.Header
	Drop   bool
	Logs   []string
	Err    error
}

// Preview evaluates the filter and the transformation for an event, both regardless of the other.
func (d *Destination) Preview(ctx context.Context, ev *gaff.Event) (Preview, error) {
	e, err := d.o.envelope(ctx, ev)
	if err != nil {
		return Preview{}, err
	}
	return d.preview(ctx, ev, e, func() (*outgoing, error) { return d.message(ctx, ev) })
}

// PreviewEnvelope is [Destination.Preview] for an event of which only the envelope is known.
func (d *Destination) PreviewEnvelope(ctx context.Context, e *client.Envelope) (Preview, error) {
	ev := &gaff.Event{
		ID: e.ID, Source: e.Source, Type: e.Type, ReceivedAt: e.Timestamp, Data: e.Data, WebhookID: e.Event.WebhookID,
		CorrelationID: e.Event.CorrelationID, ParentID: e.Event.ParentID,
	}
	return d.preview(ctx, ev, e, func() (*outgoing, error) {
		out := &outgoing{header: http.Header{"Content-Type": {"application/json"}}}
		return out, d.fill(ctx, ev, e, out)
	})
}

func (d *Destination) preview(ctx context.Context, ev *gaff.Event, e *client.Envelope, message func() (*outgoing, error)) (p Preview, err error) {
	p.Matches, p.Passes = d.Chooses(ev), true
	if d.filter != nil {
		p.Passes, p.FilterError = d.filter.Bool(variablesOf(&gaff.Subject{Event: ev}))
	}
	if p.Envelope, err = e.MarshalJSON(); err != nil {
		return p, err
	}
	out, err := message()
	if err != nil {
		p.Err = err
		return p, ctx.Err()
	}
	p.Body, p.Drop, p.Logs, p.Header = out.shown(), out.drop, out.logs, redact.Header(out.header, out.secrets)
	return p, nil
}
