// Package sqlstore holds every query, once, and the group-commit writer.
//
// All writing goes through a few goroutines with a connection each (on SQLite: one): it
// takes whatever waits (webhooks to keep, effects to apply, deliveries to finish), commits
// all of it in one transaction, and then answers everyone. The disk is asked to sync once
// for many, which is worth five to seven times the throughput of a transaction each
// (docs/benchmarks.md).
//
// One text of SQL serves SQLite and PostgreSQL. Writing for both:
//
//   - Times and flags are integers, JSON is bytes; $1 may stand in several places; the type
//     of a parameter must follow from where it stands.
//   - On PostgreSQL other connections and other processes write at the same time: read what
//     is about to be written with tx.lock(). A function may be called again when another
//     transaction got in its way.
//   - An error of a statement ends the transaction: ask for a conflict by "on conflict do
//     nothing" and the number of rows, not by the error.
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
	"gaff/internal/writer"
	"gaff/jobs"
)

// Dialect names the places where databases part ways.
type Dialect struct {
	Name string
	// Fault turns a driver's error into one that is gaff.ErrUnavailable where the
	// database cannot work just now, and leaves others as they are.
	Fault func(error) error
	// Snapshot is the isolation in which several queries see the same state.
	Snapshot sql.IsolationLevel
	// Body is the SQL of a condition: that the bytes in column hold the text in the
	// parameter ?. Pattern makes that parameter.
	Body    func(column string) string
	Pattern func(text string) string
}

// ErrCollision reports a transaction that the database undid because of another one.
var ErrCollision = writer.ErrCollision

// Row is one of an answer.
type Row interface{ Scan(dest ...any) error }

// Options of a store.
type Options struct {
	Dialect Dialect
	// Database is a SQLite or a PostgreSQL.
	Database Database
	// Read is a pool for everything else.
	Read *sql.DB
	Log  *slog.Logger
	// MaxRejections is how many refused requests are kept. Zero means 10,000.
	MaxRejections int
	// MaxQuarantine bounds the refused requests that are kept whole, in bytes. Zero means
	// 64 MiB.
	MaxQuarantine int64
	// QuarantineFor is how long they are kept. Zero means 7 days.
	QuarantineFor time.Duration
	// MaxChanges is how many commits the stream can look back. Zero means 20,000.
	MaxChanges int
	// AcceptWait is how long a sender waits for its commit before it is told to come
	// again. Zero means 4.5 seconds, so that the answer is there within five.
	AcceptWait time.Duration
	// MaxQueuedBytes bounds the bodies that are queued to be written, or being written; more
	// are ErrUnavailable. Zero means 256 MiB.
	MaxQueuedBytes int64
	// Committed is called after each commit, by who wrote it; may be nil.
	Committed func()
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

	rereading atomic.Bool // readers will be notified of changes again
	damaged   damagedEvents
	rejected  rejectedGroups
	links     atomic.Pointer[func(*jobs.Media) string]

	mu      sync.Mutex
	probe   *probe // under way; nil if none is
	changed chan struct{}
	wakes   map[string]chan struct{} // by lane
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
		leases: leases{all: map[deliveryKey]lease{}},
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

// Close commits what waits and closes the database. Later calls return ErrStopped.
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
