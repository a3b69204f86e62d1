package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/id"
)

// readTime bounds every read: a reader that holds its snapshot for long keeps the
// write-ahead log from being reused.
const readTime = 10 * time.Second

func (s *Store) reading(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, readTime,
		fmt.Errorf("%w: the query took longer than %s; narrow it down", gaff.ErrUnavailable, readTime))
}

func (s *Store) fault(ctx context.Context, what string, err error) error {
	if err == nil || errors.Is(err, gaff.ErrNotFound) {
		return err // which says what there is not
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if !errors.Is(err, gaff.ErrInvalid) {
		err = s.opt.Dialect.Fault(err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// snapshot are the options of a transaction whose queries see the same state.
func (s *Store) snapshot() *sql.TxOptions {
	return &sql.TxOptions{ReadOnly: true, Isolation: s.opt.Dialect.Snapshot}
}

// predicate is a condition with a ? for each of its arguments.
type predicate struct {
	text string
	args []any
}

// where is a list of predicates, numbered as one statement.
type where struct {
	parts []string
	args  []any
}

// add appends a predicate; each ? in it becomes the number of the next argument.
func (w *where) add(text string, args ...any) {
	for _, arg := range args {
		w.args = append(w.args, arg)
		text = strings.Replace(text, "?", "$"+strconv.Itoa(len(w.args)), 1)
	}
	w.parts = append(w.parts, text)
}

func (w *where) String() string {
	if len(w.parts) == 0 {
		return ""
	}
	return " where " + strings.Join(w.parts, " and ")
}

const (
	defaultLimit = 50
	maxLimit     = 500
)

// page reads the cursor: seq of the last row of the former page.
func (w *where) page(column string, c gaff.Cursor) (limit int, err error) {
	limit = c.Limit
	switch {
	case limit == 0:
		limit = defaultLimit
	case limit < 0 || limit > maxLimit:
		return 0, fmt.Errorf("%w: limit %d is not between 1 and %d", gaff.ErrInvalid, limit, maxLimit)
	}
	if c.After != "" {
		seq, err := readCursor(c.After)
		if err != nil {
			return 0, err
		}
		w.add(column+" < ?", seq)
	}
	return limit, nil
}

func next[T any](items []T, limit int, seq func(T) int64) ([]T, string) {
	if len(items) <= limit {
		return items, ""
	}
	items = items[:limit]
	return items, writeCursor(seq(items[limit-1]))
}

// writeCursor names a place in a list: a number, and three digits by which a text that we
// did not write is told from one that we did. Unchecked, any word would be a number, and
// answered with rows from somewhere.
func writeCursor(n int64) string {
	sum := int64(crc32.ChecksumIEEE(strconv.AppendInt(nil, n, 10))) % (36 * 36 * 36)
	check := strconv.FormatInt(sum, 36)
	return strconv.FormatInt(n, 36) + strings.Repeat("0", 3-len(check)) + check
}

func readCursor(text string) (int64, error) {
	if len(text) > 3 {
		n, err := strconv.ParseInt(text[:len(text)-3], 36, 64)
		if err == nil && n >= 0 && writeCursor(n) == text {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: cursor %q is not one of ours; take it from nextCursor", gaff.ErrInvalid, clip(text, 40))
}

// Like makes the pattern of a text somewhere in another, for like … escape '\'.
func Like(text string) string { return contains(text) }

func contains(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
}

const logColumns = eventColumns + `, e.status, e.unhandled, e.error, e.retry_count, e.duplicates, e.conflict,
	e.processed_at, e.updated_at`

type logScan struct {
	eventScan
	log       gaff.Log
	processed sql.NullInt64
	updated   int64
}

func (sc *logScan) columns() []any {
	return append(sc.eventScan.columns(), &sc.log.Status, &sc.log.Unhandled, &sc.log.Error, &sc.log.RetryCount,
		&sc.log.Duplicates, &sc.log.Conflict, &sc.processed, &sc.updated)
}

func (s *Store) entry(sc *logScan) gaff.Log {
	l := sc.log
	l.Event = *s.eventOf(&sc.eventScan)
	if l.Damaged {
		l.Error = gaff.ErrDamaged.Error()
	}
	l.ProcessedAt, l.UpdatedAt = fromNull(sc.processed), fromMicros(sc.updated)
	return l
}

// Event returns one event with all that became of it.
func (s *Store) Event(ctx context.Context, eventID string) (*gaff.EventDetail, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	d, err := s.event(ctx, eventID)
	return d, s.fault(ctx, "event", err)
}

func (s *Store) event(ctx context.Context, eventID string) (*gaff.EventDetail, error) {
	// One snapshot, so that the parts fit together.
	tx, err := s.read.BeginTx(ctx, s.snapshot())
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	seq, ok := id.ParseEvent(eventID)
	if !ok {
		return nil, missing("event", eventID)
	}
	var sc logScan
	err = tx.QueryRowContext(ctx, `select `+logColumns+`, `+payloadColumns+` from event e
		left join payload p on p.seq = e.seq where e.seq = $1`, seq).Scan(append(sc.columns(), sc.payload()...)...)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	d := &gaff.EventDetail{Log: s.entry(&sc)}
	if d.ID != eventID {
		return nil, missing("event", eventID)
	}
	rows, err := tx.QueryContext(ctx, `select `+deliveryColumns+` from delivery d where d.seq = $1 order by d.n`, sc.seq)
	if err != nil {
		return nil, err
	}
	scans, err := scanDeliveries(rows)
	if err != nil {
		return nil, err
	}
	for _, ds := range scans {
		d.Deliveries = append(d.Deliveries, s.shown(&ds, &d.Log.Event))
	}
	if d.Attempts, err = attempts(ctx, tx, `a.seq = $1`, sc.seq); err != nil {
		return nil, err
	}
	if d.Copies, err = copies(ctx, tx, sc.seq); err != nil {
		return nil, err
	}
	d.Children, err = collect(ctx, tx, func(rows *sql.Rows) (string, error) {
		var seq, at int64
		err := rows.Scan(&seq, &at)
		return id.OfEvent(fromMicros(at), seq), err
	}, `select seq, received_at from event where parent_id = $1 and parent_id <> '' order by seq limit 1000`, eventID)
	return d, err
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// collect scans all rows of a query with scan.
func collect[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), text string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, text, plainText(args)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, rows.Err()
}

func column[T any](ctx context.Context, q querier, text string, args ...any) ([]T, error) {
	return collect(ctx, q, func(rows *sql.Rows) (v T, err error) {
		err = rows.Scan(&v)
		return v, err
	}, text, args...)
}

func attempts(ctx context.Context, q querier, predicate string, args ...any) ([]gaff.Attempt, error) {
	return collect(ctx, q, func(rows *sql.Rows) (a gaff.Attempt, err error) {
		var n int
		var seq, at, started, duration int64
		err = rows.Scan(&seq, &at, &n, &a.Number, &a.Outcome, &started, &duration, &a.Error, &a.Detail)
		a.DeliveryID = id.OfDelivery(id.OfEvent(fromMicros(at), seq), n)
		a.StartedAt, a.Duration = fromMicros(started), time.Duration(duration)*time.Microsecond
		return a, err
	}, `select e.seq, e.received_at, a.n, a.number, a.outcome, a.started_at, a.duration, a.error, a.detail
		from attempt a join event e on e.seq = a.seq where `+predicate+` order by a.n, a.number limit 1000`, args...)
}

func copies(ctx context.Context, q querier, seq int64) ([]gaff.Copy, error) {
	return collect(ctx, q, func(rows *sql.Rows) (c gaff.Copy, err error) {
		var received int64
		var request, sum []byte
		err = rows.Scan(&received, &request, &c.Body, &sum)
		if c.Damaged = differs(c.Body, sum); c.Damaged {
			c.Body = nil
		}
		r, _ := decodeRequest(request)
		c.ReceivedAt, c.Header = fromMicros(received), r.Header
		return c, err
	}, `select received_at, headers, body, sha256 from copy where seq = $1 order by n`, seq)
}

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

func (s *Store) entries(scans []*logScan) (logs []gaff.Log) {
	for _, sc := range scans {
		logs = append(logs, s.entry(sc))
	}
	return logs
}

// newestEvents reads the newest events of a list, up to limit. rest is the number before which
// nothing was looked at, zero if all was.
func (s *Store) newestEvents(ctx context.Context, l eventList, limit int) (scans []*logScan, rest int64, err error) {
	if len(l.sieve) == 0 {
		scans, err = s.eventHead(ctx, l, limit)
		return scans, 0, err
	}
	return s.sift(ctx, l, limit)
}

// listOf is the list that a filter chooses, but for its query.
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
	if f.Conflict {
		list.sieve = append(list.sieve, predicate{"e.conflict = 1", nil})
	}
	if err := s.between(ctx, &list, f.Since, f.Until); err != nil {
		return list, err
	}
	list.runs, list.walk, err = s.eventRuns(ctx, f)
	return list, err
}

// search restricts the list to events that have a text, without those that were found already.
func (l *eventList) search(d Dialect, query string, found []*logScan) {
	text := contains(plain(query))
	// The data, in which secrets are masked: by a search of the body they could be guessed.
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
// a job. Indexes find them whatever their age, and however long the log is.
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
	ids, err := column[string](ctx, s.read, `select request_id from job where id = $1 and request_id <> ''`, plain(query))
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

// maxNamed is how long a query may be to be taken for an id, in bytes.
const maxNamed = 256

// eventList is a part of the log: the numbers from one up to before another, of the events
// for which all predicates of one of the runs hold, the common ones, and those of the sieve.
// Each run is a part of the log that an index holds in order.
type eventList struct {
	runs     [][]predicate
	walk     bool // there is one run, the whole log in its order
	common   []predicate
	from, to int64
	// sieve is what no index knows of: each event of the runs must be looked at. bodies
	// tells that it is also about p.body.
	sieve  []predicate
	bodies bool
}

// add appends the predicates of a run, but for the sieve, on the table e.
func (l *eventList) add(w *where, run []predicate) {
	for _, part := range [][]predicate{run, l.common, {{"e.seq >= ?", []any{l.from}}, {"e.seq < ?", []any{l.to}}}} {
		for _, predicate := range part {
			w.add(predicate.text, predicate.args...)
		}
	}
}

// heads selects the numbers of the newest n, but for the sieve. They are merged from the heads of the runs,
// whatever the length of the log. Its arguments follow the given ones.
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
	return collect(ctx, s.read, scanLog, `select `+logColumns+` from event e where e.seq in (`+heads+`)
		order by e.seq desc limit `+strconv.Itoa(limit), args...)
}

// siftPart is how many of the newest events are looked at first; then four times as many,
// and so on: what is often found is found at once.
const siftPart = 1000

// sift looks at the newest events of a list only, so that a page costs the same however
// long the log has grown. It finds up to limit; rest is the number before which nothing was
// looked at, zero if all was.
func (s *Store) sift(ctx context.Context, l eventList, limit int) (found []*logScan, rest int64, err error) {
	left := gaff.SearchWindow
	for part := siftPart; left > 0 && len(found) < limit; part *= 4 {
		part = min(part, left)
		heads, args := l.heads(part)
		var lowest, highest, count int64
		if err := s.read.QueryRowContext(ctx, `select coalesce(min(seq), 0), coalesce(max(seq), 0), count(*) from (`+heads+`) part`, plainText(args)...).
			Scan(&lowest, &highest, &count); err != nil {
			return nil, 0, err
		}
		if count == 0 {
			return found, 0, nil
		}
		newest := l
		// Events that arrive from now on must not push the oldest ones out of the part: it ends at
		// the newest of now. Several nodes may still commit some with lower numbers; there is
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

// siftAll looks at all the n events of a list, and reads up to limit of the newest that the
// sieve lets through.
func (s *Store) siftAll(ctx context.Context, l eventList, n, limit int) ([]*logScan, error) {
	var w where
	from := `event e`
	if l.bodies {
		// Told that it is about a span of bodies, the database can read them in their order
		// rather than look each one up.
		w.add("p.seq >= ?", l.from)
		w.add("p.seq < ?", l.to)
		from += ` left join payload p on p.seq = e.seq and ` + strings.Join(w.parts, " and ")
		w.parts = nil
	}
	if l.walk {
		l.add(&w, l.runs[0])
	} else {
		// By their numbers: the newest are not yet in the database's statistics, and of a span
		// at the head of the log it would believe that next to nothing is in it.
		var heads string
		heads, w.args = l.heads(n, w.args...)
		w.add(`e.seq in (` + heads + `)`)
	}
	for _, predicate := range l.sieve {
		w.add(predicate.text, predicate.args...)
	}
	return collect(ctx, s.read, scanLog, `select `+logColumns+` from `+from+w.String()+
		` order by e.seq desc limit `+strconv.Itoa(limit), w.args...)
}

// maxRuns is how many parts one list is merged from; beyond it the log is walked.
const maxRuns = 300

// eventRuns splits a list into the parts whose order an index keeps.
func (s *Store) eventRuns(ctx context.Context, f gaff.EventFilter) (runs [][]predicate, walking bool, err error) {
	walk := []predicate{}
	switch {
	case f.Source != "":
		walk = append(walk, predicate{"e.source = ?", []any{f.Source}})
	case !f.Internal:
		walk = append(walk, predicate{"e.source <> ?", []any{gaff.InternalSource}})
	}
	if f.Status != nil {
		walk = append(walk, predicate{"e.status = ?", []any{int64(*f.Status)}})
	}
	if f.WebhookID != "" {
		walk = append(walk, predicate{"e.webhook_id = ?", []any{f.WebhookID}})
	}
	if f.Source == "" && f.Status == nil && f.WebhookID == "" {
		return [][]predicate{walk}, true, nil
	}
	sources := []string{f.Source}
	if f.Source == "" {
		all, err := allSources(ctx, s.read)
		if err != nil {
			return nil, false, err
		}
		sources = slices.DeleteFunc(all, func(source string) bool { return source == gaff.InternalSource && !f.Internal })
	}
	statuses := []gaff.Status{gaff.StatusPending, gaff.StatusSuccess, gaff.StatusError}
	if f.Status != nil {
		statuses = []gaff.Status{*f.Status}
	}
	if len(sources) == 0 || len(sources)*len(statuses) > maxRuns {
		return [][]predicate{walk}, true, nil
	}
	for _, source := range sources {
		if f.WebhookID != "" {
			// The dedupe key begins with the sender's id, and is unique within the source.
			runs = append(runs, append([]predicate{
				{"e.source = ?", []any{source}}, {"e.dedupe >= ?", []any{f.WebhookID}}, {"e.dedupe < ?", []any{f.WebhookID + "\v"}},
			}, walk...))
			continue
		}
		for _, status := range statuses {
			runs = append(runs, []predicate{{"e.source = ?", []any{source}}, {"e.status = ?", []any{int64(status)}}})
		}
	}
	return runs, false, nil
}

// apart is by how many minutes numbers and times may disagree: what is received in one
// minute may be committed in the next, and clocks of nodes may differ.
const apart = 5

// between narrows a list to what was received in a span of time. The tally tells between
// which numbers that lies, so that the rest of the log is not read.
func (s *Store) between(ctx context.Context, l *eventList, since, until time.Time) error {
	bound := func(text string, minute int64) (int64, bool, error) {
		found, err := column[sql.NullInt64](ctx, s.read, text, minute, int64(apart))
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
			and minute >= (select max(minute) from tally where first_seq is not null and minute <= $1) - $2`, until.Unix()/60+apart)
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

func scanLog(rows *sql.Rows) (*logScan, error) {
	sc := &logScan{}
	return sc, rows.Scan(sc.columns()...)
}

// Logs returns a page of webhook logs by offset, with their bodies.
func (s *Store) Logs(ctx context.Context, q gaff.LogQuery) (logs []gaff.Log, total int, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	logs, total, err = s.logs(ctx, q)
	return logs, total, s.fault(ctx, "webhook logs", err)
}

// logKey places one log in the order of a list.
type logKey struct{ at, seq int64 }

func (s *Store) logs(ctx context.Context, q gaff.LogQuery) (logs []gaff.Log, total int, err error) {
	tx, err := s.read.BeginTx(ctx, s.snapshot())
	if err != nil {
		return nil, 0, err
	}
	defer tx.Rollback()
	sources, err := logSources(ctx, tx, q)
	if err != nil {
		return nil, 0, err
	}
	statuses := []gaff.Status{gaff.StatusPending, gaff.StatusSuccess, gaff.StatusError}
	if q.Status != nil {
		statuses = []gaff.Status{*q.Status}
	}
	// Each source and status is a run of an index in the order asked for, so a page is
	// merged from the heads of a few runs, whatever the number of rows.
	var keys []logKey
	rolled := int64(0)
	if q.Type == "" {
		if rolled, err = rolledUntil(ctx, tx); err != nil {
			return nil, 0, err
		}
	}
	for _, source := range sources {
		if q.Type == "" {
			// What was counted along the way need not be counted again.
			hours, err := hoursOf(ctx, tx, source, time.Time{}, rolled)
			if err != nil {
				return nil, 0, err
			}
			for _, h := range hours {
				for _, status := range statuses {
					total += int(h.counts[1+status])
				}
			}
		}
		for _, status := range statuses {
			var w where
			w.add("e.source = ?", source)
			w.add("e.status = ?", int64(status))
			if q.Type != "" {
				w.add("e.type = ?", q.Type)
			}
			for _, text := range logRuns(q, status, w) {
				run, err := collect(ctx, tx, func(rows *sql.Rows) (k logKey, err error) {
					err = rows.Scan(&k.at, &k.seq)
					return k, err
				}, text, w.args...)
				if err != nil {
					return nil, 0, err
				}
				keys = append(keys, run...)
			}
			if q.Type != "" && total <= gaff.MaxLogCount {
				n, err := column[int](ctx, tx, `select count(*) from (select 1 from event e`+w.String()+
					` limit `+strconv.Itoa(gaff.MaxLogCount+1-total)+`) counted`, w.args...)
				if err != nil {
					return nil, 0, err
				}
				total += n[0]
			}
		}
	}
	total = min(max(total, 0), gaff.MaxLogCount+1)
	slices.SortFunc(keys, func(a, b logKey) int {
		order := cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(b.seq, a.seq))
		if q.Ascending {
			return -order
		}
		return order
	})
	keys = keys[min(q.Offset, len(keys)):min(q.Offset+q.Limit, len(keys))]
	logs, err = s.logsOf(ctx, tx, keys)
	return logs, total, err
}

// logsOf reads the logs of a page, with their bodies.
func (s *Store) logsOf(ctx context.Context, q querier, keys []logKey) ([]gaff.Log, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	// As many places as fit several pages, so that there are few statements to prepare.
	var w where
	seqs := make([]any, (len(keys)+49)/50*50)
	for i := range seqs {
		seqs[i] = keys[min(i, len(keys)-1)].seq
	}
	w.add("e.seq in (?"+strings.Repeat(", ?", len(seqs)-1)+")", seqs...)
	rows, err := collect(ctx, q, func(rows *sql.Rows) (*logScan, error) {
		sc := &logScan{}
		return sc, rows.Scan(append(sc.columns(), sc.payload()...)...)
	}, `select `+logColumns+`, `+payloadColumns+` from event e left join payload p on p.seq = e.seq`+w.String(), w.args...)
	if err != nil {
		return nil, err
	}
	found := make(map[int64]*logScan, len(rows))
	for _, sc := range rows {
		found[sc.seq] = sc
	}
	logs := make([]gaff.Log, len(keys))
	for i, key := range keys {
		logs[i] = s.entry(found[key.seq]) // of the same snapshot
	}
	return logs, nil
}

// logRuns are the queries whose results, merged, are the logs of one source and status in
// order. Only a pending event may never have been processed; it sorts by when it came.
func logRuns(q gaff.LogQuery, status gaff.Status, w where) []string {
	direction, tail := " desc", " limit "+strconv.Itoa(q.Offset+q.Limit)
	if q.Ascending {
		direction = ""
	}
	received := `select e.received_at, e.seq from event e` + w.String()
	if q.ByReceived {
		return []string{received + ` order by e.seq` + direction + tail}
	}
	runs := []string{`select e.processed_at, e.seq from event e` + w.String() +
		` and e.processed_at is not null order by e.processed_at` + direction + `, e.seq` + direction + tail}
	if status == gaff.StatusPending {
		runs = append(runs, received+` and e.processed_at is null order by e.seq`+direction+tail)
	}
	return runs
}

// logSources lists the sources that a query is about: the one named, or all but the
// inner one.
func logSources(ctx context.Context, q querier, lq gaff.LogQuery) ([]string, error) {
	if lq.Source != "" {
		return []string{lq.Source}, nil
	}
	all, err := allSources(ctx, q)
	return slices.DeleteFunc(all, func(source string) bool { return source == gaff.InternalSource }), err
}

// allSources walks over the first column of the tally's key, a step for each source.
func allSources(ctx context.Context, q querier) ([]string, error) {
	return column[string](ctx, q, `with recursive s(source) as (
			select min(source) from tally
			union all
			select (select min(source) from tally where source > s.source) from s where s.source is not null)
		select source from s where source is not null`)
}
