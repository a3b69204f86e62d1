package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
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
	before, err := copyInto(ctx, path, part)
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

func copyInto(ctx context.Context, path, file string) (events int64, err error) {
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
	if _, err := db.ExecContext(ctx, `vacuum into $1`, file); err != nil {
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
