package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"modernc.org/libc"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"gaff"
	"gaff/internal/eventually"
	"gaff/internal/sqlitevfs"
)

// failingLog is a VFS below joined that counts the writes to a write-ahead log, and fails them.
type failingLog struct {
	base          uintptr
	methods       *sqlite3.Tsqlite3_io_methods // of SQLite's own VFS
	ours          uintptr
	writes, syncs int
	bytes         int64
	failWrite     int32 // error code of the next write, after half of its bytes; 0: none
	failSync      int32
}

var failingLogs atomic.Int64

// newFailingLog returns a VFS and a joined one over it.
func newFailingLog(t *testing.T) (*failingLog, *joined) {
	t.Helper()
	tls := libc.NewTLS()
	defer tls.Close()
	base, err := sqlitevfs.Default(tls)
	if err != nil {
		t.Fatal(err)
	}
	l := &failingLog{base: base}
	name := fmt.Sprint("failing-log-", failingLogs.Add(1))
	if err := sqlitevfs.Register(tls, name, base, false, func(vfs *sqlite3.Tsqlite3_vfs) { vfs.FxOpen = sqlitevfs.Pointer(l.open) }); err != nil {
		t.Fatal(err)
	}
	text, err := libc.CString(name)
	if err != nil {
		t.Fatal(err)
	}
	j, err := newJoined(tls, name+"-joined", sqlite3.Xsqlite3_vfs_find(tls, text))
	if err != nil {
		t.Fatal(err)
	}
	return l, j
}

func (l *failingLog) open(tls *libc.TLS, _, name, file uintptr, flags int32, out uintptr) int32 {
	code := sqlitevfs.Func[sqlitevfs.OpenFunc](sqlitevfs.At[sqlite3.Tsqlite3_vfs](l.base).FxOpen)(tls, l.base, name, file, flags, out)
	if code != 0 || flags&sqlite3.SQLITE_OPEN_WAL == 0 {
		return code
	}
	opened := sqlitevfs.At[sqlite3.Tsqlite3_file](file)
	if l.ours == 0 {
		var m *sqlite3.Tsqlite3_io_methods
		l.methods = sqlitevfs.At[sqlite3.Tsqlite3_io_methods](opened.FpMethods)
		l.ours, m = sqlitevfs.Copy(tls, l.methods)
		m.FxWrite, m.FxSync = sqlitevfs.Pointer(l.write), sqlitevfs.Pointer(l.sync)
	}
	opened.FpMethods = l.ours
	return code
}

func (l *failingLog) write(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	fail := l.failWrite
	if fail != 0 {
		n, l.failWrite = n/2, 0
	}
	l.writes++
	l.bytes += int64(n)
	if code := sqlitevfs.Func[sqlitevfs.TransferFunc](l.methods.FxWrite)(tls, file, data, n, offset); code != 0 {
		return code
	}
	return fail
}

func (l *failingLog) sync(tls *libc.TLS, file uintptr, flags int32) int32 {
	l.syncs++
	if fail := l.failSync; fail != 0 {
		l.failSync = 0
		return fail
	}
	return sqlitevfs.Func[sqlitevfs.SyncFunc](l.methods.FxSync)(tls, file, flags)
}

// openThrough opens a connection through a VFS; empty: SQLite's own.
func openThrough(t *testing.T, path, vfs string, extra ...string) *sql.DB {
	t.Helper()
	f, err := createPrivate(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if vfs != "" {
		extra = append(extra, "vfs="+vfs)
	}
	db, err := sql.Open("sqlite", dsn(path, writerCache, extra...))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	return db
}

func mustExec(t *testing.T, db interface {
	Exec(query string, args ...any) (sql.Result, error)
}, text string, args ...any,
) {
	t.Helper()
	if _, err := db.Exec(text, args...); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// numbers is the table n of the numbers from 1 to a parameter.
const numbers = `with recursive n(i) as (select 1 union all select i + 1 from n where i < ?) `

// insert adds n rows of 6,000 random bytes in one transaction.
func insert(db *sql.DB, n int) error {
	_, err := db.Exec(numbers+`insert into t (body) select randomblob(6000) from n`, n)
	return err
}

// expect compares the rows that a connection of SQLite's own VFS sees with n, and checks the file.
func expect(t *testing.T, path string, n int) {
	t.Helper()
	db := openThrough(t, path, "")
	defer db.Close()
	var rows, wrong int
	if err := db.QueryRow(`select count(*), count(*) filter (where length(body) <> 6000 or body = zeroblob(6000)) from t`).Scan(&rows, &wrong); err != nil {
		t.Fatal(err)
	}
	var verdict string
	if err := db.QueryRow(`pragma integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity_check: %s %v", verdict, err)
	}
	if rows != n || wrong != 0 {
		t.Errorf("%d rows, %d of them with other bytes than were committed, want %d", rows, wrong, n)
	}
}

func TestJoinedWritesATransactionInFewCalls(t *testing.T) {
	t.Parallel()
	below, vfs := newFailingLog(t)
	path := filepath.Join(t.TempDir(), "t.db")
	db := openThrough(t, path, vfs.name, "_pragma=page_size(8192)")
	mustExec(t, db, `create table t (id integer primary key, body blob)`)
	below.writes, below.bytes, below.syncs = 0, 0, 0
	if err := insert(db, 100); err != nil {
		t.Fatal(err)
	}
	if below.bytes < 100*6000 {
		t.Errorf("%d bytes are written at the commit, want all pages", below.bytes)
	}
	if most := int(below.bytes/(14*8216)) + 1; below.writes > most {
		t.Errorf("%d bytes are written in %d calls, want at most %d", below.bytes, below.writes, most)
	}
	if below.syncs != 1 {
		t.Errorf("%d syncs, want 1", below.syncs)
	}
	expect(t, path, 100)
}

func TestJoinedFailsTheCommitOfAFailedWrite(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ write, sync int32 }{
		"full disk":    {write: sqlite3.SQLITE_FULL},
		"failed write": {write: sqlite3.SQLITE_IOERR_WRITE},
		"failed sync":  {sync: sqlite3.SQLITE_IOERR_FSYNC},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, rows := range []int{1, 100} { // one write at the sync, several before it
				below, vfs := newFailingLog(t)
				path := filepath.Join(t.TempDir(), "t.db")
				db := openThrough(t, path, vfs.name)
				mustExec(t, db, `create table t (id integer primary key, body blob)`)
				if err := insert(db, 7); err != nil {
					t.Fatal(err)
				}
				below.failWrite, below.failSync = tc.write, tc.sync
				err := insert(db, rows)
				failure, ok := errors.AsType[*sqlite.Error](err)
				if !ok || failure.Code() != int(tc.write|tc.sync) {
					t.Fatalf("%d rows: error %v, want code %d", rows, err, tc.write|tc.sync)
				}
				expect(t, path, 7)
				if err := insert(db, 3); err != nil {
					t.Fatalf("%d rows: the next commit: %v", rows, err)
				}
				expect(t, path, 10)
			}
		})
	}
}

func TestJoinedReadsPagesThatATransactionSpilled(t *testing.T) {
	t.Parallel()
	_, vfs := newFailingLog(t)
	path := filepath.Join(t.TempDir(), "t.db")
	db := openThrough(t, path, vfs.name, "_pragma=page_size(8192)")
	mustExec(t, db, `pragma cache_size = 5`)
	mustExec(t, db, `create table t (id integer primary key, body blob)`)
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, tx, numbers+`insert into t (body) select zeroblob(6000) from n`, 60)
	mustExec(t, tx, `update t set body = randomblob(6000)`)
	var rows int
	if err := tx.QueryRow(`select count(*) from t where body <> zeroblob(6000)`).Scan(&rows); err != nil || rows != 60 {
		t.Errorf("%d rows in the transaction, want 60 (%v)", rows, err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	expect(t, path, 60)
}

// Frames that a rolled back transaction spilled must not be written over another process's commit.
func TestJoinedDropsFramesOfARolledBackTransaction(t *testing.T) {
	t.Parallel()
	_, vfs := newFailingLog(t)
	path := filepath.Join(t.TempDir(), "t.db")
	db := openThrough(t, path, vfs.name, "_pragma=page_size(8192)")
	other := openThrough(t, path, "")
	mustExec(t, db, `pragma cache_size = 5`)
	mustExec(t, db, `create table t (id integer primary key, body blob)`)
	mustExec(t, db, `pragma wal_checkpoint(truncate)`) // the rollback reads nothing from the log
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, tx, numbers+`insert into t (body) select zeroblob(6000) from n`, 33)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := insert(other, 40); err != nil {
		t.Fatal(err)
	}
	if err := insert(db, 2); err != nil {
		t.Fatal(err)
	}
	expect(t, path, 42)
}

func TestJoinedWritesACommitWithoutASyncBeforeItIsVisible(t *testing.T) {
	t.Parallel()
	below, vfs := newFailingLog(t)
	path := filepath.Join(t.TempDir(), "t.db")
	db := openThrough(t, path, vfs.name, "_pragma=page_size(8192)")
	mustExec(t, db, `pragma synchronous = off`)
	mustExec(t, db, `create table t (id integer primary key, body blob)`)
	for n := range 5 {
		if err := insert(db, 10); err != nil {
			t.Fatal(err)
		}
		expect(t, path, 10*n+10)
	}
	if below.syncs != 0 {
		t.Errorf("%d syncs", below.syncs)
	}
}

func TestFailedLogRefusesAWebhookUntilTheDiskWorks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ write, sync int32 }{
		"full disk":   {write: sqlite3.SQLITE_FULL},
		"failed sync": {sync: sqlite3.SQLITE_IOERR_FSYNC},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			below, vfs := newFailingLog(t)
			path := filepath.Join(t.TempDir(), "gaff.db")
			st, err := Open(t.Context(), path, Options{vfs: vfs})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = st.Close() }()
			accept := func(key string) (gaff.Receipt, error) {
				return st.Accept(t.Context(), gaff.AcceptParams{Event: &gaff.Event{
					Source: "shop", DedupeKey: key, ReceivedAt: time.Now(), Data: []byte(`{}`),
				}})
			}
			if _, err := accept("1"); err != nil {
				t.Fatal(err)
			}
			_ = st.Between(func(*sql.Conn) error { // on the writer's goroutine
				below.failWrite, below.failSync = tc.write, tc.sync
				return nil
			})
			if _, err := accept("2"); !errors.Is(err, gaff.ErrUnavailable) {
				t.Fatalf("while the disk fails: %v, want ErrUnavailable", err)
			}
			eventually.True(t, "webhooks are accepted again", func() bool {
				rc, err := accept("2")
				return err == nil && !rc.Duplicate
			})
		})
	}
}
