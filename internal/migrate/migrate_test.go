package migrate_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite"

	"gaff/internal/migrate"
	"gaff/internal/pgtest"
)

func conn(t *testing.T, driver, address string) *sql.Conn {
	t.Helper()
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// lines reads a query of one column.
func lines(t *testing.T, c *sql.Conn, text string) (all []string) {
	t.Helper()
	rows, err := c.QueryContext(context.Background(), text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// created returns a connection to a new database.
func created(t *testing.T, dialect string) *sql.Conn {
	t.Helper()
	if dialect == "postgres" {
		return conn(t, "pgx", pgtest.Empty(t))
	}
	return conn(t, "sqlite", t.TempDir()+"/gaff.db")
}

func migrated(t *testing.T, dialect string) *sql.Conn {
	t.Helper()
	c := created(t, dialect)
	if _, err := migrate.Run(t.Context(), c, dialect, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// Both databases have the same steps, tables, columns, keys and indexes.
func TestParity(t *testing.T) {
	t.Parallel()
	lite, pg := migrated(t, "sqlite"), migrated(t, "postgres")
	for what, queries := range map[string][2]string{
		"steps": {`select name from schema_version`, `select name from schema_version`},
		"columns, with whether they may be null": {
			`select m.name || '.' || c.name || ' ' || case lower(c.type) when 'blob' then 'bytes' else lower(c.type) end || ' ' ||
				(c."notnull" = 0 and not (c.pk > 0)) from sqlite_schema m join pragma_table_info(m.name) c where m.type = 'table'`,
			`select table_name || '.' || column_name || ' ' || case when data_type in ('bigint', 'integer', 'smallint') then 'integer'
				when data_type = 'bytea' then 'bytes' else data_type end || ' ' || case is_nullable when 'YES' then 1 else 0 end
				from information_schema.columns join information_schema.tables using (table_schema, table_name)
				where table_schema = 'public' and table_type = 'BASE TABLE'`,
		},
		"keys and indexes": {
			`select m.name || ' (' || (select group_concat(name, ', ') from (select name from pragma_table_info(m.name) where pk > 0 order by pk)) || ')'
				from sqlite_schema m where m.type = 'table'
			 union select i.tbl_name || ' ' || case when i.name like 'sqlite_auto%' then 'unique' else i.name end from sqlite_schema i
				join pragma_index_list(i.tbl_name) l on l.name = i.name where i.type = 'index' and l.origin <> 'pk'`,
			`select c.relname || ' (' || (select string_agg(a.attname, ', ' order by k.n) from unnest(i.indkey) with ordinality k(att, n)
				join pg_attribute a on a.attrelid = c.oid and a.attnum = k.att) || ')' from pg_index i join pg_class c on c.oid = i.indrelid
				join pg_namespace s on s.oid = c.relnamespace where i.indisprimary and s.nspname = 'public'
			 union select c.relname || ' ' || case when x.oid is null then n.relname else 'unique' end from pg_index i
				join pg_class c on c.oid = i.indrelid join pg_class n on n.oid = i.indexrelid
				left join pg_constraint x on x.conindid = i.indexrelid join pg_namespace s on s.oid = c.relnamespace
				where not i.indisprimary and s.nspname = 'public'`,
		},
	} {
		// On SQLite the keys of events are in a table of their own, rather than in an index.
		keys := func(line string) bool { return strings.HasPrefix(line, "event_key") || line == "event unique" }
		if diff := cmp.Diff(slices.DeleteFunc(lines(t, lite, queries[0]), keys), slices.DeleteFunc(lines(t, pg, queries[1]), keys)); diff != "" {
			t.Errorf("%s differ (-sqlite +postgres):\n%s", what, diff)
		}
	}
	for _, column := range lines(t, pg, `select table_name || '.' || column_name from information_schema.columns
		where table_schema = 'public' and data_type = 'text' and collation_name is distinct from 'C' and table_name <> 'schema_version'`) {
		t.Errorf("%s: say collate \"C\": text must compare by bytes in every locale of the database", column)
	}
}

// A new database gets all steps or none; one that exists keeps those before the step that failed.
func TestAFailedStep(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			steps, err := migrate.Steps(dialect)
			if err != nil {
				t.Fatal(err)
			}
			known := len(steps)
			good := migrate.Step{Version: known + 1, Name: "good", SQL: `create table good (a integer)`}
			steps = append(steps, good, migrate.Step{Version: known + 2, Name: "bad", SQL: `no statement`})
			for name, c := range map[string]struct {
				on   *sql.Conn
				want int // steps that stay
			}{"new": {created(t, dialect), 0}, "existing": {migrated(t, dialect), known + 1}} {
				if _, err := migrate.Apply(t.Context(), c.on, dialect, steps, nil); err == nil || !strings.Contains(err.Error(), "migration bad") {
					t.Errorf("%s database: %v, want the step that failed", name, err)
				}
				if stayed := lines(t, c.on, `select name from schema_version`); len(stayed) != c.want {
					t.Errorf("%s database: %d steps stayed, want %d", name, len(stayed), c.want)
				}
			}
		})
	}
}

// A program of the former version works with what the next one leaves, if that says so.
func TestOlderProgram(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			c := migrated(t, dialect)
			steps, err := migrate.Steps(dialect)
			if err != nil {
				t.Fatal(err)
			}
			now := len(steps)
			add := func(needs int, text string) {
				t.Helper()
				version := len(steps) + 1
				steps = append(steps, migrate.Step{Version: version, Name: fmt.Sprint("later ", version), SQL: text, Needs: needs})
				if _, err := migrate.Apply(t.Context(), c, dialect, steps, nil); err != nil {
					t.Fatal(err)
				}
			}
			add(0, `create table later (a integer)`)
			if applied, err := migrate.Run(t.Context(), c, dialect, nil); err != nil || len(applied) != 0 {
				t.Errorf("one step behind: %v, %v", applied, err)
			}
			add(now+1, `drop table later`)
			if _, err := migrate.Run(t.Context(), c, dialect, nil); err == nil || !strings.Contains(err.Error(), "or a newer one") {
				t.Errorf("behind a step that needs a newer program: %v", err)
			}
			if _, err := migrate.Apply(t.Context(), c, dialect, steps[:now+1], nil); err != nil {
				t.Errorf("the program that it needs: %v", err)
			}
			add(0, `create table later (a integer)`)
			if _, err := migrate.Run(t.Context(), c, dialect, nil); err == nil {
				t.Error("what one step needed was forgotten by the next")
			}
		})
	}
}

// An operator hears of steps before they are applied to a database whose rows may make them take long.
func TestMissingStepsAreAnnounced(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			c := created(t, dialect)
			steps, err := migrate.Steps(dialect)
			if err != nil {
				t.Fatal(err)
			}
			applied := func(n int) (announced []string) {
				begin := func(names []string) {
					announced = names
					var version int
					if err := c.QueryRowContext(t.Context(), `select max(version) from schema_version`).Scan(&version); err != nil || version >= n {
						t.Errorf("announced when version %d was applied: %v", version, err)
					}
				}
				if _, err := migrate.Apply(t.Context(), c, dialect, steps[:n], begin); err != nil {
					t.Fatal(err)
				}
				return announced
			}
			last := len(steps) - 1
			if got := applied(last); got != nil {
				t.Errorf("a new database: %v", got)
			}
			if diff := cmp.Diff([]string{steps[last].Name}, applied(last+1)); diff != "" {
				t.Errorf("one step is missing (-want +got):\n%s", diff)
			}
			if got := applied(last + 1); got != nil {
				t.Errorf("none is missing: %v", got)
			}
		})
	}
}

// Nodes that start together migrate once.
func TestConcurrentStarts(t *testing.T) {
	t.Parallel()
	address := pgtest.Empty(t)
	results := make(chan error, 4)
	count := make(chan int, 4)
	for range 4 {
		c := conn(t, "pgx", address)
		go func() {
			applied, err := migrate.Run(context.Background(), c, "postgres", nil)
			count <- len(applied)
			results <- err
		}()
	}
	total := 0
	for range 4 {
		if err := <-results; err != nil {
			t.Error(err)
		}
		total += <-count
	}
	if steps, _ := migrate.Steps("postgres"); total != len(steps) {
		t.Errorf("%d steps were applied, want %d", total, len(steps))
	}
}

// Events that were stored before their keys had a table are known by them.
func TestKeysOfStoredEventsAreMoved(t *testing.T) {
	t.Parallel()
	c := conn(t, "sqlite", t.TempDir()+"/gaff.db")
	steps, err := migrate.Steps("sqlite")
	if err != nil {
		t.Fatal(err)
	}
	before := slices.IndexFunc(steps, func(s migrate.Step) bool { return s.Name == "0038_event_key" })
	if _, err := migrate.Apply(t.Context(), c, "sqlite", steps[:before], nil); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"b", "a"} {
		if _, err := c.ExecContext(t.Context(), `insert into event (source, type, webhook_id, dedupe, correlation, handle, status, unhandled,
			open, dead, received_at, updated_at, parent_id, hop) values ('shop', 'paid', '', $1, '', '', 1, 0, 0, 0, 1, 1, '', 0)`, key); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := migrate.Run(t.Context(), c, "sqlite", nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"a 2", "b 1"}
	for name, query := range map[string]string{
		"the events":          `select dedupe || ' ' || seq from event`,
		"the table of keys":   `select dedupe || ' ' || seq from event_key`,
		"the view of all":     `select dedupe || ' ' || seq from event_by_key`,
		"the keys up to here": `select dedupe || ' ' || seq from event where seq <= (select value from setting where name = 'event_keys')`,
	} {
		if diff := cmp.Diff(want, lines(t, c, query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
