package tracing_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"gaff"
	"gaff/tracing"
)

type randomIDs struct{}

func (g randomIDs) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64())
	return id, g.NewSpanID(ctx, id)
}

func (randomIDs) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64())
	return id
}

func newTracer(t *testing.T) (*tracing.Tracer, func() []sdktrace.ReadOnlySpan) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithIDGenerator(tracing.IDGenerator{Random: randomIDs{}}))
	return tracing.New(provider), spans.Ended
}

func attempt(tr *tracing.Tracer, n int, again bool) {
	_, end := tr.Attempt(context.Background(), gaff.Work{
		Event: &gaff.Event{ID: "evt_1", Source: "fal"}, Delivery: gaff.Delivery{ID: "dlv_1", Handler: "app"}, Lease: gaff.Lease{Attempt: n},
	}, again)
	end(gaff.AttemptFailed, errors.New("no"))
}

// links are the spans that a span has links to, as trace and span id.
func links(s sdktrace.ReadOnlySpan) (ids []string) {
	for _, l := range s.Links() {
		ids = append(ids, l.SpanContext.TraceID().String()+l.SpanContext.SpanID().String())
	}
	return ids
}

func idOf(s sdktrace.ReadOnlySpan) string {
	return s.SpanContext().TraceID().String() + s.SpanContext().SpanID().String()
}

func TestAutomaticRetryIsInTheEventsTraceWithLinkToTheFormerAttempt(t *testing.T) {
	t.Parallel()
	tr, ended := newTracer(t)
	attempt(tr, 1, false)
	attempt(tr, 2, false)
	first, second := ended()[0], ended()[1]
	if first.SpanContext().TraceID() != second.SpanContext().TraceID() {
		t.Error("two attempts of one event are in two traces")
	}
	if diff := cmp.Diff([]string{idOf(first)}, links(second)); diff != "" {
		t.Errorf("links of the second attempt: %s", diff)
	}
	if got := links(first); got != nil {
		t.Errorf("links of the first attempt: %v", got)
	}
}

// The span of effects that were stored with their event begins and ends after the commit.
func TestSpanOfAnAttemptHasTheTimeAtWhichItBegan(t *testing.T) {
	t.Parallel()
	tr, ended := newTracer(t)
	began := time.Now().Add(-time.Second)
	_, end := tr.Attempt(context.Background(), gaff.Work{Event: &gaff.Event{ID: "evt_1"}, Lease: gaff.Lease{Attempt: 1, StartedAt: began}}, false)
	end(gaff.AttemptSucceeded, nil)
	if got := ended()[0].StartTime(); !got.Equal(began) {
		t.Errorf("the span starts at %s, the attempt began at %s", got, began)
	}
}

func TestReplayBeginsATraceWithLinkToTheEventsTrace(t *testing.T) {
	t.Parallel()
	tr, ended := newTracer(t)
	attempt(tr, 1, false)
	attempt(tr, 2, true)
	first, replay := ended()[0], ended()[1]
	if first.SpanContext().TraceID() == replay.SpanContext().TraceID() || replay.Parent().IsValid() {
		t.Error("a replay belongs to the trace of the event")
	}
	if diff := cmp.Diff([]string{first.Parent().TraceID().String() + first.Parent().SpanID().String()}, links(replay)); diff != "" {
		t.Errorf("links of the replay: %s", diff)
	}
}

func TestJobSpanLinksToItsRunAndToTheEventThatSettledIt(t *testing.T) {
	t.Parallel()
	tr, ended := newTracer(t)
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tr.Settled(tracing.Settled{ID: "run_1", Name: "run", Status: "completed", Started: began, Ended: began.Add(time.Minute)})
	attempt(tr, 1, false)
	tr.Settled(tracing.Settled{
		ID: "job_1", Name: "job", Status: "failed", Failed: true, Parent: "run_1", Events: []string{"evt_1"}, Started: began, Ended: began.Add(time.Second),
	})
	run, receipt, job := ended()[0], ended()[1].Parent(), ended()[2]
	if diff := cmp.Diff([]string{receipt.TraceID().String() + receipt.SpanID().String(), idOf(run)}, links(job)); diff != "" {
		t.Errorf("links of the job: %s", diff)
	}
	if job.EndTime().Sub(job.StartTime()) != time.Second {
		t.Errorf("the job's span lasts %s, want from its creation to its end", job.EndTime().Sub(job.StartTime()))
	}
	if job.Status().Code.String() != "Error" {
		t.Errorf("status of a failed job: %s", job.Status().Code)
	}
}
