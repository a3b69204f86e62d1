// Package sqlstore stores events, deliveries, jobs and runs in SQLite or PostgreSQL.
//
// A few goroutines with a connection each (on SQLite: one) do all writing: see internal/writer.
// A transaction collects the rows of its operations (events to store, attempts to finish, jobs
// to save). Before it commits, the rules of accept.go and finish.go turn them into rows, and a
// Database writes each kind of row in a batch. So the rules are written once, and only the
// implementations of Database differ: sqlite.go, and postgres.go with its batches and claims.
//
// A statement serves both databases. Rules for its text:
//
//   - Times and flags are integers, JSON is bytes. $1 may occur several times. The type of a
//     parameter must follow from its place.
//   - On PostgreSQL other connections and other processes write at the same time: read rows
//     that are about to be written with Database.lock. The function of an operation may be
//     called again if another transaction got in its way.
//   - On PostgreSQL an error of a statement ends the transaction: detect a conflict by "on
//     conflict do nothing" and the number of rows, rather than by the error.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gaff"
	"gaff/internal/secretbox"
	"gaff/internal/writer"
	"gaff/jobs"
)

// Dialect is how reading differs between databases.
type Dialect struct {
	Name string
	// Fault classifies an error of the driver: it is gaff.ErrUnavailable if the database
	// cannot work at the moment. Other errors stay as they are.
	Fault func(error) error
	// Snapshot is the isolation in which several queries see the same state.
	Snapshot sql.IsolationLevel
	// Body is the SQL of a condition: that the bytes in column contain the text of the
	// parameter ?. Pattern returns that parameter.
	Body    func(column string) string
	Pattern func(text string) string
}

// ErrCollision reports a transaction that the database undid because of another one.
var ErrCollision = writer.ErrCollision

// ErrLocked reports that a transaction did not wait longer for a lock. It is ErrUnavailable too, or
// ErrCollision in a transaction that can do without what it waited for.
var ErrLocked = errors.New("locked by another transaction")

// Row is a row of a result.
type Row interface{ Scan(dest ...any) error }

// Options of a store.
type Options struct {
	Dialect Dialect
	// Database is a SQLite or a PostgreSQL.
	Database Database
	// Read is a pool for everything else. Lists returns one for reads that may be a few seconds
	// old (see gaff/internal/stale), or nil if Read has to answer them; it may be nil.
	Read  *sql.DB
	Lists func() *sql.DB
	Log   *slog.Logger
	// MaxRejections is how many rejected requests are stored. Zero means 10,000.
	MaxRejections int
	// MaxQuarantine bounds the rejected requests that are stored whole, in bytes. Zero means
	// 64 MiB.
	MaxQuarantine int64
	// QuarantineFor is how long they are stored. Zero means 7 days.
	QuarantineFor time.Duration
	// MaxChanges is how many commits the stream can look back. Zero means 20,000.
	MaxChanges int
	// AcceptWait is how long a sender waits for the commit before it is asked to send again.
	// Zero means 4.5 seconds, so that the response takes less than five.
	AcceptWait time.Duration
	// MaxQueuedBytes bounds the bodies that are queued to be written, or being written; more
	// are ErrUnavailable. Zero means 256 MiB.
	MaxQueuedBytes int64
	// Committed is called after each commit, by the goroutine that wrote it; may be nil.
	Committed func()
	// Compact is the function of that name.
	Compact func(ctx context.Context, s *Store, full bool) (Compacted, error)
	// Close closes the connections.
	Close func() error
}

// Store is a gaff.Store and a jobs.Store over an SQL database.
type Store struct {
	opt     Options
	read    *sql.DB
	w       *writer.Writer[*tx]
	leases  leases
	db      Database
	closing sync.Once
	closed  error

	// secrets encrypts the stored secrets; nil if no key is set.
	secrets        atomic.Pointer[secretbox.Box]
	projectsErased atomic.Int64 // so that connections forget the projects that they know

	rereading atomic.Bool // readers will be notified of changes again
	damaged   damagedEvents
	rejected  rejectedGroups
	// committing is called after each commit; see ObserveCommits.
	committing atomic.Pointer[func(time.Duration)]
	links      atomic.Pointer[func(*jobs.Media) jobs.MediaLinks]

	mu      sync.Mutex
	probe   *probe // that runs now; may be nil
	changed chan struct{}
	wakes   map[string]chan struct{} // by queue
}

var (
	_ gaff.Store  = (*Store)(nil)
	_ jobs.Store  = (*Store)(nil)
	_ jobs.Reader = (*Store)(nil)
)

// New starts the writer over an open, migrated database.
func New(ctx context.Context, o Options) (*Store, error) {
	if o.MaxRejections <= 0 {
		o.MaxRejections = 10_000
	}
	if o.MaxChanges <= 0 {
		o.MaxChanges = 20_000
	}
	if o.MaxQuarantine <= 0 {
		o.MaxQuarantine = 64 << 20
	}
	if o.QuarantineFor <= 0 {
		o.QuarantineFor = 7 * 24 * time.Hour
	}
	if o.AcceptWait <= 0 {
		o.AcceptWait = 4500 * time.Millisecond
	}
	if o.MaxQueuedBytes <= 0 {
		o.MaxQueuedBytes = 256 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		opt: o, db: o.Database, read: o.Read, changed: make(chan struct{}), wakes: map[string]chan struct{}{},
		leases: leases{all: map[deliveryKey]lease{}, fronts: map[string]front{}},
	}
	connections, err := s.db.connections(ctx, s)
	if err != nil {
		return nil, err
	}
	connections.MaxQueuedBytes = o.MaxQueuedBytes
	s.w = writer.New(connections)
	s.db.start(s)
	return s, nil
}

// Close commits the queued operations and closes the database. Later calls return ErrStopped.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.db.stop(s)
		s.writeRejections()
		s.w.Stop()
		s.closed = s.opt.Close()
	})
	return s.closed
}

// Between runs fn on the writing connection while no transaction is open.
func (s *Store) Between(fn func(*sql.Conn) error) error {
	if s.db.concurrent() {
		return errors.New("not supported with concurrent writers")
	}
	return s.w.Do(context.Background(), &op{Kind: writer.Between, Run: func(tx *tx) error { return fn(tx.x.db) }})
}
