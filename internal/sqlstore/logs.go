package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/sorting"
)

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
	tx, err := s.lists(ctx).BeginTx(ctx, s.snapshot())
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
	// An index has the logs of each source and status in the requested order, so a page is
	// merged from the heads of a few runs, at any number of rows.
	var keys []logKey
	rolled := int64(0)
	if q.Type == "" {
		if rolled, err = rolledUntil(ctx, tx); err != nil {
			return nil, 0, err
		}
	}
	for _, source := range sources {
		if q.Type == "" {
			// The counters have the total.
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
	sorting.By(keys, func(a, b logKey) int {
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
	// The number of parameters is rounded up, so that there are few statements to prepare.
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
// order. Only a pending event may be unprocessed; it sorts by its receive time.
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
// internal one.
func logSources(ctx context.Context, q querier, lq gaff.LogQuery) ([]string, error) {
	if lq.Source != "" {
		return []string{lq.Source}, nil
	}
	all, err := allSources(ctx, q)
	return slices.DeleteFunc(all, func(source string) bool { return source == gaff.InternalSource }), err
}

// allSources reads the sources from the key of the counters, one index entry for each.
func allSources(ctx context.Context, q querier) ([]string, error) {
	return column[string](ctx, q, `with recursive s(source) as (
			select min(source) from tally
			union all
			select (select min(source) from tally where source > s.source) from s where s.source is not null)
		select source from s where source is not null`)
}
