package gaff

import (
	"context"
	"net/http"
	"time"
)

// Tracer records what happens to events. Package tracing has one for OpenTelemetry. Its methods
// are called on hot paths and must not block.
type Tracer interface {
	// Received is called after the reply to a sender.
	Received(r Reception)
	// Attempt is called before an attempt. The handler gets the returned context; end is called
	// with the outcome of the attempt (an Attempt… constant) and its error.
	Attempt(ctx context.Context, w Work, again bool) (handler context.Context, end func(outcome string, err error))
}

// Reception describes the receipt of a request, for a [Tracer].
type Reception struct {
	Source string
	Header http.Header
	Status int
	// Events are the receipts of the events that the request brought; none if it was rejected.
	Events []Receipt
	// Started and Ended bound the whole; Verifying, Storing and Stored are zero for steps that
	// were not reached.
	Started, Verifying, Verified, Storing, Stored, Ended time.Time
}

type receptionKey struct{}

// traced returns a request whose steps are noted, and the notes; nil without a tracer.
func (g *Gateway) traced(r *http.Request, started time.Time) (*http.Request, *Reception) {
	if g.opt.Tracer == nil {
		return r, nil
	}
	rc := &Reception{Header: r.Header, Started: started}
	return r.WithContext(context.WithValue(r.Context(), receptionKey{}, rc)), rc
}

// reception returns the notes on a request; nil without a tracer.
func (g *Gateway) reception(ctx context.Context) *Reception {
	if g.opt.Tracer == nil {
		return nil
	}
	rc, _ := ctx.Value(receptionKey{}).(*Reception)
	return rc
}

// received hands the notes to the tracer.
func (g *Gateway) received(rc *Reception, source string, status int) {
	if rc != nil {
		rc.Source, rc.Status, rc.Ended = source, status, time.Now()
		g.opt.Tracer.Received(*rc)
	}
}

// traceAttempt returns the context of an attempt, and the function that ends its span. again is
// true for replays and for retries by a person.
func (g *Gateway) traceAttempt(w Work, policy RetryPolicy) (ctx context.Context, end func(string, error)) {
	if g.opt.Tracer == nil {
		return g.work, func(string, error) {}
	}
	d := w.Delivery
	again := d.MaxAttempts > policy.MaxAttempts || d.CreatedAt.Sub(w.Event.ReceivedAt) > replayAfter
	return g.opt.Tracer.Attempt(g.work, w, again)
}
