// Package stats has statistics over time, for plots: received events, failures and durations.
// Counts are rolled up, so that a plot of 30 days reads some hundred rows, however many events
// there were.
package stats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"time"

	"gaff"
	"gaff/internal/sorting"
)

// Kind is a kind of duration.
type Kind int

const (
	// Reply is from the arrival of a webhook to its response with 200.
	Reply Kind = iota
	// Done is from the receipt of an event to the success of a delivery.
	Done
	// Failed is the run time of an attempt that failed.
	Failed
	// HandlerDone and HandlerFailed are the run times of attempts that succeeded and failed, by
	// handler: the handler takes the place of the source.
	HandlerDone
	HandlerFailed
)

// bounds are the upper bounds of the buckets; the last bucket has none.
var bounds = []time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond,
	7500 * time.Microsecond, 10 * time.Millisecond, 15 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond, 50 * time.Millisecond,
	75 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond,
	750 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2 * time.Second, 3 * time.Second, 5 * time.Second, 7500 * time.Millisecond,
	10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour,
}

func bucketOf(d time.Duration) int {
	return sort.Search(len(bounds), func(i int) bool { return d <= bounds[i] })
}

// Histogram counts durations by bucket. The zero value is empty.
type Histogram struct {
	N       int64
	buckets []int64
}

// Add counts n durations of a bucket; it ignores unknown buckets.
func (h *Histogram) Add(bucket int, n int64) {
	if bucket < 0 || bucket > len(bounds) {
		return
	}
	if h.buckets == nil {
		h.buckets = make([]int64, len(bounds)+1)
	}
	h.buckets[bucket] += n
	h.N += n
}

// Quantile returns the duration that a share of all durations did not exceed, to the precision of
// a bucket; zero for an empty histogram.
func (h *Histogram) Quantile(share float64) time.Duration {
	if h.N == 0 {
		return 0
	}
	rank := share * float64(h.N)
	seen := 0.0
	for i, n := range h.buckets {
		if n == 0 {
			continue
		}
		if seen+float64(n) >= rank {
			low, high := time.Duration(0), bounds[len(bounds)-1]
			if i > 0 {
				low = bounds[i-1]
			}
			if i < len(bounds) {
				high = bounds[i]
			}
			return low + time.Duration(float64(high-low)*max(rank-seen, 0)/float64(n))
		}
		seen += float64(n)
	}
	return bounds[len(bounds)-1]
}

// Latency is a count to add: durations of a source in one bucket and minute.
type Latency struct {
	Source string
	Kind   Kind
	Minute int64 // since 1970
	Bucket int
	N      int64
}

// Count is the number of events of a source in one step of a plot.
type Count struct {
	At                 time.Time
	Source             string
	Received, Rejected int64
}

// Sample is the number of durations in one bucket and step of a plot.
type Sample struct {
	At     time.Time
	Kind   Kind
	Bucket int
	N      int64
}

// Span is the period of a plot: from Since, in steps, to Until.
type Span struct {
	Since, Until time.Time
	Step         time.Duration
	// Source limits it to one source; empty means all except internal events.
	Source string
	// Handler limits it to the attempts of one handler or destination, of all sources. Done is then
	// the run time of its attempts.
	Handler string
}

// Activity describes when a source sent events.
type Activity struct {
	Source string
	// First and Last are its first and last minute in the period.
	First, Last time.Time
	// Received is the number of events, Longest the longest pause between two.
	Received int64
	Longest  time.Duration
}

// Store stores the counts.
type Store interface {
	// AddLatencies adds to the stored counts.
	AddLatencies(ctx context.Context, ls []Latency) error
	// RollUp merges the minutes of past hours into hours, and deletes counts older than any
	// plot.
	RollUp(ctx context.Context, now time.Time) error
	Counted(ctx context.Context, s Span) ([]Count, error)
	Sampled(ctx context.Context, s Span) ([]Sample, error)
	// HandlersSampled returns the samples of all handlers since a time of the last hours.
	HandlersSampled(ctx context.Context, since time.Time) ([]HandlerSample, error)
	// Activity returns the activity of every source since a time.
	Activity(ctx context.Context, since time.Time) ([]Activity, error)
}

// Ranges are the spans that plots offer, by name.
var Ranges = []string{"1h", "6h", "24h", "7d", "30d"}

var ranges = map[string]struct{ whole, step time.Duration }{
	"1h":  {time.Hour, time.Minute},
	"6h":  {6 * time.Hour, 5 * time.Minute},
	"24h": {24 * time.Hour, 10 * time.Minute},
	"7d":  {7 * 24 * time.Hour, time.Hour},
	"30d": {30 * 24 * time.Hour, 4 * time.Hour},
}

// SpanOf returns the span of a range that ends now; ok is false for an unknown range.
func SpanOf(name string, now time.Time) (s Span, ok bool) {
	r, ok := ranges[name]
	if !ok {
		return Span{}, false
	}
	until := now.Truncate(r.step).Add(r.step).UTC()
	return Span{Since: until.Add(-r.whole), Until: until, Step: r.step}, true
}

// Point is one step of a plot.
type Point struct {
	At time.Time
	// Received is the number of events by source.
	Received map[string]int64
	Rejected int64
	Reply    Histogram
	Done     Histogram
	Failed   Histogram
}

// FailureRate returns the share of failed attempts, from 0 to 1; ok is false without attempts.
func (p *Point) FailureRate() (rate float64, ok bool) {
	all := p.Done.N + p.Failed.N
	if all == 0 {
		return 0, false
	}
	return float64(p.Failed.N) / float64(all), true
}

// add adds a sample to the histogram of its kind.
func (p *Point) add(c Sample) {
	switch c.Kind {
	case Reply:
		p.Reply.Add(c.Bucket, c.N)
	case Done, HandlerDone:
		p.Done.Add(c.Bucket, c.N)
	case Failed, HandlerFailed:
		p.Failed.Add(c.Bucket, c.N)
	}
}

// HandlerSample is the number of durations of a handler in one bucket.
type HandlerSample struct {
	Handler string
	Sample
}

// Handlers returns the attempts of each handler since a time, to the minute.
func Handlers(ctx context.Context, st Store, since time.Time) (map[string]*Point, error) {
	samples, err := st.HandlersSampled(ctx, since)
	if err != nil {
		return nil, err
	}
	all := map[string]*Point{}
	for _, s := range samples {
		if all[s.Handler] == nil {
			all[s.Handler] = &Point{At: since}
		}
		all[s.Handler].add(s.Sample)
	}
	return all, nil
}

// Series is the data of a plot: a point for each step, also for steps without events.
type Series struct {
	Span
	Sources []string // with events, by name
	Points  []Point
	Total   Point // of all points; At is Since
}

// Read returns the series of a span.
func Read(ctx context.Context, st Store, span Span) (*Series, error) {
	counts, err := st.Counted(ctx, span)
	if err != nil {
		return nil, err
	}
	samples, err := st.Sampled(ctx, span)
	if err != nil {
		return nil, err
	}
	s := &Series{Span: span, Total: Point{At: span.Since, Received: map[string]int64{}}}
	for at := span.Since; at.Before(span.Until); at = at.Add(span.Step) {
		s.Points = append(s.Points, Point{At: at, Received: map[string]int64{}})
	}
	point := func(at time.Time) *Point {
		i := int(at.Sub(span.Since) / span.Step)
		if at.Before(span.Since) || i >= len(s.Points) {
			return nil
		}
		return &s.Points[i]
	}
	for _, c := range counts {
		p := point(c.At)
		if p == nil {
			continue
		}
		p.Rejected += c.Rejected
		s.Total.Rejected += c.Rejected
		if c.Source != "" && c.Received > 0 {
			p.Received[c.Source] += c.Received
			s.Total.Received[c.Source] += c.Received
			if !slices.Contains(s.Sources, c.Source) {
				s.Sources = append(s.Sources, c.Source)
			}
		}
	}
	slices.Sort(s.Sources)
	for _, c := range samples {
		p := point(c.At)
		if p == nil {
			continue
		}
		for _, to := range []*Point{p, &s.Total} {
			to.add(c)
		}
	}
	return s, nil
}

// Silence is a source that has sent nothing for longer than usual.
type Silence struct {
	Source string
	Last   time.Time
	// For is the length of the silence, Usual the longest pause before it.
	For, Usual time.Duration
}

const (
	// silenceLooksBack is two weeks, so that a weekend is usual.
	silenceLooksBack = 14 * 24 * time.Hour
	// Silence is only reported for sources with at least this activity.
	silenceHistory = 24 * time.Hour
	silenceEvents  = 20
	silenceLeast   = 10 * time.Minute
	silenceFactor  = 1.5
)

// Silent returns the sources that have been silent for one and a half times their longest pause
// of the previous two weeks, the longest silence first.
func Silent(ctx context.Context, st Store, now time.Time) ([]Silence, error) {
	all, err := st.Activity(ctx, now.Add(-silenceLooksBack))
	if err != nil {
		return nil, err
	}
	var silent []Silence
	for _, a := range all {
		quiet := now.Sub(a.Last)
		if a.Source == "" || a.Source == gaff.InternalSource || a.Received < silenceEvents || a.Last.Sub(a.First) < silenceHistory {
			continue
		}
		if quiet > silenceLeast && float64(quiet) > silenceFactor*float64(a.Longest) {
			silent = append(silent, Silence{a.Source, a.Last, quiet, a.Longest})
		}
	}
	sorting.By(silent, func(a, b Silence) int { return cmp.Compare(b.For, a.For) })
	return silent, nil
}

// Collector counts durations in memory and writes them to the store periodically. A crash loses
// the counts of the last seconds; only plots use them.
type Collector struct {
	store Store
	log   *slog.Logger
	now   func() time.Time

	mu    sync.Mutex
	cells map[cell]int64
}

type cell struct {
	source string
	kind   Kind
	minute int64
	bucket int
}

// NewCollector returns a collector for a store.
func NewCollector(st Store, log *slog.Logger) *Collector {
	return &Collector{store: st, log: log, now: time.Now, cells: map[cell]int64{}}
}

// maxCells bounds the counts in memory if the store does not answer.
const maxCells = 50_000

func (c *Collector) count(source string, kind Kind, took time.Duration) {
	at := cell{source, kind, c.now().Unix() / 60, bucketOf(took)}
	c.mu.Lock()
	if _, known := c.cells[at]; known || len(c.cells) < maxCells {
		c.cells[at]++
	}
	c.mu.Unlock()
}

// Replied is a gaff.Hooks.Replied.
func (c *Collector) Replied(source string, status int, took time.Duration) {
	if source != "" && status == 200 {
		c.count(source, Reply, took)
	}
}

// Attempted is a gaff.Hooks.Attempted.
func (c *Collector) Attempted(source, handler, outcome string, took, age time.Duration) {
	switch outcome {
	case gaff.AttemptSucceeded:
		c.count(source, Done, age)
		c.count(handler, HandlerDone, took)
	case gaff.AttemptFailed, gaff.AttemptDiscarded, gaff.AttemptPanicked, gaff.AttemptTimedOut:
		c.count(source, Failed, took)
		c.count(handler, HandlerFailed, took)
	}
}

// Flush writes the counts to the store.
func (c *Collector) Flush(ctx context.Context) error {
	c.mu.Lock()
	cells := c.cells
	c.cells = map[cell]int64{}
	c.mu.Unlock()
	if len(cells) == 0 {
		return nil
	}
	ls := make([]Latency, 0, len(cells))
	for at, n := range cells {
		ls = append(ls, Latency{at.source, at.kind, at.minute, at.bucket, n})
	}
	// In one order, so that two nodes do not deadlock.
	sorting.By(ls, func(a, b Latency) int {
		return cmp.Or(cmp.Compare(a.Minute, b.Minute), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Bucket, b.Bucket))
	})
	err := c.store.AddLatencies(ctx, ls)
	if err != nil {
		// Retried at the next flush.
		c.mu.Lock()
		for at, n := range cells {
			if _, known := c.cells[at]; known || len(c.cells) < maxCells {
				c.cells[at] += n
			}
		}
		c.mu.Unlock()
		return fmt.Errorf("store statistics: %w", err)
	}
	return nil
}

const (
	flushEvery  = 10 * time.Second
	rollUpEvery = time.Minute
)

// Run flushes and rolls up periodically until ctx ends, and then once more.
func (c *Collector) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	rolled := time.Time{}
	for {
		if now := c.now(); now.Sub(rolled) >= rollUpEvery {
			rolled = now
			c.notify(c.store.RollUp(ctx, now))
		}
		select {
		case <-tick.C:
			c.notify(c.Flush(ctx))
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			c.notify(c.Flush(last))
			return
		}
	}
}

func (c *Collector) notify(err error) {
	if err != nil && !errors.Is(err, gaff.ErrStopped) && !errors.Is(err, context.Canceled) {
		c.log.Warn("statistics", "error", err)
	}
}
