package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackupEndsWhenTheLogGrowsTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gaff.db")
	grow := func(bytes int64) {
		t.Helper()
		if err := os.WriteFile(path+"-wal", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path+"-wal", bytes); err != nil {
			t.Fatal(err)
		}
	}
	grow(1 << 20)
	synctest.Test(t, func(t *testing.T) {
		ctx, end := limitLog(t.Context(), path, 4<<20)
		defer end()
		grow(5 << 20)
		time.Sleep(2 * logCheckEvery)
		if ctx.Err() != nil {
			t.Errorf("a log that grew by the limit: %v", context.Cause(ctx))
		}
		grow(6 << 20)
		time.Sleep(2 * logCheckEvery)
		if cause := context.Cause(ctx); !errors.Is(cause, errLongLog) || !strings.Contains(cause.Error(), "by 5 MiB; the limit is 4 MiB") {
			t.Errorf("a log that grew beyond the limit: %v", cause)
		}
	})
}

func TestLongLogIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		c := &checkpointer{log: slog.New(slog.NewTextHandler(&b, nil))}
		lines := func(when string, want int) {
			t.Helper()
			if got := strings.Count(b.String(), "write-ahead log is long"); got != want {
				t.Errorf("%s: %d warnings, want %d", when, got, want)
			}
		}
		c.warn(longLog - 1)
		lines("a short log", 0)
		c.warn(longLog)
		c.warn(longLog)
		lines("a long log", 1)
		time.Sleep(warnEvery)
		c.warn(longLog)
		lines("after a minute", 2)
	})
}

func TestLongLogIsCopiedAtAStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gaff.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", dsn(path, smallWriterCache))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), `create table filler (a blob); insert into filler values (zeroblob(100000))`); err != nil {
		t.Fatal(err)
	}
	pages, copied, err := checkpoint(conn, "noop")
	if err != nil || pages < 20 || copied != 0 {
		t.Fatalf("before: %d pages, %d copied, %v", pages, copied, err)
	}
	if err := copyLongLog(conn, pages+1); err != nil {
		t.Fatal(err)
	}
	if _, copied, _ := checkpoint(conn, "noop"); copied != 0 {
		t.Errorf("a short log: %d pages copied", copied)
	}
	if err := copyLongLog(conn, pages); err != nil {
		t.Fatal(err)
	}
	if _, copied, _ := checkpoint(conn, "noop"); copied != pages {
		t.Errorf("a long log: %d of %d pages copied", copied, pages)
	}
}
