package telemetry

import (
	"strings"
	"time"

	"gaff"
)

// Options say where to send. Empty URLs send nothing.
type Options struct {
	// Traces, Metrics and Logs are whole URLs of OTLP over HTTP.
	Traces, Metrics, Logs string
	// Sampler and SamplerArg are OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG.
	Sampler, SamplerArg string
	// Headers is OTEL_EXPORTER_OTLP_HEADERS.
	Headers string
	// MetricInterval is the time between two requests with metrics.
	MetricInterval time.Duration
	Version        string
}

// Enabled reports whether anything is sent.
func (o Options) Enabled() bool { return o.Traces+o.Metrics+o.Logs != "" }

// Endpoint is the URL of a signal (traces, metrics, logs): its own one, or that of all signals
// with the signal's path. exporter "none" turns the signal off.
func Endpoint(all, own, signal, exporter string) string {
	switch {
	case exporter == "none":
		return ""
	case own != "":
		return own
	case all != "":
		return strings.TrimSuffix(all, "/") + "/v1/" + signal
	}
	return ""
}

// Recorder records spans.
type Recorder interface {
	gaff.Tracer
	Settled(s Settled)
}

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
