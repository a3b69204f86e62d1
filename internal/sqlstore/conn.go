package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/writer"
)

// maxProjects is how many project ids a connection remembers.
const maxProjects = 10_000

const nextEventText = `select coalesce(max(seq), 0) + 1 from event`

// conn is a connection of the writer.
type conn struct {
	s *Store
	// db is nil if the connection was lost, or is not made yet.
	db    *sql.Conn
	stmts map[string]*sql.Stmt // prepared statements; nil if the driver keeps them itself
	// shard distinguishes its rows of the counters from those of other connections.
	shard int64
	// nextEvent is the number of the next event, if no other process numbers events; 0 if it
	// must be read.
	nextEvent int64

	rejections, changes int64     // since they were last pruned
	issues              int64     // failures since issues were last pruned
	quarantined         int64     // bytes of the quarantine, as far as known; -1 if unknown
	added               int64     // bytes since the quarantine was last summed up
	forgot              time.Time // when old quarantined requests were last removed
	// keyUses holds the minute in which the use of a source's key was last stored.
	keyUses map[[2]string]int64
	// projects are some of the existing ones, so that not every job looks for its own.
	projects map[string]bool
}

var _ writer.Conn[*tx] = (*conn)(nil)

func newConn(s *Store) *conn {
	return &conn{s: s, quarantined: -1, keyUses: map[[2]string]int64{}, projects: map[string]bool{}}
}

// startWriter starts the writer over its connections.
func (s *Store) startWriter(ctx context.Context) error {
	o := writer.Options[*tx]{MaxQueuedBytes: s.opt.MaxQueuedBytes}
	if shared := s.opt.Shared; shared != nil {
		o.TxTime = shared.TxTime
		for range shared.Accepters {
			o.Accepters = append(o.Accepters, newConn(s))
		}
		for range shared.Effecters {
			o.Effecters = append(o.Effecters, newConn(s))
		}
	} else {
		only := newConn(s)
		only.db, only.stmts = s.opt.Write, map[string]*sql.Stmt{}
		if err := only.db.QueryRowContext(ctx, nextEventText).Scan(&only.nextEvent); err != nil {
			return fmt.Errorf("read the newest event: %w", err)
		}
		o.Only = only
	}
	s.w = writer.New(o)
	return nil
}

// Connect makes the connection.
func (x *conn) Connect(ctx context.Context) error {
	db, err := x.s.opt.Shared.Connect(ctx)
	if err == nil && x.shard == 0 {
		if err = db.QueryRowContext(ctx, `select nextval('shard_seq')`).Scan(&x.shard); err != nil {
			discard(db)
		}
	}
	if err != nil {
		return x.s.opt.Dialect.Fault(err)
	}
	x.db = db
	return nil
}

// Connected reports whether there is a connection.
func (x *conn) Connected() bool { return x.db != nil }

// Ping drops a connection that was lost while it was idle.
func (x *conn) Ping(ctx context.Context) {
	if x.s.opt.Shared == nil {
		return
	}
	if err := x.db.PingContext(ctx); err != nil {
		x.drop(err)
	}
}

// Lost reports whether err means that the connection was lost.
func (x *conn) Lost(err error) bool { return x.s.opt.Shared != nil && x.s.opt.Shared.Lost(err) }

// NewTx returns a transaction that is not open yet.
func (x *conn) NewTx(ctx context.Context, many bool) *tx {
	return &tx{s: x.s, x: x, ctx: ctx, many: many, first: x.nextEvent}
}

// Close closes the statements, and a connection that it made itself.
func (x *conn) Close() {
	for _, stmt := range x.stmts {
		_ = stmt.Close()
	}
	if x.s.opt.Shared != nil && x.db != nil {
		_ = x.db.Close()
	}
}

// drop gives up a lost connection.
func (x *conn) drop(err error) {
	if x.s.opt.Shared == nil {
		return
	}
	discard(x.db)
	x.db = nil
	x.s.opt.Log.Warn("connection to the database lost", "error", err)
}

// discard closes a connection, rather than returning it to its pool.
func discard(db *sql.Conn) {
	_ = db.Raw(func(any) error { return driver.ErrBadConn })
	_ = db.Close()
}

// Begin opens the transaction. On a shared database that is sent with the first statement.
func (t *tx) Begin() error {
	if guard := t.s.opt.Guard; guard != nil {
		if err := guard.Begin(t.x.db); err != nil {
			t.broken = err
			return err
		}
	}
	t.startClock()
	if t.s.opt.Shared != nil {
		return nil
	}
	if err := t.control(`begin immediate`); err != nil {
		return err
	}
	t.begun = true
	if t.x.nextEvent == 0 {
		if err := t.row([]any{&t.x.nextEvent}, nextEventText); err != nil {
			return err
		}
	}
	t.first = t.x.nextEvent
	return nil
}

// Next begins the next operation.
func (t *tx) Next() { t.wrote = false }

// Wrote reports whether the current operation has written anything.
func (t *tx) Wrote() bool { return t.wrote }

// Broken returns why the database ended the transaction.
func (t *tx) Broken() error { return t.broken }

// Commit commits, unless nothing was written.
func (t *tx) Commit() (sent bool, err error) {
	if guard := t.s.opt.Guard; guard != nil {
		if err := guard.Commit(t.x.db, t.first); err != nil {
			t.broken = err
			return false, err
		}
	}
	if !t.begun {
		return false, nil
	}
	if t.s.opt.Shared != nil {
		return true, t.fault(t.s.opt.Shared.Commit(t.ctx, t.x.db))
	}
	return true, t.control(`commit`)
}

func (t *tx) control(text string) error {
	stmt, err := t.prepare(text)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(t.ctx)
	return t.fault(err)
}

// Rollback undoes the transaction because of cause.
func (t *tx) Rollback(cause error) {
	for _, key := range t.took {
		t.s.held.drop(key)
	}
	t.x.nextEvent = t.first
	if errors.Is(cause, ErrCollision) {
		t.x.nextEvent = 0 // another program stored events
	}
	if !t.begun {
		return
	}
	ctx, cancel := context.Background(), func() {}
	if t.s.opt.Shared != nil {
		if errors.Is(t.broken, gaff.ErrUnavailable) {
			t.x.drop(t.broken) // its state is unknown
			return
		}
		ctx, cancel = context.WithTimeout(ctx, time.Second)
	}
	defer cancel()
	_, err := t.x.db.ExecContext(ctx, `rollback`)
	// On SQLite the rollback of a transaction that the database ended itself fails, which is
	// harmless.
	if err != nil {
		t.x.drop(err)
	}
}

// Committed notifies the workers and the other processes of the commit.
func (t *tx) Committed() {
	if committed := t.s.opt.Committed; committed != nil {
		committed()
	}
	if len(t.x.projects) > maxProjects {
		clear(t.x.projects)
	}
	for _, project := range t.seen {
		t.x.projects[project] = true
	}
	for _, queue := range t.wakes {
		t.s.signalWake(queue)
	}
	if len(t.changes) > 0 {
		t.s.signalChanged()
	}
	if t.s.opt.Shared != nil && (len(t.wakes) > 0 || len(t.changes) > 0) {
		t.s.opt.Shared.Notify(t.wakes, len(t.changes) > 0)
	}
}
