package sqlite

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sqlite3 "modernc.org/sqlite/lib"

	"gaff/internal/sqlitevfs"
	"gaff/internal/sqlstore"
)

// openNative returns a connection of the driver, and native on the same connection.
func openNative(t *testing.T) (*sql.DB, *native) {
	t.Helper()
	vfs, err := registerJoined()
	if err != nil {
		t.Fatal(err)
	}
	name := t.Name()
	db := openThrough(t, filepath.Join(t.TempDir(), "t.db"), vfs.name, connectionParameter+"="+name)
	n := newNative(vfs.handle(name))
	t.Cleanup(n.Close) // before the connection is closed
	return db, n
}

// one scans the only row of a query.
func one(t *testing.T, n *native, dest []any, text string, args ...any) {
	t.Helper()
	if err := n.Each(func(r sqlstore.Row) error { return r.Scan(dest...) }, text, args); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func TestNativeGivesTheMutexBack(t *testing.T) {
	t.Parallel()
	db, n := openNative(t)
	connection := sqlitevfs.At[sqlite3.Tsqlite3](n.db)
	if connection.Fmutex != 0 || n.mutex == 0 {
		t.Errorf("the connection has the mutex %#x, and native %#x", connection.Fmutex, n.mutex)
	}
	mutex := n.mutex
	n.Close()
	if connection.Fmutex != mutex {
		t.Errorf("the connection has the mutex %#x after Close, want %#x", connection.Fmutex, mutex)
	}
	mustExec(t, db, `create table t (a)`)
}

type namedInt int

type namedText string

func TestNativeStoresValuesAsTheDriver(t *testing.T) {
	t.Parallel()
	db, n := openNative(t)
	mustExec(t, db, `create table v (by text, at integer, value)`)
	number := int64(7)
	values := []any{
		nil, int64(-1), 12, 1.5, true, false, "", "ü\U0001F600", strings.Repeat("x", 100_000), []byte{}, []byte(nil), []byte{0, 1, 0xff},
		namedInt(3), namedText("named"), &number, (*int64)(nil), sql.NullInt64{}, sql.NullInt64{Int64: 9, Valid: true}, json.RawMessage(`{}`),
	}
	for i, value := range values {
		mustExec(t, db, `insert into v values ('driver', ?, ?)`, i, value)
		if changed, err := n.Exec(`insert into v values ('native', ?, ?)`, []any{i, value}); err != nil || changed != 1 {
			t.Fatalf("%#v: %d rows, %v", value, changed, err)
		}
	}
	rows, err := db.Query(`select a.at, typeof(a.value), typeof(b.value), quote(a.value) from v a join v b on a.at = b.at and a.by = 'driver' and b.by = 'native'
		where a.value is not b.value or typeof(a.value) <> typeof(b.value)`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var at int
		var driver, native, text string
		if err := rows.Scan(&at, &driver, &native, &text); err != nil {
			t.Fatal(err)
		}
		t.Errorf("%#v: the driver stores %s as %s, native as %s", values[at], text, driver, native)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Exec(`insert into v values ('native', 0, ?)`, []any{time.Now()}); err == nil {
		t.Error("a time is stored without an error")
	}
}

func TestNativeScansColumnsAsTheDriver(t *testing.T) {
	t.Parallel()
	db, n := openNative(t)
	type columns struct {
		I64      int64
		I        int
		Named    namedInt
		B        bool
		F        float64
		S        string
		NamedS   namedText
		Blob     []byte
		Raw      json.RawMessage
		NullB    []byte
		Null     sql.NullInt64
		NotNull  sql.NullInt64
		FromText int64
		FromInt  string
	}
	dest := func(c *columns) []any {
		return []any{&c.I64, &c.I, &c.Named, &c.B, &c.F, &c.S, &c.NamedS, &c.Blob, &c.Raw, &c.NullB, &c.Null, &c.NotNull, &c.FromText, &c.FromInt}
	}
	const text = `select -5, 6, 7, 1, 2.5, 'ü', 'named', x'00ff', x'7b7d', null, null, 8, '9', 10`
	var want, got columns
	if err := db.QueryRow(text).Scan(dest(&want)...); err != nil {
		t.Fatal(err)
	}
	one(t, n, dest(&got), text)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var number int64
	if err := n.Each(func(r sqlstore.Row) error { return r.Scan(&number) }, `select null`, nil); err == nil {
		t.Error("null is scanned into a number without an error")
	}
	if err := n.Each(func(r sqlstore.Row) error { return r.Scan(&number, &number) }, `select 1`, nil); err == nil {
		t.Error("one column is scanned into two variables without an error")
	}
}

func TestNativeBindsParametersByNumber(t *testing.T) {
	t.Parallel()
	_, n := openNative(t)
	var got string
	one(t, n, []any{&got}, `select $2 || $1 || $2 || $12`, "a", "b", 0, 0, 0, 0, 0, 0, 0, 0, 0, "l")
	if got != "babl" {
		t.Errorf("numbered parameters: %q", got)
	}
	one(t, n, []any{&got}, `select ? || ? || ?`, "a", "b", "c")
	if got != "abc" {
		t.Errorf("bare parameters: %q", got)
	}
	if _, err := n.Exec(`select ?, ?`, []any{1}); err == nil {
		t.Error("a missing argument is not an error")
	}
}

func TestNativeFailsAsTheDriver(t *testing.T) {
	t.Parallel()
	db, n := openNative(t)
	mustExec(t, db, `create table event (seq integer primary key)`)
	mustExec(t, db, `insert into event values (1)`)
	for _, text := range []string{`insert into event values (1)`, `select * from missing`, `insert into event values ('x')`} {
		_, want := db.Exec(text)
		_, got := n.Exec(text, nil)
		if want == nil || got == nil || want.Error() != got.Error() {
			t.Errorf("%s: %v, want as of the driver: %v", text, got, want)
		}
	}
	if _, err := n.Exec(`insert into event values (1)`, nil); !errors.Is(fault(err), sqlstore.ErrCollision) {
		t.Errorf("a taken event number: %v, want ErrCollision", fault(err))
	}
	if _, err := n.Exec(`insert into event values (2)`, nil); err != nil {
		t.Errorf("the statement after an error: %v", err)
	}
	if failed, ok := errors.AsType[coded](n.fail(sqlite3.SQLITE_FULL)); !ok || failed.Code() != sqlite3.SQLITE_FULL {
		t.Errorf("%v has no code", failed)
	}
}

// SQLite reads arguments where Go has them, so they must live as long as the statement runs.
func TestNativeKeepsArgumentsWhileAStatementRuns(t *testing.T) {
	t.Parallel()
	_, n := openNative(t)
	want := bytes.Repeat([]byte("0123456789"), 1000)
	rows := 0
	err := n.Each(func(r sqlstore.Row) error {
		for range 100 {
			_ = bytes.Repeat([]byte{'x'}, len(want))
		}
		runtime.GC()
		var got []byte
		if err := r.Scan(&got); err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return errors.New("the argument has changed")
		}
		rows++
		return nil
	}, `with recursive n(i) as (select 1 union all select i + 1 from n where i < 20) select substr(?, 1 + 0 * i) from n`, []any{bytes.Clone(want)})
	if err != nil || rows != 20 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

func TestNativeStopsAtAnErrorOfTheScan(t *testing.T) {
	t.Parallel()
	_, n := openNative(t)
	enough := errors.New("enough")
	const text = `select 1 union all select 2`
	if err := n.Each(func(sqlstore.Row) error { return enough }, text, nil); !errors.Is(err, enough) {
		t.Errorf("%v, want the error of the scan", err)
	}
	rows := 0
	if err := n.Each(func(sqlstore.Row) error { rows++; return nil }, text, nil); err != nil || rows != 2 {
		t.Errorf("the same statement after that: %d rows, %v", rows, err)
	}
}
