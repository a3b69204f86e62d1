package gaff

import "time"

// Delivery is one event for one handler.
type Delivery struct {
	// ID is "dlv_", the ULID of the event, a hyphen and the delivery's number
	// within the event.
	ID      string
	EventID string
	Handler string
	// Queue is the queue that it waits in: the handler's name where that has workers of
	// its own, else empty.
	Queue string
	State State
	// Key is what Order is kept by within the queue: deliveries of one key follow one
	// another, those of others do not wait for them. Empty for no order.
	Key   string
	Order Order
	// Held is set while an earlier delivery of the key is not done.
	Held bool
	// Attempts is the number of attempts that have ended. After MaxAttempts failed ones the
	// delivery is dead.
	Attempts, MaxAttempts int
	// RunAt is when the next attempt is due.
	RunAt time.Time
	// Error is the last failure.
	Error                string
	CreatedAt, UpdatedAt time.Time
	// FinishedAt is zero until State.Done.
	FinishedAt time.Time

	// Source, Type and WebhookID repeat the event's, for lists.
	Source, Type, WebhookID string
}

// State is the state of a delivery. docs/states.md has a diagram.
type State int

const (
	// StatePending: waiting for a worker; no attempt has failed yet.
	StatePending State = iota
	// StateRunning: a worker has claimed it, and runs it or is about to. It is never stored,
	// but read from the claims; Pending and Retrying are those that nobody has claimed.
	StateRunning
	// StateRetrying: an attempt failed, and the next one is due at RunAt.
	StateRetrying
	// StateSucceeded, StateDead and StateCanceled are ends. Dead and canceled
	// deliveries can be retried by a person.
	StateSucceeded
	StateDead
	StateCanceled
)

var stateNames = [...]string{"pending", "running", "retrying", "succeeded", "dead", "canceled"}

// String returns the state's name in lower case.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return "unknown"
	}
	return stateNames[s]
}

// Done reports whether the delivery needs no more work.
func (s State) Done() bool { return s >= StateSucceeded }

// ParseState is the reverse of [State.String]; ok is false for any other text.
func ParseState(text string) (s State, ok bool) {
	for i, name := range stateNames {
		if name == text {
			return State(i), true
		}
	}
	return 0, false
}

// Order is how the deliveries of one key in a queue follow one another.
type Order int

const (
	// NoOrder: all due deliveries are processed at once.
	NoOrder Order = iota
	// OrderSkipDead: one after the other, in the order of their events; after a dead one the next
	// is processed.
	OrderSkipDead
	// OrderHoldDead: the same, but a dead one holds the others of its key until it is
	// retried with success, or canceled.
	OrderHoldDead
	// OrderLatest: one after the other; a queued delivery is superseded as soon as a newer one
	// of the key arrives.
	OrderLatest
)

// perKeyFrom is before the first of the orders of [PerKey].
const perKeyFrom Order = 100

// PerKey returns the order in which at most n deliveries of a key are open for workers, the oldest
// first, so that a key with many deliveries leaves room for others.
func PerKey(n int) Order { return perKeyFrom + Order(max(n, 1)) }

// Open returns how many deliveries of a key are open for workers at once; 0 for no limit.
func (o Order) Open() int {
	switch {
	case o == NoOrder:
		return 0
	case o > perKeyFrom:
		return int(o - perKeyFrom)
	}
	return 1
}

// Outcome names of an attempt.
const (
	AttemptSucceeded = "succeeded"
	AttemptFailed    = "failed"
	AttemptDiscarded = "discarded"
	AttemptPanicked  = "panicked"
	AttemptTimedOut  = "timed_out"
	AttemptSnoozed   = "snoozed"
	AttemptLost      = "lost"
	// AttemptSuperseded: left out, for a newer one of its key was there ([OrderLatest]).
	AttemptSuperseded = "superseded"
)

// Attempt is one try of a delivery.
type Attempt struct {
	DeliveryID string
	// Number counts from 1 within the delivery.
	Number int
	// Outcome is one of the Attempt… constants.
	Outcome   string
	StartedAt time.Time
	Duration  time.Duration
	// Error is the failure as text; Detail holds more, such as a panic's stack or
	// the response of a destination.
	Error, Detail string
}

// Outcome is how an attempt ended.
type Outcome struct {
	// State is what becomes of the delivery: succeeded, dead, retrying, or pending
	// for one that was put off.
	State State
	// RunAt is when the next attempt is due, for pending and retrying.
	RunAt time.Time
	// Attempt is the record to keep. An empty Outcome field stores none and does not
	// count as an attempt (an interrupted one).
	Attempt Attempt
	// Failure adds a dead delivery to an issue; nil adds it to none.
	Failure *Failure
}
