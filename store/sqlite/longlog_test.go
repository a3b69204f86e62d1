package sqlite

import (
	"bytes"
	"context"
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
