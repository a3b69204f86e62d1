//go:build !slim

package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
)

// runMetrics sends what a gatherer has, at each interval and once at the end.
func (p *Providers) runMetrics(g prometheus.Gatherer, began time.Time) {
	defer close(p.metricsDone)
	tick := time.NewTicker(p.o.MetricInterval)
	defer tick.Stop()
	for {
		last := false
		select {
		case <-tick.C:
		case <-p.quit:
			last = true
		}
		ctx, cancel := context.WithTimeout(context.Background(), sendTime)
		families, err := g.Gather()
		if len(families) > 0 { // also if some are missing
			err = p.metrics.metrics(ctx, p.res, convert(families, began, time.Now()))
		}
		cancel()
		if err != nil {
			p.errors.Handle(err)
		}
		if last {
			return
		}
	}
}

// convert makes the metrics of OTLP of those of Prometheus.
func convert(families []*dto.MetricFamily, began, now time.Time) (all []*metricspb.Metric) {
	start, at := uint64(began.UnixNano()), uint64(now.UnixNano())
	for _, f := range families {
		m := &metricspb.Metric{Name: f.GetName(), Description: f.GetHelp()}
		var numbers []*metricspb.NumberDataPoint
		var histograms []*metricspb.HistogramDataPoint
		for _, one := range f.GetMetric() {
			if h := one.GetHistogram(); h != nil {
				histograms = append(histograms, histogram(h, labels(one), start, at))
				continue
			}
			value := one.GetGauge().GetValue()
			if c := one.GetCounter(); c != nil {
				value = c.GetValue()
			}
			numbers = append(numbers, &metricspb.NumberDataPoint{
				Attributes: labels(one), StartTimeUnixNano: start, TimeUnixNano: at, Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: value},
			})
		}
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			m.Data = &metricspb.Metric_Sum{Sum: &metricspb.Sum{
				DataPoints: numbers, IsMonotonic: true, AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
			}}
		case dto.MetricType_HISTOGRAM:
			m.Data = &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
				DataPoints: histograms, AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
			}}
		case dto.MetricType_GAUGE:
			m.Data = &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: numbers}}
		default:
			continue // the summary of Go's garbage collector
		}
		all = append(all, m)
	}
	return all
}

func labels(m *dto.Metric) (all []*commonpb.KeyValue) {
	for _, l := range m.GetLabel() {
		all = append(all, attribute(l.GetName(), l.GetValue()))
	}
	return all
}

// histogram converts cumulative buckets to their differences.
func histogram(h *dto.Histogram, attributes []*commonpb.KeyValue, start, at uint64) *metricspb.HistogramDataPoint {
	sum := h.GetSampleSum()
	p := &metricspb.HistogramDataPoint{Attributes: attributes, StartTimeUnixNano: start, TimeUnixNano: at, Count: h.GetSampleCount(), Sum: &sum}
	before := uint64(0)
	for _, b := range h.GetBucket() {
		p.ExplicitBounds = append(p.ExplicitBounds, b.GetUpperBound())
		p.BucketCounts = append(p.BucketCounts, b.GetCumulativeCount()-before)
		before = b.GetCumulativeCount()
	}
	p.BucketCounts = append(p.BucketCounts, h.GetSampleCount()-before)
	return p
}
