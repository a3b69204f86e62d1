package gaff

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// busyFor is how long after a webhook came in the attempts of replays are spaced.
	busyFor = time.Second
	// backgroundGap is the time of one processor for each of these attempts. An attempt takes a part of
	// it; the rest is left to webhooks.
	backgroundGap = 6 * time.Millisecond
)

// pace spaces the attempts of replays while webhooks come in. Without it, the workers of a destination
// begin theirs at the same moment, and a webhook waits until the processors have served all of them.
type pace struct {
	accepted atomic.Int64 // when a webhook last came in, in Unix nanoseconds
	mu       sync.Mutex
	next     time.Time // when the next attempt may begin
}

// webhook notes that a webhook came in.
func (p *pace) webhook(now time.Time) { p.accepted.Store(now.UnixNano()) }

// turn returns how long an attempt of a replay has to wait.
func (p *pace) turn(now time.Time) time.Duration {
	if now.UnixNano()-p.accepted.Load() >= int64(busyFor) {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(backgroundGap / time.Duration(runtime.GOMAXPROCS(0)))
	return wait
}

// Background reports whether the delivery is of a replay: it was made long after its event. Those of new
// events come before it.
func (w *Work) Background() bool {
	return w.Delivery.CreatedAt.Sub(w.Event.ReceivedAt) > replayAfter
}
