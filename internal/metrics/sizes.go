package metrics

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gaff/internal/disk"
	"gaff/internal/issue"
)

var (
	databaseSize = prometheus.NewDesc("gaff_database_bytes", "Size of the database, without the write-ahead log.", nil, nil)
	logSize      = prometheus.NewDesc("gaff_database_wal_bytes", "Size of SQLite's write-ahead log.", nil, nil)
	diskFree     = prometheus.NewDesc("gaff_disk_free_bytes", "Free space of the data folder's disk.", nil, nil)
	diskTotal    = prometheus.NewDesc("gaff_disk_total_bytes", "Size of the data folder's disk.", nil, nil)
	leases       = prometheus.NewDesc("gaff_leases_held", "Deliveries that this node has claimed and not finished.", nil, nil)
	queueDepth   = prometheus.NewDesc("gaff_queue_deliveries", "Deliveries of a queue that are not done; the shared queue has an empty name.", []string{"queue"}, nil)
	queueAge     = prometheus.NewDesc("gaff_queue_oldest_due_seconds", "How long the queue's longest waiting delivery is overdue.", []string{"queue"}, nil)
	limitMost    = prometheus.NewDesc("gaff_limit_concurrency", "How many jobs of the provider or model may be under way, on all nodes.", []string{"scope", "name"}, nil)
	limitUsed    = prometheus.NewDesc("gaff_limit_jobs_under_way", "Jobs that count for the limit of the provider or model, on all nodes.", []string{"scope", "name"}, nil)
	limitWaiting = prometheus.NewDesc("gaff_limit_jobs_waiting", "Jobs of a provider or model with a limit that wait to be submitted.", []string{"scope", "name"}, nil)
	issues       = prometheus.NewDesc("gaff_issues", "Issues by state, those that raise no alert left out.", []string{"state"}, nil)
)

// sizes measures the store and the data folder.
type sizes struct {
	counter Counter
	files   Files

	mu     sync.Mutex
	read   time.Time
	size   int64
	queues []Queue
	limits []Limit
	issues map[issue.State]int
	err    error
}

// Describe implements prometheus.Collector.
func (s *sizes) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{databaseSize, logSize, diskFree, diskTotal, leases, queueDepth, queueAge, limitMost, limitUsed, limitWaiting, issues} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *sizes) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(leases, float64(s.counter.HeldLeases()))
	if space, err := disk.Of(s.files.Dir); err == nil {
		gauge(diskFree, float64(space.Free))
		gauge(diskTotal, float64(space.Total))
	}
	if s.files.Log != "" {
		size := int64(0)
		if info, err := os.Stat(s.files.Log); err == nil {
			size = info.Size()
		}
		gauge(logSize, float64(size))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.read) > countFor {
		s.err = s.query()
		s.read = now
	}
	if s.err != nil {
		ch <- prometheus.NewInvalidMetric(databaseSize, s.err)
		return
	}
	gauge(databaseSize, float64(s.size))
	for _, q := range s.queues {
		gauge(queueDepth, float64(q.Waiting), q.Name)
		gauge(queueAge, max(now.Sub(q.Due).Seconds(), 0), q.Name)
	}
	for _, l := range s.limits {
		if l.Concurrency > 0 {
			gauge(limitMost, float64(l.Concurrency), l.Scope, l.Name)
			gauge(limitUsed, float64(l.UnderWay), l.Scope, l.Name)
		}
		gauge(limitWaiting, float64(l.Waiting), l.Scope, l.Name)
	}
	for state := issue.Open; state <= issue.Ignored; state++ {
		gauge(issues, float64(s.issues[state]), state.String())
	}
}

func (s *sizes) query() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.size, err = s.counter.DatabaseSize(ctx); err != nil {
		return err
	}
	if s.issues, err = s.counter.IssueCounts(ctx); err != nil {
		return err
	}
	if s.queues, err = s.files.Queues(ctx); err != nil || s.files.Limits == nil {
		return err
	}
	s.limits, err = s.files.Limits(ctx)
	return err
}
