package sqlstore

import (
	"sync/atomic"
	"time"
)

// batchGate are those of the sessions that serve one line. One at a time gathers a batch; it
// goes on gathering while others are at theirs, until one of them has done, enough wait,
// or it took long. A nil *turns is of one session, which never waits.
type batchGate struct {
	enough int
	turn   chan struct{} // leases by the one that gathers
	busy   atomic.Int32
	done   chan struct{} // one has ended its batch
	many   chan struct{} // enough wait
}

func newBatchGate(enough int) *batchGate {
	return &batchGate{enough: enough, turn: make(chan struct{}, 1), done: make(chan struct{}, 1), many: make(chan struct{}, 1)}
}

func (t *batchGate) take() {
	if t != nil {
		t.turn <- struct{}{}
	}
}

func (t *batchGate) pass() {
	if t != nil {
		<-t.turn
	}
}

// waiting is told how many wait.
func (t *batchGate) waiting(n int) {
	if t != nil && n >= t.enough {
		signal(t.many)
	}
}

// join waits until a batch is worth it.
func (t *batchGate) join(waiting int) {
	if t == nil || waiting >= t.enough {
		return
	}
	for _, old := range []chan struct{}{t.done, t.many} {
		select {
		case <-old:
		default:
		}
	}
	if t.busy.Load() == 0 {
		return
	}
	timer := time.NewTimer(joinAfter)
	defer timer.Stop()
	select {
	case <-t.done:
	case <-t.many:
	case <-timer.C:
	}
}

func (t *batchGate) begin() {
	if t != nil {
		t.busy.Add(1)
		<-t.turn
	}
}

func (t *batchGate) end() {
	if t != nil {
		t.busy.Add(-1)
		signal(t.done)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
