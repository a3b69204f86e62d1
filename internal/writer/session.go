package writer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"gaff"
)

// Conn is one connection to the database. One goroutine uses it.
type Conn[T Tx] interface {
	// Connect connects. It is not called while Connected reports true.
	Connect(ctx context.Context) error
	// Connected reports whether Connect succeeded and the connection was not lost since.
	Connected() bool
	// Ping checks an idle connection, and drops it if it was lost.
	Ping(ctx context.Context)
	// Lost reports whether err means that the connection was lost, so that the same may
	// succeed on a new one.
	Lost(err error) bool
	// NewTx returns a transaction that is not open yet, for several operations if many is true.
	NewTx(ctx context.Context, many bool) T
	Close()
}

// session serves queues with one connection.
type session[T Tx] struct {
	w    *Writer[T]
	conn Conn[T]
	gate *batchGate
	// The queues that it serves; the others are nil.
	accepts, effects, notes, background, between chan *Op[T]

	share backgroundShare
	// connected counts the connected sessions of the same queues; counted is set if this one
	// is among them.
	connected *atomic.Int32
	counted   bool

	failure  error // why the connection could not be made
	failedAt time.Time
	used     time.Time // when the connection was last used
	reads    []any
}

func (s *session[T]) loop() {
	defer s.conn.Close()
	batch := make([]*Op[T], 0, maxAccepts+maxEffects+maxNotes)
	for {
		batch = batch[:0]
		if s.ensureConn() {
			continue
		}
		s.gate.take()
		var first *Op[T]
		var from chan *Op[T]
		background, rested := s.openBackground()
		select {
		case first = <-s.accepts:
			from = s.accepts
		case first = <-s.effects:
			from = s.effects
		case first = <-s.notes:
			from = s.notes
		case first = <-background:
			from = s.background
		case <-rested:
			s.gate.pass()
			continue
		case o := <-s.between:
			s.gate.pass()
			s.runBetween(o)
			continue
		case <-s.w.stopping:
			// Operations that were queued before the stop are still written.
			batch = s.fill(batch)
			s.gate.pass()
			if len(batch) == 0 {
				return
			}
			s.commit(batch)
			continue
		}
		if s.leave(first, from) {
			s.gate.pass()
			continue
		}
		if first.begin() {
			batch = append(batch, first)
			s.gate.join(len(s.accepts) + len(s.effects))
		}
		if batch = s.fill(batch); len(batch) == 0 {
			s.gate.pass()
			continue
		}
		s.gate.begin()
		s.commitShared(batch)
		s.gate.end()
	}
}

// openBackground returns the queue of background operations if the next batch may begin with one. Otherwise
// it returns a channel that receives when it may; nil if there is no such queue.
func (s *session[T]) openBackground() (queue chan *Op[T], rested <-chan time.Time) {
	if s.background == nil {
		return nil, nil
	}
	if rest := s.share.rest(time.Now()); rest > 0 {
		return nil, time.After(rest)
	}
	if len(s.accepts) > 0 {
		return nil, nil // fill decides
	}
	return s.background, nil
}

// commitShared commits a batch, and measures what it takes of the background's share.
func (s *session[T]) commitShared(batch []*Op[T]) {
	if s.background == nil {
		s.commit(batch)
		return
	}
	began := time.Now()
	s.commit(batch)
	has := func(kind Kind) bool { return slices.ContainsFunc(batch, func(o *Op[T]) bool { return o.Kind == kind }) }
	s.share.wrote(began, time.Now(), has(Accept), has(Background))
}

// leave puts an operation back into its queue if this connection is down and another one is not: that
// one connected while this session, with all connections down, waited for an operation to fail.
func (s *session[T]) leave(o *Op[T], queue chan *Op[T]) bool {
	if s.conn.Connected() || s.failure == nil || s.connected.Load() == 0 {
		return false
	}
	select {
	case queue <- o:
		return true
	default: // full: the connected one has enough to do
		return false
	}
}

func (s *session[T]) runBetween(o *Op[T]) {
	if !o.begin() {
		return
	}
	t := s.conn.NewTx(context.Background(), false)
	_, err := guarded(func() error { return o.Run(t) })
	o.answer(err)
}

// fill adds the operations that are already queued, without waiting: under load a batch forms
// by itself while the previous one is being synced. Operations that their callers have left
// are skipped.
func (s *session[T]) fill(batch []*Op[T]) []*Op[T] {
	var count, bytes [Between]int
	rows := 0
	add := func(o *Op[T]) {
		count[o.Kind]++
		bytes[o.Kind] += o.Bytes
		if o.Kind == Background {
			rows += max(o.Rows, 1)
		}
	}
	for _, o := range batch {
		add(o)
	}
	take := func(queue chan *Op[T]) bool {
		select {
		case o := <-queue:
			if o.begin() {
				batch = append(batch, o)
				add(o)
			}
			return true
		default:
			return false
		}
	}
	for count[Accept] < maxAccepts && bytes[Accept] < maxAcceptBytes && take(s.accepts) {
	}
	for count[Effect] < maxEffects && take(s.effects) {
	}
	for count[Note] < maxNotes && bytes[Note] < maxNoteBytes && take(s.notes) {
	}
	if len(s.background) > 0 {
		for most := s.backgroundRows(time.Now(), count[Accept] > 0); rows < most && take(s.background); {
		}
	}
	return batch
}

// backgroundRows is how many rows of background operations the next batch may have. A writer that
// stops writes all that are queued.
func (s *session[T]) backgroundRows(now time.Time, accepts bool) int {
	select {
	case <-s.w.stopping:
		return maxEffects
	default:
	}
	if !s.share.open(now, accepts) {
		return 0
	}
	return s.share.rows(now)
}

// ensureConn connects before taking work. If only this connection is down, it leaves the queue
// to the others and reports true: try again. If all are down, it takes the work and fails it.
func (s *session[T]) ensureConn() (again bool) {
	if s.conn.Connected() || s.failure != nil && s.connected.Load() == 0 {
		return false
	}
	ctx, cancel := s.bounded()
	defer cancel()
	if s.connect(ctx) == nil || s.connected.Load() == 0 {
		return false
	}
	select {
	case <-s.w.stopping:
		return false
	case <-time.After(reconnectEvery):
		return true
	}
}

// reconnectEvery is the shortest time between two attempts of a session to connect.
const reconnectEvery = 100 * time.Millisecond

func (s *session[T]) connect(ctx context.Context) error {
	if s.conn.Connected() {
		return nil
	}
	s.recount()
	if pause := reconnectEvery - time.Since(s.failedAt); pause > 0 {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", gaff.ErrUnavailable, context.Cause(ctx))
		}
	}
	if err := s.conn.Connect(ctx); err != nil {
		if !errors.Is(err, gaff.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", gaff.ErrUnavailable, err)
		}
		s.failure, s.failedAt = err, time.Now()
		return err
	}
	s.failure, s.used = nil, time.Now()
	s.recount()
	return nil
}

// recount updates the number of connected sessions.
func (s *session[T]) recount() {
	switch now := s.conn.Connected(); {
	case now && !s.counted:
		s.connected.Add(1)
		s.counted = true
	case !now && s.counted:
		s.connected.Add(-1)
		s.counted = false
	}
}

const (
	// pingAfter is how long a connection is idle until it is checked before its next use.
	pingAfter = time.Second
	// pingTime bounds the check. A firewall that forgot the connection sends no response at
	// all, and there must be time left to connect again.
	pingTime = 1500 * time.Millisecond
)

func (s *session[T]) pingIdle(ctx context.Context) {
	if time.Since(s.used) < pingAfter {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	s.conn.Ping(ctx)
	s.recount()
}

// bounded returns a context for one transaction.
func (s *session[T]) bounded() (context.Context, context.CancelFunc) {
	if s.w.txTime == 0 {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), s.w.txTime)
}
