package sqlstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gaff/jobs"
)

// deferrable are the statements whose rows can wait to be written together, in the order in
// which that is done: a job is inserted before it is changed.
var deferrable = [...]*rowSQL{&insertJob, &updateJob, &insertMedia}

// outgoing are the rows and statements of a transaction that were not sent yet.
type outgoing struct {
	rows       [len(deferrable)][][]any
	deferred   bool // there are rows
	statements []Statement
}

// errNotWritten reports a deferred row that could not be written as expected. All operations
// of the transaction run again, until the one that caused it runs alone.
var errNotWritten = errors.New("a deferred row was not written as expected")

// insertEventsText draws the numbers in the order of the places, and inserts the rows in the
// order in which they come.
var insertEventsText = func() string {
	names, kinds := columnsOf(eventInserted)
	all := strings.Join(names, ", ")
	return "insert into event (" + all + ") select (array(select nextval('event_seq') from generate_series(1, $1)))[new.seq], new." +
		strings.Join(names[1:], ", new.") + " from " + unnest(kinds, 2) + " as new(" + all +
		") on conflict (source, dedupe) do nothing returning seq, source, dedupe"
}()

func (d *PostgreSQL) insertEvents(t *tx, rows [][]any, total int) ([]int64, error) {
	seqs := make([]int64, len(rows))
	sent := make(sentEvents, len(rows))
	for i, row := range rows {
		plainText(row)
		sent[eventKey{row[eventSource].(string), row[eventDedupe].(string)}] = i
	}
	args, err := insertEvent.arrays(rows)
	if err != nil {
		return nil, err
	}
	_, err = d.send(t, Statement{
		Text: insertEventsText, Args: append([]any{total}, args...),
		Scan: func(row Row) error {
			var seq int64
			var key eventKey
			if err := row.Scan(&seq, &key.source, &key.dedupe); err != nil {
				return err
			}
			at, err := sent.find(key)
			if err == nil {
				seqs[at] = seq
			}
			return err
		},
	})
	return seqs, err
}

func (*PostgreSQL) keyed(_ *tx, source, dedupe string) (condition string, args []any, err error) {
	return `e.source = $1 and e.dedupe = $2`, []any{source, dedupe}, nil
}

// forgetKey has nothing to do: the key is in an index of the events.
func (*PostgreSQL) forgetKey(*tx, int64) error { return nil }

// sentEvents are the places of events by the key under which they are inserted: no database
// promises to return rows in an order.
type sentEvents map[eventKey]int

func (s sentEvents) find(key eventKey) (place int, err error) {
	place, ok := s[key]
	if !ok {
		return 0, fmt.Errorf("the database returned an event of source %.64q that was not sent", key.source)
	}
	return place, nil
}

// write keeps the statement until the next batch is sent.
func (d *PostgreSQL) write(t *tx, s *rowSQL, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	statement, err := statementOf(s, rows)
	if err != nil {
		return err
	}
	t.out.statements = append(t.out.statements, statement)
	t.wrote = true
	return nil
}

// statementOf writes one row by its columns, several by arrays.
func statementOf(s *rowSQL, rows [][]any) (Statement, error) {
	for _, row := range rows {
		plainText(row)
	}
	if len(rows) == 1 {
		return Statement{Text: s.one, Args: rows[0]}, nil
	}
	args, err := s.arrays(rows)
	return Statement{Text: s.many, Args: args}, err
}

// writeReturning does not send deferred rows before: none of them is a delivery or an event.
func (d *PostgreSQL) writeReturning(t *tx, s *rowSQL, rows [][]any, scan func(placedRow) error) error {
	if len(rows) == 0 {
		return nil
	}
	for _, row := range rows {
		plainText(row)
	}
	args, err := s.arrays(rows)
	if err != nil {
		return err
	}
	_, err = d.send(t, Statement{Text: s.many, Args: args, Scan: func(row Row) error {
		t.wrote = true
		return scan(placedRow{row, -1})
	}})
	return err
}

func (*PostgreSQL) writeOne(t *tx, s *rowSQL, row []any) (bool, error) {
	n, err := t.exec(s.one, row...)
	return n > 0, err
}

func (*PostgreSQL) deferWrite(t *tx, s *rowSQL, row []any) bool {
	if !t.many {
		return false
	}
	which := slices.Index(deferrable[:], s)
	t.out.rows[which] = append(t.out.rows[which], row)
	t.wrote, t.out.deferred = true, true
	return true
}

// writeChange numbers the entry by the transaction; see horizon.
func (*PostgreSQL) writeChange(t *tx, items []byte) error {
	t.out.statements = append(t.out.statements, Statement{
		Text: `insert into change (seq, at, items) values (pg_current_xact_id()::text::bigint, $1, $2)`,
		Args: []any{micros(t.now), items},
	})
	t.wrote = true
	return nil
}

// flush sends the deferred rows, then the statements.
func (d *PostgreSQL) flush(t *tx) error {
	if !t.out.deferred && len(t.out.statements) == 0 {
		return nil
	}
	var statements []Statement
	var expected []int
	for i, rows := range t.out.rows {
		if len(rows) == 0 {
			continue
		}
		statement, err := statementOf(deferrable[i], rows)
		if err != nil {
			return err
		}
		statements, expected = append(statements, statement), append(expected, len(rows))
	}
	statements = append(statements, t.out.statements...)
	t.out = outgoing{}
	clear(t.known.deferred)
	clear(t.known.media)
	changed, err := d.send(t, statements...)
	if err != nil {
		return err
	}
	for i, n := range expected {
		if changed[i] != int64(n) {
			t.broken = errNotWritten
			return errNotWritten
		}
	}
	return nil
}

// send sends statements in one batch, after what opens the transaction unless it is open, and
// returns how many rows each changed.
func (d *PostgreSQL) send(t *tx, statements ...Statement) ([]int64, error) {
	if t.broken != nil {
		return nil, t.broken
	}
	begin := 0
	if !t.begun {
		opening := []Statement{{Text: `begin`}}
		if t.impatient {
			opening = append(opening, Statement{Text: `set local lock_timeout = '250ms'`})
		}
		statements, begin = append(opening, statements...), len(opening)
		t.begun = true
	}
	changed, err := d.Pipeline(t.ctx, t.x.db, statements)
	if err != nil {
		return nil, t.fault(err)
	}
	return changed[begin:], nil
}

func (d *PostgreSQL) readJobs(t *tx, refs []any) error {
	if !t.many {
		return nil
	}
	var ids, providers, requests []string
	read := map[jobs.JobRef]*jobScan{}
	for _, name := range refs {
		ref, _ := name.(jobs.JobRef)
		if _, twice := read[ref]; twice || !isPlain(ref.ID+ref.Provider+ref.RequestID) {
			continue
		}
		switch {
		case ref.ID != "":
			ids = append(ids, ref.ID)
		case ref.RequestID != "":
			providers, requests = append(providers, ref.Provider), append(requests, ref.RequestID)
		default:
			continue
		}
		read[ref] = nil
	}
	var statements []Statement
	reading := func(ref func(*jobs.Job) jobs.JobRef, text string, args ...any) {
		statements = append(statements, Statement{Text: text, Args: args, Scan: func(row Row) error {
			sc := &jobScan{}
			err := row.Scan(sc.columns()...)
			if err == nil {
				read[ref(&sc.j)] = sc
			}
			return err
		}})
	}
	if len(ids) > 0 {
		reading(func(j *jobs.Job) jobs.JobRef { return refsOf(j)[0] },
			`select `+jobColumns+` from job j where j.id = any($1::text[]) order by j.seq for update`, ids)
	}
	if len(requests) > 0 {
		reading(func(j *jobs.Job) jobs.JobRef { return refsOf(j)[1] },
			`select `+jobColumns+` from unnest($1::text[], $2::text[]) as u(provider, request_id)
			join job j on j.provider = u.provider and j.request_id = u.request_id and j.request_id <> ''
			order by j.seq for update of j`, providers, requests)
	}
	if len(statements) > 0 {
		if _, err := d.send(t, statements...); err != nil {
			return fmt.Errorf("read jobs: %w", err)
		}
	}
	t.known.read = read
	return nil
}
