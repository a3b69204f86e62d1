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
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gaff"
	"gaff/internal/writer"
	"gaff/jobs"
)

// Migrations are the names of migrations that were applied. Logs show how many, the first
// and the last.
type Migrations []string

// LogValue returns one name, or the number and range of several.
func (m Migrations) LogValue() slog.Value {
	switch len(m) {
	case 0:
		return slog.StringValue("none")
	case 1:
		return slog.StringValue(m[0])
	}
	return slog.StringValue(fmt.Sprintf("%d, %s to %s", len(m), m[0], m[len(m)-1]))
}

// LogMigrations logs which migrations were applied, in one line.
func LogMigrations(log *slog.Logger, names []string) {
	if len(names) > 0 {
		log.Info("schema migrated", "migrations", Migrations(names))
	}
}

// Dialect names the places where databases part ways.
type Dialect struct {
	Name string
	// Fault turns a driver's error into one that is gaff.ErrUnavailable where the
	// database cannot work just now, and leaves others as they are.
	Fault func(error) error
	// LockKey locks a text, its argument, until the transaction's end; empty where only one
	// transaction writes at a time.
	LockKey string
	// Snapshot is the isolation in which several queries see the same state.
	Snapshot sql.IsolationLevel
	// Body is the SQL of a condition: that the bytes in column hold the text in the
	// parameter ?. Pattern makes that parameter.
	Body    func(column string) string
	Pattern func(text string) string
}

// ErrCollision reports a transaction that the database undid because of another one.
var ErrCollision = writer.ErrCollision

// Statement is one with its arguments.
type Statement struct {
	Text string
	Args []any
	// Scan, if not nil, is called for each row of the answer.
	Scan func(Row) error
}

// Row is one of an answer.
type Row interface{ Scan(dest ...any) error }

// Shared says how several connections, of several processes, write to one database.
type Shared struct {
	// Connect opens a connection for writing, within the context's time.
	Connect func(context.Context) (*sql.Conn, error)
	// Commit ends the open transaction. Nil means that it was committed for certain.
	Commit func(context.Context, *sql.Conn) error
	// Pipeline runs statements, all sent at once, and returns how many rows each changed or
	// answered.
	Pipeline func(context.Context, *sql.Conn, []Statement) ([]int64, error)
	// Lost reports whether an error means that the connection is gone, rather than that the
	// server refused something: on a new connection the same may work.
	Lost func(error) bool
	// Notify tells other processes in which queues deliveries are due, and whether anything
	// changed. It must not block.
	Notify func(lanes []string, changed bool)
	// Accepters and Effecters are how many connections keep webhooks, and write all else.
	Accepters, Effecters int
	// Lease is how long a claim holds without being renewed.
	Lease time.Duration
	// Now is the database's time, as far as this process knows it. Nil: its own.
	Now func() time.Time
	// TxTime is how long a transaction may take.
	TxTime time.Duration
}

// Guard refuses transactions that might not survive a restart.
type Guard interface {
	// Begin is called before a transaction begins.
	Begin(conn *sql.Conn) error
	// Commit is called before it commits; next is the number that the next event had when it
	// began.
	Commit(conn *sql.Conn, next int64) error
}

// Options of a store.
type Options struct {
	Dialect Dialect
	// Write is the only connection that writes; nil if Shared is set.
	Write  *sql.Conn
	Shared *Shared
	// Guard judges each transaction of Write; may be nil.
	Guard Guard
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
	held    leases
	closing sync.Once
	closed  error

	looking  atomic.Bool // a look at changes is planned
	damaged  damagedEvents
	rejected rejected
	links    atomic.Pointer[func(*jobs.Media) string]

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
		opt: o, read: o.Read, changed: make(chan struct{}), wakes: map[string]chan struct{}{},
		held: leases{leases: map[deliveryKey]heldLease{}},
	}
	if err := s.startWriter(ctx); err != nil {
		return nil, err
	}
	if o.Shared != nil {
		go s.renew()
	}
	return s, nil
}

// Reader reads a database that a gateway may be writing to.
type Reader struct{ s *Store }

// NewReader makes a reader over an open database, which Close closes.
func NewReader(db *sql.DB) *Reader {
	o := Options{Dialect: Dialect{Fault: func(err error) error { return err }}, Log: slog.New(slog.DiscardHandler)}
	return &Reader{&Store{read: db, opt: o}}
}

// CheckBodies is the function of that name.
func (r *Reader) CheckBodies(ctx context.Context, progress func(BodyReport) error) (BodyReport, error) {
	return CheckBodies(ctx, r.s.read, progress)
}

// Media returns a page of media rows, newest first.
func (r *Reader) Media(ctx context.Context, f jobs.MediaFilter) (gaff.Page[jobs.Media], error) {
	return r.s.Media(ctx, f)
}

// Close closes the database.
func (r *Reader) Close() error { return r.s.read.Close() }

// Close commits what waits and closes the database. Later calls return ErrStopped.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.releaseAll()
		s.writeRejections()
		s.w.Stop()
		s.closed = s.opt.Close()
	})
	return s.closed
}

// Between runs fn on the writing connection while no transaction is open.
func (s *Store) Between(fn func(*sql.Conn) error) error {
	if s.opt.Shared != nil {
		return errors.New("several connections write to this database: there is no time between their transactions")
	}
	return s.w.Do(context.Background(), &op{Kind: writer.Between, Run: func(tx *tx) error { return fn(tx.x.db) }})
}

// probe is one commit that shows whether the store can keep anything, for all who ask
// meanwhile: while a disk hangs, checks that come every second must not fill the queue.
type probe struct {
	done chan struct{}
	err  error
}

// Ready returns nil once a commit has reached the disk, or why none does, within the context's
// time.
func (s *Store) Ready(ctx context.Context) error {
	s.mu.Lock()
	p := s.probe
	if p == nil {
		p = &probe{done: make(chan struct{})}
		s.probe = p
		go s.runProbe(p)
	}
	s.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%w: the disk or the database has not finished a commit yet: %w", gaff.ErrUnavailable, context.Cause(ctx))
	}
}

func (s *Store) runProbe(p *probe) {
	p.err = s.w.Do(context.Background(), s.probeOp())
	s.mu.Lock()
	s.probe = nil
	s.mu.Unlock()
	close(p.done)
}

func (s *Store) probeOp() *op {
	if s.opt.Shared != nil {
		// A transaction with a number is synced, even if it writes nothing; and nothing is
		// what nodes cannot wait for each other over.
		return &op{Kind: writer.Accept, Wait: s.opt.AcceptWait, Run: func(tx *tx) error {
			var number int64
			return tx.row([]any{&number}, `select pg_current_xact_id()::text::bigint`)
		}}
	}
	now := micros(time.Now())
	return &op{Run: func(tx *tx) error {
		_, err := tx.exec(`insert into setting (name, value) values ('ready_at', $1)
			on conflict (name) do update set value = excluded.value`, fmt.Sprint(now))
		return err
	}}
}

// Setting keeps value under a name unless there is one already, and returns the one that
// is there: what all processes of a database must agree on, such as a key.
func (s *Store) Setting(ctx context.Context, name, value string) (kept string, err error) {
	err = s.w.Do(ctx, &op{Run: func(tx *tx) error {
		if _, err := tx.exec(`insert into setting (name, value) values ($1, $2) on conflict (name) do nothing`, name, value); err != nil {
			return err
		}
		return tx.row([]any{&kept}, `select value from setting where name = $1`, name)
	}})
	return kept, err
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
	signal(s.waker(lane))
}

// Notified tells that another process wrote: that deliveries wait in lanes (in all that are
// known here, if the list is empty and not nil), and that something changed.
func (s *Store) Notified(lanes []string, changed bool) {
	if lanes != nil && len(lanes) == 0 {
		s.mu.Lock()
		for lane := range s.wakes {
			lanes = append(lanes, lane)
		}
		s.mu.Unlock()
	}
	for _, lane := range lanes {
		s.signalWake(lane)
	}
	if changed {
		s.signalChanged()
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

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
