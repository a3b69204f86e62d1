package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

func (p *program) statsCommand() *cobra.Command {
	var span, source, handler string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show counts, failures, latencies and the backlog",
		Long: `Show how many webhooks were received, how many attempts failed, and the latencies in the time
of --range, as numbers and plots; the backlog; and the sources that have been silent for
longer than usual.`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw := map[string]json.RawMessage{}
			for _, part := range [...]struct {
				name, path string
				query      url.Values
			}{
				{"series", "/api/v1/stats/series", given("range", span, "source", source, "handler", handler)}, {"now", "/api/v1/stats", nil}, {"silent", "/api/v1/stats/silence", nil},
			} {
				if raw[part.name], err = c.call(ctx, http.MethodGet, part.path, part.query, nil); err != nil {
					return err
				}
			}
			if asJSON {
				return writeJSON(p.Stdout, raw)
			}
			return p.showStats(span, raw["series"], raw["now"], raw["silent"])
		}),
	}
	cmd.Flags().StringVar(&span, "range", "24h", "the time until now: 1h, 6h, 24h, 7d or 30d")
	cmd.Flags().StringVar(&source, "source", "", "only of this source")
	cmd.Flags().StringVar(&handler, "handler", "", "only the attempts of this handler or destination; the latency is the run time of those")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: {series, now, silent}, the documents of the API")
	p.clientFlags(cmd)
	return cmd
}

// duration writes milliseconds in a readable unit, never as a power of ten.
func duration(ms float64) string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', max(3-len(strconv.Itoa(int(v))), 0), 64) }
	switch {
	case ms < 1000:
		return number(ms) + " ms"
	case ms < 60_000:
		return number(ms/1000) + " s"
	}
	return (time.Duration(ms/1000) * time.Second).String()
}

func (p *program) showStats(span string, series, now, silent json.RawMessage) error {
	var s wire.Series
	var n wire.Stats
	var quiet wire.List[wire.Silence]
	if err := errors.Join(json.Unmarshal(series, &s), json.Unmarshal(now, &n), json.Unmarshal(silent, &quiet)); err != nil {
		return fmt.Errorf("read the statistics: %w", err)
	}
	if err := p.showSeries(span, &s); err != nil {
		return err
	}
	// Deliveries due later, such as next attempts and timers of workflows, do not belong to the backlog.
	fmt.Fprintf(p.Stdout, "\nNow: %d deliveries due, %d scheduled for later, %d dead", n.Deliveries.Due, n.Deliveries.Waiting-n.Deliveries.Due, n.Deliveries.Dead)
	if !n.Deliveries.OldestDue.IsZero() {
		fmt.Fprintf(p.Stdout, "; the oldest has been due since %s", stamp(n.Deliveries.OldestDue))
	}
	fmt.Fprintln(p.Stdout, ".")
	t := newSheet("SOURCE", "PENDING", "ERROR", "LAST RECEIVED")
	for _, one := range n.Sources {
		t.row(clean(orDash(one.Source)), strconv.FormatInt(one.Pending, 10), strconv.FormatInt(one.Error, 10), stamp(one.LastReceivedAt))
	}
	if err := p.show(t); err != nil {
		return err
	}
	for _, q := range quiet.Docs {
		fmt.Fprintf(p.Stdout, "%s has sent nothing for %s; its longest pause was %s.\n",
			clean(q.Source), time.Duration(q.ForSeconds)*time.Second, time.Duration(q.UsualSeconds)*time.Second)
	}
	return nil
}

// showSeries prints counts over time, as totals and bars.
func (p *program) showSeries(span string, s *wire.Series) error {
	group := max((len(s.Points)+drawnBars-1)/drawnBars, 1)
	each := time.Duration(group*s.StepSeconds) * time.Second
	t := newTable(p.Stdout, "LAST "+strings.ToUpper(span), "", "ONE BAR PER "+strings.TrimSuffix(each.String(), "0s"))
	count := func(name string, total int64, of func(wire.Totals) int64) {
		var heights []int64
		for points := range slices.Chunk(s.Points, group) {
			var sum int64
			for _, point := range points {
				sum += of(point.Totals)
			}
			heights = append(heights, sum)
		}
		t.row(clean(name), strconv.FormatInt(total, 10), drawn(heights))
	}
	for _, source := range s.Sources {
		count("received from "+source, s.Total.Received[source], func(m wire.Totals) int64 { return m.Received[source] })
	}
	count("rejected", s.Total.Rejected, func(m wire.Totals) int64 { return m.Rejected })
	count("attempts that succeeded", s.Total.Succeeded, func(m wire.Totals) int64 { return m.Succeeded })
	count("attempts that failed", s.Total.Failed, func(m wire.Totals) int64 { return m.Failed })
	for _, times := range []struct {
		name string
		of   *wire.Percentiles
	}{{"response time", s.Total.Reply}, {"processing latency", s.Total.Done}} {
		if times.of != nil {
			t.row(times.name, fmt.Sprintf("p50 %s, p95 %s, p99 %s", duration(times.of.P50Ms), duration(times.of.P95Ms), duration(times.of.P99Ms)))
		}
	}
	return t.flush()
}

// drawnBars is the number of bars of a plot in one line.
const drawnBars = 48

// drawn plots numbers as bars of one character each; zero is a point.
func drawn(heights []int64) string {
	const bars = "▁▂▃▄▅▆▇█"
	levels := []rune(bars)
	var b strings.Builder
	for most, i := slices.Max(append(heights, 1)), 0; i < len(heights); i++ {
		if h := heights[i]; h > 0 {
			b.WriteRune(levels[(h*int64(len(levels))-1)/most])
		} else {
			b.WriteByte('.')
		}
	}
	return b.String()
}
