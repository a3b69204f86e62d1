//go:build !slim

// Package telemetry sends traces, metrics and logs by OTLP over HTTP.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	otelattribute "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"

	"gaff/tracing"
)

// Providers sends what a gateway records. The zero value sends nothing.
type Providers struct {
	o             Options
	res           *resourcepb.Resource
	errors        *errorLog
	traces        *sdktrace.TracerProvider
	metrics, logs *sender
	records       chan *logspb.LogRecord
	quit          chan struct{}
	// metricsDone and logsDone are closed when the rest is sent; nil if nothing is.
	metricsDone, logsDone chan struct{}
}

// Start makes the exporters. log gets their failures, at most one a minute.
func Start(ctx context.Context, o Options, log *slog.Logger) (*Providers, error) {
	p := &Providers{o: o, quit: make(chan struct{}), errors: &errorLog{log: log}}
	if !o.Enabled() {
		return p, nil
	}
	header, err := headers(o.Headers)
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(p.errors)
	res, err := resource.New(ctx, resource.WithAttributes(otelattribute.String("service.name", "gaff"), otelattribute.String("service.version", o.Version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	p.res = &resourcepb.Resource{}
	for _, kv := range res.Attributes() {
		p.res.Attributes = append(p.res.Attributes, attribute(string(kv.Key), kv.Value.String()))
	}
	if o.Traces != "" {
		sampler, err := newSampler(o.Sampler, o.SamplerArg)
		if err != nil {
			return nil, err
		}
		exporter := otlptrace.NewUnstarted(spanSender{newSender(o.Traces, header)})
		p.traces = sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res), sdktrace.WithSampler(sampler),
			sdktrace.WithIDGenerator(tracing.IDGenerator{Random: randomIDs{}}))
	}
	if o.Metrics != "" {
		p.metrics = newSender(o.Metrics, header)
	}
	if o.Logs != "" {
		p.logs, p.records, p.logsDone = newSender(o.Logs, header), make(chan *logspb.LogRecord, maxRecords), make(chan struct{})
		go p.runLogs()
	}
	return p, nil
}

// Metrics begins to send the metrics of a gatherer.
func (p *Providers) Metrics(_ context.Context, g prometheus.Gatherer) error {
	if p.metrics != nil {
		p.metricsDone = make(chan struct{})
		go p.runMetrics(g, time.Now())
	}
	return nil
}

// Recorder returns what records spans; nil without traces.
func (p *Providers) Recorder() Recorder {
	if p.traces == nil {
		return nil
	}
	return recorder{tracing.New(p.traces)}
}

// recorder is a Recorder.
type recorder struct{ *tracing.Tracer }

// Settled records a job or run.
func (r recorder) Settled(s Settled) { r.Tracer.Settled(tracing.Settled(s)) }

// Transport returns a transport that records the requests made within spans.
func Transport(next http.RoundTripper) http.RoundTripper { return tracing.Transport(next) }

// Logger returns a logger that also sends its records.
func (p *Providers) Logger(log *slog.Logger) *slog.Logger {
	if p.logs == nil {
		return log
	}
	return slog.New(slog.NewMultiHandler(log.Handler(), &logHandler{p: p, level: log.Handler()}))
}

// Stop sends the rest, within the context's time.
func (p *Providers) Stop(ctx context.Context) error {
	close(p.quit)
	var err error
	if p.traces != nil {
		err = p.traces.Shutdown(ctx)
	}
	for _, done := range []chan struct{}{p.metricsDone, p.logsDone} {
		if done == nil {
			continue
		}
		select {
		case <-done:
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return err
}

// errorLog logs failures of exporters, at most one a minute.
type errorLog struct {
	log  *slog.Logger
	gate gate
}

// Handle implements otel.ErrorHandler.
func (e *errorLog) Handle(err error) {
	if e.gate.pass(time.Now()) {
		text := err.Error()
		e.log.Warn("telemetry is not sent", "error", text[:min(len(text), 300)])
	}
}

// host is the part of an endpoint for errors.
func host(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return "an invalid URL"
	}
	return u.Scheme + "://" + u.Host
}
