package ui

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/sorting"
	"gaff/jobs"
)

const (
	// maxCostDays bounds the days of a plot of costs, maxCostPlots the plots: one for each currency.
	maxCostDays  = 90
	maxCostPlots = 4
	// maxPlotSums bounds the sums that the plots add up.
	maxPlotSums = 10_000
)

// costLists are the parameters of the jobs list by the group of sums.
var costLists = map[string]string{"project": "projectId", "user": "userId", "model": "model", "provider": "provider"}

func startOfDay(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// jobsOf returns the list of the jobs of a group and of a time, which zero times do not bound. A group
// that the list cannot be filtered by is left out.
func jobsOf(by, key string, since, until time.Time) templ.SafeURL {
	if by == "run" && key != "" {
		return templ.SafeURL("/runs/" + url.PathEscape(key))
	}
	text := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	if by == "day" && key != "" {
		if day, err := time.Parse(time.DateOnly, key); err == nil {
			since, until = day, day.AddDate(0, 0, 1)
		}
	}
	pairs := []string{"since", text(since), "until", text(until)}
	if name := costLists[by]; name != "" {
		pairs = append(pairs, name, key)
	}
	return filtered("/jobs", pairs...)
}

// rows returns the rows of the table by a group; empty: the totals.
func (v costsView) rows(by string) jobs.CostSums {
	if by == "" {
		return v.Totals
	}
	return v.Rows
}

// list returns the list of the jobs of a row.
func (v costsView) list(key string) templ.SafeURL { return jobsOf(v.By, key, v.From, time.Time{}) }

// costPlots returns a plot of each currency: what the jobs of each day cost, stacked by the largest
// groups. It returns none for a single day.
func (c *console) costPlots(q *request, f jobs.CostFilter, rows []jobs.CostSum) (plots []plot, err error) {
	tomorrow := startOfDay(q.now).AddDate(0, 0, 1)
	if first := tomorrow.AddDate(0, 0, -maxCostDays); f.Since.Before(first) {
		f.Since = first
	}
	var days []time.Time
	for day := startOfDay(f.Since); day.Before(tomorrow); day = day.AddDate(0, 0, 1) {
		days = append(days, day)
	}
	if len(days) < 2 {
		return nil, nil
	}
	by := f.By
	if by == "day" {
		by = ""
	}
	f.By, f.Daily, f.Limit = "", true, maxPlotSums
	totals, err := c.o.Store.Costs(q.Context(), f)
	if err != nil {
		return nil, err
	}
	groups := totals
	if by != "" {
		f.By = by
		if groups, err = c.o.Store.Costs(q.Context(), f); err != nil {
			return nil, err
		}
	}
	var currencies []string
	for _, row := range rows {
		if row.Charged > 0 && !slices.Contains(currencies, row.Currency) {
			currencies = append(currencies, row.Currency)
		}
	}
	for _, currency := range currencies[:min(len(currencies), maxCostPlots)] {
		p := newCostPlot(by, currency, days, totals.Sums, groups.Sums)
		p.partial = groups.More
		if p.sum > 0 {
			plots = append(plots, p.draw())
		}
	}
	return plots, nil
}

// costPlot is a plot of costs in one currency.
type costPlot struct {
	by, currency string
	days         []time.Time
	series       []costSeries
	totals       []jobs.Micros // by day
	sum          jobs.Micros
	partial      bool // small sums of groups are unknown, and among the others
}

// costSeries is what a group costs, by day. others is set for all further groups.
type costSeries struct {
	key    string
	others bool
	days   []jobs.Micros
	sum    jobs.Micros
}

func (s *costSeries) name(by string) string {
	switch {
	case s.others:
		return "others"
	case by == "":
		return "charged"
	case s.key == "":
		return "not set"
	}
	return visible(clip(s.key, 60))
}

// newCostPlot sorts sums into series: the groups that cost most, and all others.
func newCostPlot(by, currency string, days []time.Time, totals, groups []jobs.CostSum) *costPlot {
	p := &costPlot{by: by, currency: currency, days: days, totals: make([]jobs.Micros, len(days))}
	at := map[string]int{}
	for i, day := range days {
		at[day.Format(time.DateOnly)] = i
	}
	for _, c := range totals {
		if i, ok := at[c.Day]; ok && c.Currency == currency {
			p.totals[i] += c.Charged
			p.sum += c.Charged
		}
	}
	byKey := map[string]*costSeries{}
	for _, c := range groups {
		i, ok := at[c.Day]
		if !ok || c.Currency != currency || c.Charged <= 0 {
			continue
		}
		s := byKey[c.Key]
		if s == nil {
			s = &costSeries{key: c.Key, days: make([]jobs.Micros, len(days))}
			byKey[c.Key] = s
		}
		s.days[i] += c.Charged
		s.sum += c.Charged
	}
	for _, s := range byKey {
		p.series = append(p.series, *s)
	}
	sorting.By(p.series, func(a, b costSeries) int {
		return cmp.Or(cmp.Compare(b.sum, a.sum), cmp.Compare(a.key, b.key))
	})
	// Sums beyond those that the store returns are in the totals only.
	known := jobs.Micros(0)
	for _, s := range p.series {
		known += s.sum
	}
	if len(p.series) > colours || known < p.sum {
		p.series = p.series[:min(len(p.series), colours-1)]
		rest := costSeries{others: true, days: slices.Clone(p.totals), sum: p.sum}
		for _, s := range p.series {
			rest.sum -= s.sum
			for i := range s.days {
				rest.days[i] -= s.days[i]
			}
		}
		p.series = append(p.series, rest)
	}
	return p
}

// list returns the jobs of a series on a day, or on all days for a negative one.
func (p *costPlot) list(s *costSeries, day int) templ.SafeURL {
	since, until := p.days[0], time.Time{}
	if day >= 0 {
		since, until = p.days[day], p.days[day].AddDate(0, 0, 1)
	}
	if s.others {
		return jobsOf("", "", since, until)
	}
	return jobsOf(p.by, s.key, since, until)
}

func (p *costPlot) draw() plot {
	n := len(p.days)
	out := plot{
		Title: p.currency + " per day", Width: n * plotStep, Height: plotHeight, Days: true, List: "/jobs",
		Heads: []string{"Day"}, Now: p.sum.String(),
	}
	if p.by != "" {
		out.Title += " by " + p.by
	}
	top := roundUp(float64(slices.Max(p.totals)) / 1e6)
	until := p.days[n-1].AddDate(0, 0, 1)
	for i := range 5 {
		out.X = append(out.X, p.days[0].Add(until.Sub(p.days[0])*time.Duration(i)/4))
	}
	out.Y = []string{axis(top), axis(top / 2), "0"}
	for k := range p.series {
		s := &p.series[k]
		out.Heads = append(out.Heads, s.name(p.by))
		l := legend{Class: colour(k), Name: s.name(p.by), Value: s.sum.String()}
		if !s.others && (s.key != "" || p.by == "") { // the list has no filter for the others
			l.Link = p.list(s, -1)
		}
		out.Legend = append(out.Legend, l)
	}
	if len(p.series) > 1 {
		out.Heads = append(out.Heads, "total")
	}
	for i := range p.days {
		p.drawDay(&out, i, top)
	}
	out.About = fmt.Sprintf("%s %s charged in these %d days, at most %s on a day; the days are in UTC", p.sum, p.currency, n, slices.Max(p.totals))
	if p.partial {
		out.About += fmt.Sprintf("; only the %s largest sums are by %s, the others have the rest", number(maxPlotSums), p.by)
	}
	return out
}

// drawDay adds the bars and the row of a day.
func (p *costPlot) drawDay(out *plot, i int, top float64) {
	if p.totals[i] == 0 {
		return
	}
	day, y := p.days[i].Format(time.DateOnly), float64(plotHeight)
	row, links := []string{day}, []templ.SafeURL{jobsOf("", "", p.days[i], p.days[i].AddDate(0, 0, 1))}
	for k := range p.series {
		s := &p.series[k]
		row = append(row, s.days[i].String())
		if s.days[i] <= 0 {
			links = append(links, "")
			continue
		}
		h := float64(s.days[i]) / 1e6 / top * plotHeight
		y -= h
		list := p.list(s, i)
		links = append(links, list)
		out.Bars = append(out.Bars, bar{float64(i*plotStep) + 1, y, plotStep - 2, h, colour(k), s.name(p.by) + ": " + s.days[i].String() + " " + p.currency + " on " + day, list})
	}
	if len(p.series) > 1 {
		row, links = append(row, p.totals[i].String()), append(links, "")
	}
	out.Table, out.Links = append(out.Table, row), append(out.Links, links)
}

// axis formats an amount for an axis.
func axis(n float64) string { return strconv.FormatFloat(n, 'g', 4, 64) }
