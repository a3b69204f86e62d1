package writer

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"gaff"
)

// Kind of an operation. It decides the queue, and what happens if the caller leaves.
type Kind int

const (
	// Effect is any operation that is not one of the other kinds.
	Effect Kind = iota
	// Accept stores a webhook. It is not withdrawn if its sender disconnects.
	Accept
	// Note stores a note about a rejected request. Untrusted clients cause notes, so they
	// have a short queue of their own, and are dropped if it is full.
	Note
	// Background is an effect that nobody waits for, such as those of replays. A connection that
	// writes webhooks, too, spends a bounded part of its time on them.
	Background
	// Between runs while no transaction is open, rather than in one.
	Between
)

// Op is one operation.
type Op[T any] struct {
	Kind  Kind
	Bytes int           // of bodies that the operation holds
	Rows  int           // of a Background operation: about how many it reads or writes; 0 means one
	Wait  time.Duration // longest wait for the commit; 0 means no bound but the context
	// Reads names what Run reads first, so that the transaction can read it for all
	// operations at once; nil if it is unknown.
	Reads any
	// Run may be called again after a rollback, so it must set everything that it reports
	// at each call.
	Run func(T) error
	// Simplify, if not nil, is called before Run is called again because the transaction failed. Run then
	// leaves out inessential parts, which may have been the cause. Simplify reports whether there were any, and
	// false when it is called again.
	Simplify func(cause error) bool
	// Committed, if not nil, runs in the writer's goroutine right after the commit.
	Committed func()
	// Abandoned, if not nil, runs there if the operation was committed after its caller left.
	Abandoned func()
	// Dropped, if not nil, is called once when the writer no longer holds the bodies.
	Dropped func()

	done  chan error
	state atomic.Int32
	held  *atomic.Int64 // counts Bytes while the writer holds them
}

// The states of an operation. Only a queued one can be withdrawn.
const (
	opQueued int32 = iota
	opBegun
	opSettled // answered, or left by its caller
)

// begin is called before o is run. It reports false if the caller has left; then o must not
// be run.
func (o *Op[T]) begin() bool { return o.state.CompareAndSwap(opQueued, opBegun) }

// answer reports the outcome to the caller, unless it has left.
func (o *Op[T]) answer(err error) {
	o.drop()
	if o.state.CompareAndSwap(opBegun, opSettled) {
		o.done <- err
	} else if err == nil && o.Abandoned != nil {
		o.Abandoned()
	}
}

// withdraw takes o back unless a session has begun it. What o holds is released at once.
func (o *Op[T]) withdraw() bool {
	if !o.state.CompareAndSwap(opQueued, opSettled) {
		return false
	}
	o.Run, o.Reads, o.Simplify, o.Committed, o.Abandoned = nil, nil, nil, nil, nil
	o.drop()
	return true
}

// leave is like withdraw, for a caller that does not wait for the outcome of a begun operation
// either. It reports false if the outcome was already reported.
func (o *Op[T]) leave() bool {
	return o.withdraw() || o.state.CompareAndSwap(opBegun, opSettled)
}

// drop ends the count of the bytes that o holds.
func (o *Op[T]) drop() {
	if o.held != nil {
		o.held.Add(-int64(o.Bytes))
	}
	if o.Dropped != nil {
		o.Dropped()
	}
}

// Do queues o and waits for its commit.
//
// Until a session begins o, the end of the context withdraws it. After that Do waits for the
// outcome, so that nobody acts on a guess, unless o.Wait bounds that. An Accept is not
// withdrawn if its sender disconnects. A Note is written even if its caller stops waiting.
func (w *Writer[T]) Do(ctx context.Context, o *Op[T]) error {
	o.done = make(chan error, 1)
	if err := w.enqueue(ctx, o); err != nil {
		if o.Dropped != nil {
			o.Dropped()
		}
		return err
	}
	return w.await(ctx, o)
}

func (w *Writer[T]) enqueue(ctx context.Context, o *Op[T]) error {
	queue := w.effects
	switch o.Kind {
	case Accept:
		if err := w.offer(o, w.accepts, &w.acceptBytes, w.maxQueuedBytes); err != nil {
			return err
		}
		w.acceptGate.queued(len(w.accepts))
		return nil
	case Note:
		return w.offer(o, w.notes, &w.noteBytes, MaxQueuedNoteBytes)
	case Between:
		queue = w.between
	case Background:
		if w.background != nil {
			queue = w.background
		}
	case Effect:
	}
	select {
	case queue <- o:
		w.effectGate.queued(len(queue))
		return nil
	case <-w.stopping:
		return gaff.ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// offer queues o unless the queue is full, in operations or in bytes. An operation that is
// larger than the limit is queued if the queue is empty.
func (w *Writer[T]) offer(o *Op[T], queue chan *Op[T], held *atomic.Int64, limit int64) error {
	size := int64(o.Bytes)
	if sum := held.Add(size); sum > limit && sum > size {
		held.Add(-size)
		return fmt.Errorf("%w: %d bytes are already queued for writing", gaff.ErrUnavailable, sum-size)
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
		return fmt.Errorf("%w: %d operations are already queued for writing", gaff.ErrUnavailable, cap(queue))
	}
}

func (w *Writer[T]) await(ctx context.Context, o *Op[T]) error {
	var late <-chan time.Time
	if o.Wait > 0 {
		// Not a context: every webhook comes here, and a timer costs a third of one.
		timer := time.NewTimer(o.Wait)
		defer timer.Stop()
		late = timer.C
	}
	var leaving <-chan struct{}
	if o.Kind != Accept {
		leaving = ctx.Done()
	}
	for {
		var err error
		select {
		case err := <-o.done:
			return err
		case <-leaving:
			if o.Kind == Note {
				return nil
			}
			if o.withdraw() {
				return context.Cause(ctx)
			}
			leaving = nil
			continue
		case <-late:
			err = fmt.Errorf("%w: no commit within %s: the disk or the database is too slow", gaff.ErrUnavailable, o.Wait)
		case <-w.stopped:
			err = gaff.ErrStopped
		}
		if o.leave() {
			return err
		}
		return <-o.done // answered at the same moment
	}
}
