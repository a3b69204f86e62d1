package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"gaff/internal/disk"
)

// Backup copies a snapshot of the database at path into a new file, and checks the copy. A
// gateway may be running. It returns the number of events in the copy.
func Backup(ctx context.Context, path, file string) (events int64, err error) {
	if _, err := os.Stat(path); err != nil {
		return 0, fmt.Errorf("back up: no database: %w", err)
	}
	if _, err := os.Lstat(file); err == nil {
		return 0, fmt.Errorf("back up: %s exists already; name a new file", file)
	}
	// Only the owner may read it, and it gets its name when it is complete.
	part := file + ".part"
	f, err := createPrivate(part)
	if err != nil {
		return 0, fmt.Errorf("back up: %w", err)
	}
	if err := f.Close(); err != nil {
		return 0, fmt.Errorf("back up: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("back up: %w", err), os.Remove(part))
		}
	}()
	before, err := copyInto(ctx, path, part, logLimit(path))
	if err != nil {
		return 0, err
	}
	if events, err = inspect(ctx, part); err != nil {
		return 0, err
	}
	if events < before {
		return 0, fmt.Errorf("the copy has %d events, the database had %d", events, before)
	}
	if err := syncFile(part); err != nil {
		return 0, err
	}
	if err := os.Rename(part, file); err != nil {
		return 0, err
	}
	return events, syncFile(filepath.Dir(file))
}

// Lock marks a file as in use, as a gateway marks its database, and fails if another process has it. The
// mark ends with the process.
func Lock(path string) (unlock func() error, err error) {
	l, err := lock(path)
	if err != nil {
		return nil, err
	}
	return l.close, nil
}

const (
	// maxLog is how large the write-ahead log may grow while a backup reads the database, in
	// bytes. SQLite cannot reuse the log meanwhile.
	maxLog = 4 << 30
	// logCheckEvery is the time between two checks of the log's size.
	logCheckEvery = 250 * time.Millisecond
)

// logLimit is maxLog, or a quarter of the disk's free space if that is less.
func logLimit(path string) int64 {
	space, err := disk.Of(filepath.Dir(path))
	if err != nil {
		return maxLog
	}
	return int64(min(maxLog, space.Free/4))
}

// errLongLog ends a backup whose write-ahead log has grown beyond its limit.
var errLongLog = errors.New("the write-ahead log grew too large while the backup read the database; " +
	"back up while fewer webhooks come in, or free space on the disk")

// limitLog cancels the context if the log of the database grows by more than limit bytes.
func limitLog(ctx context.Context, path string, limit int64) (limited context.Context, end func()) {
	limited, cancel := context.WithCancelCause(ctx)
	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		if err != nil {
			return 0
		}
		return info.Size()
	}
	first := size()
	go func() {
		tick := time.NewTicker(logCheckEvery)
		defer tick.Stop()
		for {
			select {
			case <-limited.Done():
				return
			case <-tick.C:
			}
			if grown := size() - first; grown > limit {
				cancel(fmt.Errorf("%w (by %d MiB; the limit is %d MiB)", errLongLog, grown>>20, limit>>20))
				return
			}
		}
	}()
	return limited, func() { cancel(nil) }
}

// copyInto ends with errLongLog if the database's log grows by more than limit bytes meanwhile.
func copyInto(ctx context.Context, path, file string, limit int64) (events int64, err error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return 0, err
	}
	db, err := openPlain(abs)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if err := db.QueryRowContext(ctx, `select count(*) from event`).Scan(&events); err != nil {
		return 0, explain(err)
	}
	ctx, end := limitLog(ctx, abs, limit)
	defer end()
	if _, err := db.ExecContext(ctx, `vacuum into $1`, file); err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errLongLog) {
			return 0, cause
		}
		return 0, explain(err)
	}
	return events, nil
}

// inspect reads all of a database file.
func inspect(ctx context.Context, file string) (events int64, err error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return 0, err
	}
	db, err := openPlain(abs)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(ctx, `pragma integrity_check(1)`).Scan(&verdict); err != nil {
		return 0, explain(err)
	}
	if verdict != "ok" {
		return 0, fmt.Errorf("the copy is damaged: %s", verdict)
	}
	err = db.QueryRowContext(ctx, `select count(*) from event`).Scan(&events)
	return events, err
}

// openPlain opens a file without gaff's lock, and without changing its settings.
func openPlain(path string) (*sql.DB, error) {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "mode=rw&_pragma=busy_timeout(30000)"}
	db, err := sql.Open("sqlite", u.String())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
