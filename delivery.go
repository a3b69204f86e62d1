package gaff

import (
	"encoding/json"
	"fmt"
	"time"
)

// Delivery is one event for one handler.
type Delivery struct {
	// ID is "dlv_", the ULID of the event, a hyphen and the delivery's number
	// within the event.
	ID      string `json:"id"`
	EventID string `json:"eventId"`
	Handler string `json:"handler"`
	// Queue is the queue that it waits in: the handler's name where that has workers of
	// its own, else empty.
	Queue string `json:"-"`
	State State  `json:"state"`
	// Key is what Order is kept by within the queue: deliveries of one key follow one
	// another, those of others do not wait for them. Empty for no order.
	Key   string `json:"key,omitempty"`
	Order Order  `json:"-"`
	// Held is set while an earlier delivery of the key is not done.
	Held bool `json:"held"`
	// Attempts is the number of attempts that have ended. After MaxAttempts failed ones the
	// delivery is dead.
	Attempts    int `json:"attempts"`
	MaxAttempts int `json:"maxAttempts"`
	// RunAt is when the next attempt is due.
	RunAt time.Time `json:"runAt,omitzero"`
	// Error is the last failure.
	Error     string    `json:"error,omitempty"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
	UpdatedAt time.Time `json:"updatedAt,omitzero"`
	// FinishedAt is zero until State.Done.
	FinishedAt time.Time `json:"finishedAt,omitzero"`

	// Source, Type and WebhookID repeat the event's, for lists.
	Source    string `json:"source"`
	Type      string `json:"type"`
	WebhookID string `json:"webhookId"`
}

// MarshalJSON encodes a delivery as the API does: one that is held has no time for its next attempt.
func (d Delivery) MarshalJSON() ([]byte, error) {
	type members Delivery
	if d.Held {
		d.RunAt = time.Time{}
	}
	return json.Marshal(members(d))
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

// MarshalText returns the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of [State.MarshalText].
func (s *State) UnmarshalText(text []byte) error {
	state, ok := ParseState(string(text))
	if !ok {
		return fmt.Errorf("unknown state %.60q: want one of %q", text, stateNames)
	}
	*s = state
	return nil
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
	DeliveryID string `json:"deliveryId,omitempty"`
	// Number counts from 1 within the delivery.
	Number int `json:"number"`
	// Outcome is one of the Attempt… constants.
	Outcome   string        `json:"outcome"`
	StartedAt time.Time     `json:"startedAt,omitzero"`
	Duration  time.Duration `json:"-"` // durationMs
	// Error is the failure as text; Detail holds more, such as a panic's stack or
	// the response of a destination.
	Error  string `json:"error,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// attemptMembers are those of an attempt but for its duration.
type attemptMembers Attempt

// attemptDocument is an attempt as the API has it.
type attemptDocument struct {
	attemptMembers
	DurationMs float64 `json:"durationMs"`
}

// MarshalJSON encodes an attempt as the API does.
func (a Attempt) MarshalJSON() ([]byte, error) {
	return json.Marshal(attemptDocument{attemptMembers(a), float64(a.Duration.Microseconds()) / 1000})
}

// UnmarshalJSON is the reverse of [Attempt.MarshalJSON].
func (a *Attempt) UnmarshalJSON(text []byte) error {
	var d attemptDocument
	if err := json.Unmarshal(text, &d); err != nil {
		return err
	}
	*a = Attempt(d.attemptMembers)
	a.Duration = time.Duration(d.DurationMs * float64(time.Millisecond))
	return nil
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
	// Background lets the commit come after others: see [Work.Background].
	Background bool
}
