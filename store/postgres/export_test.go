package postgres

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// WarnOfClock compares the database's clock with another one.
func WarnOfClock(address string, log *slog.Logger, now func() time.Time) error {
	return onPlainConn(address, func(conn *sql.Conn) error {
		c := newClock(log)
		c.wall = now
		err := c.read(context.Background(), conn)
		c.compare()
		return err
	})
}

// SkewClock makes the database's clock seem ahead by a duration.
func SkewClock(o *Options, by time.Duration) { o.skew = by }

// Trace has a tracer called for each statement.
func Trace(o *Options, t pgx.QueryTracer) { o.tracer = t }

// CommitNothing commits on a connection without a transaction.
func CommitNothing(address string) error {
	return onPlainConn(address, func(conn *sql.Conn) error { return commit(context.Background(), conn) })
}

func onPlainConn(address string, fn func(*sql.Conn) error) error {
	cfg, err := parse(address)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	conn, err := db.Conn(context.Background())
	if err != nil {
		return err
	}
	defer conn.Close()
	return fn(conn)
}

// Fault classifies an error of the server with the code.
func Fault(code string) error { return fault(&pgconn.PgError{Code: code, Message: "from the server"}) }
