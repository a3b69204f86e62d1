//go:build !slim

package telemetry

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"gaff/tracing"
)

// newSampler reads OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG.
func newSampler(name, arg string) (sdktrace.Sampler, error) {
	ratio := 1.0
	if arg != "" {
		var err error
		if ratio, err = strconv.ParseFloat(arg, 64); err != nil || ratio < 0 || ratio > 1 {
			return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG %.40q: want a number from 0 to 1", arg)
		}
	}
	roots := map[string]sdktrace.Sampler{
		"always_on": sdktrace.AlwaysSample(), "always_off": sdktrace.NeverSample(), "traceidratio": sdktrace.TraceIDRatioBased(ratio),
	}
	if root, ok := roots[name]; ok {
		return root, nil
	}
	parents := map[string]string{
		"": "always_on", "parentbased_always_on": "always_on", "parentbased_always_off": "always_off", "parentbased_traceidratio": "traceidratio",
	}
	root, ok := parents[name]
	if !ok {
		return nil, fmt.Errorf("unknown OTEL_TRACES_SAMPLER %.40q: want always_on, always_off, traceidratio, or one of these with parentbased_ before it", name)
	}
	return &derivedSampler{root: roots[root], other: sdktrace.ParentBased(roots[root])}, nil
}

// derivedSampler samples by the id of the trace if the parent was derived from it: the flag of
// such a parent says nothing. All spans of the trace are then sampled, or none.
type derivedSampler struct{ root, other sdktrace.Sampler }

// ShouldSample implements sdktrace.Sampler.
func (s *derivedSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	if tracing.Derived(p.ParentContext) && (!parent.IsValid() || parent.IsSampled()) {
		return s.root.ShouldSample(p)
	}
	return s.other.ShouldSample(p)
}

// Description implements sdktrace.Sampler.
func (s *derivedSampler) Description() string { return "gaff:" + s.root.Description() }

// randomIDs makes ids that are derived from nothing.
type randomIDs struct{}

func (randomIDs) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64()|1)
	return id, randomIDs{}.NewSpanID(ctx, id)
}

func (randomIDs) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	binary.NativeEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}

// gate lets one of many pass in a minute.
type gate struct {
	mu   sync.Mutex
	last time.Time
}

func (g *gate) pass(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.last) < time.Minute {
		return false
	}
	g.last = now
	return true
}
