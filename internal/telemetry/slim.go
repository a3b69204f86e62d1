//go:build slim

// Package telemetry sends traces, metrics and logs by OTLP over HTTP; not in this build.
package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// Providers sends nothing.
type Providers struct{}

// Start fails if anything is to be sent.
func Start(_ context.Context, o Options, _ *slog.Logger) (*Providers, error) {
	if o.Enabled() {
		return nil, errors.New("this build (slim) sends no telemetry: use the full build, or unset OTEL_EXPORTER_OTLP_ENDPOINT")
	}
	return &Providers{}, nil
}

// Metrics does nothing.
func (*Providers) Metrics(context.Context, prometheus.Gatherer) error { return nil }

// Logger returns the logger.
func (*Providers) Logger(log *slog.Logger) *slog.Logger { return log }

// Stop does nothing.
func (*Providers) Stop(context.Context) error { return nil }

// Recorder returns nil.
func (*Providers) Recorder() Recorder { return nil }

// Transport returns the transport.
func Transport(next http.RoundTripper) http.RoundTripper { return next }
