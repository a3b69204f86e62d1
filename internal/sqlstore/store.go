// Package sqlstore holds every query, once, and the group-commit writer.
//
// All writing goes through one goroutine: it takes whatever waits (webhooks to keep,
// effects to apply, deliveries to finish), commits all of it in one transaction, and
// then answers everyone. The disk is asked to sync once for many, which is worth five to
// seven times the throughput of a transaction each (docs/benchmarks.md).
package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gaff"
	"gaff/pipeline"
)

// Dialect names the places where databases part ways.
type Dialect struct {
	Name string
	// Fault turns a driver's error into one that is gaff.ErrUnavailable where the
	// database cannot work just now, and leaves others as they are.
	Fault func(error) error
	// LockKey locks a text, its argument, until the transaction's end; empty where only one
	// transaction writes at a time.
	LockKey string
}

// Options of a store.
type Options struct {
	Dialect Dialect
	// Write is the only connection that writes, Read a pool for everything else.
	Write *sql.Conn
	Read  *sql.DB
	Log   *slog.Logger
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
	// again. Zero means 5 seconds.
	AcceptWait time.Duration
	// Committed is called after each commit, by the writer; may be nil.
	Committed func()
	// Close closes the connections.
	Close func() error
}

// Store is a gaff.Store and a pipeline.Store over an SQL database.
type Store struct {
	opt     Options
	read    *sql.DB
	w       *writer
	closing sync.Once
	closed  error

	mu      sync.Mutex
	changed chan struct{}
	wakes   map[string]chan struct{} // by lane
}

var (
	_ gaff.Store      = (*Store)(nil)
	_ pipeline.Store  = (*Store)(nil)
	_ pipeline.Reader = (*Store)(nil)
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
		o.AcceptWait = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		opt: o, read: o.Read, changed: make(chan struct{}), wakes: map[string]chan struct{}{},
	}
	w, err := newWriter(ctx, s, o.Write)
	if err != nil {
		return nil, err
	}
	s.w = w
	return s, nil
}

// Close commits what waits and closes the database. Later calls return ErrStopped.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.w.stop()
		s.closed = s.opt.Close()
	})
	return s.closed
}

// Between runs fn on the writing connection while no transaction is open.
func (s *Store) Between(fn func(*sql.Conn) error) error {
	return s.w.do(context.Background(), &op{kind: opBetween, run: func(tx *tx) error { return fn(tx.w.conn) }})
}

// Ready proves that a commit reaches the disk.
func (s *Store) Ready(ctx context.Context) error {
	now := micros(time.Now())
	return s.w.do(ctx, &op{kind: opEffect, run: func(tx *tx) error {
		_, err := tx.exec(`insert into setting (name, value) values ('ready_at', $1)
			on conflict (name) do update set value = excluded.value`, fmt.Sprint(now))
		return err
	}})
}

// Wake tells that something became due in the lane that no worker of this process holds.
func (s *Store) Wake(lane string) <-chan struct{} { return s.waker(lane) }

func (s *Store) waker(lane string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.wakes[lane]
	if c == nil {
		c = make(chan struct{}, 1)
		s.wakes[lane] = c
	}
	return c
}

func (s *Store) signalWake(lane string) {
	select {
	case s.waker(lane) <- struct{}{}:
	default:
	}
}

// Changed is closed after the next commit that changed something.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Store) signalChanged() {
	s.mu.Lock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

// micros is how times are stored; the zero time is stored as null by nullMicros only.
func micros(t time.Time) int64 { return t.UnixMicro() }

func nullMicros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

func fromNull(us sql.NullInt64) time.Time {
	if !us.Valid {
		return time.Time{}
	}
	return fromMicros(us.Int64)
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
