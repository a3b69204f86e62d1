package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"gaff"
)

// notCopied is logged when a copy of the write-ahead log fails. A later one may succeed.
const notCopied = "write-ahead log not copied yet"

// checkpointer moves committed pages from the write-ahead log into the database file.
//
// SQLite would do that inside the commit that fills the log, and its callers would wait until
// some megabytes are written and synced. Here a connection of its own copies the pages while
// commits go on, and then those that were committed meanwhile, until few are left. These are
// copied between two commits: the log is reused from its beginning only if all its pages were
// copied.
type checkpointer struct {
	db   *sql.DB
	log  *slog.Logger
	wake chan struct{}
	quit chan struct{}
	done chan struct{}
	// between runs a function on the writing connection while no transaction is open.
	between func(func(*sql.Conn) error) error
	fault   func(error) error // classifies and records errors
	warned  time.Time         // when the log's size was last logged
}

const (
	// checkpointAt is the size of the log, in pages of 4 KiB, from which it is copied.
	checkpointAt = 4000
	// fewPages is how many pages may be left for the copy between two commits. Passes beside the
	// commits are repeated to get there, at most maxPasses in all: under load each leaves some.
	fewPages  = 64
	maxPasses = 4
	// checkpointEvery is the time between two checks of that size.
	checkpointEvery = 20 * time.Millisecond
	// longLog is the size of the log, in pages, from which a warning is logged.
	longLog = 64 << 10
	// warnEvery is the time between two such warnings.
	warnEvery = time.Minute
)

func newCheckpointer(path string, log *slog.Logger, fault func(error) error) (*checkpointer, error) {
	db, err := sql.Open("sqlite", dsn(path, readerCache))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return &checkpointer{
		db: db, log: log, fault: fault,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}, nil
}

// committed wakes the checkpointer after a commit.
func (c *checkpointer) committed() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *checkpointer) run() {
	defer close(c.done)
	for {
		select {
		case <-c.quit:
			return
		case <-c.wake:
		}
		if pages, _, err := checkpoint(c.db, "noop"); err == nil && pages >= checkpointAt {
			c.checkpoint()
		}
		select {
		case <-c.quit:
			return
		case <-time.After(checkpointEvery):
		}
	}
}

func (c *checkpointer) checkpoint() {
	err := c.copyBeside()
	if err == nil {
		err = c.between(func(conn *sql.Conn) error {
			if _, _, err := checkpoint(conn, "passive"); err != nil {
				return err
			}
			return growCache(context.Background(), conn)
		})
	}
	if err != nil && !errors.Is(err, gaff.ErrStopped) {
		// The log grows until a later copy succeeds; nothing is lost.
		c.log.Warn(notCopied, "error", c.fault(err))
	}
}

// copyLongLog copies a log of so many pages or more before a gateway listens: one that a migration wrote, or
// that grew behind a reader until the last process was killed. It is reused by the first commit, and no webhook waits for it.
func copyLongLog(conn *sql.Conn, pages int) error {
	found, _, err := checkpoint(conn, "noop")
	if err != nil || found < pages {
		return err
	}
	_, _, err = checkpoint(conn, "passive")
	return err
}

// copyBeside copies pages while commits go on, until few are left or a reader holds the others.
func (c *checkpointer) copyBeside() error {
	for range maxPasses {
		pages, copied, err := checkpoint(c.db, "passive")
		if err != nil {
			return err
		}
		c.warn(pages)
		now, _, err := checkpoint(c.db, "noop")
		if err != nil || copied < pages || now-copied <= fewPages {
			return err
		}
	}
	return nil
}

// warn logs that the log is long. SQLite reuses it from its beginning only when no reader needs its pages, and
// gaff's own readers end after seconds.
func (c *checkpointer) warn(pages int) {
	if pages < longLog || time.Since(c.warned) < warnEvery {
		return
	}
	c.warned = time.Now()
	c.log.Warn("the write-ahead log is long: a backup or another program has been reading the database for long; end it if the disk fills",
		"mebibytes", pages>>8)
}

// checkpoint returns how many pages are in the log, and how many of them are in the database file.
func checkpoint(db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, mode string,
) (pages, copied int, err error) {
	var busy int
	err = db.QueryRowContext(context.Background(), `pragma wal_checkpoint(`+mode+`)`).Scan(&busy, &pages, &copied)
	return pages, copied, err
}

func (c *checkpointer) close() error {
	close(c.quit)
	<-c.done
	return c.db.Close()
}
