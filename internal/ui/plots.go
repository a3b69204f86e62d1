package ui

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/stats"
)

// seriesCache caches the data of plots for some seconds: a live page redraws them at every
// change.
type seriesCache struct {
	mu  sync.Mutex
	all map[string]cachedSeries
}

type cachedSeries struct {
	at     time.Time
	series *stats.Series
}

const (
	seriesFor = 3 * time.Second
	maxSeries = 64
)

func (sc *seriesCache) get(ctx context.Context, st stats.Store, span stats.Span, key string, now time.Time) (*stats.Series, error) {
	key += "\n" + span.Source + "\n" + span.Handler
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if c, ok := sc.all[key]; ok && now.Sub(c.at) < seriesFor && c.series.Until.Equal(span.Until) {
		return c.series, nil
	}
	s, err := stats.Read(ctx, st, span)
	if err != nil {
		return nil, err
	}
	if sc.all == nil || len(sc.all) >= maxSeries {
		sc.all = map[string]cachedSeries{}
	}
	sc.all[key] = cachedSeries{now, s}
	return s, nil
}

// silent returns the sources that have been silent for unusually long. It caches the answer for
// silenceFor.
func (c *console) silent(q *request) ([]stats.Silence, error) {
	c.silence.mu.Lock()
	defer c.silence.mu.Unlock()
	if age := q.now.Sub(c.silence.at); age >= 0 && age < silenceFor {
		return c.silence.silent, nil
	}
	silent, err := stats.Silent(q.Context(), c.o.Store, q.now)
	if err == nil {
		c.silence.at, c.silence.silent = q.now, silent
	}
	return silent, err
}

const silenceFor = 15 * time.Second

type silenceCache struct {
	mu     sync.Mutex
	at     time.Time
	silent []stats.Silence
}

// plotsView has the plots of a page and their range.
type plotsView struct {
	Range string
	Path  string
	Plots []plot
	// Empty is true if the range has no data.
	Empty bool
}

// plot is one figure: shapes in a box of Width by Height, with labels beside it.
type plot struct {
	Title, Now, About string
	Width, Height     int
	Bars              []bar
	Lines             []polyline
	// Y are the labels from top to bottom, X from left to right.
	Y      []string
	X      []time.Time
	Legend []legend
	// Table has the same data as numbers, for readers who do not see the figure. Links has the links
	// of its cells, row by row; nil: none has one.
	Heads []string
	Table [][]string
	Links [][]templ.SafeURL
	// List is the list that a click leads to, narrowed to the time of the click; empty: the events.
	List templ.SafeURL
	// Days is set if each point is a day in UTC.
	Days bool
	// Still is set if no list has what the plot counts: a click leads nowhere.
	Still bool
}

type bar struct {
	X, Y, W, H float64
	Class, Tip string
	// List is the list of what the bar counts; empty: that of the plot.
	List templ.SafeURL
}

type polyline struct{ Points, Class string }

type legend struct {
	Class, Name, Value string
	Link               templ.SafeURL
}

// cell is a number of a plot's table.
type cell struct {
	Text string
	Link templ.SafeURL
}

// maxPlotRows bounds the rows of a plot's table.
const maxPlotRows = 100

// rows returns the newest rows of the table; the newest is last.
func (p plot) rows() (rows [][]cell) {
	for i := max(len(p.Table)-maxPlotRows, 0); i < len(p.Table); i++ {
		var row []cell
		for k, text := range p.Table[i] {
			c := cell{Text: text}
			if i < len(p.Links) && k < len(p.Links[i]) {
				c.Link = p.Links[i][k]
			}
			row = append(row, c)
		}
		rows = append(rows, row)
	}
	return rows
}

const (
	plotHeight = 100
	plotStep   = 10 // width of a point
)

// plots returns the figures of the requested range. An empty source means all sources.
func (c *console) plots(q *request, source string) (plotsView, error) {
	v, s, err := c.seriesOf(q, stats.Span{Source: source})
	if err != nil {
		return v, err
	}
	v.Empty = len(s.Sources) == 0 && s.Total.Rejected == 0 && s.Total.Done.N+s.Total.Failed.N == 0
	v.Plots = []plot{throughput(s), failures(s), latency(s, "Response time", "from a webhook's arrival until it was stored and answered", func(p *stats.Point) *stats.Histogram { return &p.Reply }),
		latency(s, "End-to-end latency", "from a webhook's arrival until its effects were committed", func(p *stats.Point) *stats.Histogram { return &p.Done })}
	return v, nil
}

// handlerPlots returns the figures of the attempts of a handler, and their sums.
func (c *console) handlerPlots(q *request, handler string) (plotsView, stats.Point, error) {
	v, s, err := c.seriesOf(q, stats.Span{Handler: handler})
	if err != nil {
		return v, stats.Point{}, err
	}
	v.Empty = s.Total.Done.N+s.Total.Failed.N == 0
	v.Plots = []plot{attempts(s), latency(s, "Response time", "of the attempts that succeeded", func(p *stats.Point) *stats.Histogram { return &p.Done })}
	for i := range v.Plots {
		v.Plots[i].Still = true
	}
	return v, s.Total, nil
}

// seriesOf reads the requested range of what a span is limited to. Without a request it is a day, or
// an hour if all data is of the last hour.
func (c *console) seriesOf(q *request, of stats.Span) (plotsView, *stats.Series, error) {
	v := plotsView{Range: q.query("range"), Path: q.URL.Path}
	chosen := slices.Contains(stats.Ranges, v.Range)
	if !chosen {
		v.Range = "24h"
	}
	read := func() (*stats.Series, error) {
		span, _ := stats.SpanOf(v.Range, q.now)
		span.Source, span.Handler = of.Source, of.Handler
		return c.series.get(q.Context(), c.o.Store, span, v.Range, q.now)
	}
	s, err := read()
	if err == nil && !chosen && youngerThanHour(s, q.now) {
		v.Range = "1h"
		s, err = read()
	}
	return v, s, err
}

// youngerThanHour reports whether all data of a series is of the last hour: then a day has one bar.
func youngerThanHour(s *stats.Series, now time.Time) bool {
	for _, p := range s.Points {
		n := p.Rejected + p.Done.N + p.Failed.N
		for _, received := range p.Received {
			n += received
		}
		if n > 0 && p.At.Before(now.Add(-time.Hour)) {
			return false
		}
	}
	return len(s.Sources) > 0 || s.Total.Done.N+s.Total.Failed.N > 0
}

func frame(s *stats.Series, title string) plot {
	p := plot{Title: title, Width: len(s.Points) * plotStep, Height: plotHeight}
	for i := range 5 {
		p.X = append(p.X, s.Since.Add(s.Until.Sub(s.Since)*time.Duration(i)/4))
	}
	return p
}

// per names the length of a step, for "per hour".
func per(step time.Duration) string {
	switch {
	case step == time.Minute:
		return "minute"
	case step == time.Hour:
		return "hour"
	case step < time.Hour:
		return strconv.Itoa(int(step.Minutes())) + " minutes"
	}
	return strconv.Itoa(int(step.Hours())) + " hours"
}

// nice rounds up to a round number for an axis, one at least.
func nice(n float64) float64 { return max(roundUp(n), 1) }

// roundUp rounds up to a number with one digit other than zero; 1 for zero.
func roundUp(n float64) float64 {
	if n <= 0 {
		return 1
	}
	size := math.Pow(10, math.Floor(math.Log10(n)))
	for _, f := range []float64{1, 2, 4, 5, 8} {
		if n <= f*size*1.0001 {
			return f * size
		}
	}
	return 10 * size
}

// colours is the number of colours for sources; further sources share the last.
const colours = 6

func colour(i int) string { return "s" + strconv.Itoa(min(i+1, colours)) }

func throughput(s *stats.Series) plot {
	p := frame(s, "Received per "+per(s.Step))
	most := 0.0
	for i := range s.Points {
		sum := 0.0
		for _, n := range s.Points[i].Received {
			sum += float64(n)
		}
		most = max(most, sum)
	}
	top := nice(most)
	all := int64(0)
	p.Heads = append([]string{"Time"}, s.Sources...)
	for i := range s.Points {
		at, y := &s.Points[i], float64(plotHeight)
		row := []string{exact(at.At)}
		for k, source := range s.Sources {
			n := at.Received[source]
			row = append(row, number(n))
			if n <= 0 {
				continue
			}
			all += n
			h := float64(n) / top * plotHeight
			y -= h
			p.Bars = append(p.Bars, bar{float64(i*plotStep) + 1, y, plotStep - 2, h, colour(k), source + ": " + number(n) + " at " + exact(at.At), ""})
		}
		if len(row) > 1 && !blank(row[1:]) {
			p.Table = append(p.Table, row)
		}
	}
	p.Y = []string{compact(top), compact(top / 2), "0"}
	for k, source := range s.Sources {
		p.Legend = append(p.Legend, legend{Class: colour(k), Name: source, Value: number(s.Total.Received[source])})
	}
	p.Now = number(all)
	p.About = fmt.Sprintf("%s webhooks received in this period, at most %s per %s", number(all), compact(most), per(s.Step))
	return p
}

func blank(row []string) bool {
	return !slices.ContainsFunc(row, func(text string) bool { return text != "0" && text != "" })
}

// compact formats a number for an axis.
func compact(n float64) string {
	switch {
	case n >= 1e6:
		return strconv.FormatFloat(n/1e6, 'f', -1, 64) + "M"
	case n >= 1e4:
		return strconv.FormatFloat(math.Round(n/100)/10, 'f', -1, 64) + "k"
	}
	return strconv.FormatFloat(math.Round(n*10)/10, 'f', -1, 64)
}

func percent(share float64) string {
	if share > 0 && share < .01 {
		return strconv.FormatFloat(share*100, 'f', 2, 64) + "%"
	}
	return strconv.FormatFloat(math.Round(share*1000)/10, 'f', -1, 64) + "%"
}

// failures plots the share of failed attempts.
func failures(s *stats.Series) plot {
	p := frame(s, "Failed attempts")
	worst := 0.0
	for i := range s.Points {
		rate, _ := s.Points[i].FailureRate()
		worst = max(worst, rate)
	}
	top := min(max(nice(worst*100)/100, .01), 1)
	p.Heads = []string{"Time", "Failed", "Attempts"}
	for i := range s.Points {
		at := &s.Points[i]
		rate, ok := at.FailureRate()
		if !ok {
			continue
		}
		p.Table = append(p.Table, []string{exact(at.At), number(at.Failed.N), number(at.Done.N + at.Failed.N)})
		if rate == 0 {
			continue
		}
		h := max(rate/top*plotHeight, 1)
		p.Bars = append(p.Bars, bar{
			float64(i*plotStep) + 1, plotHeight - h, plotStep - 2, h, "fail",
			fmt.Sprintf("%s: %s of %s attempts at %s", percent(rate), number(at.Failed.N), number(at.Done.N+at.Failed.N), exact(at.At)), "",
		})
	}
	p.Y = []string{percent(top), percent(top / 2), "0"}
	rate, ok := s.Total.FailureRate()
	p.Now = percent(rate)
	if !ok {
		p.Now = "–"
	}
	p.Legend = []legend{{Class: "fail", Name: "failed", Value: number(s.Total.Failed.N)}, {Name: "succeeded", Value: number(s.Total.Done.N)}}
	p.About = fmt.Sprintf("%s of %s attempts failed in this period", number(s.Total.Failed.N), number(s.Total.Done.N+s.Total.Failed.N))
	return p
}

// attempts plots how many attempts succeeded and failed.
func attempts(s *stats.Series) plot {
	p := frame(s, "Attempts per "+per(s.Step))
	most := int64(0)
	for i := range s.Points {
		most = max(most, s.Points[i].Done.N+s.Points[i].Failed.N)
	}
	top := nice(float64(most))
	p.Heads = []string{"Time", "Succeeded", "Failed"}
	for i := range s.Points {
		at, y := &s.Points[i], float64(plotHeight)
		if at.Done.N+at.Failed.N > 0 {
			p.Table = append(p.Table, []string{exact(at.At), number(at.Done.N), number(at.Failed.N)})
		}
		for _, part := range [...]struct {
			n           int64
			class, name string
		}{{at.Done.N, colour(0), "succeeded"}, {at.Failed.N, "fail", "failed"}} {
			if part.n > 0 {
				h := float64(part.n) / top * plotHeight
				y -= h
				p.Bars = append(p.Bars, bar{float64(i*plotStep) + 1, y, plotStep - 2, h, part.class, number(part.n) + " " + part.name + " at " + exact(at.At), ""})
			}
		}
	}
	p.Y = []string{compact(top), compact(top / 2), "0"}
	p.Legend = []legend{{Class: colour(0), Name: "succeeded", Value: number(s.Total.Done.N)}, {Class: "fail", Name: "failed", Value: number(s.Total.Failed.N)}}
	p.Now = succeeded(&s.Total)
	p.About = fmt.Sprintf("%s of %s attempts failed in this period", number(s.Total.Failed.N), number(s.Total.Done.N+s.Total.Failed.N))
	return p
}

// succeeded returns the success rate of attempts: "98.5%", or "–" without attempts.
func succeeded(p *stats.Point) string {
	rate, ok := p.FailureRate()
	if !ok {
		return "–"
	}
	return percent(1 - rate)
}

var quantiles = []struct {
	share       float64
	name, class string
}{{.5, "p50", "q1"}, {.95, "p95", "q2"}, {.99, "p99", "q3"}}

// latency plots p50, p95 and p99 on a logarithmic axis: each line is ten times the one below.
func latency(s *stats.Series, title, about string, of func(*stats.Point) *stats.Histogram) plot {
	p := frame(s, title)
	low, high := math.Inf(1), math.Inf(-1)
	for i := range s.Points {
		if h := of(&s.Points[i]); h.N > 0 {
			low = min(low, math.Log10(max(h.Quantile(.5).Seconds(), 1e-4)))
			high = max(high, math.Log10(max(h.Quantile(.99).Seconds(), 1e-4)))
		}
	}
	if math.IsInf(low, 1) {
		low, high = -3, -1
	}
	low, high = math.Floor(low), math.Ceil(high)
	if high-low < 1 {
		high = low + 1
	}
	y := func(d time.Duration) float64 {
		v := (math.Log10(max(d.Seconds(), 1e-4)) - low) / (high - low)
		return plotHeight - min(max(v, 0), 1)*plotHeight
	}
	p.Heads = []string{"Time", "p50", "p95", "p99"}
	for k, quantile := range slices.Backward(quantiles) {
		var points []string
		finish := func() {
			if len(points) == 1 {
				// A single point is drawn as a short line.
				x, rest, _ := strings.Cut(points[0], ",")
				at, _ := strconv.ParseFloat(x, 64)
				points = []string{fmt.Sprintf("%.0f,%s", at-plotStep/2, rest), fmt.Sprintf("%.0f,%s", at+plotStep/2, rest)}
			}
			if len(points) > 0 {
				p.Lines = append(p.Lines, polyline{strings.Join(points, " "), quantiles[k].class})
			}
			points = nil
		}
		for i := range s.Points {
			h := of(&s.Points[i])
			if h.N == 0 {
				finish()
				continue
			}
			points = append(points, fmt.Sprintf("%d,%.1f", i*plotStep+plotStep/2, y(h.Quantile(quantile.share))))
		}
		finish()
	}
	total := of(&s.Total)
	for i := range s.Points {
		if h := of(&s.Points[i]); h.N > 0 {
			p.Table = append(p.Table, []string{exact(s.Points[i].At), span(h.Quantile(.5)), span(h.Quantile(.95)), span(h.Quantile(.99))})
		}
	}
	for _, quantile := range quantiles {
		value := "–"
		if total.N > 0 {
			value = span(total.Quantile(quantile.share))
		}
		p.Legend = append(p.Legend, legend{Class: quantile.class, Name: quantile.name, Value: value})
	}
	for v := high; v >= low; v-- {
		p.Y = append(p.Y, decade(v))
	}
	p.Now = p.Legend[1].Value
	p.About = fmt.Sprintf("%s: p50 %s, p95 %s, p99 %s; %s", title, p.Legend[0].Value, p.Legend[1].Value, p.Legend[2].Value, about)
	return p
}

// decade formats a power of ten of seconds.
func decade(power float64) string {
	switch {
	case power < -3:
		return strconv.FormatFloat(math.Pow(10, power+3), 'f', -1, 64) + " ms"
	case power < 0:
		return strconv.FormatFloat(math.Round(math.Pow(10, power+3)), 'f', -1, 64) + " ms"
	}
	return strconv.FormatFloat(math.Round(math.Pow(10, power)), 'f', -1, 64) + " s"
}

// grid returns the positions of the grid lines.
func (p plot) grid() []float64 {
	var lines []float64
	for i := range p.Y {
		lines = append(lines, float64(i)*plotHeight/float64(len(p.Y)-1))
	}
	return lines
}

func coordinate(n float64) string { return strconv.FormatFloat(n, 'f', 1, 64) }
