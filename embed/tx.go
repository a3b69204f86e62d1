package embed

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"gaff"
	"gaff/internal/sqlstore"
	"gaff/jobs"
)

// Tx is a transaction in the database of the gateway, with the program's own tables beside gaff's.
type Tx struct {
	g  *Gateway
	tx sqlstore.ProgramTx
}

// Row is a row of a query.
type Row interface{ Scan(dest ...any) error }

// Exec runs a statement on the program's own tables, and returns how many rows it changed. Parameters
// are written $1, $2 on both databases.
func (t *Tx) Exec(query string, args ...any) (int64, error) { return t.tx.ExecSQL(query, args...) }

// Each calls scan for each row of a query, until it returns an error.
func (t *Tx) Each(scan func(Row) error, query string, args ...any) error {
	return t.tx.EachSQL(func(r sqlstore.Row) error { return scan(r) }, query, args...)
}

// QueryRow scans the first row of a query into dest, or returns sql.ErrNoRows.
func (t *Tx) QueryRow(dest []any, query string, args ...any) error {
	done := errors.New("one row is enough")
	err := t.Each(func(r Row) error {
		if err := r.Scan(dest...); err != nil {
			return err
		}
		return done
	}, query, args...)
	switch {
	case errors.Is(err, done):
		return nil
	case err == nil:
		return sql.ErrNoRows
	}
	return err
}

// Submit writes a job down, which is submitted to its provider after the commit. See
// [jobs.Service.Enqueue].
func (t *Tx) Submit(ctx context.Context, s jobs.Submission) (j *jobs.Job, created bool, err error) {
	return t.g.Jobs().Enqueue(ctx, t.tx, s)
}

// Emit adds an event of the program, which its handlers process after the commit. An event with a known
// DedupeKey adds nothing.
func (t *Tx) Emit(ctx context.Context, ev gaff.Event) error {
	if ev.Source == "" || ev.Source == gaff.InternalSource || ev.Type == "" {
		return fmt.Errorf("emit %s:%s: %w: a source other than gaff's own, and a type, are needed", ev.Source, ev.Type, gaff.ErrInvalid)
	}
	return t.tx.Emit(ctx, &ev, t.g.Route(&ev))
}

// Write runs fn in one transaction of the gateway's own. On SQLite all writing waits for it, and on
// both databases fn may be called more than once: it changes nothing outside tx and does not block.
func (g *Gateway) Write(ctx context.Context, fn func(tx *Tx) error) error {
	return g.parts.Store().Write(ctx, func(tx jobs.Tx) error { return fn(g.program(tx)) })
}

func (g *Gateway) program(tx jobs.Tx) *Tx { return &Tx{g, tx.(sqlstore.ProgramTx)} }

// Effects makes a handler whose changes and the success of its delivery are one commit: they happen
// exactly once. What holds for the fn of [Gateway.Write] holds for f.
func (g *Gateway) Effects(f func(ctx context.Context, tx *Tx, ev *gaff.Event) error) gaff.Handler {
	return gaff.HandlerFunc(func(ctx context.Context, ev *gaff.Event) error {
		lease, ok := gaff.LeaseFrom(ctx)
		if !ok {
			return gaff.Discard(errors.New("the handler was called outside a delivery"))
		}
		if err := g.parts.Store().Apply(ctx, lease, func(tx jobs.Tx) error { return f(ctx, g.program(tx), ev) }); err != nil {
			return err
		}
		return gaff.Finished
	})
}

// ErrNotPostgreSQL is returned by [Gateway.Within] on SQLite.
var ErrNotPostgreSQL = sqlstore.ErrNotPostgreSQL

// Conn is a transaction that the program began; [PGX] and [SQL] make one.
type Conn = sqlstore.ForeignConn

// PGX is a transaction of pgx.
func PGX(tx pgx.Tx) Conn { return pgxConn{tx} }

type pgxConn struct{ tx pgx.Tx }

func (c pgxConn) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	tag, err := c.tx.Exec(ctx, text, args...)
	return tag.RowsAffected(), err
}

func (c pgxConn) Each(ctx context.Context, scan func(sqlstore.Row) error, text string, args ...any) error {
	rows, err := c.tx.Query(ctx, text, args...)
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

// SQL is a transaction of database/sql with the driver of pgx (github.com/jackc/pgx/v5/stdlib).
func SQL(tx *sql.Tx) Conn { return sqlConn{tx} }

type sqlConn struct{ tx *sql.Tx }

func (c sqlConn) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	res, err := c.tx.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (c sqlConn) Each(ctx context.Context, scan func(sqlstore.Row) error, text string, args ...any) error {
	rows, err := c.tx.QueryContext(ctx, text, args...)
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

// Within runs fn over a transaction of the program on PostgreSQL, in the gateway's database and schema:
// jobs and events that it adds exist when the program commits, and not if it rolls back. If Within
// returns an error, the program must roll back. The transaction should be short: after ten seconds the
// stream of changes goes on without it. On SQLite use [Gateway.Write].
func (g *Gateway) Within(ctx context.Context, conn Conn, fn func(tx *Tx) error) error {
	return g.parts.Store().Within(ctx, conn, nil, func(tx sqlstore.ProgramTx) error { return fn(&Tx{g, tx}) })
}

// Beginner begins transactions of pgx, such as a pool.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// EffectsPGX is [Gateway.Effects] with a transaction of the program's own pool, in the gateway's
// database: db is that transaction, and tx the same for gaff's operations.
func (g *Gateway) EffectsPGX(pool Beginner, f func(ctx context.Context, db pgx.Tx, tx *Tx, ev *gaff.Event) error) gaff.Handler {
	return gaff.HandlerFunc(func(ctx context.Context, ev *gaff.Event) error {
		db, err := pool.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = db.Rollback(context.WithoutCancel(ctx)) }() // nothing after a commit
		return g.finishWithin(ctx, PGX(db), func() error { return db.Commit(ctx) }, func(tx *Tx) error { return f(ctx, db, tx, ev) })
	})
}

// EffectsSQL is [Gateway.EffectsPGX] for database/sql with the driver of pgx.
func (g *Gateway) EffectsSQL(pool *sql.DB, f func(ctx context.Context, db *sql.Tx, tx *Tx, ev *gaff.Event) error) gaff.Handler {
	return gaff.HandlerFunc(func(ctx context.Context, ev *gaff.Event) error {
		db, err := pool.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = db.Rollback() }()
		return g.finishWithin(ctx, SQL(db), db.Commit, func(tx *Tx) error { return f(ctx, db, tx, ev) })
	})
}

// finishWithin runs a handler in a transaction that finishes its delivery.
func (g *Gateway) finishWithin(ctx context.Context, conn Conn, commit func() error, fn func(*Tx) error) error {
	lease, ok := gaff.LeaseFrom(ctx)
	if !ok {
		return gaff.Discard(errors.New("the handler was called outside a delivery"))
	}
	st := g.parts.Store()
	if err := st.Within(ctx, conn, &lease, func(tx sqlstore.ProgramTx) error { return fn(&Tx{g, tx}) }); err != nil {
		return err
	}
	if err := commit(); err != nil {
		return err
	}
	st.EndLease(lease)
	return gaff.Finished
}
