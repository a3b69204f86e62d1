package postgres_test

import (
	"testing"
	"time"

	"gaff/internal/pgtest"
	"gaff/internal/storetest"
	"gaff/store/postgres"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Open {
		address := pgtest.URL(t)
		return func(t *testing.T) storetest.Store {
			st, err := postgres.Open(t.Context(), address, postgres.Options{
				MaxRejections: storetest.MaxRejections, MaxQuarantine: storetest.MaxQuarantine,
				Lease: time.Hour, // the suite claims as of a minute later
			})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
	})
}
