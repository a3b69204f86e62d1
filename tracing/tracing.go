// Package tracing records what a gateway does as OpenTelemetry spans:
//
//	gw, err := gaff.New(gaff.Options{Store: st, Tracer: tracing.New(provider)})
//
// The ids of traces are derived from those of events, jobs and runs, so that nothing has to be
// stored for them: the attempts of an event belong to the trace of its receipt, also after a
// restart and on another node. A sender's traceparent is continued. With [IDGenerator] in the
// provider, the first spans have the ids that the others name as their parents.
package tracing

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"gaff"
	"gaff/internal/redact"
)

// name is that of the instrumentation.
const name = "gaff"

// Tracer is a gaff.Tracer.
type Tracer struct{ tracer trace.Tracer }

var _ gaff.Tracer = (*Tracer)(nil)

// New returns a tracer over a provider.
func New(p trace.TracerProvider) *Tracer { return &Tracer{p.Tracer(name)} }

// derived has the ids that the next span is to have.
type derived struct {
	trace trace.TraceID
	span  trace.SpanID
}

type derivedKey struct{}

// with returns a context whose next span has the ids. Without an [IDGenerator] that has no effect.
func with(ctx context.Context, d derived) context.Context {
	return context.WithValue(ctx, derivedKey{}, d)
}

// without ends the effect of with, for the spans below.
func without(ctx context.Context) context.Context {
	return context.WithValue(ctx, derivedKey{}, derived{})
}

// Derived reports whether the next span of a context belongs to a trace whose id is derived: its
// sampling must be decided by that id.
func Derived(ctx context.Context) bool {
	d, _ := ctx.Value(derivedKey{}).(derived)
	return d.trace.IsValid()
}

// IDGenerator gives spans their derived ids, and others those of Random. It implements the
// interface of that name of the OpenTelemetry SDK.
type IDGenerator struct {
	Random interface {
		NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID)
		NewSpanID(ctx context.Context, traceID trace.TraceID) trace.SpanID
	}
}

// NewIDs returns the ids of the first span of a trace.
func (g IDGenerator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if d, _ := ctx.Value(derivedKey{}).(derived); d.trace.IsValid() {
		return d.trace, d.span
	}
	return g.Random.NewIDs(ctx)
}

// NewSpanID returns the id of another span of a trace.
func (g IDGenerator) NewSpanID(ctx context.Context, traceID trace.TraceID) trace.SpanID {
	if d, _ := ctx.Value(derivedKey{}).(derived); d.span.IsValid() {
		return d.span
	}
	return g.Random.NewSpanID(ctx, traceID)
}

// traceOf and spanOf derive ids from a name, such as an event's id.
func traceOf(key string) (id trace.TraceID) {
	sum := sha256.Sum256([]byte("gaff trace " + key))
	copy(id[:], sum[:])
	return id
}

func spanOf(key string) (id trace.SpanID) {
	sum := sha256.Sum256([]byte("gaff span " + key))
	copy(id[:], sum[:])
	return id
}

// rootOf is the context of the first span of the trace whose ids a name gives.
func rootOf(key string) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceOf(key), SpanID: spanOf(key), TraceFlags: trace.FlagsSampled, Remote: true,
	})
}

// sender reads the traceparent of a request; the result is invalid without one.
func sender(header http.Header) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(header))
	return trace.SpanContextFromContext(ctx)
}

// of is the span that the attempts of an event belong to: its receipt, or, for internal events,
// the job or run that they are about.
func of(ev *gaff.Event) trace.SpanContext {
	if ev.Source == gaff.InternalSource && ev.CorrelationID != "" {
		return rootOf(ev.CorrelationID)
	}
	root := rootOf(ev.ID)
	if ev.Request != nil {
		if from := sender(ev.Request.Header); from.IsValid() {
			return root.WithTraceID(from.TraceID()).WithTraceFlags(from.TraceFlags()).WithTraceState(from.TraceState())
		}
	}
	return root
}

// maxEvents bounds the events of one request that get spans.
const maxEvents = 100

// Received records the receipt of a request, its verification and its commit.
func (t *Tracer) Received(r gaff.Reception) {
	if len(r.Events) == 0 {
		t.receipt(context.Background(), r, "", false)
	}
	from := sender(r.Header)
	for _, ev := range r.Events[:min(len(r.Events), maxEvents)] {
		d := derived{traceOf(ev.ID), spanOf(ev.ID)}
		if ev.Duplicate { // the first arrival has the span of the event
			d.span = spanOf(ev.ID + " " + r.Started.String())
		}
		ctx := context.Background()
		if from.IsValid() {
			ctx = trace.ContextWithRemoteSpanContext(ctx, from)
		} else if ev.Duplicate {
			ctx = trace.ContextWithRemoteSpanContext(ctx, rootOf(ev.ID))
		}
		t.receipt(with(ctx, d), r, ev.ID, ev.Duplicate)
	}
}

// receipt records the spans of one event of a request.
func (t *Tracer) receipt(ctx context.Context, r gaff.Reception, eventID string, duplicate bool) {
	ctx, span := t.tracer.Start(ctx, "receive "+r.Source, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(r.Started),
		trace.WithAttributes(
			attribute.String("gaff.source", r.Source), attribute.String("gaff.event.id", eventID), attribute.Bool("gaff.duplicate", duplicate),
			attribute.String("http.request.method", http.MethodPost), attribute.Int("http.response.status_code", r.Status),
		))
	ctx = without(ctx)
	if !r.Verified.IsZero() {
		_, s := t.tracer.Start(ctx, "verify", trace.WithTimestamp(r.Verifying))
		s.End(trace.WithTimestamp(r.Verified))
	}
	if !r.Stored.IsZero() {
		_, s := t.tracer.Start(ctx, "store", trace.WithTimestamp(r.Storing))
		s.End(trace.WithTimestamp(r.Stored))
	}
	if r.Status >= 500 {
		span.SetStatus(codes.Error, http.StatusText(r.Status))
	}
	span.End(trace.WithTimestamp(r.Ended))
}

// Attempt records an attempt. Automatic ones belong to the trace of the event, and each has a
// link to the former one. A replay, or a retry by a person, begins a trace of its own with a
// link to the event's.
func (t *Tracer) Attempt(ctx context.Context, w gaff.Work, again bool) (context.Context, func(string, error)) {
	parent := of(w.Event)
	key := w.Delivery.ID + " attempt "
	self := key + strconv.Itoa(w.Lease.Attempt)
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			attribute.String("gaff.source", w.Event.Source), attribute.String("gaff.type", w.Event.Type), attribute.String("gaff.event.id", w.Event.ID),
			attribute.String("gaff.delivery.id", w.Delivery.ID), attribute.String("gaff.handler", w.Delivery.Handler), attribute.Int("gaff.attempt", w.Lease.Attempt),
		),
	}
	if !w.Lease.StartedAt.IsZero() {
		options = append(options, trace.WithTimestamp(w.Lease.StartedAt))
	}
	d := derived{parent.TraceID(), spanOf(self)}
	if again {
		d.trace = traceOf(self)
		options = append(options, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: parent}))
	} else {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
		if w.Lease.Attempt > 1 {
			former := parent.WithSpanID(spanOf(key + strconv.Itoa(w.Lease.Attempt-1)))
			options = append(options, trace.WithLinks(trace.Link{SpanContext: former}))
		}
	}
	ctx, span := t.tracer.Start(with(ctx, d), "attempt "+w.Delivery.Handler, options...)
	return without(ctx), func(outcome string, err error) {
		span.SetAttributes(attribute.String("gaff.outcome", outcome))
		switch outcome {
		case gaff.AttemptSucceeded, gaff.AttemptSnoozed, gaff.AttemptSuperseded:
		default:
			// The whole error may quote a payload: it is with the attempt.
			span.SetStatus(codes.Error, redact.Error(err))
		}
		span.End()
	}
}
