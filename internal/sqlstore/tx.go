package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

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
	s     *Store
	db    Database
	x     *conn
	ctx   context.Context // bounds the whole transaction
	many  bool            // there are several operations
	now   time.Time
	skew  time.Duration // of now, relative to the clock of this process
	begun bool
	wrote bool // by the current operation; or the transaction is broken
	// effectsUntil is until when effects are written with their events; zero before the first.
	effectsUntil time.Time
	// impatient is set if the transaction must not wait long for the locks of others.
	impatient bool
	broken    error // why the database ended the transaction
	first     int64 // the next event's number when the transaction began
	claimed   []deliveryKey
	// Rows of all operations that are written together by Finish.
	accepting   []acceptance
	withEffects []acceptance
	finishing   []finishing
	counted     []counters
	changes     []change
	out         outgoing
	// independent is set for a query that concerns no row that was not sent yet.
	independent bool
	known       knownJobs
	projects    []string   // that exist after the commit
	wakes       []string   // queues that have due deliveries after the commit
	issues      []failures // failures that belong to issues
	charges     charges
	keys        keyChanges
	// eraseKey is readEraseKey's, once it was read.
	eraseKey     []byte
	eraseKeyRead bool
}

var _ writer.Tx = (*tx)(nil)

// statement is a prepared statement, or the connection if the driver prepares statements.
type statement interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
}

// Begin opens the transaction.
func (t *tx) Begin() error {
	if n := t.s.projectsErased.Load(); n != t.x.projectsErased {
		t.x.projectsErased = n
		clear(t.x.projects)
	}
	return t.db.begin(t)
}

// Next begins the next operation.
func (t *tx) Next() { t.wrote = false }

// Wrote reports whether the current operation has written anything.
func (t *tx) Wrote() bool { return t.wrote }

// Broken returns why the database ended the transaction.
func (t *tx) Broken() error { return t.broken }

// Finish writes the rows of all operations of the transaction.
func (t *tx) Finish() error {
	if err := t.acceptAll(); err != nil {
		return err
	}
	if err := t.finishAll(); err != nil {
		return err
	}
	if err := t.writeCounters(); err != nil {
		return err
	}
	if err := t.writeIssues(); err != nil {
		return err
	}
	if err := t.writeCharges(); err != nil {
		return err
	}
	if err := t.writeChanges(); err != nil {
		return fmt.Errorf("change log: %w", err)
	}
	return t.db.flush(t)
}

// Commit commits, unless nothing was written.
func (t *tx) Commit() (sent bool, err error) { return t.commit() }

// Rollback undoes the transaction.
func (t *tx) Rollback(error) {
	t.s.leases.drop(t.claimed)
	t.db.rollback(t)
}

// Committed notifies the workers and the other processes of the commit.
func (t *tx) Committed() {
	if committed := t.s.opt.Committed; committed != nil {
		committed()
	}
	if len(t.x.projects) > maxProjects {
		clear(t.x.projects)
	}
	for _, project := range t.projects {
		t.x.projects[project] = true
	}
	for _, queue := range t.wakes {
		t.s.signalWake(queue)
	}
	if len(t.changes) > 0 {
		t.s.signalChanged()
	}
	if len(t.wakes) > 0 || len(t.changes) > 0 {
		t.db.notify(t.wakes, len(t.changes) > 0)
	}
}

// fault classifies an error of the database. If it ends the transaction, that is so even if
// the operation ignores the error.
func (t *tx) fault(err error) error {
	if err == nil || errors.Is(err, sql.ErrNoRows) || errors.Is(err, errNotWritten) { // the connection is sound
		return err
	}
	err, ends := t.db.fault(t, err)
	if ends {
		t.wrote, t.broken = true, err
	}
	return err
}

// exec returns the number of rows that changed.
func (t *tx) exec(text string, args ...any) (int64, error) {
	n, err := t.db.exec(t, text, plainText(args))
	if n > 0 {
		t.wrote = true
	}
	return n, t.fault(err)
}

// row scans the first row of a query, or returns sql.ErrNoRows.
func (t *tx) row(dest []any, text string, args ...any) error {
	err := t.each(func(r Row) error {
		if err := r.Scan(dest...); err != nil {
			return err
		}
		return errEnough
	}, text, args...)
	switch {
	case errors.Is(err, errEnough):
		return nil
	case err == nil:
		return sql.ErrNoRows
	}
	return err
}

// errEnough ends a query after a row.
var errEnough = errors.New("enough rows")

// returning is row for a statement that writes.
func (t *tx) returning(dest []any, text string, args ...any) error {
	err := t.row(dest, text, args...)
	if err == nil {
		t.wrote = true
	}
	return err
}

func (t *tx) query(text string, args ...any) (*sql.Rows, error) {
	stmt, err := t.db.prepare(t, text)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(t.ctx, plainText(args)...)
	return rows, t.fault(err)
}

// each calls scan for every row of a query, until it returns an error.
func (t *tx) each(scan func(Row) error, text string, args ...any) error {
	var failed error
	err := t.db.each(t, func(r Row) error {
		failed = scan(r)
		return failed
	}, text, plainText(args))
	if failed != nil {
		return failed
	}
	return t.fault(err)
}

// execPrepared is exec of a database that runs statements through database/sql.
func execPrepared(t *tx, text string, args []any) (int64, error) {
	stmt, err := t.db.prepare(t, text)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// eachPrepared is each of such a database.
func eachPrepared(t *tx, scan func(Row) error, text string, args []any) error {
	stmt, err := t.db.prepare(t, text)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(t.ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// wake notifies the queue's dispatchers, after the commit, of due deliveries.
func (t *tx) wake(queue string) {
	t.s.leases.due(queue, 0)
	t.signal(queue)
}

// signal is wake for deliveries that insertDeliveries has written.
func (t *tx) signal(queue string) {
	if !slices.Contains(t.wakes, queue) {
		t.wakes = append(t.wakes, queue)
	}
}
