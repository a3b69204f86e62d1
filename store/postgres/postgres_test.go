package postgres_test

import (
	"database/sql"
	"testing"
	"time"

	"gaff/internal/pgtest"
	"gaff/internal/storetest"
	"gaff/store/postgres"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) (storetest.Open, storetest.Exec) {
		address := pgtest.URL(t)
		exec := func(t *testing.T, text string, args ...any) {
			t.Helper()
			db, err := sql.Open("pgx", address)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(text, args...); err != nil {
				t.Fatal(err)
			}
		}
		return func(t *testing.T) storetest.Store {
			st, err := postgres.Open(t.Context(), address, postgres.Options{
				MaxRejections: storetest.MaxRejections, MaxQuarantine: storetest.MaxQuarantine,
				Lease: time.Hour, // the suite claims with a time a minute ahead
			})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}, exec
	})
}
