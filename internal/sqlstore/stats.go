package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"time"

	"gaff"
	"gaff/internal/stats"
)

var _ stats.Store = (*Store)(nil)

// latencySpans are the minutes of a histogram's row, and how long such rows are stored.
var latencySpans = []struct {
	minutes int64
	keep    time.Duration
}{
	{1, 8 * time.Hour}, {10, 3 * 24 * time.Hour}, {60, 400 * 24 * time.Hour},
}

// AddLatencies adds latencies to the histograms.
func (s *Store) AddLatencies(ctx context.Context, ls []stats.Latency) error {
	// Several minutes of an hour share a row.
	type key struct {
		span, at int64
		source   string
		kind     stats.Kind
		bucket   int
	}
	rows := map[key]int64{}
	var order []key
	for _, span := range latencySpans {
		for _, l := range ls {
			k := key{span.minutes, l.Minute - l.Minute%span.minutes, l.Source, l.Kind, l.Bucket}
			if _, known := rows[k]; !known {
				order = append(order, k)
			}
			rows[k] += l.N
		}
	}
	return s.write(ctx, "latencies", func(tx *tx) error {
		for _, k := range order {
			if _, err := tx.exec(`insert into latency (span, at, source, kind, bucket, n) values ($1, $2, $3, $4, $5, $6)
				on conflict (span, at, source, kind, bucket) do update set n = latency.n + excluded.n`,
				k.span, k.at, k.source, int64(k.kind), int64(k.bucket), rows[k]); err != nil {
				return err
			}
		}
		return nil
	})
}

const (
	// rolledUp names the hour since 1970 up to which there are rows in tally_hour.
	rolledUp = "rolled_up_until"
	// rollUpGrace is the largest delay of a commit or of another node's clock.
	rollUpGrace = 10 * time.Minute
	// rollUpHours is the number of hours that one transaction rolls up.
	rollUpHours = 24 * 7
)

// rolledUntil is the first hour since 1970 that is not rolled up; zero before the first.
func rolledUntil(ctx context.Context, q querier) (int64, error) {
	found, err := column[string](ctx, q, `select value from setting where name = $1`, rolledUp)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	return strconv.ParseInt(found[0], 10, 64)
}

// RollUp sums up minutes that do not change any more into hours.
func (s *Store) RollUp(ctx context.Context, now time.Time) error {
	from, err := rolledUntil(ctx, s.lists(ctx))
	if err != nil {
		return s.fault(ctx, "roll up", err)
	}
	sources, err := allSources(ctx, s.lists(ctx))
	if err != nil {
		return s.fault(ctx, "roll up", err)
	}
	if from == 0 {
		for _, source := range sources {
			first, err := column[sql.NullInt64](ctx, s.lists(ctx), `select min(minute) from tally where source = $1`, source)
			if err != nil {
				return s.fault(ctx, "roll up", err)
			}
			if hour := first[0].Int64 / 60; first[0].Valid && (from == 0 || hour < from) {
				from = hour
			}
		}
	}
	until := now.Add(-rollUpGrace).Unix() / 3600
	if from == 0 {
		from = until
	}
	for ; from < until; from = min(from+rollUpHours, until) {
		if err := s.rollUp(ctx, sources, from, min(from+rollUpHours, until)); err != nil {
			return err
		}
	}
	return s.write(ctx, "forget latencies", func(tx *tx) error {
		for _, span := range latencySpans {
			if _, err := tx.exec(`delete from latency where span = $1 and at < $2`, span.minutes, now.Add(-span.keep).Unix()/60); err != nil {
				return err
			}
		}
		return nil
	})
}

// hourly is a row of tally_hour.
type hourly struct {
	source      string
	hour        int64
	counts      [5]int64 // received, pending, success, error, rejected
	first, last sql.NullInt64
	pause       int64
}

func (h *hourly) add(minute int64, counts [5]int64) {
	for i, n := range counts {
		h.counts[i] += n
	}
	if counts[0] <= 0 {
		return
	}
	if h.last.Valid {
		h.pause = max(h.pause, minute-h.last.Int64)
	} else {
		h.first = sql.NullInt64{Int64: minute, Valid: true}
	}
	h.last = sql.NullInt64{Int64: minute, Valid: true}
}

// minutes reads the tally of one source between two minutes, in order, and adds it to its
// hours.
func minutes(ctx context.Context, q querier, source string, from, until int64) ([]hourly, error) {
	type row struct {
		minute int64
		counts [5]int64
	}
	rows, err := collect(ctx, q, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.minute, &r.counts[0], &r.counts[1], &r.counts[2], &r.counts[3], &r.counts[4])
		return r, err
	}, `select minute, sum(received), sum(pending), sum(success), sum(error), sum(rejected) from tally
		where source = $1 and minute >= $2 and minute < $3 group by minute order by minute`, source, from, until)
	if err != nil {
		return nil, err
	}
	var hours []hourly
	for _, r := range rows {
		hour := r.minute / 60
		if len(hours) == 0 || hours[len(hours)-1].hour != hour {
			hours = append(hours, hourly{source: source, hour: hour})
		}
		hours[len(hours)-1].add(r.minute, r.counts)
	}
	return hours, nil
}

func (s *Store) rollUp(ctx context.Context, sources []string, from, until int64) error {
	reading, cancel := s.reading(ctx)
	defer cancel()
	var hours []hourly
	for _, source := range sources {
		hs, err := minutes(reading, s.lists(reading), source, from*60, until*60)
		if err != nil {
			return s.fault(reading, "roll up", err)
		}
		hours = append(hours, hs...)
	}
	return s.write(ctx, "roll up", func(tx *tx) error {
		for _, h := range hours {
			if _, err := tx.exec(`insert into tally_hour (source, hour, received, pending, success, error, rejected, first_minute, last_minute, pause)
				values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (source, hour) do nothing`,
				h.source, h.hour, h.counts[0], h.counts[1], h.counts[2], h.counts[3], h.counts[4], h.first, h.last, h.pause); err != nil {
				return err
			}
		}
		_, err := tx.exec(`insert into setting (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value`,
			rolledUp, strconv.FormatInt(until, 10))
		return err
	})
}

// hoursOf reads the counts of a source by hour since a time: the rolled-up hours, the later ones
// from their minutes. The first hour may be partial.
func hoursOf(ctx context.Context, q querier, source string, since time.Time, rolled int64) ([]hourly, error) {
	from := int64(0)
	if !since.IsZero() {
		from = since.Unix() / 60
	}
	whole := (from + 59) / 60
	var hours []hourly
	if whole > from/60 && whole <= rolled {
		part, err := minutes(ctx, q, source, from, whole*60)
		if err != nil {
			return nil, err
		}
		hours = part
	}
	if whole < rolled {
		rows, err := collect(ctx, q, func(rows *sql.Rows) (h hourly, err error) {
			h.source = source
			err = rows.Scan(&h.hour, &h.counts[0], &h.counts[1], &h.counts[2], &h.counts[3], &h.counts[4], &h.first, &h.last, &h.pause)
			return h, err
		}, `select hour, received, pending, success, error, rejected, first_minute, last_minute, pause from tally_hour
			where source = $1 and hour >= $2 and hour < $3 order by hour`, source, whole, rolled)
		if err != nil {
			return nil, err
		}
		hours = append(hours, rows...)
	}
	rest, err := minutes(ctx, q, source, max(from, rolled*60), 1<<40)
	return append(hours, rest...), err
}

// sourceCounts returns the totals of each source since a time.
func sourceCounts(ctx context.Context, q querier, since time.Time) ([]gaff.SourceCount, error) {
	rolled, err := rolledUntil(ctx, q)
	if err != nil {
		return nil, err
	}
	sources, err := allSources(ctx, q)
	if err != nil {
		return nil, err
	}
	slices.Sort(sources)
	var all []gaff.SourceCount
	for _, source := range sources {
		hours, err := hoursOf(ctx, q, source, since, rolled)
		if err != nil {
			return nil, err
		}
		if len(hours) == 0 {
			continue
		}
		sc := gaff.SourceCount{Source: source}
		for _, h := range hours {
			sc.Pending += h.counts[1]
			sc.Success += h.counts[2]
			sc.Error += h.counts[3]
			sc.Rejected += h.counts[4]
		}
		all = append(all, sc)
	}
	return all, nil
}

// Counted returns the counts of a span, in steps.
func (s *Store) Counted(ctx context.Context, span stats.Span) ([]stats.Count, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	counts, err := s.counted(ctx, span)
	return counts, s.fault(ctx, "statistics", err)
}

var errStep = errors.New("the step of a plot must be a whole number of minutes")

func (s *Store) counted(ctx context.Context, span stats.Span) ([]stats.Count, error) {
	step := int64(span.Step / time.Minute)
	if step < 1 || span.Step%time.Minute != 0 {
		return nil, errStep
	}
	if span.Handler != "" { // a handler receives nothing
		return nil, nil
	}
	sources, err := allSources(ctx, s.lists(ctx))
	if err != nil {
		return nil, err
	}
	rolled, err := rolledUntil(ctx, s.lists(ctx))
	if err != nil {
		return nil, err
	}
	var all []stats.Count
	for _, source := range sources {
		if source == gaff.InternalSource && span.Source != source || span.Source != "" && source != span.Source {
			continue
		}
		if step%60 == 0 {
			hours, err := hoursOf(ctx, s.lists(ctx), source, span.Since, rolled)
			if err != nil {
				return nil, err
			}
			for _, h := range hours {
				all = append(all, stats.Count{At: time.Unix(h.hour*3600, 0).UTC(), Source: source, Received: h.counts[0], Rejected: h.counts[4]})
			}
			continue
		}
		rows, err := collect(ctx, s.lists(ctx), func(rows *sql.Rows) (c stats.Count, err error) {
			var minute int64
			err = rows.Scan(&minute, &c.Received, &c.Rejected)
			c.At, c.Source = time.Unix(minute*60, 0).UTC(), source
			return c, err
		}, `select minute, sum(received), sum(rejected) from tally where source = $1 and minute >= $2 and minute < $3 group by minute`,
			source, span.Since.Unix()/60, span.Until.Unix()/60)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// Sampled returns the latencies of a span, in steps.
func (s *Store) Sampled(ctx context.Context, span stats.Span) ([]stats.Sample, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	step := int64(span.Step / time.Minute)
	if step < 1 || span.Step%time.Minute != 0 {
		return nil, s.fault(ctx, "statistics", errStep)
	}
	rows := latencySpans[0].minutes
	for _, one := range latencySpans {
		if step%one.minutes == 0 {
			rows = one.minutes
		}
	}
	var w where
	w.add("span = ?", rows)
	w.add("at >= ?", span.Since.Unix()/60)
	w.add("at < ?", span.Until.Unix()/60)
	switch {
	case span.Handler != "":
		w.add("source = ?", span.Handler)
	case span.Source != "":
		w.add("source = ?", span.Source)
	default:
		w.add("source <> ?", gaff.InternalSource)
	}
	if span.Handler != "" {
		w.add("kind >= ?", int64(stats.HandlerDone))
	} else {
		w.add("kind < ?", int64(stats.HandlerDone))
	}
	samples, err := collect(ctx, s.lists(ctx), func(rows *sql.Rows) (c stats.Sample, err error) {
		var at int64
		err = rows.Scan(&at, &c.Kind, &c.Bucket, &c.N)
		c.At = time.Unix(at*60, 0).UTC()
		return c, err
	}, `select at, kind, bucket, sum(n) from latency`+w.String()+` group by at, kind, bucket`, w.args...)
	return samples, s.fault(ctx, "statistics", err)
}

// HandlersSampled returns the run times of attempts by handler, of the minutes since a time.
func (s *Store) HandlersSampled(ctx context.Context, since time.Time) ([]stats.HandlerSample, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	samples, err := collect(ctx, s.lists(ctx), func(rows *sql.Rows) (c stats.HandlerSample, err error) {
		err = rows.Scan(&c.Handler, &c.Kind, &c.Bucket, &c.N)
		c.At = since
		return c, err
	}, `select source, kind, bucket, sum(n) from latency where span = $1 and at >= $2 and kind >= $3 group by source, kind, bucket`,
		latencySpans[0].minutes, since.Unix()/60, int64(stats.HandlerDone))
	return samples, s.fault(ctx, "statistics", err)
}

// Activity returns when each source sent its last requests.
func (s *Store) Activity(ctx context.Context, since time.Time) ([]stats.Activity, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	all, err := s.activity(ctx, since)
	return all, s.fault(ctx, "activity", err)
}

func (s *Store) activity(ctx context.Context, since time.Time) ([]stats.Activity, error) {
	sources, err := allSources(ctx, s.lists(ctx))
	if err != nil {
		return nil, err
	}
	rolled, err := rolledUntil(ctx, s.lists(ctx))
	if err != nil {
		return nil, err
	}
	at := func(minute int64) time.Time { return time.Unix(minute*60, 0).UTC() }
	var all []stats.Activity
	for _, source := range sources {
		hours, err := hoursOf(ctx, s.lists(ctx), source, since, rolled)
		if err != nil {
			return nil, err
		}
		a := stats.Activity{Source: source}
		for _, h := range hours {
			if !h.first.Valid {
				continue
			}
			if a.First.IsZero() {
				a.First = at(h.first.Int64)
			} else {
				a.Longest = max(a.Longest, at(h.first.Int64).Sub(a.Last))
			}
			a.Longest = max(a.Longest, time.Duration(h.pause)*time.Minute)
			a.Last = at(h.last.Int64)
			a.Received += h.counts[0]
		}
		if !a.First.IsZero() {
			all = append(all, a)
		}
	}
	return all, nil
}
