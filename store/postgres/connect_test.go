package postgres_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gaff/internal/eventually"
	"gaff/internal/pgtest"
	"gaff/store/postgres"
)

func TestPoolerInTransactionModeIsRefused(t *testing.T) {
	t.Parallel()
	for name, more := range map[string][]string{
		"newest connection first": nil,
		"round robin":             {"server_round_robin = 1", "min_pool_size = 5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := pgtest.Pooler(t, pgtest.Empty(t), "transaction", more...)
			refused := func(what string, err error) {
				t.Helper()
				if err == nil || !strings.Contains(err.Error(), "pool_mode = session") {
					t.Errorf("%s: %v, want an error that asks for session mode", what, err)
				}
			}
			st, err := postgres.Open(t.Context(), address, postgres.Options{})
			if err == nil {
				st.Close()
			}
			refused("open", err)
			_, err = postgres.Reader(t.Context(), address)
			refused("reader", err)
		})
	}
}

func TestPoolerInTransactionModeIsRefusedWhileOthersUseIt(t *testing.T) {
	t.Parallel()
	address := pgtest.Pooler(t, pgtest.Empty(t), "transaction")
	for range 4 {
		go func() {
			_ = onConn(address+"&default_query_exec_mode=simple_protocol", func(c *pgx.Conn) error {
				for t.Context().Err() == nil {
					if _, err := c.Exec(t.Context(), `select pg_sleep(0.001)`); err != nil {
						return err
					}
				}
				return nil
			})
		}()
	}
	if st, err := postgres.Open(t.Context(), address, postgres.Options{}); err == nil || !strings.Contains(err.Error(), "pool_mode = session") {
		if err == nil {
			st.Close()
		}
		t.Errorf("open: %v, want an error that asks for session mode", err)
	}
}

func TestPoolerInSessionModeWorks(t *testing.T) {
	t.Parallel()
	st := open(t, pgtest.Pooler(t, pgtest.URL(t), "session"))
	if _, err := accept(st, "through the pooler", true); err != nil {
		t.Error(err)
	}
}

// A pooler that is switched to transaction mode later breaks prepared statements: senders get 503.
func TestForeignPreparedStatementIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"42P05", "26000"} {
		err := postgres.Fault(code)
		if !strings.Contains(err.Error(), "session mode") || !strings.Contains(err.Error(), "unavailable") {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// twoHosts starts a PostgreSQL server and its synchronous standby.
func twoHosts(t *testing.T) (standby, primary *pgtest.Server) {
	t.Helper()
	start := func(settings ...string) *pgtest.Server {
		s, err := pgtest.NewServer(false, settings...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	primary = start()
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Close)
	return standby, primary
}

func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	standby, primary := twoHosts(t)
	if _, err := primary.Database("gaff"); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the standby has the database", func() bool {
		return onConn(standby.URL(pgtest.Owner, "gaff"), func(c *pgx.Conn) error { return nil }) == nil
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	ln.Close()
	address := func(query string, hosts ...string) string {
		return fmt.Sprintf("postgres://%s@%s/gaff?sslmode=disable%s", pgtest.Owner, strings.Join(hosts, ","), query)
	}
	for name, at := range map[string]string{
		"primary is found behind a standby":      address("", standby.Addr, primary.Addr),
		"primary is found behind a closed port":  address("", closed, primary.Addr),
		"target_session_attrs of the address":    address("&target_session_attrs=primary", standby.Addr, closed, primary.Addr),
		"ports in the query":                     fmt.Sprintf("postgres:///gaff?host=127.0.0.1,127.0.0.1&port=%s,%s&user=%s&sslmode=disable", port(t, standby.Addr), port(t, primary.Addr), pgtest.Owner),
		"one host may be named twice (sslmode)":  strings.Replace(address("", primary.Addr), "disable", "prefer", 1),
		"password with characters of an address": strings.Replace(address("", standby.Addr, primary.Addr), "@", ":a%40b%2Cc%3Ad@", 1),
	} {
		t.Run(name, func(t *testing.T) {
			st, err := postgres.Open(t.Context(), at, postgres.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			if _, err := accept(st, name, false); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("no primary among them", func(t *testing.T) {
		st, err := postgres.Open(t.Context(), address("", standby.Addr, closed), postgres.Options{})
		if err == nil {
			st.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "accepts writes") {
			t.Errorf("%v, want an error about writes", err)
		}
	})
	t.Run("standby alone", func(t *testing.T) {
		st, err := postgres.Open(t.Context(), address("", standby.Addr), postgres.Options{})
		if err == nil {
			st.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "standby") {
			t.Errorf("%v, want an error about a standby", err)
		}
	})
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestAddressErrorsDoNotShowThePassword(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"postgres://gaff:hunter2@a:1,b:x/gaff", "postgres://gaff:hunter2@a/gaff?sslmode=nonsense", "postgres://gaff:hunter2@a,b/gaff?target_session_attrs=nonsense",
	} {
		_, err := postgres.Open(t.Context(), address, postgres.Options{})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url.QueryEscape(address), err)
		}
	}
}

// A commit that stopped waiting for the synchronous standby is not acknowledged: a failover would
// lose it.
func TestUnreplicatedCommitIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	standby, primary := twoHosts(t)
	address, err := primary.Database("gaff")
	if err != nil {
		t.Fatal(err)
	}
	st := open(t, address)
	standby.Kill()
	// A commit may also end by its own time limit; then the webhook comes again.
	for attempt := 0; ; attempt++ {
		done := make(chan error, 1)
		go func() {
			_, err := accept(st, fmt.Sprint("not replicated ", attempt), true)
			done <- err
		}()
		err := cancelCommits(t, primary, done)
		if err == nil {
			t.Error("a commit that did not reach the standby is acknowledged")
		}
		if err == nil || strings.Contains(err.Error(), "warning") {
			break
		}
		if attempt == 20 {
			t.Fatalf("no commit was cancelled: %v", err)
		}
	}
	// The store's end must not wait.
	if err := primary.Admin(func(ctx context.Context, c *pgx.Conn) error {
		for _, text := range []string{`alter system set synchronous_standby_names = ''`, `select pg_reload_conf()`} {
			if _, err := c.Exec(ctx, text); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// cancelCommits cancels commits that wait for the standby until done, and returns the outcome.
func cancelCommits(t *testing.T, primary *pgtest.Server, done <-chan error) (outcome error) {
	t.Helper()
	if err := primary.Admin(func(ctx context.Context, c *pgx.Conn) error {
		for {
			select {
			case outcome = <-done:
				return nil
			case <-time.After(10 * time.Millisecond):
			}
			if _, err := c.Exec(ctx, `select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep' and query = 'commit' and usename = $1`, pgtest.Owner); err != nil {
				return err
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	return outcome
}
