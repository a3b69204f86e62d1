package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gaff"
	"gaff/internal/pgtest"
	"gaff/jobs"
	"gaff/store/postgres"
	"gaff/store/sqlite"
)

// stopAfter is a writer that cancels a context when a text is written.
type stopAfter struct {
	strings.Builder
	text   string
	cancel context.CancelFunc
}

func (s *stopAfter) Write(p []byte) (int, error) {
	n, err := s.Builder.Write(p)
	if s.text != "" && strings.Contains(s.String(), s.text) {
		s.cancel()
	}
	return n, err
}

func TestImport(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	lite, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	ctx := context.Background()
	var ids []string
	for i := range 300 {
		rc, err := accept(lite, fmt.Sprint("w-", i), i%3 > 0)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, rc.ID)
		switch i % 3 {
		case 1:
			err = apply(lite, rc.Work[0])
		case 2:
			err = lite.Finish(ctx, rc.Work[0].Lease, gaff.Outcome{State: gaff.StateDead, Attempt: gaff.Attempt{Outcome: gaff.AttemptFailed, Error: "x"}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := lite.Reject(ctx, &gaff.Rejection{ID: "rej_1", Source: "shop", Status: 401, Body: []byte("\x00\xff"), ReceivedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	// Every table has a row, and there are values that SQLite accepts and PostgreSQL does not.
	if err := lite.Between(func(c *sql.Conn) error {
		_, err := c.ExecContext(ctx, `insert into setting (name, value) values ('odd', 'a' || char(0) || 'b')`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	tables := fillEmpty(t, lite)
	address := pgtest.Empty(t)
	for _, at := range []string{"event: ", "setting: "} {
		stop, cancel := context.WithCancel(ctx)
		out := &stopAfter{text: at, cancel: cancel}
		if err := postgres.Import(stop, lite, path, address, out); err == nil {
			t.Fatalf("it was not interrupted:\n%s", out)
		}
		if st, err := postgres.Open(ctx, address, postgres.Options{}); err == nil || !strings.Contains(err.Error(), "was not finished") {
			t.Errorf("a gateway opens an unfinished import: %v", err)
			_ = st.Close()
		}
	}
	out := &stopAfter{}
	if err := postgres.Import(ctx, lite, path, address, out); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, table := range tables {
		if !strings.Contains(out.String(), "\n"+table+": ") {
			t.Errorf("the table %s was not copied:\n%s", table, out)
		}
	}
	if err := postgres.Import(ctx, lite, path, address, out); err == nil || !strings.Contains(err.Error(), "done already") {
		t.Errorf("once more: %v", err)
	}
	st := open(t, address)
	for _, id := range ids {
		want, err := lite.Event(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := st.Event(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s (-sqlite +postgres):\n%s", id, diff)
		}
	}
	was, err := lite.Counts(ctx, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	is, err := st.Counts(ctx, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was, is, cmpopts.EquateApproxTime(time.Hour)); diff != "" {
		t.Errorf("counts (-sqlite +postgres):\n%s", diff)
	}
	// It continues where SQLite was: known keys are duplicates, and numbers are new.
	if rc, err := accept(st, "w-7", false); err != nil || !rc.Duplicate || rc.ID != ids[7] {
		t.Errorf("a known event: %+v, %v", rc, err)
	}
	rc, err := accept(st, "new", false)
	if err != nil || rc.Duplicate || rc.ID <= ids[len(ids)-1] {
		t.Errorf("a new event: %+v, %v", rc, err)
	}
	work := claim(t, st, 200)
	if len(work) != 101 {
		t.Errorf("%d deliveries are claimed, want 101", len(work))
	}
	for _, w := range work[:5] {
		if err := apply(st, w); err != nil {
			t.Error(err)
		}
	}
	if page, err := st.Jobs(ctx, jobs.JobFilter{Cursor: gaff.Cursor{Limit: 500}}); err != nil || len(page.Items) != 100+5 {
		t.Errorf("%d jobs, %v", len(page.Items), err)
	}
	full := pgtest.URL(t)
	if _, err := accept(open(t, full), "x", false); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Import(ctx, lite, path, full, out); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("into a database in use: %v", err)
	}
}

// The next attempt of an import does not remove events that a gateway acknowledged meanwhile.
func TestImportKeepsWhatAGatewayStored(t *testing.T) {
	t.Parallel()
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "gaff.db")
	lite, err := sqlite.Open(ctx, path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	if _, err := accept(lite, "w-1", false); err != nil {
		t.Fatal(err)
	}
	address := pgtest.URL(t)
	st := open(t, address)
	rc, err := accept(st, "between", false)
	if err != nil {
		t.Fatal(err)
	}
	// A version without the check was started on it.
	if _, err := st.Setting(ctx, "import", "running "+path); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Import(ctx, lite, path, address, &stopAfter{}); err == nil || !strings.Contains(err.Error(), "a gateway has used the database") {
		t.Errorf("the import: %v", err)
	}
	if _, err := st.Event(ctx, rc.ID); err != nil {
		t.Errorf("the acknowledged event: %v", err)
	}
}

// fillEmpty inserts a row into each empty table of the schema, so that a table that is added later
// is copied in this test too. It returns all tables.
func fillEmpty(t *testing.T, st *sqlite.Store) (tables []string) {
	t.Helper()
	err := st.Between(func(c *sql.Conn) error {
		ctx := context.Background()
		names, err := list(ctx, c, `select name from sqlite_schema where type = 'table' and name not like 'sqlite%'
			and name not in ('schema_version', 'change', 'event_key')`)
		if err != nil {
			return err
		}
		tables = names
		for _, table := range names {
			var n int
			if err := c.QueryRowContext(ctx, `select count(*) from `+table).Scan(&n); err != nil || n > 0 {
				if err != nil {
					return err
				}
				continue
			}
			cols, err := list(ctx, c, `select name from pragma_table_info('`+table+`')`)
			if err != nil {
				return err
			}
			values, err := list(ctx, c, `select case lower(type) when 'integer' then '1' when 'real' then '1.5' when 'double precision' then '1.5' when 'blob' then 'x''''' else '''t''' end
				from pragma_table_info('`+table+`')`)
			if err != nil {
				return err
			}
			if _, err := c.ExecContext(ctx, `insert into `+table+` (`+strings.Join(cols, ", ")+`) values (`+strings.Join(values, ", ")+`)`); err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func list(ctx context.Context, c *sql.Conn, text string) (all []string, err error) {
	rows, err := c.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		all = append(all, line)
	}
	return all, rows.Err()
}
