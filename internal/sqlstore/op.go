package sqlstore

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"gaff"
	"gaff/jobs"
)

type opKind int

const (
	opAccept opKind = iota
	opEffect
	// opDetail is a note about a refused request. Untrusted clients cause them, so they have a
	// short queue of their own, and are dropped when it is full.
	opDetail
	// opBetween is no part of a transaction, but runs between two.
	opBetween
)

// op is one piece of writing. Its run may be called again after a rollback, so it must
// set all that it reports at each call.
type op struct {
	kind  opKind
	bytes int           // of bodies that it holds
	wait  time.Duration // for the commit; 0 has no bound but the caller's context
	reads jobs.JobRef   // the job that run reads first; zero if that is not known
	run   func(*tx) error
	// committed, if not nil, runs in the writer's goroutine right after the commit.
	committed func()
	// abandoned, if not nil, runs there if it was committed after its caller had left.
	abandoned func()
	// dropped, if not nil, is called once when the writer no longer holds the bodies.
	dropped func()

	done  chan error
	state atomic.Int32
	held  *atomic.Int64 // where bytes are counted while the writer holds them
}

// The states of an op. Only one that is queued can still be taken back.
const (
	opQueued int32 = iota
	opBegun
	opSettled // answered, or left by its caller
)

// begin is called by a session before it runs o; false means that the caller has left, and
// nothing is to be written.
func (o *op) begin() bool { return o.state.CompareAndSwap(opQueued, opBegun) }

// answer reports the outcome to the caller, if it still waits.
func (o *op) answer(err error) {
	o.drop()
	if o.state.CompareAndSwap(opBegun, opSettled) {
		o.done <- err
	} else if err == nil && o.abandoned != nil {
		o.abandoned()
	}
}

// withdraw takes o back if no session has begun it: it will not be written, and what it
// holds is released now rather than when a session meets it.
func (o *op) withdraw() bool {
	if !o.state.CompareAndSwap(opQueued, opSettled) {
		return false
	}
	o.run, o.committed, o.abandoned = nil, nil, nil
	o.drop()
	return true
}

// ensureConn is withdraw for a caller that does not wait for the outcome either. It reports false
// if the answer is there.
func (o *op) leave() bool {
	return o.withdraw() || o.state.CompareAndSwap(opBegun, opSettled)
}

// drop ends the count of the bytes that o holds.
func (o *op) drop() {
	if o.held != nil {
		o.held.Add(-int64(o.bytes))
	}
	if o.dropped != nil {
		o.dropped()
	}
}

// do hands o to the writer and waits for its commit.
//
// Until a session begins o, the end of the context withdraws it. From then on the outcome is
// waited for, so that nobody acts on a guess, unless o.wait bounds that. An accept is not
// withdrawn when its sender goes away. A note is written even if its caller no longer waits.
func (w *writer) do(ctx context.Context, o *op) error {
	o.done = make(chan error, 1)
	if err := w.enqueue(ctx, o); err != nil {
		if o.dropped != nil {
			o.dropped()
		}
		return err
	}
	return w.await(ctx, o)
}

func (w *writer) enqueue(ctx context.Context, o *op) error {
	queue := w.effects
	switch o.kind {
	case opAccept:
		if err := w.offer(o, w.accepts, &w.acceptBytes, w.store.opt.MaxQueuedBytes); err != nil {
			return err
		}
		w.acceptGate.waiting(len(w.accepts))
		return nil
	case opDetail:
		return w.offer(o, w.notes, &w.noteBytes, waitingNoteBytes)
	case opBetween:
		queue = w.between
	case opEffect:
	}
	select {
	case queue <- o:
		w.effectGate.waiting(len(queue))
		return nil
	case <-w.stopping:
		return gaff.ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// offer queues o unless there are already as many, or as large ones, as the queue takes. One
// that is larger than the limit is taken if there is nothing beside it.
func (w *writer) offer(o *op, queue chan *op, held *atomic.Int64, limit int64) error {
	size := int64(o.bytes)
	if sum := held.Add(size); sum > limit && sum > size {
		held.Add(-size)
		return fmt.Errorf("%w: %d bytes are queued to be written already", gaff.ErrUnavailable, sum-size)
	}
	o.held = held
	select {
	case <-w.stopping:
		held.Add(-size)
		return gaff.ErrStopped
	case queue <- o:
		return nil
	default:
		held.Add(-size)
		return fmt.Errorf("%w: %d are queued to be written already", gaff.ErrUnavailable, cap(queue))
	}
}

func (w *writer) await(ctx context.Context, o *op) error {
	var late <-chan time.Time
	if o.wait > 0 {
		// Not a context: this is done for every webhook, and a timer costs a third of one.
		timer := time.NewTimer(o.wait)
		defer timer.Stop()
		late = timer.C
	}
	leaving := ctx.Done()
	if o.kind == opAccept {
		leaving = nil
	}
	for {
		var err error
		select {
		case err := <-o.done:
			return err
		case <-leaving:
			if o.kind == opDetail {
				return nil
			}
			if o.withdraw() {
				return context.Cause(ctx)
			}
			leaving = nil
			continue
		case <-late:
			err = fmt.Errorf("%w: no commit within %s: the disk or the database is too slow", gaff.ErrUnavailable, o.wait)
		case <-w.stopped:
			err = gaff.ErrStopped
		}
		if o.leave() {
			return err
		}
		return <-o.done // answered in the same moment
	}
}
