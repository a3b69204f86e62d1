// Package sqlite opens gaff's store in one SQLite file, without cgo. One process owns the
// file; nothing is acknowledged before it is synced to the disk.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"gaff"
	"gaff/internal/id"
	"gaff/internal/migrate"
	"gaff/internal/sqlstore"
)

// Store is an open store; it is a gaff.Store, a jobs.Store and a jobs.Reader.
type Store = sqlstore.Store

// Options of a store. The zero value works.
type Options struct {
	// Log receives messages for operators, such as migrations. Nil discards them.
	Log *slog.Logger
	// MaxRejections is how many rejected requests are stored. Zero means 10,000.
	MaxRejections int
	// MaxQuarantine bounds the rejected requests that are stored whole, in bytes (zero means
	// 64 MiB). QuarantineFor is how long they are stored (zero means 7 days).
	MaxQuarantine int64
	QuarantineFor time.Duration
	// MaxQueuedBytes bounds the bodies that are queued to be written, or being written; more
	// are ErrUnavailable. Zero means 256 MiB.
	MaxQueuedBytes int64

	// For tests: a function that gets the guard, and the writing connection's VFS if not
	// joinedName's.
	opened func(*guard)
	vfs    *joined
}

// Open opens or creates the database file at path and migrates its schema. It fails if another
// process has the file open, if the folder is not writable, or if the database does not sync
// each commit.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	st, err := open(ctx, path, o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return st, nil
}

// opening collects the opened files. If a later step fails, they are closed in reverse.
type opening struct {
	path    string
	log     *slog.Logger
	closers []func() error
}

func (op *opening) opened(closer func() error) { op.closers = append(op.closers, closer) }

func (op *opening) close() {
	for i := len(op.closers) - 1; i >= 0; i-- {
		_ = op.closers[i]()
	}
}

func open(ctx context.Context, path string, o Options) (_ *Store, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("create the data folder: %w", err)
	}
	// A commit is as durable with fdatasync and takes half the time: only the file's
	// timestamps are left out. Platforms without it keep fsync.
	_, _ = sqlite.Fdatasync(true)
	op := &opening{path: path, log: o.Log}
	defer func() {
		if err != nil {
			op.close()
		}
	}()
	locked, err := lock(path)
	if err != nil {
		return nil, err
	}
	op.opened(locked.close)
	writeDB, conn, statements, err := op.writer(ctx, o.vfs)
	if err != nil {
		return nil, err
	}
	readDB, err := op.readers()
	if err != nil {
		return nil, err
	}
	g, err := newGuard(path, locked, statements, o.Log)
	if err != nil {
		return nil, err
	}
	cp, err := newCheckpointer(path, o.Log, g.fault)
	if err != nil {
		return nil, err
	}
	op.opened(cp.db.Close)
	st, err := sqlstore.New(ctx, sqlstore.Options{
		Dialect: sqlstore.Dialect{
			Name: "sqlite", Fault: g.fault,
			Body:    func(column string) string { return `cast(` + column + ` as text) like ? escape '\'` },
			Pattern: sqlstore.Like,
		},
		Database: &sqlstore.SQLite{Conn: conn, Statements: statements, Guard: g}, Read: readDB, Log: o.Log, MaxRejections: o.MaxRejections,
		MaxQuarantine: o.MaxQuarantine, QuarantineFor: o.QuarantineFor, MaxQueuedBytes: o.MaxQueuedBytes, Committed: cp.committed,
		Compact: func(ctx context.Context, st *sqlstore.Store, full bool) (c sqlstore.Compacted, err error) {
			err = st.Between(func(conn *sql.Conn) (err error) {
				c, err = compact(ctx, conn, path, full)
				return err
			})
			return c, err
		},
		// The writing connection is closed last: as the only one left, it copies the whole
		// log into the database file.
		Close: func() error {
			g.close()
			return errors.Join(cp.close(), readDB.Close(), conn.Close(), writeDB.Close(), locked.close())
		},
	})
	if err != nil {
		return nil, err
	}
	cp.between, g.between, g.jumped = st.Between, st.Between, st.ClockJumped
	if o.opened != nil {
		o.opened(g)
	}
	g.start()
	go cp.run()
	return st, nil
}

// writer opens the connection that writes, checks the database and migrates its schema.
func (op *opening) writer(ctx context.Context, vfs *joined) (db *sql.DB, conn *sql.Conn, statements *native, err error) {
	unclean := leftOpen(op.path)
	if vfs == nil {
		if vfs, err = registerJoined(); err != nil {
			return nil, nil, nil, err
		}
	}
	name := id.New(id.Key, time.Now())
	db, err = sql.Open("sqlite", dsn(op.path, smallWriterCache, "vfs="+vfs.name, connectionParameter+"="+name, "_txlock=immediate"))
	if err != nil {
		return nil, nil, nil, err
	}
	op.opened(db.Close)
	db.SetMaxOpenConns(1)
	conn, err = db.Conn(ctx)
	if err != nil {
		return nil, nil, nil, explain(err)
	}
	op.opened(conn.Close)
	if err := check(ctx, conn); err != nil {
		return nil, nil, nil, err
	}
	if unclean {
		if err := quickCheck(ctx, conn, op.log); err != nil {
			return nil, nil, nil, err
		}
	}
	applied, err := migrate.Run(ctx, conn, "sqlite", sqlstore.LogMigrating(op.log))
	if err != nil {
		return nil, nil, nil, explain(err)
	}
	sqlstore.LogMigrations(op.log, applied)
	if err := copyLongLog(conn, longLog); err != nil {
		op.log.Warn(notCopied, "error", explain(err))
	}
	if err := growCache(ctx, conn); err != nil {
		return nil, nil, nil, explain(err)
	}
	address := vfs.handle(name)
	if address == 0 {
		return nil, nil, nil, errors.New("SQLite did not pass its connection to the VFS")
	}
	statements = newNative(address)
	op.opened(func() error {
		statements.Close()
		return nil
	})
	return db, conn, statements, nil
}

// readers opens the pool of connections that read.
func (op *opening) readers() (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(op.path, readerCache, "_pragma=query_only(1)"))
	if err != nil {
		return nil, err
	}
	op.opened(db.Close)
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	return db, nil
}

// createPrivate creates the file before SQLite does, readable by its owner only: it has data of
// customers.
func createPrivate(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the database file cannot be written, check the folder's owner and free space: %w", err)
	}
	return f, nil
}

// makeFolder creates a folder, and syncs its name.
func makeFolder(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	// Some file systems cannot sync a folder.
	_ = syncFile(filepath.Dir(path))
	return nil
}

// Page caches in KiB, of one connection each. The writer's holds the upper pages of every
// index; readers use the system's cache.
//
// While the file is smaller than smallFile, the writer's is small. When SQLite sorts pages that it
// splits, it gives one of them for a moment the number of the page at 1 GiB, which no page may
// have. In a smaller file that is beyond the end, and the next commit searches the cache's whole
// table for pages beyond it. With 32 MiB that took 8 % of the CPU of an accepted webhook.
const (
	writerCache      = 32 << 10
	smallWriterCache = 7 << 10 // a table of 2,048 places, of pages of 4 KiB
	readerCache      = 4 << 10
	smallFile        = 1 << 30 // PENDING_BYTE in SQLite's os.h
)

// growCache gives the writing connection its larger cache if the file has outgrown the smaller.
func growCache(ctx context.Context, conn *sql.Conn) error {
	var bytes int64
	if err := conn.QueryRowContext(ctx, `select page_count * page_size from pragma_page_count, pragma_page_size`).Scan(&bytes); err != nil {
		return err
	}
	if bytes <= smallFile {
		return nil
	}
	_, err := conn.ExecContext(ctx, fmt.Sprintf(`pragma cache_size = -%d`, writerCache))
	return err
}

// dsn returns the file's URL with the pragmas. The driver runs the timeout for locks first and the
// others in the order of their names, so page_size would come too late to have an effect. The
// file must exist: a connection that created it again would delete the write-ahead log of a file
// that was moved.
func dsn(path string, cacheKiB int, extra ...string) string {
	params := append([]string{"mode=rw", "_pragma=busy_timeout(5000)"}, extra...)
	params = append(params, "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=foreign_keys(1)",
		fmt.Sprintf("_pragma=cache_size(-%d)", cacheKiB), "_pragma=temp_store(MEMORY)", "_pragma=journal_size_limit(67108864)",
		"_pragma=wal_autocheckpoint(0)") // see checkpointer
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: strings.Join(params, "&")}
	return u.String()
}

// check reads back the settings that make commits durable. Drivers differ in their defaults and
// in the parameters that they silently ignore; a gateway that does not sync must not start.
func check(ctx context.Context, conn *sql.Conn) error {
	var mode string
	var synchronous, second int
	if err := conn.QueryRowContext(ctx, `pragma journal_mode`).Scan(&mode); err != nil {
		return explain(err)
	}
	if err := conn.QueryRowContext(ctx, `pragma synchronous`).Scan(&synchronous); err != nil {
		return explain(err)
	}
	if mode != "wal" || synchronous != 2 {
		return fmt.Errorf("journal_mode is %q and synchronous is %d, want \"wal\" and 2 (FULL): acknowledged webhooks could be lost; is the file on a network share?",
			mode, synchronous)
	}
	// Statements number their parameters and use some twice, or have bare ones. A driver that
	// binds them differently would write wrong values without an error.
	for _, text := range []string{`select $2 - $1 + $2 - $2`, `select ? + ? - 2`} {
		if err := conn.QueryRowContext(ctx, text, 1, 3).Scan(&second); err != nil {
			return fmt.Errorf("the driver does not bind parameters as gaff needs it: %s: %w", text, err)
		}
		if second != 2 {
			return fmt.Errorf("the driver does not bind parameters as gaff needs it: %s with 1 and 3 is %d, want 2", text, second)
		}
	}
	return nil
}

// fault classifies errors: it is gaff.ErrUnavailable if the database cannot work at the moment.
func fault(err error) error {
	se, ok := errors.AsType[coded](err)
	if !ok {
		return err
	}
	if se.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY && strings.Contains(se.Error(), "event.seq") {
		// Another program wrote events; the next transaction reads the number again.
		return fmt.Errorf("%w: %w", sqlstore.ErrCollision, err)
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CORRUPT,
		sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL:
		return fmt.Errorf("%w: %w", gaff.ErrUnavailable, explain(err))
	}
	return err
}

// explain adds the remedy to errors that have one.
func explain(err error) error {
	se, ok := errors.AsType[coded](err)
	if !ok {
		return err
	}
	var hint string
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		hint = "the disk is full: free some space"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		hint = "the data folder cannot be written: check its owner and whether the disk is mounted read-only"
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		hint = "the file is damaged or not a gaff database: restore a backup, or name another data folder"
	case sqlite3.SQLITE_IOERR:
		hint = "the disk failed to read or write: check it and its mount"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		hint = "another process has the database open"
	default:
		return err
	}
	return fmt.Errorf("%s: %w", hint, err)
}
