package stats_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/internal/stats"
)

func TestQuantilesAreWithinTheirBucket(t *testing.T) {
	t.Parallel()
	st := &memory{}
	c := stats.NewCollector(st, slog.New(slog.DiscardHandler))
	for range 90 {
		c.Replied("fal", 200, 4*time.Millisecond) // 3 to 5 ms
	}
	for range 10 {
		c.Replied("fal", 200, 400*time.Millisecond) // 300 to 500 ms
	}
	c.Replied("fal", 503, time.Hour)
	c.Replied("", 200, time.Hour)
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var h stats.Histogram
	for _, l := range st.latencies {
		if l.Kind != stats.Reply || l.Source != "fal" {
			t.Errorf("%+v", l)
		}
		h.Add(l.Bucket, l.N)
	}
	for share, want := range map[float64][2]time.Duration{
		.5: {3 * time.Millisecond, 5 * time.Millisecond}, .9: {3 * time.Millisecond, 5 * time.Millisecond},
		.95: {300 * time.Millisecond, 500 * time.Millisecond}, 1: {300 * time.Millisecond, 500 * time.Millisecond},
	} {
		if got := h.Quantile(share); h.N != 100 || got < want[0] || got > want[1] {
			t.Errorf("%v of %d: %s, want it within %s", share, h.N, got, want)
		}
	}
	var none stats.Histogram
	none.Add(-1, 5)
	none.Add(1000, 5)
	if none.N != 0 || none.Quantile(.5) != 0 {
		t.Errorf("an empty histogram has %s of %d", none.Quantile(.5), none.N)
	}
	var long stats.Histogram
	c.Attempted("fal", "h", gaff.AttemptSucceeded, 0, 100*time.Hour)
	_ = c.Flush(t.Context())
	for _, l := range st.latencies {
		if l.Kind == stats.Done {
			long.Add(l.Bucket, 1)
		}
	}
	if got := long.Quantile(.99); got != time.Hour {
		t.Errorf("beyond the last bucket: %s", got)
	}
}

// What could not be kept is kept at the next time.
func TestFlushLosesNothingToAFault(t *testing.T) {
	t.Parallel()
	st := &memory{err: errors.New("the disk is full")}
	c := stats.NewCollector(st, slog.New(slog.DiscardHandler))
	c.Attempted("fal", "h", gaff.AttemptFailed, time.Second, 0)
	if err := c.Flush(t.Context()); err == nil {
		t.Error("the fault is not told")
	}
	c.Attempted("fal", "h", gaff.AttemptFailed, time.Second, 0)
	c.Attempted("fal", "h", gaff.AttemptSnoozed, time.Second, 0)
	st.err = nil
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	counted := map[string]int64{}
	for _, l := range st.latencies { // two, if the minute has changed
		counted[fmt.Sprint(l.Source, " ", l.Kind)] += l.N
	}
	want := map[string]int64{fmt.Sprint("fal ", stats.Failed): 2, fmt.Sprint("h ", stats.HandlerFailed): 2}
	if diff := cmp.Diff(want, counted); diff != "" {
		t.Error(diff)
	}
	before := len(st.latencies)
	if err := c.Flush(t.Context()); err != nil || len(st.latencies) != before {
		t.Errorf("counted twice: %+v %v", st.latencies, err)
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	busy := stats.Activity{First: now.Add(-10 * 24 * time.Hour), Received: 1000, Longest: 4 * time.Hour}
	since := func(a stats.Activity, name string, quiet time.Duration) stats.Activity {
		a.Source, a.Last = name, now.Add(-quiet)
		return a
	}
	steady := busy
	steady.Longest = 2 * time.Minute
	fresh := busy
	fresh.First = now.Add(-20 * time.Hour)
	rare := busy
	rare.Received = 3
	st := &memory{activity: []stats.Activity{
		since(busy, "sleeps at night", 5*time.Hour),
		since(busy, "silent", 7*time.Hour),
		since(steady, "steady and silent", 11*time.Minute),
		since(steady, "a short pause", 9*time.Minute),
		since(fresh, "new", 10*time.Hour),
		since(rare, "rare", 100*time.Hour),
		since(busy, gaff.InternalSource, 100*time.Hour),
		since(busy, "", 100*time.Hour),
	}}
	got, err := stats.Silent(t.Context(), st, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []stats.Silence{
		{Source: "silent", Last: now.Add(-7 * time.Hour), For: 7 * time.Hour, Usual: 4 * time.Hour},
		{Source: "steady and silent", Last: now.Add(-11 * time.Minute), For: 11 * time.Minute, Usual: 2 * time.Minute},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSeriesHasAPointForEachStep(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 34, 56, 0, time.UTC)
	for name, want := range map[string]int{"1h": 60, "6h": 72, "24h": 144, "7d": 168, "30d": 180} {
		span, ok := stats.SpanOf(name, now)
		s, err := stats.Read(t.Context(), &memory{}, span)
		if !ok || err != nil || len(s.Points) != want || s.Until.Before(now) || !s.Points[0].At.Equal(span.Since) {
			t.Errorf("%s: %d points, want %d (%v %v)", name, len(s.Points), want, ok, err)
		}
	}
	if _, ok := stats.SpanOf("2y", now); ok {
		t.Error("2y is a range")
	}
}

// memory is a Store that holds what it was given.
type memory struct {
	err       error
	latencies []stats.Latency
	activity  []stats.Activity
}

func (m *memory) AddLatencies(_ context.Context, ls []stats.Latency) error {
	if m.err == nil {
		m.latencies = append(m.latencies, ls...)
	}
	return m.err
}

func (m *memory) RollUp(context.Context, time.Time) error                     { return m.err }
func (m *memory) Counted(context.Context, stats.Span) ([]stats.Count, error)  { return nil, m.err }
func (m *memory) Sampled(context.Context, stats.Span) ([]stats.Sample, error) { return nil, m.err }
func (m *memory) HandlersSampled(context.Context, time.Time) ([]stats.HandlerSample, error) {
	return nil, m.err
}
func (m *memory) Activity(context.Context, time.Time) ([]stats.Activity, error) {
	return m.activity, m.err
}
