package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/id"
)

// Events returns a page of the inbox, newest first.
func (s *Store) Events(ctx context.Context, f gaff.EventFilter) (gaff.Page[gaff.Log], error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	page, err := s.events(ctx, f)
	return page, s.fault(ctx, "events", err)
}

func (s *Store) events(ctx context.Context, f gaff.EventFilter) (page gaff.Page[gaff.Log], err error) {
	var w where
	limit, err := w.page("e.seq", gaff.Cursor{Limit: f.Limit})
	if err != nil {
		return page, err
	}
	if f.JobID != "" {
		found, err := s.webhooksOfJob(ctx, &f)
		if err != nil || !found {
			return page, err
		}
	}
	list, err := s.listOf(ctx, f)
	if err != nil {
		return page, err
	}
	if f.Query != "" {
		named, err := s.named(ctx, f, limit)
		if err != nil {
			return page, err
		}
		if f.After == "" && len(named) > 0 {
			return gaff.Page[gaff.Log]{Items: s.entries(named), Next: writeCursor(list.to)}, nil
		}
		list.search(s.opt.Dialect, f.Query, named)
	}
	scans, rest, err := s.newestEvents(ctx, list, limit+1)
	if err != nil {
		return page, err
	}
	scans, page.Next = next(scans, limit, func(sc *logScan) int64 { return sc.seq })
	if page.Next == "" && rest > 0 {
		page.Next = writeCursor(rest)
	}
	page.Items = s.entries(scans)
	return page, nil
}

// newestEvents reads the newest events of a list, up to limit. rest is the number before which
// no event was examined, zero if all were.
func (s *Store) newestEvents(ctx context.Context, l eventList, limit int) (scans []*logScan, rest int64, err error) {
	if len(l.sieve) == 0 {
		scans, err = s.eventHead(ctx, l, limit)
		return scans, 0, err
	}
	return s.sift(ctx, l, limit)
}

// listOf returns the list that a filter chooses, without its query.
func (s *Store) listOf(ctx context.Context, f gaff.EventFilter) (list eventList, err error) {
	list.to = 1 << 62
	if f.After != "" {
		if list.to, err = readCursor(f.After); err != nil {
			return list, err
		}
	}
	if f.Type != "" {
		list.sieve = append(list.sieve, predicate{"e.type = ?", []any{f.Type}})
	}
	if f.ProjectID != "" {
		list.sieve = append(list.sieve, predicate{
			"exists (select 1 from job j where j.provider = e.source and j.request_id = e.webhook_id and j.request_id <> '' and j.project_id = ?)", []any{f.ProjectID},
		})
	}
	if f.Conflict {
		list.sieve = append(list.sieve, predicate{"e.conflict = 1", nil})
	}
	if f.Violation {
		list.sieve = append(list.sieve, predicate{"exists (select 1 from violation v where v.seq = e.seq)", nil})
	}
	if err := s.between(ctx, &list, f.Since, f.Until); err != nil {
		return list, err
	}
	list.runs, list.walk, err = s.eventRuns(ctx, f)
	return list, err
}

// webhooksOfJob narrows a filter to the source and request id of its job; found is false if no event
// can match.
func (s *Store) webhooksOfJob(ctx context.Context, f *gaff.EventFilter) (found bool, err error) {
	narrow := func(to *string, value string) bool {
		if *to != "" && *to != value {
			return false
		}
		*to = value
		return true
	}
	rows, err := s.lists(ctx).QueryContext(ctx, `select provider, request_id from job where id = $1 and request_id <> ''`, plain(f.JobID))
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		var provider, request string
		if err := rows.Scan(&provider, &request); err != nil {
			return false, err
		}
		found = narrow(&f.Source, provider) && narrow(&f.WebhookID, request)
	}
	return found, rows.Err()
}

// search restricts the list to events that contain a text, without those already found.
func (l *eventList) search(d Dialect, query string, found []*logScan) {
	text := contains(plain(query))
	// It searches the data, in which secrets are masked: a search of the body could guess them.
	l.bodies = true
	l.sieve = append(l.sieve, predicate{
		`(e.webhook_id like ? escape '\' or e.error like ? escape '\' or ` + d.Body("coalesce(p.data, p.body)") + `)`,
		[]any{text, text, d.Pattern(query)},
	})
	for _, sc := range found {
		l.sieve = append(l.sieve, predicate{"e.seq <> ?", []any{sc.seq}})
	}
}

// named returns the events that a query names by an id: the event's own, the sender's, or that of
// a job. Indexes find them at any age and length of the log.
func (s *Store) named(ctx context.Context, f gaff.EventFilter, limit int) (found []*logScan, err error) {
	query := f.Query
	f.Query, f.After = "", ""
	if f.WebhookID != "" || len(query) > maxNamed {
		return nil, nil
	}
	add := func(f gaff.EventFilter, seq int64) error {
		list, err := s.listOf(ctx, f)
		if err != nil {
			return err
		}
		if seq > 0 {
			list.from, list.to = max(list.from, seq), min(list.to, seq+1)
		}
		scans, _, err := s.newestEvents(ctx, list, limit)
		for _, sc := range scans {
			known := slices.ContainsFunc(found, func(had *logScan) bool { return had.seq == sc.seq })
			other := seq > 0 && s.entry(sc).ID != query // the same number in another database
			if !known && !other && len(found) < limit {
				found = append(found, sc)
			}
		}
		return err
	}
	if seq, ok := id.ParseEvent(query); ok {
		f.Internal = true // it is named
		err := add(f, seq)
		return found, err
	}
	ids, err := column[string](ctx, s.lists(ctx), `select request_id from job where id = $1 and request_id <> ''`, plain(query))
	if err != nil {
		return nil, err
	}
	for _, webhookID := range append(ids, plain(query)) {
		f.WebhookID = webhookID
		if err := add(f, 0); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// maxNamed is the longest query that can be an id, in bytes.
const maxNamed = 256

// eventList is a part of the log: the events in a range of numbers that match all predicates of
// at least one run, the common ones and the sieve. Each run is a part of the log that an index
// has in order.
type eventList struct {
	runs     [][]predicate
	walk     bool // the only run is the whole log in its order
	common   []predicate
	from, to int64
	// sieve are the predicates that no index covers: each event of the runs must be
	// examined. bodies is set if they refer to p.body.

	sieve  []predicate
	bodies bool
}

// add appends the predicates of a run, without the sieve, on the table e.
func (l *eventList) add(w *where, run []predicate) {
	for _, part := range [][]predicate{run, l.common, {{"e.seq >= ?", []any{l.from}}, {"e.seq < ?", []any{l.to}}}} {
		for _, predicate := range part {
			w.add(predicate.text, predicate.args...)
		}
	}
}

// heads selects the numbers of the newest n events, without the sieve. They are merged from the
// heads of the runs, so the length of the log does not matter. Its arguments follow the given
// ones.
func (l *eventList) heads(n int, given ...any) (text string, args []any) {
	args = given
	var heads []string
	for _, run := range l.runs {
		part := where{args: args}
		l.add(&part, run)
		heads = append(heads, `select seq from (select e.seq from event e`+part.String()+` order by e.seq desc limit `+strconv.Itoa(n)+`) run`)
		args = part.args
	}
	return `select seq from (` + strings.Join(heads, " union all ") + `) heads order by seq desc limit ` + strconv.Itoa(n), args
}

// eventHead reads the newest events of a list without a sieve, up to limit.
func (s *Store) eventHead(ctx context.Context, l eventList, limit int) ([]*logScan, error) {
	heads, args := l.heads(limit)
	return collect(ctx, s.lists(ctx), scanLog, `select `+logColumns+` from event e where e.seq in (`+heads+`)
		order by e.seq desc limit `+strconv.Itoa(limit), args...)
}

// siftPart is how many of the newest events are examined first; then four times as many, and
// so on. A text that occurs often is found in the first part.
const siftPart = 1000

// sift examines only the newest events of a list, so that a page costs the same at any length
// of the log. It finds up to limit; rest is the number before which no event was examined, zero
// if all were.
func (s *Store) sift(ctx context.Context, l eventList, limit int) (found []*logScan, rest int64, err error) {
	left := gaff.SearchWindow
	for part := siftPart; left > 0 && len(found) < limit; part *= 4 {
		part = min(part, left)
		heads, args := l.heads(part)
		var lowest, highest, count int64
		if err := s.lists(ctx).QueryRowContext(ctx, `select coalesce(min(seq), 0), coalesce(max(seq), 0), count(*) from (`+heads+`) part`, plainText(args)...).
			Scan(&lowest, &highest, &count); err != nil {
			return nil, 0, err
		}
		if count == 0 {
			return found, 0, nil
		}
		newest := l
		// Events that arrive during the search must not displace the oldest ones of the part, so
		// it ends at the newest event of now. Other nodes may still commit lower numbers; there is
		// room for as many again.
		newest.from, newest.to = lowest, min(l.to, highest+1)
		some, err := s.siftAll(ctx, newest, 2*part, limit-len(found))
		if err != nil {
			return nil, 0, err
		}
		found = append(found, some...)
		if count < int64(part) {
			return found, 0, nil
		}
		left -= part
		l.to = lowest
	}
	return found, l.to, nil
}

// siftAll examines the n newest events of a list, and reads up to limit of those that match the
// sieve, newest first.
func (s *Store) siftAll(ctx context.Context, l eventList, n, limit int) ([]*logScan, error) {
	var w where
	from := `event e`
	if l.bodies {
		// With the range of the bodies in the query the database reads them in order, rather
		// than looking each one up.
		w.add("p.seq >= ?", l.from)
		w.add("p.seq < ?", l.to)
		from += ` left join payload p on p.seq = e.seq and ` + strings.Join(w.parts, " and ")
		w.parts = nil
	}
	if l.walk {
		l.add(&w, l.runs[0])
	} else {
		// The condition lists the numbers: the newest events are not yet in the database's
		// statistics, which would make a range at the head of the log look almost empty.
		var heads string
		heads, w.args = l.heads(n, w.args...)
		w.add(`e.seq in (` + heads + `)`)
	}
	for _, predicate := range l.sieve {
		w.add(predicate.text, predicate.args...)
	}
	return collect(ctx, s.lists(ctx), scanLog, `select `+logColumns+` from `+from+w.String()+
		` order by e.seq desc limit `+strconv.Itoa(limit), w.args...)
}

// maxRuns is the largest number of runs that are merged; a list of more scans the log.
const maxRuns = 300

// maxKeySources is the largest number of sources in which a sender's id is looked for by its key; with more, the
// log is scanned. SQLite takes 32,766 parameters, PostgreSQL 65,535.
const maxKeySources = 10_000

// eventRuns splits a list into runs: parts that an index has in order.
func (s *Store) eventRuns(ctx context.Context, f gaff.EventFilter) (runs [][]predicate, walking bool, err error) {
	var others []predicate // than the source
	if f.Status != nil {
		others = append(others, predicate{"e.status = ?", []any{int64(*f.Status)}})
	}
	if f.WebhookID != "" {
		others = append(others, predicate{"e.webhook_id = ?", []any{f.WebhookID}})
	}
	walk := others
	switch {
	case f.Source != "":
		walk = append([]predicate{{"e.source = ?", []any{f.Source}}}, others...)
	case !f.Internal:
		walk = append([]predicate{{"e.source <> ?", []any{gaff.InternalSource}}}, others...)
	}
	if f.Source == "" && f.Status == nil && f.WebhookID == "" {
		return [][]predicate{walk}, true, nil
	}
	sources := []string{f.Source}
	if f.Source == "" {
		all, err := allSources(ctx, s.lists(ctx))
		if err != nil {
			return nil, false, err
		}
		sources = slices.DeleteFunc(all, func(source string) bool { return source == gaff.InternalSource && !f.Internal })
	}
	statuses := []gaff.Status{gaff.StatusPending, gaff.StatusSuccess, gaff.StatusError}
	if f.Status != nil {
		statuses = []gaff.Status{*f.Status}
	}
	if f.WebhookID != "" && 0 < len(sources) && len(sources) <= maxKeySources {
		// The dedupe key begins with the sender's id, and is unique in the source. The event's own source is not asked
		// for: SQLite would read all events of the source. One run has all sources: for each run SQLite reads the
		// newest events, whose keys are not in their table yet.
		args := make([]any, 0, len(sources)+2)
		for _, source := range sources {
			args = append(args, source)
		}
		known := `e.seq in (select seq from event_by_key where source in (?` + strings.Repeat(`, ?`, len(sources)-1) + `) and dedupe >= ? and dedupe < ?)`
		return [][]predicate{append([]predicate{{known, append(args, f.WebhookID, f.WebhookID+"\v")}}, others...)}, false, nil
	}
	if len(sources) == 0 || len(sources)*len(statuses) > maxRuns {
		return [][]predicate{walk}, true, nil
	}
	for _, source := range sources {
		for _, status := range statuses {
			runs = append(runs, []predicate{{"e.source = ?", []any{source}}, {"e.status = ?", []any{int64(status)}}})
		}
	}
	return runs, false, nil
}

// clockSkewMinutes is the largest difference between the order of event numbers and that of
// receive times: an event may be committed a minute after it is received, and the clocks of
// nodes may differ.
const clockSkewMinutes = 5

// between narrows a list to events that were received in a span of time. The counters have the
// range of their numbers, so that the rest of the log is not read.
func (s *Store) between(ctx context.Context, l *eventList, since, until time.Time) error {
	bound := func(text string, minute int64) (int64, bool, error) {
		found, err := column[sql.NullInt64](ctx, s.lists(ctx), text, minute, int64(clockSkewMinutes))
		if err != nil {
			return 0, false, err
		}
		return found[0].Int64, found[0].Valid, nil
	}
	if !since.IsZero() {
		l.common = append(l.common, predicate{"e.received_at >= ?", []any{micros(since)}})
		first, ok, err := bound(`select min(first_seq) from tally where first_seq is not null and minute >= $1
			and minute <= (select min(minute) from tally where first_seq is not null and minute >= $1) + $2`, since.Unix()/60)
		if err != nil {
			return err
		}
		if !ok {
			first = 1 << 62
		}
		l.from = first
	}
	if !until.IsZero() {
		l.common = append(l.common, predicate{"e.received_at < ?", []any{micros(until)}})
		last, ok, err := bound(`select max(last_seq) from tally where first_seq is not null and minute <= $1
			and minute >= (select max(minute) from tally where first_seq is not null and minute <= $1) - $2`, until.Unix()/60+clockSkewMinutes)
		if err != nil {
			return err
		}
		if !ok {
			last = 0
		}
		l.to = min(l.to, last+1)
	}
	return nil
}
