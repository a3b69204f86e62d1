package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Settled describes a job or a run that has ended.
type Settled struct {
	// ID is the job's or run's; Name is that of the span.
	ID, Name string
	// Status is the final one; Failed is set if it is not the wanted one.
	Status string
	Failed bool
	Attrs  map[string]string
	// Parent is the id of the run that a job belongs to; empty for others.
	Parent string
	// Events are the ids of the events by which it was settled, as far as they are known.
	Events         []string
	Started, Ended time.Time
}

// Settled records a job from its creation, or a run from its start, to its end. The attempts of
// its internal events are below this span. A job of a run belongs to the run's trace by a link.
func (t *Tracer) Settled(s Settled) {
	options := []trace.SpanStartOption{trace.WithTimestamp(s.Started), trace.WithNewRoot()}
	for _, id := range s.Events {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: rootOf(id)}))
	}
	if s.Parent != "" {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: rootOf(s.Parent)}))
	}
	_, span := t.tracer.Start(with(context.Background(), derived{traceOf(s.ID), spanOf(s.ID)}), s.Name, options...)
	span.SetAttributes(attribute.String("gaff.id", s.ID), attribute.String("gaff.status", s.Status))
	for name, value := range s.Attrs {
		if value != "" {
			span.SetAttributes(attribute.String("gaff."+name, value))
		}
	}
	if s.Failed {
		span.SetStatus(codes.Error, s.Status)
	}
	span.End(trace.WithTimestamp(s.Ended))
}
