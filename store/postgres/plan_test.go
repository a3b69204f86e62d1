package postgres_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gaff"
	"gaff/internal/eventually"
	"gaff/internal/id"
	"gaff/internal/pgtest"
	"gaff/store/postgres"
)

// filled creates an inbox of many events, one a second until now, most of them done.
const filled = `
	insert into event (seq, source, type, webhook_id, dedupe, correlation, handle, status, unhandled, open, dead, received_at, processed_at, updated_at, parent_id, hop)
	select i, 'source-' || i %% 5, 'type-' || i %% 3, 'wh-' || i, 'wh-' || i || E'\ndone', '', '', case when i > %[1]d - 200 then 0 when i %% 50 = 0 then 2 else 1 end, 0,
		case when i > %[1]d - 200 then 1 else 0 end, 0, %[2]d + i * 1000000::bigint, case when i > %[1]d - 200 then null else %[2]d + i * 1000000::bigint + 5000 end,
		%[2]d + i * 1000000::bigint, '', 0
	from generate_series(1, %[1]d) i;
	insert into payload (seq, body) select i, convert_to('{"n":' || i || ',"pad":"' || repeat('x', 100) || '"}', 'UTF8') from generate_series(1, %[1]d) i;
	insert into delivery (seq, n, handler, state, attempts, max_attempts, run_at, created_at, updated_at)
	select i, 1, 'h', case when i > %[1]d - 200 then 0 when i %% 50 = 0 then 4 else 3 end, 1, 8, %[2]d + i * 1000000::bigint, 0, 0 from generate_series(1, %[1]d) i;
	insert into attempt (seq, n, number, outcome, started_at, duration, error, detail) select i, 1, 1, 'succeeded', 0, 0, '', '' from generate_series(1, %[1]d) i;
	insert into tally (source, minute, received, first_seq, last_seq)
	select 'source-' || i %% 5, (%[2]d / 1000000 + i) / 60, count(*), min(i), max(i) from generate_series(1, %[1]d) i group by 1, 2;
	select setval('event_seq', %[1]d);
	analyze`

// Frequent queries cost the same at any length of the log: they scan neither a table nor an
// index.
func TestQueriesTouchFewRows(t *testing.T) {
	t.Parallel()
	const events = 30_000
	address := pgtest.URL(t)
	start := time.Now().Add(-events * time.Second).Truncate(time.Second)
	if err := onConn(address, func(c *pgx.Conn) error {
		_, err := c.Exec(context.Background(), fmt.Sprintf(filled, events, start.UnixMicro()))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	eventID := func(i int) string { return id.OfEvent(start.Add(time.Duration(i)*time.Second), int64(i)) }
	first := open(t, address)
	middle, err := first.Events(ctx, gaff.EventFilter{Since: start, Until: start.Add(events / 2 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	success, failed, pending := gaff.StatusSuccess, gaff.StatusError, gaff.StatusPending
	dead, due := gaff.StateDead, gaff.StatePending
	list := func(f gaff.EventFilter) func(*postgres.Store) (int, error) {
		return func(st *postgres.Store) (int, error) {
			page, err := st.Events(ctx, f)
			return len(page.Items), err
		}
	}
	logs := func(q gaff.LogQuery) func(*postgres.Store) (int, error) {
		q.Limit = 50
		return func(st *postgres.Store) (int, error) {
			page, _, err := st.Logs(ctx, q)
			return len(page), err
		}
	}
	deliveries := func(f gaff.DeliveryFilter) func(*postgres.Store) (int, error) {
		return func(st *postgres.Store) (int, error) {
			page, err := st.Deliveries(ctx, f)
			return len(page.Items), err
		}
	}
	tests := map[string]struct {
		ask  func(*postgres.Store) (int, error)
		want int
		rows int64 // of tables and indexes that may be read
	}{
		"newest":                    {list(gaff.EventFilter{}), 50, 1000},
		"of a source":               {list(gaff.EventFilter{Source: "source-2"}), 50, 1500},
		"failed of all":             {list(gaff.EventFilter{Status: &failed}), 50, 3000},
		"failed of a source":        {list(gaff.EventFilter{Source: "source-0", Status: &failed}), 50, 1500},
		"pending of a source":       {list(gaff.EventFilter{Source: "source-1", Status: &pending}), 40, 1500},
		"page in the middle":        {list(gaff.EventFilter{Source: "source-3", Cursor: gaff.Cursor{After: middle.Next}}), 50, 1500},
		"a minute long ago":         {list(gaff.EventFilter{Since: start.Add(time.Hour), Until: start.Add(time.Hour + time.Minute)}), 50, 3000},
		"by webhook id":             {list(gaff.EventFilter{WebhookID: "wh-77"}), 1, 1000},
		"logs of source and status": {logs(gaff.LogQuery{Source: "source-1", Status: &success}), 50, 14000}, // they are counted
		"logs of all that failed":   {logs(gaff.LogQuery{Status: &failed}), 50, 4000},
		"logs that wait":            {logs(gaff.LogQuery{Status: &pending}), 50, 2000},
		"dead deliveries":           {deliveries(gaff.DeliveryFilter{State: &dead}), 50, 1000},
		"waiting deliveries":        {deliveries(gaff.DeliveryFilter{State: &due}), 50, 2000},
		"page of a replay": {func(st *postgres.Store) (int, error) {
			evs, _, err := st.ReplayPage(ctx, gaff.ReplayQuery{
				Source: "source-2", Status: &success, Missing: "crm", After: events / 2, UpTo: events, Limit: 25,
			})
			return len(evs), err
		}, 25, 1500},
		"one event": {func(st *postgres.Store) (int, error) {
			d, err := st.Event(ctx, eventID(777))
			return len(d.Attempts), err
		}, 1, 100},
		"writing": {func(st *postgres.Store) (int, error) {
			for i := range 20 {
				if _, err := accept(st, fmt.Sprint("plan-", i), false); err != nil {
					return 0, err
				}
			}
			work, err := st.Claim(ctx, gaff.ClaimParams{Now: time.Now(), Limit: 20})
			for _, w := range work {
				if err == nil {
					err = apply(st, w)
				}
			}
			if _, err := accept(st, "wh-900\ndone", false); err != nil {
				return 0, err
			}
			return len(work), err
		}, 20, 8000},
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) { // the one that writes is the last
		tt := tests[name]
		before := touched(t, address)
		st, err := postgres.Open(ctx, address, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		n, err := tt.ask(st)
		if err != nil || n != tt.want {
			t.Errorf("%s: %d, want %d (%v)", name, n, tt.want, err)
		}
		if err := st.Close(); err != nil { // which publishes its statistics
			t.Fatal(err)
		}
		after := touched(t, address)
		for table, is := range after {
			was := before[table]
			// The first query of a new table scans it.
			if is.scans > was.scans && is.rows > 100 {
				t.Errorf("%s: the table %s was scanned", name, table)
			}
		}
		total := after["all"].touched - before["all"].touched
		if total > tt.rows {
			t.Errorf("%s: %d rows were read, want at most %d", name, total, tt.rows)
		}
	}
}

type touches struct{ scans, rows, touched int64 }

// touched returns the server's counters after all other connections have ended: each adds its
// counts at its end, some time after the client has closed it.
func touched(t *testing.T, address string) map[string]touches {
	t.Helper()
	all := map[string]touches{}
	if err := onConn(address, func(c *pgx.Conn) error {
		eventually.True(t, "all connections are closed", func() bool {
			var others int
			err := c.QueryRow(context.Background(), `select count(*) from pg_stat_activity
				where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`).Scan(&others)
			return err == nil && others == 0
		})
		rows, err := c.Query(context.Background(), `select relname, seq_scan, n_live_tup,
			seq_tup_read + coalesce(idx_tup_fetch, 0) + coalesce((select sum(idx_tup_read)::bigint from pg_stat_user_indexes i where i.relid = s.relid), 0)
			from pg_stat_user_tables s where relname in ('event', 'payload', 'delivery', 'attempt')`)
		if err != nil {
			return err
		}
		var total int64
		for rows.Next() {
			var name string
			var n touches
			if err := rows.Scan(&name, &n.scans, &n.rows, &n.touched); err != nil {
				return err
			}
			all[name] = n
			total += n.touched
		}
		all["all"] = touches{touched: total}
		return rows.Err()
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
