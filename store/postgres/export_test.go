package postgres

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// WarnOfClock compares the database's clock with the one given.
func WarnOfClock(address string, log *slog.Logger, now func() time.Time) error {
	return onPlainConn(address, func(conn *sql.Conn) error { return warnOfClock(context.Background(), conn, log, now) })
}

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
