package sqlite

import (
	"context"
	"database/sql"
	"log/slog"
	"time"
)

// checkpointer moves committed pages from the write-ahead log into the database file.
//
// SQLite would do that inside the commit that fills the log, and everyone who waits for
// that commit would wait for some megabytes to be written and synced. Here the bulk is
// copied by a connection of its own while commits go on; only the rest, what was
// committed meanwhile, is copied between two commits, which is short. It has to be done
// there: the log starts over from its beginning only when nothing is left in it.
type checkpointer struct {
	db   *sql.DB
	log  *slog.Logger
	wake chan struct{}
	quit chan struct{}
	done chan struct{}
	// between runs a function on the writing connection while no transaction is open.
	between func(func(*sql.Conn) error) error
	fault   func(error) error // takes note of errors
}

const (
	// checkpointAt is the size of the log, in pages of 8 KiB, from which on it is copied.
	checkpointAt = 4000
	// checkpointEvery is the time between two looks at that size.
	checkpointEvery = 20 * time.Millisecond
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

// committed tells that the log grew.
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
		if pages, err := checkpoint(c.db, "noop"); err == nil && pages >= checkpointAt {
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
	_, err := checkpoint(c.db, "passive")
	if err == nil {
		err = c.between(func(conn *sql.Conn) error {
			_, err := checkpoint(conn, "passive")
			return err
		})
	}
	if err != nil {
		// The log grows until it succeeds; nothing is lost.
		c.log.Warn("write-ahead log not copied yet", "error", c.fault(err))
	}
}

// checkpoint returns how many pages are in the log.
func checkpoint(db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, mode string,
) (pages int, err error) {
	var busy, copied int
	err = db.QueryRowContext(context.Background(), `pragma wal_checkpoint(`+mode+`)`).Scan(&busy, &pages, &copied)
	return pages, err
}

func (c *checkpointer) close() error {
	close(c.quit)
	<-c.done
	return c.db.Close()
}
