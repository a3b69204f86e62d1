package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"gaff/internal/sqlstore"
)

// DamageError lists the problems that a check of the database file found.
type DamageError struct{ Problems []string }

func (e *DamageError) Error() string {
	return "the database file is damaged: " + strings.Join(e.Problems, "; ")
}

const (
	// maxProblems is how many problems a check lists.
	maxProblems = 10
	// checkAtOnce is the size, in bytes, up to which one query checks a file. A reader keeps
	// the write-ahead log from being reused, so larger files are checked table by table.
	checkAtOnce = 1 << 30
	// uncleanCheck bounds the check before the start. The rest is checked while the gateway
	// runs.
	uncleanCheck = 10 * time.Second
)

// leftOpen reports whether the last process that wrote to the database did not close it.
func leftOpen(path string) bool {
	info, err := os.Stat(path + "-wal")
	return err == nil && info.Size() > 0
}

// quickCheck checks the structure of the file after an unclean stop.
func quickCheck(ctx context.Context, conn *sql.Conn, log *slog.Logger) error {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, uncleanCheck)
	defer cancel()
	problems, err := pragmaCheck(bounded, conn, fmt.Sprintf(`pragma quick_check(%d)`, maxProblems))
	switch {
	case len(problems) > 0:
		return explain(fmt.Errorf("%w; restore a backup, or name another data folder", &DamageError{problems}))
	case err != nil && ctx.Err() == nil && bounded.Err() != nil:
		log.Info("the last stop was unclean; the database is large and is checked while the gateway runs")
		return nil
	case err != nil:
		return explain(err)
	}
	log.Info("the last stop was unclean; the structure of the database was checked", "took", time.Since(began).Round(time.Millisecond).String())
	return nil
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// pragmaCheck returns the problems that one of SQLite's checks lists.
func pragmaCheck(ctx context.Context, db querier, text string) (problems []string, err error) {
	rows, err := db.QueryContext(ctx, text)
	if err != nil {
		return damage(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		if line != "ok" {
			problems = append(problems, strings.ReplaceAll(line, "\n", " "))
		}
	}
	if err := rows.Err(); err != nil && len(problems) == 0 {
		return damage(err)
	}
	return problems, nil
}

// damage returns a *DamageError if the error means damage, and other errors as they are.
func damage(err error) ([]string, error) {
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		switch se.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return []string{err.Error()}, nil
		case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
			return nil, fmt.Errorf("the database's folder cannot be written, and its log needs that; check owner and mount, or copy the folder and check the copy: %w", err)
		}
	}
	return nil, err
}

// Check verifies the whole database file at path while a gateway may be writing to it, and
// returns a *DamageError if it is damaged. Progress, unless nil, is called with the name
// of the part that is checked next.
func Check(ctx context.Context, path string, progress func(string)) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return fmt.Errorf("check: no database: %w", err)
	}
	db, err := openPlain(abs)
	if err != nil {
		return err
	}
	defer db.Close()
	if progress == nil {
		progress = func(string) {}
	}
	if info.Size() <= checkAtOnce {
		progress("all tables")
		return checked(pragmaCheck(ctx, db, fmt.Sprintf(`pragma integrity_check(%d)`, maxProblems)))
	}
	return checkTables(ctx, db, progress)
}

// Reader opens the database file at path for reading, while a gateway may be writing to it.
func Reader(path string) (*sqlstore.Reader, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db, err := openPlain(abs)
	if err != nil {
		return nil, err
	}
	return sqlstore.NewReader(db), nil
}

func checked(problems []string, err error) error {
	if len(problems) > 0 {
		return &DamageError{problems}
	}
	return err
}

func checkTables(ctx context.Context, db *sql.DB, progress func(string)) error {
	rows, err := db.QueryContext(ctx, `select name from sqlite_schema where type = 'table' order by name`)
	if err != nil {
		return checked(damage(err))
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		tables = append(tables, name)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return checked(damage(err))
	}
	for _, table := range tables {
		progress(table)
		text := `pragma integrity_check("` + strings.ReplaceAll(table, `"`, `""`) + `")`
		if err := checked(pragmaCheck(ctx, db, text)); err != nil {
			return err
		}
	}
	return nil
}
