package pgtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"gaff/internal/migrate"
)

// shared is the server of all tests of one process.
var shared struct {
	once     sync.Once
	server   *Server // kept, for its pipe closes with it
	base     string  // of a database from which others can be made
	template string
	err      error
	made     atomic.Int64
}

// URL makes a database with the current schema for the test, and returns its address. It
// is dropped with the test.
func URL(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.err = prepare() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	name := fmt.Sprintf("gaff_test_%d_%d", os.Getpid(), shared.made.Add(1))
	return clone(t, shared.base, name, shared.template)
}

// Empty is URL for a database without any table.
func Empty(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.err = prepare() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return clone(t, shared.base, fmt.Sprintf("gaff_test_%d_%d", os.Getpid(), shared.made.Add(1)), "template0")
}

func clone(t testing.TB, base, name, template string) string {
	t.Helper()
	if err := connect(base, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `create database `+name+` template `+template)
		return err
	}); err != nil {
		t.Fatalf("make a test database: %v", err)
	}
	t.Cleanup(func() {
		if err := connect(base, func(ctx context.Context, c *pgx.Conn) error {
			_, err := c.Exec(ctx, `drop database if exists `+name+` with (force)`)
			return err
		}); err != nil {
			t.Logf("drop the test database: %v", err)
		}
	})
	return database(base, name)
}

// database is the address with another database in it.
func database(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	u.Path = "/" + name
	return u.String()
}

func prepare() error {
	shared.base = os.Getenv("GAFF_TEST_POSTGRES_URL")
	if shared.base == "" {
		s, err := NewServer(false) // it ends with this process
		if err != nil {
			return err
		}
		shared.server = s
		shared.base = s.URL(Owner, "postgres")
	}
	steps, err := migrate.Steps("postgres")
	if err != nil {
		return err
	}
	hash := sha256.New()
	for _, step := range steps {
		fmt.Fprintln(hash, step.Name, step.SQL)
	}
	shared.template = "gaff_template_" + hex.EncodeToString(hash.Sum(nil)[:8])
	// Test processes that share a server make one template; the lock is one for the server.
	return connect(shared.base, func(ctx context.Context, c *pgx.Conn) error {
		if _, err := c.Exec(ctx, `select pg_advisory_lock(7261662)`); err != nil {
			return err
		}
		var there bool
		if err := c.QueryRow(ctx, `select exists (select 1 from pg_database where datname = $1)`, shared.template).Scan(&there); err != nil || there {
			return err
		}
		making := shared.template + "_making"
		for _, text := range []string{`drop database if exists ` + making, `create database ` + making + ` template template0`} {
			if _, err := c.Exec(ctx, text); err != nil {
				return err
			}
		}
		if err := migrated(ctx, database(shared.base, making)); err != nil {
			return err
		}
		_, err := c.Exec(ctx, `alter database `+making+` rename to `+shared.template)
		return err
	})
}

func migrated(ctx context.Context, address string) error {
	db, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = migrate.Run(ctx, conn, "postgres", nil)
	return err
}
