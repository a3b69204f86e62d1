//go:build !slim

package telemetry

import (
	"context"
	"log/slog"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
)

const (
	// maxRecords bounds the log records that wait; more are dropped.
	maxRecords = 2048
	// sendRecords is how many are sent at once, and flushRecords how long they wait.
	sendRecords  = 512
	flushRecords = time.Second
)

// logHandler queues the records that another handler takes, too.
type logHandler struct {
	p      *Providers
	level  slog.Handler
	prefix string
	attrs  []*commonpb.KeyValue
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.level.Enabled(ctx, level)
}

// Handle implements slog.Handler. It never blocks.
func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	record := &logspb.LogRecord{
		TimeUnixNano: uint64(r.Time.UnixNano()), ObservedTimeUnixNano: uint64(r.Time.UnixNano()),
		// slog's levels are 4 apart, OTLP's numbers too: debug 5, info 9, warn 13, error 17.
		SeverityNumber: logspb.SeverityNumber(min(max(int(r.Level)+9, 1), 24)), SeverityText: r.Level.String(),
		Body: attribute("", r.Message).Value, Attributes: append([]*commonpb.KeyValue{}, h.attrs...),
	}
	r.Attrs(func(a slog.Attr) bool {
		record.Attributes = append(record.Attributes, attribute(h.prefix+a.Key, a.Value.Resolve().String()))
		return true
	})
	select {
	case h.p.records <- record:
	default:
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = append([]*commonpb.KeyValue{}, h.attrs...)
	for _, a := range attrs {
		next.attrs = append(next.attrs, attribute(h.prefix+a.Key, a.Value.Resolve().String()))
	}
	return &next
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	next := *h
	next.prefix += name + "."
	return &next
}

// runLogs sends queued records, and the rest at the end.
func (p *Providers) runLogs() {
	defer close(p.logsDone)
	tick := time.NewTicker(flushRecords)
	defer tick.Stop()
	var waiting []*logspb.LogRecord
	send := func() {
		if len(waiting) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), sendTime)
		defer cancel()
		if err := p.logs.logs(ctx, p.res, waiting); err != nil {
			p.errors.Handle(err)
		}
		waiting = nil
	}
	for {
		select {
		case r := <-p.records:
			if waiting = append(waiting, r); len(waiting) >= sendRecords {
				send()
			}
		case <-tick.C:
			send()
		case <-p.quit:
			for len(p.records) > 0 {
				waiting = append(waiting, <-p.records)
			}
			send()
			return
		}
	}
}
