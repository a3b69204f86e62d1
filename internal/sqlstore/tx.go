package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gaff"
	"gaff/internal/writer"
	"gaff/jobs"
)

// op is an operation of the writer.
type op = writer.Op[*tx]

// reads is the job that an operation reads first, as the context names it.
func reads(ctx context.Context) any {
	if ref := jobs.JobRefFrom(ctx); ref != (jobs.JobRef{}) {
		return ref
	}
	return nil
}

// tx is one transaction of the writer.
type tx struct {
	s       *Store
	x       *conn
	ctx     context.Context // bounds the whole transaction
	now     time.Time
	skew    time.Duration // of now, relative to the clock of this process
	begun   bool
	wrote   bool  // by the current operation; or the transaction is broken
	first   int64 // the next event's number when the transaction began
	took    []deliveryKey
	seen    []string // projects that exist after the commit
	tallies []counters
	// Rows that are written at the end, for all operations together; see bulk.go.
	accepting []acceptance
	finishing []finishing
	many      bool                  // there are several operations
	deferred  [len(putOffs)][][]any // deferred rows of each kind; see deferred.go
	delayed   bool                  // there are deferred rows
	unsent    []Statement           // statements that are sent with the next query
	broken    error                 // why the database ended the transaction
	known     knownJobs
	asking    bool // the query concerns neither deferred rows nor unsent statements
	changes   []change
	wakes     []string   // queues that have due deliveries after the commit
	issues    []failures // failures that belong to issues
}

type counters struct {
	source   string
	minute   int64
	received int
	status   [3]int // by how much each grew
	rejected int
	// first and last are the numbers of the events that came; 0 if none did.
	first, last int64
}

// change is one item of the change log, in its stored form.
type change struct {
	Kind   string `json:"k"`
	Ref    string `json:"r"`
	Status string `json:"s"`
	Source string `json:"o,omitempty"`
}

// statement is a prepared statement, or the connection if the driver prepares statements.
type statement interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
}

type unprepared struct {
	conn *sql.Conn
	text string
}

func (u unprepared) ExecContext(ctx context.Context, args ...any) (sql.Result, error) {
	return u.conn.ExecContext(ctx, u.text, args...)
}

func (u unprepared) QueryContext(ctx context.Context, args ...any) (*sql.Rows, error) {
	return u.conn.QueryContext(ctx, u.text, args...)
}

func (t *tx) prepare(text string) (statement, error) {
	x := t.x
	if x.stmts == nil {
		if t.broken != nil {
			return nil, t.broken
		}
		if !t.asking {
			if err := t.flushDeferred(); err != nil {
				return nil, err
			}
		}
		if !t.begun {
			if _, err := t.travel(); err != nil {
				return nil, err
			}
		}
		return unprepared{x.db, text}, nil
	}
	if stmt := x.stmts[text]; stmt != nil {
		return stmt, nil
	}
	stmt, err := x.db.PrepareContext(t.ctx, text)
	if err != nil {
		return nil, t.fault(err)
	}
	x.stmts[text] = stmt
	return stmt, nil
}

// fault classifies an error of the database. If the database is unavailable, the transaction is
// over, even if the operation ignores the error; a shared database ends it at any error.
func (t *tx) fault(err error) error {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if t.ctx.Err() != nil {
		err = fmt.Errorf("%w: the database did not respond within %s: %w", gaff.ErrUnavailable, t.s.opt.Shared.TxTime, err)
	}
	err = t.s.opt.Dialect.Fault(err)
	if t.s.opt.Shared != nil || errors.Is(err, gaff.ErrUnavailable) || errors.Is(err, ErrCollision) {
		t.wrote, t.broken = true, err
	}
	return err
}

// exec returns the number of rows that changed.
func (t *tx) exec(text string, args ...any) (int64, error) {
	stmt, err := t.prepare(text)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(t.ctx, plainText(args)...)
	if err != nil {
		return 0, t.fault(err)
	}
	n, err := res.RowsAffected()
	if n > 0 {
		t.wrote = true
	}
	return n, err
}

// row scans the only row of a query, or returns sql.ErrNoRows.
func (t *tx) row(dest []any, text string, args ...any) error {
	rows, err := t.query(text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return t.fault(err)
		}
		return sql.ErrNoRows
	}
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	return t.fault(rows.Close())
}

// returning is row for a statement that writes.
func (t *tx) returning(dest []any, text string, args ...any) error {
	err := t.row(dest, text, args...)
	if err == nil {
		t.wrote = true
	}
	return err
}

func (t *tx) query(text string, args ...any) (*sql.Rows, error) {
	stmt, err := t.prepare(text)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(t.ctx, plainText(args)...)
	return rows, t.fault(err)
}

// each calls scan for every row of a query.
func (t *tx) each(scan func(*sql.Rows) error, text string, args ...any) error {
	rows, err := t.query(text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return t.fault(rows.Err())
}

// lock is the end of a query whose rows are about to be written: where others write too,
// they wait until this transaction has ended.
func (t *tx) lock() string {
	if t.s.opt.Shared == nil {
		return ""
	}
	return " for update"
}

// lockFree is lock for rows of which any will do: those that others hold are left out.
func (t *tx) lockFree() string {
	if t.s.opt.Shared == nil {
		return ""
	}
	return " for update skip locked"
}

func (t *tx) take(key deliveryKey, l heldLease) {
	t.s.held.take(key, l)
	t.took = append(t.took, key)
}

// wake notifies the queue's dispatchers, after the commit, of due deliveries.
func (t *tx) wake(queue string) {
	if !slices.Contains(t.wakes, queue) {
		t.wakes = append(t.wakes, queue)
	}
}

func (t *tx) counters(source string) *counters { return t.countersOf(source, t.now.Unix()/60) }

func (t *tx) countersOf(source string, minute int64) *counters {
	for i := range t.tallies {
		if t.tallies[i].source == source && t.tallies[i].minute == minute {
			return &t.tallies[i]
		}
	}
	t.tallies = append(t.tallies, counters{source: source, minute: minute})
	return &t.tallies[len(t.tallies)-1]
}

func nullZero(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

func (t *tx) moved(source string, from, to gaff.Status) {
	if from != to {
		tl := t.counters(source)
		tl.status[from]--
		tl.status[to]++
	}
}

func (t *tx) change(kind, ref, status, source string) {
	t.changes = append(t.changes, change{kind, ref, status, source})
}

// Finish writes the rows that all operations of the transaction share.
func (t *tx) Finish() error {
	if err := t.flush(); err != nil {
		return err
	}
	for _, tl := range t.tallies {
		if err := t.send(`insert into tally (source, minute, shard, received, pending, success, error, rejected, first_seq, last_seq)
			values ($1, $2, $10, $3, $4, $5, $6, $7, $8, $9)
			on conflict (source, minute, shard) do update set
				received = tally.received + excluded.received, pending = tally.pending + excluded.pending,
				success = tally.success + excluded.success, error = tally.error + excluded.error,
				rejected = tally.rejected + excluded.rejected,
				first_seq = coalesce(tally.first_seq, excluded.first_seq), last_seq = coalesce(excluded.last_seq, tally.last_seq)`,
			tl.source, tl.minute, tl.received, tl.status[0], tl.status[1], tl.status[2], tl.rejected,
			nullZero(tl.first), nullZero(tl.last), t.x.shard); err != nil {
			return fmt.Errorf("tally: %w", err)
		}
	}
	if err := t.writeIssues(); err != nil {
		return err
	}
	if len(t.changes) == 0 {
		return t.flushDeferred()
	}
	items, err := json.Marshal(t.changes)
	if err != nil {
		return fmt.Errorf("change log: %w", err)
	}
	if t.s.opt.Shared != nil {
		// Its number is the transaction's: see changes.
		err = t.send(`insert into change (seq, at, items) values (pg_current_xact_id()::text::bigint, $1, $2)`, micros(t.now), items)
	} else {
		err = t.send(`insert into change (at, items) values ($1, $2)`, micros(t.now), items)
	}
	if err != nil {
		return fmt.Errorf("change log: %w", err)
	}
	if t.x.changes++; t.x.changes >= int64(t.s.opt.MaxChanges)/20 {
		t.x.changes = 0
		if _, err := t.exec(`delete from change where seq in (select seq from change
				where seq < (select min(seq) from (select seq from change order by seq desc limit $1) newest)`+t.lockFree()+`)`,
			t.s.opt.MaxChanges); err != nil {
			return fmt.Errorf("change log: %w", err)
		}
	}
	return t.flushDeferred()
}

// plainText replaces what PostgreSQL keeps in no text: bytes that are not UTF-8, and zero.
// It is done for every database, so that a text is found again under what it was kept as.
func plainText(args []any) []any {
	for i, arg := range args {
		if text, ok := arg.(string); ok && !isPlain(text) {
			args[i] = plain(text)
		}
	}
	return args
}

func isPlain(text string) bool {
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}

func plain(text string) string {
	if isPlain(text) {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}
