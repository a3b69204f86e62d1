package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff"
	"gaff/store/sqlite"
)

// openLogged opens a store, and returns its log.
func openLogged(t *testing.T, path string) (*sqlite.Store, *logBuffer) {
	t.Helper()
	st, log, _ := openOnDisk(t, path)
	return st, log
}

func openOnDisk(t *testing.T, path string) (*sqlite.Store, *logBuffer, *sqlite.Disk) {
	t.Helper()
	buf, disk := &logBuffer{}, &sqlite.Disk{}
	o := sqlite.Options{Log: slog.New(slog.NewTextHandler(buf, nil))}
	disk.Attach(&o)
	st, err := sqlite.Open(context.Background(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st, buf, disk
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eventually waits for a background goroutine.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func mustAccept(t *testing.T, st *sqlite.Store, n int) string {
	t.Helper()
	rc, err := accept(st, n, false)
	if err != nil {
		t.Fatal(err)
	}
	return rc.ID
}

// Writes to a removed file would be lost at the next start.
func TestMovedFilesRefuseTheNextWebhook(t *testing.T) {
	t.Parallel()
	remove := func(suffix string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			if err := os.Remove(path + suffix); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(suffix string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path+suffix); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, harm := range map[string]func(t *testing.T, path string){
		"folder removed": func(t *testing.T, path string) {
			if err := os.RemoveAll(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		},
		"folder moved": func(t *testing.T, path string) {
			if err := os.Rename(filepath.Dir(path), filepath.Dir(path)+"-moved"); err != nil {
				t.Fatal(err)
			}
		},
		"database removed":  remove(""),
		"log removed":       remove("-wal"),
		"index removed":     remove("-shm"),
		"database replaced": replace(""),
		"log replaced":      replace("-wal"),
		"index replaced":    replace("-shm"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "data", "gaff.db")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			st, log := openLogged(t, path)
			mustAccept(t, st, 1)
			harm(t, path)
			if _, err := accept(st, 2, false); !errors.Is(err, gaff.ErrUnavailable) {
				t.Errorf("a webhook afterwards: %v", err)
			}
			if err := st.Ready(context.Background()); !errors.Is(err, gaff.ErrUnavailable) {
				t.Errorf("ready: %v", err)
			}
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
				t.Errorf("%d error lines, want 1:\n%s", n, log)
			}
		})
	}
}

// The log of the old database applied to the new one would damage it.
func TestReplacedDatabaseIsNotDamagedByTheOldLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st, _ := openLogged(t, path)
	mustAccept(t, st, 1)
	copied := filepath.Join(filepath.Dir(path), "copy.db")
	if _, err := sqlite.Backup(t.Context(), path, copied); err != nil {
		t.Fatal(err)
	}
	for n := range 200 {
		mustAccept(t, st, 2+n)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(copied, path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log is emptied", func() bool {
		info, err := os.Stat(path + "-wal")
		return err == nil && info.Size() == 0
	})
	// As after a kill of the process: only the files count.
	if err := sqlite.Check(t.Context(), path, nil); err != nil {
		t.Errorf("the new database: %v", err)
	}
	if n := countEvents(t, path+".old"); n != 201 {
		t.Errorf("the old database has %d events, want 201", n)
	}
}

func countEvents(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`select count(*) from event`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDatabaseThatComesBackIsUsedAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st, _ := openLogged(t, path)
	mustAccept(t, st, 1)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := accept(st, 2, false); err == nil {
		t.Error("accepted while it was away")
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	mustAccept(t, st, 2)
}

func TestRemovedLockFileAdmitsNoSecondGateway(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st, log := openLogged(t, path)
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lock file is made again", func() bool {
		_, err := os.Stat(path + ".lock")
		return err == nil && strings.Contains(log.String(), "lock file")
	})
	if second, err := sqlite.Open(t.Context(), path, sqlite.Options{}); err == nil {
		second.Close()
		t.Error("a second store was opened")
	}
	mustAccept(t, st, 1)
}

// foreign writes like another program.
func foreign(t *testing.T, path, text string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(text, args...); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherProgramsEventsCostNoWebhook(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st, _ := openLogged(t, path)
	mustAccept(t, st, 1)
	for n := range 3 {
		foreign(t, path, fmt.Sprintf(`insert into event (seq, source, type, webhook_id, dedupe, correlation, handle, status, unhandled, open, dead, received_at, updated_at, parent_id, hop)
			select max(seq) + 1, 'other', 'x', '', 'other-%d', '', '', 1, 0, 0, 0, 1, 1, '', 0 from event`, n))
		mustAccept(t, st, 2+n)
	}
	if n := countEvents(t, path); n != 7 {
		t.Errorf("%d events, want 7", n)
	}
}

// An index of the log that lost pages, as on a disk that drops them, lacks a commit of gaff.
func TestMissingCommitStopsWriting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st, log := openLogged(t, path)
	mustAccept(t, st, 1)
	mustAccept(t, st, 2)
	foreign(t, path, `delete from event where seq = 2`)
	if _, err := accept(st, 3, false); !errors.Is(err, gaff.ErrUnavailable) {
		t.Errorf("accepted: %v", err)
	}
	if !strings.Contains(log.String(), "restart gaff") {
		t.Errorf("the log does not say what to do:\n%s", log)
	}
}

func TestFailedSyncIsFollowedByAFreshLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st, log, disk := openOnDisk(t, path)
	mustAccept(t, st, 1)
	// A reader keeps the log from being emptied.
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reader, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := reader.QueryRow(`select count(*) from event`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	mustAccept(t, st, 2)
	disk.FailSync()
	if _, err := accept(st, 3, false); !errors.Is(err, gaff.ErrUnavailable) {
		t.Errorf("accepted into the log that failed: %v", err)
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "webhooks are accepted again", func() bool {
		_, err := accept(st, 3, false)
		return err == nil
	})
	if !strings.Contains(log.String(), "begun again") {
		t.Errorf("no line of the log says so:\n%s", log)
	}
}

func TestDamageStopsWritingUntilVerified(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st, log, disk := openOnDisk(t, path)
	mustAccept(t, st, 1)
	disk.SeemDamaged()
	eventually(t, "a sound database is used again", func() bool {
		_, err := accept(st, 2, false)
		return err == nil
	})
	if !strings.Contains(log.String(), "verified and is sound") {
		t.Errorf("no line of the log says so:\n%s", log)
	}
}

func TestDamagedDatabaseIsNotServed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st := open(t, path)
	for n := range 300 {
		mustAccept(t, st, n)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	// An index that lacks a row of its table: only a whole check detects that.
	foreign(t, path, `pragma writable_schema = on;
		update sqlite_schema set sql = 'CREATE INDEX event_by_status on event (source, type)' where name = 'event_by_status'`)
	st, log := openLogged(t, path)
	eventually(t, "damage is noticed", func() bool { return strings.Contains(log.String(), "level=ERROR") })
	eventually(t, "webhooks are refused", func() bool {
		_, err := accept(st, 1000, false)
		return errors.Is(err, gaff.ErrUnavailable)
	})
	if err := sqlite.Check(t.Context(), path, nil); err == nil {
		t.Error("the check finds nothing")
	}
}

// A clock that is set back by an hour does not delay retries by an hour.
func TestClockSetBackDelaysNothing(t *testing.T) {
	t.Parallel()
	st, log, disk := openOnDisk(t, filepath.Join(t.TempDir(), "gaff.db"))
	rc, err := accept(st, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(90 * time.Minute)
	if err := st.Finish(t.Context(), rc.Work[0].Lease, gaff.Outcome{State: gaff.StateRetrying, RunAt: at, Attempt: gaff.Attempt{Outcome: gaff.AttemptFailed, Error: "x"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the clock was looked at before", func() bool { return disk.Watching() })
	disk.JumpClock(-time.Hour)
	eventually(t, "due times are moved", func() bool {
		due, err := st.NextDue(t.Context(), "")
		return err == nil && due.Sub(at.Add(-time.Hour)).Abs() < time.Second
	})
	if !strings.Contains(log.String(), "clock jumped") {
		t.Errorf("no line of the log says so:\n%s", log)
	}
}
