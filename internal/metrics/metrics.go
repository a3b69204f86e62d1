// Package metrics counts what a gateway does, for Prometheus.
package metrics

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gaff"
	"gaff/internal/buildinfo"
	"gaff/internal/issue"
)

// Counter is what the gauges are read from; a gaff.Store is one.
type Counter interface {
	Counts(ctx context.Context, since time.Time) (gaff.Counts, error)
	// DamagedBodies is how many events with a damaged body were found.
	DamagedBodies() int64
	// HeldLeases is how many deliveries this process has claimed and not finished.
	HeldLeases() int
	// DatabaseSize is in bytes.
	DatabaseSize(ctx context.Context) (int64, error)
	IssueCounts(ctx context.Context) (map[issue.State]int, error)
	// ObserveCommits has fn called after each commit.
	ObserveCommits(fn func(took time.Duration))
}

// Queue is the backlog of a queue.
type Queue struct {
	Name    string
	Waiting int64
	Due     time.Time // of the earliest
}

// Files measures the data folder.
type Files struct {
	// Dir is the folder whose disk is measured.
	Dir string
	// Log is the write-ahead log of SQLite; empty for other databases.
	Log string
	// Queues returns the backlog of each queue.
	Queues func(ctx context.Context) ([]Queue, error)
	// Limits returns the use of the limits of providers and models; nil: it is not measured.
	Limits func(ctx context.Context) ([]Limit, error)
}

// Limit is the use of a limit of a provider or model.
type Limit struct {
	Scope, Name                    string
	Concurrency, UnderWay, Waiting int
}

// Metrics is a registry of a gateway's own. Its methods are gaff.Hooks.
type Metrics struct {
	registry  *prometheus.Registry
	replied   *prometheus.CounterVec
	replyTook *prometheus.HistogramVec
	attempted *prometheus.CounterVec
	tried     *prometheus.HistogramVec
	done      *prometheus.HistogramVec
	settled   *prometheus.CounterVec
	denied    *prometheus.CounterVec
	violated  *prometheus.CounterVec
	committed prometheus.Histogram
}

// New makes the registry, with Go's and the process's own metrics in it, and those of the build.
func New(build buildinfo.Info) *Metrics {
	fast := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}
	slow := slices.Concat(fast, []float64{15, 60, 300, 1800, 3600})
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		replied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gaff_webhooks_replied_total", Help: "Replies to senders. An unknown source has an empty name.",
		}, []string{"source", "status"}),
		replyTook: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gaff_reply_seconds", Help: "From the headers' arrival to the reply.", Buckets: fast,
		}, []string{"source"}),
		attempted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gaff_attempts_total", Help: "Ended attempts of deliveries.",
		}, []string{"source", "handler", "outcome"}),
		tried: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gaff_attempt_seconds", Help: "Run time of handlers.", Buckets: slow,
		}, []string{"handler"}),
		done: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gaff_event_seconds", Help: "From an event's receipt to the success of a delivery.", Buckets: slow,
		}, []string{"source"}),
	}
	m.settled = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaff_jobs_settled_total",
		Help: "Jobs that came to an end, and by what: webhook, reconciliation, or neither (by is empty: refused or cancelled).",
	}, []string{"provider", "status", "by"})
	m.denied = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaff_access_denied_total", Help: "Wrong or expired credentials and refused calls, by kind: token (API), login, link, oidc (identity provider), role, scope, rate.",
	}, []string{"kind"})
	m.violated = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaff_schema_violations_total", Help: "Events that violate a JSON Schema, by action: stored or refused. The label schema is the event type that the schema is for, or *.",
	}, []string{"source", "schema", "action"})
	m.committed = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gaff_commit_seconds", Help: "Commits of the database, their sync to the disk included.", Buckets: fast,
	})
	built := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gaff_build_info", Help: "The build that runs, in the labels. Always 1.",
		ConstLabels: prometheus.Labels{"version": build.Version, "commit": build.Commit, "date": build.Date, "goversion": runtime.Version()},
	})
	built.Set(1)
	m.registry.MustRegister(built, m.committed, m.denied, m.violated, m.settled, m.replied, m.replyTook, m.attempted, m.tried, m.done,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Replied counts a reply. See gaff.Hooks.
func (m *Metrics) Replied(source string, status int, took time.Duration) {
	m.replied.WithLabelValues(source, strconv.Itoa(status)).Inc()
	m.replyTook.WithLabelValues(source).Observe(took.Seconds())
}

// Attempted counts an attempt. See gaff.Hooks.
func (m *Metrics) Attempted(source, handler, outcome string, took, age time.Duration) {
	m.attempted.WithLabelValues(source, handler, outcome).Inc()
	m.tried.WithLabelValues(handler).Observe(took.Seconds())
	if outcome == gaff.AttemptSucceeded {
		m.done.WithLabelValues(source).Observe(age.Seconds())
	}
}

// Denied counts a wrong credential. See access.GuardOptions.
func (m *Metrics) Denied(kind string) { m.denied.WithLabelValues(kind).Inc() }

// Violated counts an event that violates a schema. See gaff.Hooks.
func (m *Metrics) Violated(source, schema string, refused bool) {
	action := "stored"
	if refused {
		action = "refused"
	}
	m.violated.WithLabelValues(source, schema, action).Inc()
}

// Settled counts a job's end. See jobs.ServiceOptions.
func (m *Metrics) Settled(provider, by, status string) {
	m.settled.WithLabelValues(provider, status, by).Inc()
}

// Observe adds the gauges of the store and the data folder, which are read at each scrape.
func (m *Metrics) Observe(c Counter, f Files) {
	c.ObserveCommits(func(took time.Duration) { m.committed.Observe(took.Seconds()) })
	m.registry.MustRegister(&backlog{counter: c}, &sizes{counter: c, files: f})
}

// Gatherer has all metrics, for exporters.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Handler answers /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	})
}

// countFor is how long one reading of the gauges is used: scrapers must not become a
// load on the database.
const countFor = 5 * time.Second

type backlog struct {
	counter Counter
	mu      sync.Mutex
	read    time.Time
	counts  gaff.Counts
	err     error
}

var (
	waiting = prometheus.NewDesc("gaff_deliveries_waiting", "Deliveries that are not done.", nil, nil)
	due     = prometheus.NewDesc("gaff_deliveries_due", "Deliveries that should be running by now.", nil, nil)
	dead    = prometheus.NewDesc("gaff_deliveries_dead", "Deliveries whose attempts are used up.", nil, nil)
	oldest  = prometheus.NewDesc("gaff_oldest_due_seconds", "How long the longest waiting delivery is overdue.", nil, nil)
	damaged = prometheus.NewDesc("gaff_damaged_bodies_total", "Events whose stored body was found damaged since the start.", nil, nil)
	last    = prometheus.NewDesc("gaff_last_event_timestamp_seconds", "When the source's newest event came.", []string{"source"}, nil)
)

func (b *backlog) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{waiting, due, dead, oldest, last, damaged} {
		ch <- d
	}
}

func (b *backlog) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(damaged, prometheus.CounterValue, float64(b.counter.DamagedBodies()))
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Sub(b.read) > countFor {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		b.counts, b.err = b.counter.Counts(ctx, time.Time{})
		b.read = now
	}
	if b.err != nil {
		ch <- prometheus.NewInvalidMetric(waiting, b.err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(waiting, float64(b.counts.Waiting))
	gauge(due, float64(b.counts.Due))
	gauge(dead, float64(b.counts.Dead))
	age := 0.0
	if !b.counts.OldestDue.IsZero() {
		age = now.Sub(b.counts.OldestDue).Seconds()
	}
	gauge(oldest, age)
	for _, s := range b.counts.Sources {
		if s.Source != "" && !s.LastReceivedAt.IsZero() {
			gauge(last, float64(s.LastReceivedAt.UnixMilli())/1000, s.Source)
		}
	}
}
