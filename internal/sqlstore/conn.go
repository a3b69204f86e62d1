package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"
)

// maxProjects is how many project ids a connection remembers.
const maxProjects = 10_000

// conn is a connection of the writer, and what it remembers between transactions.
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
	// keys finds events by their keys on SQLite; nil on PostgreSQL.
	keys *eventKeys

	rejections, changes int64     // since they were last pruned
	issues              int64     // failures since issues were last pruned
	quarantined         int64     // bytes of the quarantine, as far as known; -1 if unknown
	added               int64     // bytes since the quarantine was last summed up
	expiredAt           time.Time // when old quarantined requests were last removed
	// keyUses holds the minute in which the use of a source's key was last stored.
	keyUses map[[2]string]int64
	// projects are some of the existing ones, so that not every job looks for its own.
	projects map[string]bool
	// projectsErased is the store's number for which they are known.
	projectsErased int64
}

func newConn(s *Store) *conn {
	return &conn{s: s, quarantined: -1, keyUses: map[[2]string]int64{}, projects: map[string]bool{}}
}

// NewTx returns a transaction that is not open yet.
func (x *conn) NewTx(ctx context.Context, many bool) *tx {
	t := &tx{s: x.s, db: x.s.db, x: x, ctx: ctx, many: many, first: x.nextEvent}
	if x.keys != nil {
		t.keys.next = x.keys.next
	}
	return t
}

// drop gives up a lost connection.
func (x *conn) drop(err error) {
	discard(x.db)
	x.db = nil
	x.s.opt.Log.Warn("connection to the database lost", "error", err)
}

// discard closes a connection, rather than returning it to its pool.
func discard(db *sql.Conn) {
	_ = db.Raw(func(any) error { return driver.ErrBadConn })
	_ = db.Close()
}
