package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"gaff/internal/eventually"
	"gaff/internal/pgtest"
	"gaff/store/postgres"
)

func TestExclusiveProcesses(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	try := func(exclusive bool) (*postgres.Store, error) {
		return postgres.Open(t.Context(), address, postgres.Options{Lease: lease, Exclusive: exclusive})
	}
	first, err := try(true)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := try(true); err == nil || !strings.Contains(err.Error(), "GAFF_MEDIA_URL") {
		if err == nil {
			second.Close()
		}
		t.Errorf("a second one: %v, want an error about GAFF_MEDIA_URL", err)
	}
	if other, err := try(false); err != nil {
		t.Errorf("one that shares its files: %v", err)
	} else if err := other.Close(); err != nil {
		t.Error(err)
	}
	held := func() (pid int) {
		_ = onConn(address, func(c *pgx.Conn) error {
			return c.QueryRow(context.Background(), `select pid from pg_locks where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())`).Scan(&pid)
		})
		return pid
	}
	before := held()
	if err := onConn(address, func(c *pgx.Conn) error {
		_, err := c.Exec(context.Background(), `select pg_terminate_backend($1)`, before)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the lock is taken again after its connection was lost", func() bool { now := held(); return now != 0 && now != before })
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := try(true)
	if err != nil {
		t.Fatalf("after the first was closed: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
