package api

import (
	"context"
	"runtime"
	"time"

	"gaff/internal/stats"
	"gaff/internal/wire"
	"gaff/jobs"
)

type statsInput struct {
	Since string `query:"since" doc:"A time, or a duration such as 24h for that long ago; without it, all events are counted."`
}

func (s *server) getStats(ctx context.Context, in *statsInput) (none wire.Stats, err error) {
	since, err := wire.Since("since", in.Since)
	if err != nil {
		return none, err
	}
	counts, err := s.o.Store.Counts(ctx, since)
	return wire.NewStats(since, counts), err
}

type jobStatsInput struct {
	Since string `query:"since" default:"24h" doc:"Created at or after: a time, or a duration such as 24h for that long ago."`
}

// maxStats bounds the models and errors of the statistics of jobs.
const maxStats = 50

func (s *server) getJobStats(ctx context.Context, in *jobStatsInput) (none wire.JobStats, err error) {
	since, err := wire.Since("since", in.Since)
	if err != nil {
		return none, err
	}
	outcomes, err := s.o.Store.Outcomes(ctx, since)
	return wire.NewJobStats(since, jobs.Summarize(outcomes, maxStats)), err
}

type seriesInput struct {
	Range  string `query:"range" enum:"1h,6h,24h,7d,30d" default:"24h" doc:"The span of time until now."`
	Source string `query:"source" doc:"Only of this source."`
	// Handler excludes Source.
	Handler string `query:"handler" doc:"Only the attempts of this handler or destination; not with source."`
}

func (s *server) getSeries(ctx context.Context, in *seriesInput) (none wire.Series, err error) {
	span, ok := stats.SpanOf(in.Range, time.Now())
	if !ok {
		return none, wire.Invalid("range: want 1h, 6h, 24h, 7d or 30d")
	}
	if in.Source != "" && in.Handler != "" {
		return none, wire.Invalid("handler: source is set too; give one of them")
	}
	span.Source, span.Handler = in.Source, in.Handler
	series, err := stats.Read(ctx, s.o.Store, span)
	if err != nil {
		return none, err
	}
	return wire.NewSeries(series), nil
}

func (s *server) listSilentSources(ctx context.Context, in *wire.Page) (wire.List[wire.Silence], error) {
	silent, err := stats.Silent(ctx, s.o.Store, time.Now())
	return cutList(*in, silent, err, func(sl stats.Silence) string { return sl.Source }, wire.NewSilence)
}

// healthTime is the timeout of the answer about a node's health, also if the database hangs.
const healthTime = 1800 * time.Millisecond

func (s *server) getHealth(ctx context.Context, _ *noInput) (wire.Health, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	doc := wire.Health{
		Ready: true, Version: s.o.Version, Commit: s.o.Commit, Go: runtime.Version(), UptimeSeconds: int64(time.Since(s.began).Seconds()),
		MemoryBytes: int64(m.Sys), Goroutines: runtime.NumGoroutine(), QuietSources: map[string]string{},
	}
	if s.o.Ready != nil {
		if err := s.o.Ready(ctx); err != nil {
			doc.Ready, doc.Reason = false, wire.Text(err.Error())
		}
	}
	if s.o.Storage != nil && doc.Ready {
		doc.DatabaseBytes, doc.Disk = s.o.Storage(ctx)
	}
	doc.Handlers = s.handlers(ctx, doc.Ready)
	if s.o.Damaged != nil {
		doc.DamagedBodies = s.o.Damaged()
	}
	for _, src := range s.o.Gateway.Sources() {
		if src.DisabledReason != "" {
			doc.QuietSources[src.Name] = src.DisabledReason
		}
	}
	return doc, nil
}

// handlersTime is the timeout of the part of the health about handlers.
const handlersTime = 800 * time.Millisecond

// handlers returns the state of the handlers; none if it cannot be read in time.
func (s *server) handlers(ctx context.Context, ready bool) []wire.HandlerHealth {
	none := []wire.HandlerHealth{}
	if s.o.Handlers == nil || !ready {
		return none
	}
	ctx, cancel := context.WithTimeout(ctx, handlersTime)
	defer cancel()
	all, err := s.o.Handlers(ctx)
	if err != nil {
		s.o.Log.Debug("handlers not measured", "error", err)
		return none
	}
	return append(none, all...)
}

func (s *server) listSettings(context.Context, *wire.Page) (wire.List[wire.Setting], error) {
	return wire.List[wire.Setting]{Docs: append([]wire.Setting{}, s.o.Settings...)}, nil
}
