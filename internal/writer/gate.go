package writer

import (
	"sync/atomic"
	"time"
)

// batchGate is shared by the sessions of one queue. One session at a time gathers a batch. It
// goes on gathering while others write theirs, until one of them has finished, enough
// operations are queued, or joinAfter has passed. A nil gate belongs to a single session,
// which never waits.
type batchGate struct {
	enough  int
	turn    chan struct{} // holds a value while a session gathers
	writing atomic.Int32  // sessions that are writing
	done    chan struct{} // a session has finished a batch
	full    chan struct{} // enough operations are queued
}

func newBatchGate(enough int) *batchGate {
	return &batchGate{
		enough: enough, turn: make(chan struct{}, 1), done: make(chan struct{}, 1), full: make(chan struct{}, 1),
	}
}

// take waits for the turn to gather; pass ends the turn without a batch.
func (g *batchGate) take() {
	if g != nil {
		g.turn <- struct{}{}
	}
}

func (g *batchGate) pass() {
	if g != nil {
		<-g.turn
	}
}

// queued reports how many operations are queued.
func (g *batchGate) queued(n int) {
	if g != nil && n >= g.enough {
		signal(g.full)
	}
}

// join waits until a batch is worthwhile.
func (g *batchGate) join(queued int) {
	if g == nil || queued >= g.enough {
		return
	}
	for _, old := range []chan struct{}{g.done, g.full} {
		select {
		case <-old:
		default:
		}
	}
	if g.writing.Load() == 0 {
		return
	}
	timer := time.NewTimer(joinAfter)
	defer timer.Stop()
	select {
	case <-g.done:
	case <-g.full:
	case <-timer.C:
	}
}

// begin ends the turn and begins to write; end is its counterpart.
func (g *batchGate) begin() {
	if g != nil {
		g.writing.Add(1)
		<-g.turn
	}
}

func (g *batchGate) end() {
	if g != nil {
		g.writing.Add(-1)
		signal(g.done)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
