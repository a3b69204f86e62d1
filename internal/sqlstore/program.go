package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"gaff"
	"gaff/jobs"
)

// ProgramTx is a transaction in which a program that embeds gaff changes its own tables: the Tx of
// [Store].Apply and [Store].Write has these methods too.
type ProgramTx interface {
	jobs.Tx
	// ExecSQL runs a statement of the program, and returns how many rows it changed.
	ExecSQL(text string, args ...any) (int64, error)
	// EachSQL calls scan for each row of a query of the program, until it returns an error.
	EachSQL(scan func(Row) error, text string, args ...any) error
}

var _ ProgramTx = (*effects)(nil)

func (e *effects) ExecSQL(text string, args ...any) (int64, error) {
	values, err := driverValues(args)
	if err != nil {
		return 0, err
	}
	n, err := e.exec(text, values...)
	e.wrote = true // also a statement that changed no row, such as one that creates a table
	return n, err
}

func (e *effects) EachSQL(scan func(Row) error, text string, args ...any) error {
	values, err := driverValues(args)
	if err != nil {
		return err
	}
	e.wrote = true // a query may write, too
	return e.each(scan, text, values...)
}

// driverValues converts arguments as database/sql does.
func driverValues(args []any) ([]any, error) {
	values := make([]any, len(args))
	for i, arg := range args {
		v, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		values[i] = v
	}
	return values, nil
}

// ForeignConn runs statements in a transaction that a program began on PostgreSQL, in the database of
// the store.
type ForeignConn interface {
	Exec(ctx context.Context, text string, args ...any) (int64, error)
	Each(ctx context.Context, scan func(Row) error, text string, args ...any) error
}

// ErrNotPostgreSQL is returned for a foreign transaction if the store is SQLite, whose file belongs to
// one process and one writer.
var ErrNotPostgreSQL = errors.New("a transaction of the program's own needs PostgreSQL; on SQLite use the handle of gaff's transaction")

// Within runs fn over a transaction of the program, which commits or rolls it back afterwards. If
// Within returns an error, the program must roll back. With a lease, the delivery is finished as
// succeeded in the transaction; the program calls EndLease after its commit.
//
// The stream does not show the changes of a transaction that stays open for more than ten seconds.
func (s *Store) Within(ctx context.Context, conn ForeignConn, l *gaff.Lease, fn func(ProgramTx) error) error {
	d, ok := s.db.(*PostgreSQL)
	if !ok {
		return ErrNotPostgreSQL
	}
	x := newConn(s)
	if err := one(ctx, conn, &x.shard, `select nextval('shard_seq')`); err != nil {
		return s.opt.Dialect.Fault(err)
	}
	t := x.NewTx(ctx, false)
	t.db, t.begun = &foreign{PostgreSQL: d.through(conn), conn: conn}, true
	t.startClock(d.Now())
	if err := fn(&effects{t}); err != nil {
		return err
	}
	if l != nil {
		t.finish(*l, gaff.Outcome{
			State: gaff.StateSucceeded,
			Attempt: gaff.Attempt{
				Outcome: gaff.AttemptSucceeded, StartedAt: l.StartedAt, Duration: t.now.Sub(l.StartedAt),
			},
		})
	}
	if err := t.Finish(); err != nil {
		return err
	}
	if t.broken != nil {
		return t.broken
	}
	return d.NotifyWithin(t.wakes, func(text string, args ...any) error {
		_, err := conn.Exec(ctx, text, args...)
		return s.opt.Dialect.Fault(err)
	})
}

// EndLease forgets the lease of a delivery that a foreign transaction finished and committed.
func (s *Store) EndLease(l gaff.Lease) { s.leases.endAll([]gaff.Lease{l}) }

func one(ctx context.Context, conn ForeignConn, dest any, text string, args ...any) error {
	found := false
	err := conn.Each(ctx, func(r Row) error { found = true; return r.Scan(dest) }, text, args...)
	if err == nil && !found {
		err = sql.ErrNoRows
	}
	return err
}

// through returns the same database with the statements sent to a foreign transaction.
func (d *PostgreSQL) through(conn ForeignConn) *PostgreSQL {
	through := *d
	through.Pipeline = func(ctx context.Context, _ *sql.Conn, statements []Statement) (changed []int64, err error) {
		for _, st := range statements {
			var n int64
			if st.Scan == nil {
				n, err = conn.Exec(ctx, st.Text, st.Args...)
			} else {
				err = conn.Each(ctx, func(r Row) error { n++; return st.Scan(r) }, st.Text, st.Args...)
			}
			if err != nil {
				return nil, fmt.Errorf("%.40s: %w", st.Text, err)
			}
			changed = append(changed, n)
		}
		return changed, nil
	}
	return &through
}

// foreign is PostgreSQL within a transaction that the program ends.
type foreign struct {
	*PostgreSQL
	conn ForeignConn
}

func (f *foreign) ready(t *tx) error {
	if t.broken != nil {
		return t.broken
	}
	if t.independent {
		return nil
	}
	return f.flush(t)
}

func (f *foreign) exec(t *tx, text string, args []any) (int64, error) {
	if err := f.ready(t); err != nil {
		return 0, err
	}
	return f.conn.Exec(t.ctx, text, args...)
}

func (f *foreign) each(t *tx, scan func(Row) error, text string, args []any) error {
	if err := f.ready(t); err != nil {
		return err
	}
	return f.conn.Each(t.ctx, scan, text, args...)
}

func (*foreign) prepare(*tx, string) (statement, error) {
	return nil, errors.New("this operation is not possible in a transaction of the program's own")
}

// writeChange appends to the entry of an earlier call in the same transaction.
func (f *foreign) writeChange(t *tx, items []byte) error {
	t.out.statements = append(t.out.statements, Statement{
		Text: `insert into change (seq, at, items) values (pg_current_xact_id()::text::bigint, $1, $2)
			on conflict (seq) do update set items = convert_to((convert_from(change.items, 'UTF8')::jsonb ||
				convert_from(excluded.items, 'UTF8')::jsonb)::text, 'UTF8')`,
		Args: []any{micros(t.now), items},
	})
	t.wrote = true
	return nil
}

func (*foreign) commit(*tx) (sent bool, err error) { return false, nil }
func (*foreign) rollback(*tx)                      {}
