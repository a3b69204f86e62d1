package api

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/stats"
)

type seriesInput struct {
	Range  string `query:"range" enum:"1h,6h,24h,7d,30d" default:"24h" doc:"How long until now."`
	Source string `query:"source" doc:"Only of this source."`
}

type seriesDoc struct {
	Since       *string     `json:"since" format:"date-time"`
	Until       *string     `json:"until" format:"date-time"`
	StepSeconds int         `json:"stepSeconds"`
	Sources     []string    `json:"sources" nullable:"false" doc:"That something came from in this time."`
	Points      []pointDoc  `json:"points" nullable:"false" doc:"One for each step, whether something happened or not."`
	Total       pointTotals `json:"total" doc:"Over all points."`
}

type pointDoc struct {
	At *string `json:"at" format:"date-time"`
	pointTotals
}

type pointTotals struct {
	Received  map[string]int64         `json:"received" doc:"Events by source."`
	Rejected  int64                    `json:"rejected"`
	Succeeded int64                    `json:"succeeded" doc:"Attempts."`
	Failed    int64                    `json:"failed" doc:"Attempts."`
	Reply     optional[percentilesDoc] `json:"reply" doc:"From a webhook's arrival to its answer; null if there was none."`
	Done      optional[percentilesDoc] `json:"done" doc:"From an event's receipt to the success of a delivery."`
}

type percentilesDoc struct {
	P50Ms float64 `json:"p50Ms"`
	P95Ms float64 `json:"p95Ms"`
	P99Ms float64 `json:"p99Ms"`
}

func percentiles(h *stats.Histogram) (out optional[percentilesDoc]) {
	if h.N > 0 {
		ms := func(share float64) float64 { return float64(h.Quantile(share).Microseconds()) / 1000 }
		out.value = &percentilesDoc{ms(.5), ms(.95), ms(.99)}
	}
	return out
}

func newPointTotals(p *stats.Point) pointTotals {
	return pointTotals{p.Received, p.Rejected, p.Done.N, p.Failed.N, percentiles(&p.Reply), percentiles(&p.Done)}
}

type silenceDoc struct {
	Source       string  `json:"source"`
	LastAt       *string `json:"lastAt" format:"date-time"`
	ForSeconds   int64   `json:"forSeconds"`
	UsualSeconds int64   `json:"usualSeconds" doc:"Its longest pause in the two weeks before."`
}

func (s *server) describeStats(api huma.API) {
	huma.Register(api, operation(http.MethodGet, "/api/v1/stats/series", "get-series", "What came, failed, and how long it took, over time", Viewer),
		func(ctx context.Context, in *seriesInput) (*output[seriesDoc], error) {
			span, ok := stats.SpanOf(in.Range, time.Now())
			if !ok {
				return nil, huma.Error400BadRequest("range: 1h, 6h, 24h, 7d or 30d is wanted")
			}
			span.Source = in.Source
			series, err := stats.Read(ctx, s.o.Store, span)
			if err != nil {
				return nil, s.failure(err)
			}
			doc := seriesDoc{
				Since: stamp(series.Since), Until: stamp(series.Until), StepSeconds: int(series.Step.Seconds()),
				Sources: append([]string{}, series.Sources...), Points: make([]pointDoc, 0, len(series.Points)), Total: newPointTotals(&series.Total),
			}
			for i := range series.Points {
				doc.Points = append(doc.Points, pointDoc{stamp(series.Points[i].At), newPointTotals(&series.Points[i])})
			}
			return &output[seriesDoc]{doc}, nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/stats/silence", "list-silent-sources", "Sources that nothing came from for longer than usual", Viewer),
		func(ctx context.Context, in *Paging) (*output[list[silenceDoc]], error) {
			silent, err := stats.Silent(ctx, s.o.Store, time.Now())
			return cutList(s, *in, silent, err, func(sl stats.Silence) string { return sl.Source }, func(sl stats.Silence) silenceDoc {
				return silenceDoc{sl.Source, stamp(sl.Last), int64(sl.For.Seconds()), int64(sl.Usual.Seconds())}
			})
		})
	health := operation(http.MethodGet, "/api/v1/health", "get-health", "How this node is", Viewer)
	health.Metadata[timeKey] = healthTime
	huma.Register(api, health,
		func(ctx context.Context, _ *struct{}) (*output[nodeDoc], error) {
			doc := nodeDoc{
				Version: s.o.Version, Go: runtime.Version(), UptimeSeconds: int64(time.Since(s.began).Seconds()),
				Goroutines: runtime.NumGoroutine(), Quiet: map[string]string{},
			}
			if s.o.Ready != nil {
				if err := s.o.Ready(ctx); err != nil {
					reason := err.Error()
					doc.Reason = &reason
				}
			}
			doc.Ready = doc.Reason == nil
			if s.o.Damaged != nil {
				doc.DamagedBodies = s.o.Damaged()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			doc.MemoryBytes = int64(m.Sys)
			for _, src := range s.o.Gateway.Sources() {
				if src.DisabledReason != "" {
					doc.Quiet[src.Name] = src.DisabledReason
				}
			}
			return &output[nodeDoc]{doc}, nil
		})
}

// healthTime is how long the answer about a node's health may take, whatever the database does.
const healthTime = 1800 * time.Millisecond

type nodeDoc struct {
	Ready         bool              `json:"ready" doc:"A webhook could be kept now."`
	Reason        *string           `json:"reason" doc:"Why not."`
	DamagedBodies int64             `json:"damagedBodies" doc:"Events whose stored body was found damaged since the start."`
	Version       string            `json:"version"`
	Go            string            `json:"go"`
	UptimeSeconds int64             `json:"uptimeSeconds"`
	MemoryBytes   int64             `json:"memoryBytes" doc:"What the process has of the machine."`
	Goroutines    int               `json:"goroutines"`
	Quiet         map[string]string `json:"quietSources" doc:"Sources that refuse everything, and why."`
}
