package wire

import (
	"time"

	"gaff"
	"gaff/internal/stats"
)

// Stats counts events by source, and deliveries that are not done.
type Stats struct {
	Since      Time          `json:"since"`
	Sources    []SourceStats `json:"sources" nullable:"false"`
	Deliveries Queue         `json:"deliveries"`
}

// Queue counts the deliveries that are not done.
type Queue struct {
	Waiting   int64 `json:"waiting"`
	Due       int64 `json:"due"`
	Dead      int64 `json:"dead"`
	OldestDue Time  `json:"oldestDue"`
}

// NewStats makes the document of counts.
func NewStats(since time.Time, counts gaff.Counts) Stats {
	doc := Stats{Time{since}, []SourceStats{}, Queue{counts.Waiting, counts.Due, counts.Dead, Time{counts.OldestDue}}}
	for _, c := range counts.Sources {
		doc.Sources = append(doc.Sources, NewSourceStats(c))
	}
	return doc
}

// Series is statistics over time.
type Series struct {
	Since       Time     `json:"since"`
	Until       Time     `json:"until"`
	StepSeconds int      `json:"stepSeconds"`
	Sources     []string `json:"sources" nullable:"false" doc:"The sources that received events in this time."`
	Points      []Point  `json:"points" nullable:"false" doc:"One for each step, also for steps without events."`
	Total       Totals   `json:"total" doc:"Over all points."`
}

// Point is the statistics of one step.
type Point struct {
	At Time `json:"at"`
	Totals
}

// Totals is the statistics of a span of time.
type Totals struct {
	Received  map[string]int64 `json:"received" doc:"Events by source."`
	Rejected  int64            `json:"rejected"`
	Succeeded int64            `json:"succeeded" doc:"Attempts."`
	Failed    int64            `json:"failed" doc:"Attempts."`
	Reply     *Percentiles     `json:"reply" doc:"The response time of webhooks; null without webhooks."`
	Done      *Percentiles     `json:"done" doc:"The latency from an event's receipt to the success of a delivery; of one handler, the run time of its attempts."`
}

// Percentiles are those of a duration, in milliseconds.
type Percentiles struct {
	P50Ms float64 `json:"p50Ms"`
	P95Ms float64 `json:"p95Ms"`
	P99Ms float64 `json:"p99Ms"`
}

// NewSeries makes the document of statistics over time.
func NewSeries(s *stats.Series) Series {
	doc := Series{
		Since: Time{s.Since}, Until: Time{s.Until}, StepSeconds: int(s.Step.Seconds()), Sources: texts(s.Sources),
		Points: make([]Point, 0, len(s.Points)), Total: NewTotals(&s.Total),
	}
	for i := range s.Points {
		doc.Points = append(doc.Points, Point{Time{s.Points[i].At}, NewTotals(&s.Points[i])})
	}
	return doc
}

// NewTotals makes the document of a span's statistics.
func NewTotals(p *stats.Point) Totals {
	received := p.Received
	if received == nil {
		received = map[string]int64{}
	}
	return Totals{received, p.Rejected, p.Done.N, p.Failed.N, newPercentiles(&p.Reply), newPercentiles(&p.Done)}
}

func newPercentiles(h *stats.Histogram) *Percentiles {
	if h.N == 0 {
		return nil
	}
	ms := func(share float64) float64 { return float64(h.Quantile(share).Microseconds()) / 1000 }
	return &Percentiles{ms(.5), ms(.95), ms(.99)}
}

// Silence is a source that has received nothing for longer than usual.
type Silence struct {
	Source       string `json:"source"`
	LastAt       Time   `json:"lastAt"`
	ForSeconds   int64  `json:"forSeconds"`
	UsualSeconds int64  `json:"usualSeconds" doc:"Its longest pause in the two weeks before."`
}

// NewSilence makes the document of a silent source.
func NewSilence(s stats.Silence) Silence {
	return Silence{s.Source, Time{s.Last}, int64(s.For.Seconds()), int64(s.Usual.Seconds())}
}

// Disk is the space of a disk.
type Disk struct {
	FreeBytes  int64 `json:"freeBytes"`
	TotalBytes int64 `json:"totalBytes"`
}

// Health is the state of a node.
type Health struct {
	Ready         bool              `json:"ready" doc:"A webhook could be stored now."`
	Reason        Text              `json:"reason" doc:"Why not."`
	DamagedBodies int64             `json:"damagedBodies" doc:"Events whose stored body was found damaged since the start."`
	Version       string            `json:"version"`
	Commit        string            `json:"commit" doc:"The commit that the binary was built from; empty if unknown."`
	DatabaseBytes int64             `json:"databaseBytes" doc:"Size of the database, without the write-ahead log; 0 if unknown."`
	Disk          *Disk             `json:"disk" doc:"The disk of the data folder; null if unknown."`
	Go            string            `json:"go"`
	UptimeSeconds int64             `json:"uptimeSeconds"`
	MemoryBytes   int64             `json:"memoryBytes" doc:"The memory that the process has from the operating system."`
	Goroutines    int               `json:"goroutines"`
	QuietSources  map[string]string `json:"quietSources" doc:"The sources that reject every request, and why."`
	Handlers      []HandlerHealth   `json:"handlers" nullable:"false" doc:"Handlers and destinations with open deliveries, or with attempts in the last hour; the most due first. Empty if the database did not answer in time."`
}

// HandlerHealth is the queue and the last hour of a handler or destination.
type HandlerHealth struct {
	Handler   string       `json:"handler"`
	Pending   int64        `json:"pending" doc:"Deliveries that are not done. Of all handlers together, at most 100,000 are counted."`
	Due       int64        `json:"due" doc:"Those whose time has come."`
	OldestDue Time         `json:"oldestDue" doc:"When the first of them became due."`
	Succeeded int64        `json:"succeeded" doc:"Attempts in the last hour, on all nodes."`
	Failed    int64        `json:"failed" doc:"Attempts in the last hour."`
	Took      *Percentiles `json:"took" doc:"The run time of the attempts that succeeded in the last hour; null without one."`
}

// NewHandlerHealth makes the document of a handler.
func NewHandlerHealth(handler string, attempts *stats.Point) HandlerHealth {
	h := HandlerHealth{Handler: handler}
	if attempts != nil {
		h.Succeeded, h.Failed, h.Took = attempts.Done.N, attempts.Failed.N, newPercentiles(&attempts.Done)
	}
	return h
}
