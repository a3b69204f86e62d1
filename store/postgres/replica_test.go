package postgres_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"gaff"
	"gaff/internal/eventually"
	"gaff/internal/pgtest"
	"gaff/internal/stale"
	"gaff/store/postgres"
)

// keys are the webhook ids of the newest events, with a space after each.
func keys(t *testing.T, st *postgres.Store, ctx context.Context) string {
	t.Helper()
	page, err := st.Events(ctx, gaff.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, ev := range page.Items {
		b.WriteString(ev.WebhookID + " ")
	}
	return b.String()
}

func openReplicated(t *testing.T, address, replica string) *postgres.Store {
	t.Helper()
	st, err := postgres.Open(t.Context(), address, postgres.Options{ReadAddress: replica, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func acceptKey(t *testing.T, st *postgres.Store, key string) {
	t.Helper()
	if _, err := accept(st, key, false); err != nil {
		t.Fatal(err)
	}
}

// Another database of the same server takes the place of the replica: it lists its own events.
func TestOnlyStaleReadsGoToTheReplica(t *testing.T) {
	t.Parallel()
	server, err := pgtest.NewServer(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	for _, name := range []string{"gaff", "other"} {
		if _, err := server.Database(name); err != nil {
			t.Fatal(err)
		}
	}
	acceptKey(t, openReplicated(t, server.URL(pgtest.Owner, "other"), ""), "theirs")
	st := openReplicated(t, server.URL(pgtest.Owner, "gaff"), server.URL(pgtest.Owner, "other"))
	acceptKey(t, st, "ours")
	eventually.True(t, "the list is the replica's", func() bool { return keys(t, st, stale.Allow(t.Context())) == "theirs " })
	if got := keys(t, st, t.Context()); got != "ours " {
		t.Errorf("a read that must be current lists %q", got)
	}
}

func TestReplicaThatIsBehindIsNotUsed(t *testing.T) {
	t.Parallel()
	standby, primary := twoHosts(t)
	if _, err := primary.Database("gaff"); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the standby has the database", func() bool {
		return onConn(standby.URL(pgtest.Owner, "gaff"), func(*pgx.Conn) error { return nil }) == nil
	})
	st := openReplicated(t, primary.URL(pgtest.Owner, "gaff"), standby.URL(pgtest.Owner, "gaff"))
	reads := func() bool {
		var n int
		err := standby.Admin(func(ctx context.Context, c *pgx.Conn) error {
			return c.QueryRow(ctx, `select count(*) from pg_stat_activity where application_name = 'gaff' and query like '%from event e%'`).Scan(&n)
		})
		return err == nil && n > 0
	}
	acceptKey(t, st, "a")
	eventually.True(t, "lists are read from the standby", func() bool {
		keys(t, st, stale.Allow(t.Context()))
		return reads()
	})
	if err := standby.Admin(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `select pg_wal_replay_pause()`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	acceptKey(t, st, "b")
	eventually.True(t, "lists are read from the primary while the standby is behind", func() bool {
		return keys(t, st, stale.Allow(t.Context())) == "b a "
	})
}
