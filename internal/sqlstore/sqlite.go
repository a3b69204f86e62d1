package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"gaff"
	"gaff/internal/writer"
)

// SQLite is a database file that one process owns. One connection writes, with a prepared
// statement for each row.
type SQLite struct {
	// Conn is the connection that writes.
	Conn *sql.Conn
	// Statements runs the statements of transactions on the same connection; nil: database/sql
	// runs them.
	Statements Statements
	// Guard judges each transaction; may be nil.
	Guard Guard
	// KeysKept is how many keys of new events are in memory before they are moved into their table.
	// Zero means 32,768.
	KeysKept int

	keys       *eventKeys
	quit       func() // ends background
	background sync.WaitGroup
}

// Statements runs statements without database/sql, as sql.Stmt runs them. It keeps them prepared.
type Statements interface {
	// Exec returns the number of rows that changed. The arguments must not change meanwhile.
	Exec(text string, args []any) (int64, error)
	// Each calls scan for each row of a query, until it returns an error, which Each returns.
	Each(scan func(Row) error, text string, args []any) error
	// Close ends the statements. The connection cannot be closed before.
	Close()
}

var _ Database = (*SQLite)(nil)

// Guard refuses transactions that might not survive a restart.
type Guard interface {
	// Begin is called before a transaction begins.
	Begin(conn *sql.Conn) error
	// Commit is called before it commits; next is the number that the next event had when it
	// began.
	Commit(conn *sql.Conn, next int64) error
}

// sqliteConn is the writer's connection. It is open as long as the store is.
type sqliteConn struct {
	*conn
	statements Statements // may be nil
}

func (sqliteConn) Connect(context.Context) error { return nil }
func (sqliteConn) Connected() bool               { return true }
func (sqliteConn) Ping(context.Context)          {}
func (sqliteConn) Lost(error) bool               { return false }

func (c sqliteConn) Close() {
	for _, stmt := range c.stmts {
		_ = stmt.Close()
	}
	if c.statements != nil {
		c.statements.Close()
	}
}

const nextEventText = `select coalesce(max(seq), 0) + 1 from event`

func (d *SQLite) connections(ctx context.Context, s *Store) (o writer.Options[*tx], err error) {
	c := newConn(s)
	c.db, c.stmts = d.Conn, map[string]*sql.Stmt{}
	if err := c.db.QueryRowContext(ctx, nextEventText).Scan(&c.nextEvent); err != nil {
		return o, fmt.Errorf("read the newest event: %w", err)
	}
	if c.keys, err = openEventKeys(ctx, d.Conn, cmp.Or(d.KeysKept, keysKept)); err != nil {
		return o, fmt.Errorf("read the keys of events: %w", err)
	}
	d.keys = c.keys
	o.Only = sqliteConn{c, d.Statements}
	return o, nil
}

func (d *SQLite) start(s *Store) {
	ctx, cancel := context.WithCancel(context.Background())
	d.quit = cancel
	d.background.Go(func() { d.keys.background(ctx, s) })
}

func (d *SQLite) stop(*Store) {
	d.quit()
	d.background.Wait()
}

func (*SQLite) concurrent() bool                           { return false }
func (*SQLite) txTime() time.Duration                      { return 0 }
func (*SQLite) notify([]string, bool)                      {}
func (*SQLite) foldCounters(context.Context, *Store) error { return nil }

func (*SQLite) horizon(ctx context.Context, s *Store) (n int64, err error) {
	err = s.read.QueryRowContext(ctx, `select coalesce(max(seq), 0) + 1 from change`).Scan(&n)
	return n, err
}

func (*SQLite) probe(*Store) *op {
	now := micros(time.Now())
	return &op{Run: func(t *tx) error {
		_, err := t.exec(`insert into setting (name, value) values ('ready_at', $1)
			on conflict (name) do update set value = excluded.value`, fmt.Sprint(now))
		return err
	}}
}

// Transactions.

func (d *SQLite) begin(t *tx) error {
	if d.Guard != nil {
		if err := d.Guard.Begin(t.x.db); err != nil {
			t.broken = err
			return err
		}
	}
	t.startClock(time.Now())
	if err := d.control(t, `begin immediate`); err != nil {
		return err
	}
	t.begun = true
	if t.x.nextEvent == 0 {
		if err := t.row([]any{&t.x.nextEvent}, nextEventText); err != nil {
			return err
		}
	}
	t.first = t.x.nextEvent
	return t.x.keys.begin(t, t.first)
}

func (d *SQLite) commit(t *tx) (sent bool, err error) {
	if d.Guard != nil {
		if err := d.Guard.Commit(t.x.db, t.first); err != nil {
			t.broken = err
			return false, err
		}
	}
	if err := d.control(t, `commit`); err != nil {
		return true, err
	}
	t.x.keys.committed(t)
	return true, nil
}

// control runs a statement that begins or ends a transaction.
func (d *SQLite) control(t *tx, text string) error {
	_, err := d.exec(t, text, nil)
	return t.fault(err)
}

func (d *SQLite) exec(t *tx, text string, args []any) (int64, error) {
	if d.Statements == nil {
		return execPrepared(t, text, args)
	}
	return d.Statements.Exec(text, args)
}

func (d *SQLite) each(t *tx, scan func(Row) error, text string, args []any) error {
	if d.Statements == nil {
		return eachPrepared(t, scan, text, args)
	}
	return d.Statements.Each(scan, text, args)
}

func (*SQLite) rollback(t *tx) {
	t.x.nextEvent = t.first
	t.x.keys.rollback(t)
	if errors.Is(t.broken, ErrCollision) {
		t.x.nextEvent, t.x.keys.from = 0, t.first // another program stored events
	}
	if t.begun {
		// It fails if SQLite has ended the transaction itself, which is harmless.
		_, _ = t.x.db.ExecContext(context.Background(), `rollback`)
	}
}

func (*SQLite) prepare(t *tx, text string) (statement, error) {
	if stmt := t.x.stmts[text]; stmt != nil {
		return stmt, nil
	}
	stmt, err := t.x.db.PrepareContext(t.ctx, barePositional(text))
	if err != nil {
		return nil, t.fault(err)
	}
	t.x.stmts[text] = stmt
	return stmt, nil
}

var numbered = regexp.MustCompile(`\$\d+`)

// barePositional replaces numbered parameters by bare ones, which the driver binds without a
// search by name, if each occurs once and in order.
func barePositional(text string) string {
	n := 0
	for _, parameter := range numbered.FindAllString(text, -1) {
		if n++; parameter != "$"+strconv.Itoa(n) {
			return text
		}
	}
	return numbered.ReplaceAllString(text, "?")
}

func (*SQLite) fault(t *tx, err error) (classified error, ends bool) {
	err = t.s.opt.Dialect.Fault(err)
	return err, errors.Is(err, gaff.ErrUnavailable) || errors.Is(err, ErrCollision)
}

func (*SQLite) lock() string                      { return "" }
func (*SQLite) lockFree() string                  { return "" }
func (*SQLite) lockText(*tx, string) error        { return nil }
func (*SQLite) shareText(*tx, string) error       { return nil }
func (*SQLite) tryLock(*tx, string) (bool, error) { return true, nil }

// Batches.

func (*SQLite) insertEvents(t *tx, rows [][]any, total int) ([]int64, error) {
	seqs := make([]int64, len(rows))
	// Rows are inserted in the order of their numbers, so that a table grows at its end.
	byPlace := make([]int, total)
	for i, row := range rows {
		byPlace[row[0].(int64)-1] = i + 1
	}
	for _, i := range byPlace {
		if i == 0 {
			continue
		}
		row := rows[i-1]
		key := eventKey{plain(row[eventSource].(string)), plain(row[eventDedupe].(string))} // as they are stored
		found, err := t.x.keys.find(t, key)
		if err != nil {
			return nil, err
		}
		if found != 0 {
			continue
		}
		row[0] = t.x.nextEvent
		if _, err := t.exec(insertEvent.each, row...); err != nil {
			return nil, err
		}
		t.x.keys.add(t, key, t.x.nextEvent)
		seqs[i-1] = t.x.nextEvent
		t.x.nextEvent++
	}
	return seqs, nil
}

func (*SQLite) keyed(t *tx, source, dedupe string) (condition string, args []any, err error) {
	seq, err := t.x.keys.find(t, eventKey{plain(source), plain(dedupe)})
	return `e.seq = $1`, []any{seq}, err
}

func (*SQLite) forgetKey(t *tx, seq int64) error { return t.x.keys.remove(t, seq) }

func (d *SQLite) write(t *tx, s *rowSQL, rows [][]any) error {
	for _, row := range rows {
		if _, err := d.writeOne(t, s, row); err != nil {
			return err
		}
	}
	return nil
}

func (*SQLite) writeOne(t *tx, s *rowSQL, row []any) (bool, error) {
	n, err := t.exec(s.each, s.args(row)...)
	return n > 0, err
}

func (d *SQLite) writeReturning(t *tx, s *rowSQL, rows [][]any, scan func(placedRow) error) error {
	for at, row := range rows {
		written, err := d.writeOne(t, s, row)
		if err == nil && written {
			err = scan(placedRow{returnedRow{t, s, row}, at})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// returnedRow reads the columns that an update returns when they are scanned.
type returnedRow struct {
	t   *tx
	s   *rowSQL
	row []any
}

func (r returnedRow) Scan(dest ...any) error { return r.t.row(dest, r.s.read, r.s.keyOf(r.row)...) }

func (*SQLite) deferWrite(*tx, *rowSQL, []any) bool { return false }
func (*SQLite) readJobs(*tx, []any) error           { return nil }

// keysPerEvent is how many keys of earlier events are moved for each new event, so that all are before as
// many new ones are to be moved.
const keysPerEvent = 2

func (*SQLite) flush(t *tx) error { return t.x.keys.move(t, keysPerEvent*len(t.keys.added)) }

func (*SQLite) writeChange(t *tx, items []byte) error {
	_, err := t.exec(`insert into change (at, items) values (?, ?)`, micros(t.now), items)
	return err
}

// Claims are not stored: after a crash no worker has any.

func (*SQLite) lease() time.Duration            { return 0 }
func (*SQLite) release(*tx, []gaff.Lease) error { return nil }

// Webhooks are written on the same connection, so an operation must not take long: a claimed delivery
// takes about 30 µs.
func (*SQLite) claimAtOnce() int { return 32 }

func (*SQLite) claimDue(t *tx, p gaff.ClaimParams) (found []deliveryScan, err error) {
	now, last := micros(t.sharedTime(p.Now)), int64(0)
	from := t.s.leases.front(p.Queue, t.now)
	err = t.each(func(r Row) error {
		var sc deliveryScan
		if err := r.Scan(&sc.seq, &sc.n, &last); err != nil {
			return err
		}
		if !t.s.leases.has(deliveryKey{sc.seq, sc.n}) {
			found = append(found, sc)
		}
		if len(found) == p.Limit {
			return errEnough
		}
		return nil
	}, `select d.seq, d.n, d.run_at from delivery d where d.state < 3 and d.lane = $1 and d.run_at >= $2 and d.run_at <= $3
		order by d.run_at`, p.Queue, from, now)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	for i := range found {
		sc := &found[i]
		if err := t.row(sc.columns(), `select `+deliveryColumns+` from delivery d where d.seq = $1 and d.n = $2`, sc.seq, sc.n); err != nil {
			return nil, err
		}
	}
	t.s.leases.passed(p.Queue, last)
	return found, nil
}

func (*SQLite) nextDue(t *tx, queue string) (due int64, err error) {
	err = t.each(func(r Row) error {
		var key deliveryKey
		var at int64
		if err := r.Scan(&key.seq, &key.n, &at); err != nil || t.s.leases.has(key) {
			return err
		}
		due = at
		return errEnough
	}, `select d.seq, d.n, d.run_at from delivery d where d.state < 3 and d.lane = $1 and d.run_at >= $2 order by d.run_at`,
		queue, t.s.leases.front(queue, t.now))
	if errors.Is(err, errEnough) {
		err = nil
	}
	return due, err
}

func (*SQLite) loadEvents(t *tx, found []deliveryScan) (map[int64]*gaff.Event, error) {
	events := make(map[int64]*gaff.Event, len(found))
	for _, f := range found {
		if events[f.seq] != nil {
			continue
		}
		ev, _, err := t.loadEvent(f.seq)
		if err != nil {
			return nil, err
		}
		events[f.seq] = ev
	}
	return events, nil
}

func (*SQLite) claimed(s *Store) (condition string, arg any) {
	return "(d.seq, d.n) in (select json_extract(value, '$[0]'), json_extract(value, '$[1]') from json_each(?))", s.leases.json()
}

func (*SQLite) isClaimed(s *Store, sc *deliveryScan) bool {
	return s.leases.has(deliveryKey{sc.seq, sc.n})
}
