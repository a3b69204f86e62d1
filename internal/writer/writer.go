// Package writer writes operations to a database in batches: group commit. Callers queue
// operations, and each connection takes the queued ones, runs them in one transaction and
// reports the outcome to every caller. One sync of the disk then serves the whole batch.
//
// The package knows no SQL and no tables. A store provides the connections (Conn) and their
// transactions (Tx).
package writer

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrCollision reports a transaction that the database undid because of another one.
var ErrCollision = errors.New("a concurrent transaction got in the way")

// Limits of one batch. Webhooks come first, and few effects are added to them, so that the
// response time of a sender does not grow with the work that earlier webhooks caused.
const (
	maxAccepts     = 512
	maxAcceptBytes = 4 << 20
	maxEffects     = 64
	maxNotes       = 32
	maxNoteBytes   = 256 << 10
)

// Limits of the queues.
const (
	queuedAccepts = 4096
	queuedEffects = 4096
	queuedNotes   = 256
	// MaxQueuedNoteBytes bounds the requests that queued notes hold.
	MaxQueuedNoteBytes = 8 << 20
)

// If several connections serve a queue, the next one begins its batch while others are
// writing theirs once so many operations are queued, or after so long: a larger batch costs
// less per operation.
const (
	joinAccepts = 16
	joinEffects = 32
	joinAfter   = 5 * time.Millisecond
)

// Options of a writer. Either Only is set, or Accepters and Effecters are.
type Options[T Tx] struct {
	// Only is the only connection, and writes everything.
	Only Conn[T]
	// Accepters write webhooks; Effecters write everything else.
	Accepters, Effecters []Conn[T]
	// TxTime bounds a transaction, including the time to connect. Zero means no bound.
	TxTime time.Duration
	// MaxQueuedBytes bounds the bodies of webhooks that are queued or being written.
	MaxQueuedBytes int64
}

// Writer queues operations and writes them in batches.
type Writer[T Tx] struct {
	txTime         time.Duration
	maxQueuedBytes int64

	accepts, effects, notes, between chan *Op[T]
	background                       chan *Op[T] // nil: they are queued as effects
	// Bytes of the bodies that operations hold, queued ones and those being written.
	acceptBytes, noteBytes atomic.Int64
	// Nil if one connection serves the queue.
	acceptGate, effectGate *batchGate

	stopping chan struct{}
	stopped  chan struct{}
	once     sync.Once
}

// New starts one goroutine for each connection.
func New[T Tx](o Options[T]) *Writer[T] {
	w := &Writer[T]{
		txTime: o.TxTime, maxQueuedBytes: o.MaxQueuedBytes,
		accepts: make(chan *Op[T], queuedAccepts), effects: make(chan *Op[T], queuedEffects),
		notes: make(chan *Op[T], queuedNotes), between: make(chan *Op[T]),
		stopping: make(chan struct{}), stopped: make(chan struct{}),
	}
	var sessions []*session[T]
	if o.Only != nil {
		w.background = make(chan *Op[T], queuedEffects)
		sessions = append(sessions, &session[T]{
			w: w, conn: o.Only, connected: new(atomic.Int32),
			accepts: w.accepts, effects: w.effects, notes: w.notes, background: w.background, between: w.between,
		})
	} else {
		accepting, effecting := new(atomic.Int32), new(atomic.Int32)
		w.acceptGate, w.effectGate = newBatchGate(joinAccepts), newBatchGate(joinEffects)
		for _, conn := range o.Accepters {
			sessions = append(sessions, &session[T]{
				w: w, conn: conn, connected: accepting, gate: w.acceptGate, accepts: w.accepts,
			})
		}
		for _, conn := range o.Effecters {
			sessions = append(sessions, &session[T]{
				w: w, conn: conn, connected: effecting, gate: w.effectGate, effects: w.effects, notes: w.notes,
			})
		}
	}
	var running sync.WaitGroup
	for _, s := range sessions {
		running.Go(s.loop)
	}
	go func() {
		running.Wait()
		close(w.stopped)
	}()
	return w
}

// Stop writes the queued operations, closes the connections and waits for both. Operations
// that are queued later fail with gaff.ErrStopped.
func (w *Writer[T]) Stop() {
	w.once.Do(func() { close(w.stopping) })
	<-w.stopped
}

// Stopping returns a channel that is closed when Stop is called.
func (w *Writer[T]) Stopping() <-chan struct{} { return w.stopping }
