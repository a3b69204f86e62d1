package gaff

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultQueueLen = 16 << 10
	// DefaultQueueBytes is Options.QueueBytes if that is zero.
	DefaultQueueBytes = 24 << 20
	// ownQueueBytes is the memory that events in the queue of one handler may take.
	ownQueueBytes = 8 << 20
	// pollEvery is the safety net behind the wake-ups.
	pollEvery = 5 * time.Second
)

// ownQueuePlaces is how many deliveries a queue with so many workers holds in memory: enough for the workers until
// the next are claimed, which takes a commit.
func ownQueuePlaces(workers int) int64 { return int64(min(max(12*workers, 16), maxPlaces/2)) }

// attachedPlaces is ownQueuePlaces for handlers that come and go. A slow one with few workers must not hold many
// deliveries that another node could work.
func attachedPlaces(workers int) int64 { return max(ownQueuePlaces(workers), 64) }

// queue is a queue with workers of its own: what fills one holds up no other.
type queue struct {
	name string
	// want is how many workers there should be, running how many there are.
	want, running atomic.Int32
	gone          atomic.Bool // its handler was detached: nothing is claimed
	// queue hands work to the workers. A place in it is reserved before anything is
	// taken from the store, so it never blocks.
	queue       workQueue
	places      atomic.Int64
	bytes       int64
	room        atomic.Int64 // places left; less than none after places were taken away
	queuedBytes atomic.Int64
	ending      atomic.Int32 // outcomes that other goroutines than the workers are storing

	nudge   chan struct{} // the dispatcher should look again
	backlog atomic.Bool   // the store holds due work that found no room

	mu      sync.Mutex // guards changes of want and running, and nextRun
	nextRun time.Time  // when the dispatcher will look by itself
}

// maxPlaces bounds what a queue holds in memory.
const maxPlaces = 1 << 20

func newQueue(name string, workers int, places, bytes int64) *queue {
	l := &queue{
		name: name, queue: workQueue{ready: make(chan struct{}, maxPlaces)}, bytes: bytes, nudge: make(chan struct{}, 1),
	}
	l.want.Store(int32(workers))
	l.places.Store(places)
	l.room.Store(places)
	return l
}

// workQueue hands work to workers, the oldest first, and that of replays after that of new events. A
// worker receives from ready before it pops; one that sends what it received leaves the work to another.
type workQueue struct {
	ready      chan struct{} // one for each item; never full, for places are reserved
	mu         sync.Mutex
	items      fifo
	background fifo
	passed     int // how often in a row background was passed over
}

// maxPassed is how many new deliveries come before one of a replay.
const maxPassed = 16

// fifo is a list from which the oldest is taken.
type fifo struct {
	items []queued
	head  int
}

func (f *fifo) empty() bool { return f.head == len(f.items) }

func (f *fifo) push(w queued) {
	if f.head > 0 && len(f.items) == cap(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, w)
}

func (f *fifo) pop() queued {
	w := f.items[f.head]
	f.items[f.head] = queued{}
	if f.head++; f.empty() {
		f.items, f.head = f.items[:0], 0
	}
	return w
}

// queued is a delivery in a queue, and the memory that was reserved for it.
type queued struct {
	Work
	size int64
}

func (q *workQueue) push(w queued) {
	q.mu.Lock()
	if w.Background() {
		q.background.push(w)
	} else {
		q.items.push(w)
	}
	q.mu.Unlock()
	q.ready <- struct{}{}
}

func (q *workQueue) pop() queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.background.empty():
		return q.items.pop()
	case q.items.empty() || q.passed >= maxPassed:
		q.passed = 0
		return q.background.pop()
	}
	q.passed++
	return q.items.pop()
}

// resize changes how many workers there should be, and how many deliveries are held for them.
// Workers beyond that number end before they take another delivery.
func (l *queue) resize(workers int, places int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.want.Store(int32(workers))
	l.room.Add(places - l.places.Swap(places))
}

// hire counts a worker that is to be started, if one is missing.
func (l *queue) hire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running.Load() >= l.want.Load() {
		return false
	}
	l.running.Add(1)
	return true
}

// retire reports whether a worker has to end, for there are more than there should be.
func (l *queue) retire() bool {
	if l.running.Load() <= l.want.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running.Load() <= l.want.Load() {
		return false
	}
	l.running.Add(-1)
	return true
}

// reserve takes n places in the queue and room for an event's size, if there is that much.
func (l *queue) reserve(n int, size int64) bool {
	if l.queuedBytes.Add(size) > l.bytes {
		l.queuedBytes.Add(-size)
		return false
	}
	if l.room.Add(int64(-n)) < 0 {
		l.room.Add(int64(n))
		l.queuedBytes.Add(-size)
		return false
	}
	return true
}

// unreserve gives back what reserve took and nothing was queued for.
func (l *queue) unreserve(n int, size int64) {
	l.room.Add(int64(n))
	l.queuedBytes.Add(-size)
}

// endsPerWorker is how many outcomes a queue stores at once beside its workers, for each of them, and mostEnds
// how many at most: a commit takes 64, and the outcomes of other queues wait behind them.
const (
	endsPerWorker = 4
	mostEnds      = 256
)

// beginEnd counts an outcome that is to be stored beside the workers, and reports false if too many are.
func (l *queue) beginEnd() bool {
	if l.ending.Add(1) <= min(endsPerWorker*l.want.Load(), mostEnds) {
		return true
	}
	l.ending.Add(-1)
	return false
}

// freePlace releases a place that nothing was queued for. The dispatcher may have found no room because of
// it, and no worker wakes it.
func (l *queue) freePlace(size int64) {
	l.unreserve(1, size)
	if l.backlog.Load() && l.roomy() {
		l.wake()
	}
}

// roomy reports whether there is room for a batch of a backlog.
func (l *queue) roomy() bool {
	return l.room.Load() >= min(l.places.Load()/2, int64(l.want.Load())*claimPerWorker)
}

// wake makes the dispatcher claim again.
func (l *queue) wake() {
	select {
	case l.nudge <- struct{}{}:
	default:
	}
}

func (l *queue) setNext(t time.Time) {
	l.mu.Lock()
	l.nextRun = t
	l.mu.Unlock()
}

// dueAt makes the dispatcher look no later than at t.
func (l *queue) dueAt(t time.Time) {
	l.mu.Lock()
	sooner := t.Before(l.nextRun)
	l.mu.Unlock()
	if sooner {
		l.wake()
	}
}

// drain empties the queue, after the workers have gone.
func (l *queue) drain() (left []Lease) {
	for {
		select {
		case <-l.queue.ready:
			left = append(left, l.queue.pop().Lease)
		default:
			return left
		}
	}
}

// Wake makes a queue look for work, and ask its gate, now.
func (g *Gateway) Wake(name string) {
	if l := g.registry.Load().queues[name]; l != nil {
		l.backlog.Store(true)
		l.wake()
	}
}

// eventOverhead is about what an event takes in memory beside the texts that its sender chose:
// itself, its request and its delivery.
const eventOverhead = 1 << 10

// memoryOf estimates the memory that an event takes while it is queued.
func memoryOf(ev *Event) int64 {
	size := eventOverhead + len(ev.Data)
	if ev.Parsed != nil {
		size += len(ev.Data)
	}
	if r := ev.Request; r != nil {
		size += len(r.URL)
		if !sameArray(r.Body, ev.Data) {
			size += cap(r.Body)
		}
		for name, values := range r.Header {
			const entry = 64 // the map's slot, and the slice of values
			size += entry + len(name)
			for _, value := range values {
				size += len(value)
			}
		}
	}
	return int64(size)
}

// sameArray reports whether two slices begin at the same place of one array.
func sameArray(a, b []byte) bool { return len(a) > 0 && len(b) > 0 && &a[0] == &b[0] }
