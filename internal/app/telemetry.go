package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/buildinfo"
	"gaff/internal/config"
	"gaff/internal/telemetry"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// startTelemetry makes the exporters. It comes first, so that all log records are sent.
func (p *process) startTelemetry(ctx context.Context) (err error) {
	if p.telemetry, err = telemetry.Start(ctx, telemetryOptions(p.cfg), p.log); err != nil {
		return err
	}
	p.log = p.telemetry.Logger(p.log)
	p.recorder = p.telemetry.Recorder()
	return nil
}

func (p *process) stopTelemetry(ctx context.Context) error { return p.telemetry.Stop(ctx) }

func telemetryOptions(cfg *config.Config) telemetry.Options {
	o := telemetry.Options{Sampler: cfg.TracesSampler, SamplerArg: cfg.TracesSamplerArg, Version: buildinfo.Get().Short(),
		Headers: string(cfg.OTLPHeaders), MetricInterval: time.Duration(cfg.MetricInterval) * time.Millisecond}
	if cfg.TelemetryOff {
		return o
	}
	o.Traces = telemetry.Endpoint(cfg.OTLPEndpoint, cfg.OTLPTraces, "traces", cfg.TracesExporter)
	o.Metrics = telemetry.Endpoint(cfg.OTLPEndpoint, cfg.OTLPMetrics, "metrics", cfg.MetricsExporter)
	o.Logs = telemetry.Endpoint(cfg.OTLPEndpoint, cfg.OTLPLogs, "logs", cfg.LogsExporter)
	return o
}

// traced has the requests of a client recorded, if traces are sent.
func (p *process) traced(c *http.Client) *http.Client {
	if p.recorder != nil {
		c.Transport = telemetry.Transport(c.Transport)
	}
	return c
}

// tracer is nil, not a pointer to nothing, without traces.
func (p *process) tracer() gaff.Tracer {
	if p.recorder == nil {
		return nil
	}
	return p.recorder
}

const (
	// settledPage is how many changes are read at once.
	settledPage = 500
	// settledKnown is how many ended jobs and runs are remembered, as a change can follow the end.
	settledKnown = 10_000
)

// traceSettled records jobs and runs when they end. Each node does, with the same ids, so that a
// tracing backend has each once.
func (p *process) traceSettled(ctx context.Context) {
	if p.recorder == nil {
		return
	}
	last, known := "", map[string]bool{}
	for {
		changed := p.store.Changed()
		cs, next, gone, err := p.store.Changes(ctx, last, settledPage)
		switch {
		case ctx.Err() != nil || errors.Is(err, gaff.ErrStopped):
			return
		case err != nil:
			p.log.Warn("the ends of jobs and runs are not traced for now", "error", err)
		case !gone:
			for _, c := range cs {
				if len(known) >= settledKnown {
					clear(known)
				}
				if s, ok := p.settled(ctx, c); ok && !known[s.ID] {
					known[s.ID] = true
					p.recorder.Settled(s)
				}
			}
		}
		if err == nil {
			last = next
			if len(cs) == settledPage {
				continue
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(time.Minute):
		}
		// Commits come in bursts: one look for all of them.
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// settled describes the job or run of a change; ok is false for others, and for unfinished ones.
func (p *process) settled(ctx context.Context, c gaff.Change) (s telemetry.Settled, ok bool) {
	switch c.Kind {
	case "job":
		if c.Status != jobs.JobCompleted.String() && c.Status != jobs.JobFailed.String() && c.Status != jobs.JobCancelled.String() {
			return s, false
		}
		j, err := p.store.Job(ctx, c.Ref)
		if err != nil || !j.Status.Settled() {
			return s, false
		}
		s = telemetry.Settled{
			ID: j.ID, Name: "job " + j.Provider, Status: j.Status.String(), Failed: j.Status != jobs.JobCompleted, Parent: j.RunID,
			Started: j.CreatedAt, Ended: j.SettledAt,
			Attrs: map[string]string{"provider": j.Provider, "model": j.Model, "request.id": j.RequestID, "settled.by": j.SettledBy},
		}
		if j.RequestID != "" {
			page, err := p.store.Events(ctx, gaff.EventFilter{Source: j.Provider, WebhookID: j.RequestID, Cursor: gaff.Cursor{Limit: 5}})
			for _, l := range page.Items {
				if err == nil {
					s.Events = append(s.Events, l.ID)
				}
			}
		}
		return s, true
	case "run":
		r, err := p.store.Run(ctx, c.Ref)
		if err != nil || !r.Status.Settled() {
			return s, false
		}
		s = telemetry.Settled{
			ID: r.ID, Name: "run " + r.Workflow, Status: r.Status.String(), Failed: r.Status != runs.Completed,
			Started: r.CreatedAt, Ended: r.SettledAt, Attrs: map[string]string{"workflow": r.Workflow, "project.id": r.ProjectID},
		}
		if r.EventID != "" {
			s.Events = []string{r.EventID}
		}
		return s, true
	}
	return s, false
}

// sendAudit returns a function that sends entries of the audit log by OTLP, as log records with the
// message "audit". They are not in the gateway's own log.
func (p *process) sendAudit() func(access.Entry) {
	log := p.telemetry.Logger(slog.New(slog.NewTextHandler(io.Discard, nil))) //nolint:sloglint // slog.DiscardHandler is not enabled, so nothing would be sent
	return func(e access.Entry) {
		log.Info("audit", "id", e.ID, "actor", e.Actor, "key", e.KeyID, "as", e.As, "role", e.Role.String(), "via", e.Via, "via_id", e.ViaID,
			"address", e.Address, "action", e.Action, "target", e.Target, "status", e.Status, "times", e.Times, "detail", string(e.Detail))
	}
}
