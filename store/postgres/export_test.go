package postgres

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// WarnOfClock compares the database's clock with the one given.
func WarnOfClock(address string, log *slog.Logger, now func() time.Time) error {
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
	return warnOfClock(context.Background(), conn, log, now)
}
