package gaff

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Handler works an event. It may run more than once for the same event, also at the
// same time if an earlier run outlived its timeout.
//
// nil finishes the delivery. [Discard] ends it as dead, [RetryAfter] sets the next
// time, [Snooze] puts it off without counting an attempt; any other error, and a
// panic, is retried by the policy until the attempts are used up. The context ends at
// the handler's timeout, or when the gateway stops.
type Handler interface {
	Handle(ctx context.Context, ev *Event) error
}

// Preparer is a [Handler] whose effects can be stored with the event, in one commit. Effects of other
// handlers need a second commit.
//
// Handle still works the events whose effects were not stored with them: those whose effects failed, those that came
// when many others did, retries, replays, and all if the gateway has a [Middleware].
type Preparer interface {
	Handler
	// Prepare returns the effects of an event that is about to be stored, or nil to leave the event to
	// Handle. Its sender waits meanwhile.
	Prepare(ev *Event) Effects
}

// Effects are what a [Preparer] stores with an event.
type Effects interface {
	// Reads names what Write reads first, as ReadsJob of package jobs does, so that the store can read
	// it for many events at once; nil if it is unknown.
	Reads() any
	// Write writes the effects in the transaction tx: EventTx of a store of package jobs returns its methods. The
	// event has its ID by then. Write may be called again after a rollback. If it returns an error, nothing of it is stored, and Handle works the event.
	Write(ctx context.Context, tx any, ev *Event) error
	// Stored is called once, after the commit.
	Stored()
}

// HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, ev *Event) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, ev *Event) error { return f(ctx, ev) }

// JSON makes a handler of a function that takes the event's data decoded into T. Data
// that does not fit T is discarded with the reason: another attempt would read the same.
func JSON[T any](f func(ctx context.Context, ev *Event, data T) error) Handler {
	return HandlerFunc(func(ctx context.Context, ev *Event) error {
		var data T
		if err := json.Unmarshal(ev.Data, &data); err != nil {
			return Discard(fmt.Errorf("read %s:%s as %T: %w", ev.Source, ev.Type, data, err))
		}
		return f(ctx, ev, data)
	})
}

// Middleware wraps a handler: for logs, metrics or values of the context. What the returned handler
// returns decides about the delivery, so it passes errors on; see [Gateway.Use].
type Middleware func(next Handler) Handler

type named struct {
	Handler
	name string
}

// Named gives a handler the name under which its deliveries are stored.
func Named(name string, h Handler) Handler { return &named{h, name} }

// HandleOptions say how a handler is run. The zero value is how most are.
type HandleOptions struct {
	// Name is the one under which the handler's deliveries are stored; it must stay the
	// same between runs. Empty means "source:type".
	Name string
	// Workers, if not zero, gives the handler a queue of its own in which so many of its
	// deliveries run at once: for one that is slow, or waits for others, so that it holds
	// up nobody. Zero: it shares Options.Workers with all that have no queue.
	Workers int
	// Retry overrides the source's and the gateway's policy; zero fields keep theirs.
	Retry *RetryPolicy
	// Match, if not nil, must agree for an event to be handled. It is called for every
	// event of the source and type, by many goroutines at once and within the store's
	// transactions, so it must be quick and must not block.
	Match func(*Subject) bool
	// Delay is how long after its receipt an event is handled first; zero means at once.
	Delay time.Duration
	// Limiter, if not nil, says when deliveries of the queue may start; needs Workers.
	Limiter Limiter
	// Order applies to the deliveries of one OrderKey; it needs Workers. Deliveries for which
	// OrderKey is nil or returns "" have no order.
	Order    Order
	OrderKey func(*Subject) string
}

// Limiter holds back the deliveries of one queue: for a receiver that is down, paused, or must
// not be asked too often. Deliveries that wait for it stay in the store, count no attempt, and
// cost nothing, however many they are. Its methods are called by many goroutines at once.
type Limiter interface {
	// Ready returns how many deliveries may be started now; if none, after how long to ask
	// again at the latest ([Gateway.Wake] makes the queue ask at once).
	Ready(now time.Time) (n int, again time.Duration)
	// Enter is asked before each start; a false one goes back, or waits where again is
	// short.
	Enter(now time.Time) (ok bool, again time.Duration)
}

// Subject is an event while it is looked at for routing.
type Subject struct {
	Event *Event
	read  bool
	doc   any
}

// Doc returns the event's data decoded as encoding/json does, numbers as json.Number; nil
// without data. It is decoded once for all callers.
func (s *Subject) Doc() any {
	if !s.read {
		s.read = true
		dec := json.NewDecoder(bytes.NewReader(s.Event.Data))
		dec.UseNumber()
		if dec.Decode(&s.doc) != nil {
			s.doc = nil
		}
	}
	return s.doc
}

// LeaseFrom returns the lease of the delivery that the handler is working, for
// handlers that finish it in a transaction of their own. ok is false outside one.
func LeaseFrom(ctx context.Context) (l Lease, ok bool) {
	if a := attemptFrom(ctx); a != nil {
		return a.lease, true
	}
	return Lease{}, false
}

// DeliveryIDFrom returns the id of the delivery that the handler processes. It is the
// same at each attempt, so a handler with a database of its own uses it as its idempotency
// key. Empty outside a handler.
func DeliveryIDFrom(ctx context.Context) string {
	if d, ok := DeliveryFrom(ctx); ok {
		return d.ID
	}
	return ""
}

// DeliveryFrom returns the delivery that the handler is processing, as it was before this
// attempt. ok is false outside a handler.
func DeliveryFrom(ctx context.Context) (d Delivery, ok bool) {
	if a := attemptFrom(ctx); a != nil {
		return *a.delivery, true
	}
	return Delivery{}, false
}

type detailBox struct {
	mu  sync.Mutex
	has string
}

func (n *detailBox) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.has
}

// SetDetail stores a text with the attempt that the handler is making, as its Detail: a service's
// response, for one. A second text replaces the first; stores keep 16 KiB of it. Outside a handler
// it does nothing.
func SetDetail(ctx context.Context, detail string) {
	if a := attemptFrom(ctx); a != nil {
		a.detail.mu.Lock()
		a.detail.has = detail
		a.detail.mu.Unlock()
	}
}
