package destination

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"gaff/internal/redact"

	"golang.org/x/time/rate"
)

// State is whether a destination takes events.
type State string

const (
	StateActive State = "active"
	// StatePaused: by a user. StateDisabled: the receiver answered 410 Gone. Both hold all
	// deliveries back until a user resumes the destination.
	StatePaused   State = "paused"
	StateDisabled State = "disabled"
)

// Circuit is the state of the circuit breaker.
type Circuit string

const (
	CircuitClosed Circuit = "closed"
	// CircuitOpen: several attempts in a row failed, and none is made for a while.
	CircuitOpen Circuit = "open"
	// CircuitHalfOpen: one delivery at a time is attempted, to see whether the receiver works.
	CircuitHalfOpen Circuit = "half-open"
)

// Health is the state of a destination, as this process sees it.
type Health struct {
	State   State
	Reason  string // of a pause; may be empty
	Circuit Circuit
	// RetryAt is when the next attempt may be made: the end of an open circuit, or of the
	// receiver's Retry-After. Zero means now.
	RetryAt time.Time
	// Failures counts the failed attempts since the last success.
	Failures int
	// LastSuccess and LastFailure are zero before the first one since the start.
	LastSuccess, LastFailure time.Time
	LastError                string
	// LastCause is LastError without what it quotes of the receiver's answer.
	LastCause string
	// Sent and Failed count attempts since the start.
	Sent, Failed int64
}

// Health returns the state of the destination.
func (d *Destination) Health() Health {
	h := &d.health
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	out := h.Health
	if h.Circuit == CircuitOpen && !now.Before(h.openUntil) {
		out.Circuit = CircuitHalfOpen
	}
	for _, t := range []time.Time{h.openUntil, h.holdUntil} {
		if t.After(now) && t.After(out.RetryAt) {
			out.RetryAt = t
		}
	}
	return out
}

// Pause holds all deliveries back, as paused or disabled, until Resume.
func (d *Destination) Pause(state State, reason string) { d.health.pause(state, reason) }

// Resume ends a pause, closes the circuit and resets the count of failures.
func (d *Destination) Resume() {
	h := &d.health
	h.mu.Lock()
	defer h.mu.Unlock()
	h.State, h.Reason, h.Circuit = StateActive, "", CircuitClosed
	h.openUntil, h.openFor, h.holdUntil, h.Failures, h.failing, h.probing = time.Time{}, 0, time.Time{}, 0, nil, false
}

// pausedWait is the delay while a destination is paused. Resuming wakes the queue earlier.
const pausedWait = time.Hour

// many means no limit.
const many = 1 << 20

// Ready is gaff.Limiter's.
func (d *Destination) Ready(now time.Time) (n int, again time.Duration) {
	h := &d.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ready(now)
}

// Enter is gaff.Limiter's.
func (d *Destination) Enter(now time.Time) (ok bool, again time.Duration) {
	h := &d.health
	h.mu.Lock()
	defer h.mu.Unlock()
	n, again := h.ready(now)
	if n == 0 {
		return false, again
	}
	if h.rate != nil {
		h.rate.AllowN(now, 1)
	}
	if h.Circuit != CircuitClosed {
		h.Circuit, h.probing = CircuitHalfOpen, true
	}
	return true, 0
}

func (d *Destination) record(deliveryID string, err error) {
	opened, closed := d.health.record(deliveryID, err, time.Now())
	if opened {
		d.o.Log.Warn("circuit opened: deliveries wait until the receiver answers again", "destination", d.Name, "error", redact.Error(err))
	}
	if closed {
		d.o.Log.Info("circuit closed", "destination", d.Name)
	}
}

const (
	maxOpen = 5 * time.Minute
	// distinct is how many different deliveries must fail before the circuit opens: one event
	// that the receiver always rejects must not stop the others.
	distinct = 2
)

type health struct {
	mu sync.Mutex
	Health
	breakAfter int
	breakFor   time.Duration
	openFor    time.Duration
	openUntil  time.Time
	probing    bool
	holdUntil  time.Time
	pull       bool
	failing    []string // some deliveries of the current row of failures
	breakRate  float64
	attempts   failureRate

	rate *rate.Limiter // nil: no bound
}

func (h *health) init(c *compiled) {
	h.State, h.Circuit, h.pull = StateActive, CircuitClosed, c.Kind == KindPull
	h.breakAfter, h.breakFor = c.BreakAfter, time.Duration(c.BreakFor)
	h.breakRate, h.attempts.slot = c.BreakRate, max(time.Duration(c.BreakWindow)/rateSlots, 1)
	if c.Rate > 0 {
		h.rate = rate.NewLimiter(rate.Limit(c.Rate), c.Burst)
	}
}

func (h *health) pause(state State, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.State, h.Reason = state, reason
}

func (h *health) ready(now time.Time) (n int, again time.Duration) {
	switch {
	case h.pull:
		return 0, pausedWait // nothing is sent: applications pull
	case h.State != StateActive:
		return 0, pausedWait
	case now.Before(h.holdUntil):
		return 0, h.holdUntil.Sub(now)
	case h.Circuit != CircuitClosed && now.Before(h.openUntil):
		return 0, h.openUntil.Sub(now)
	case h.Circuit != CircuitClosed && h.probing:
		return 0, 5 * time.Second // the end of the probe wakes the queue
	}
	n = many
	if h.rate != nil {
		tokens := h.rate.TokensAt(now)
		if n = max(int(tokens), 0); n == 0 {
			return 0, time.Duration((1 - tokens) / float64(h.rate.Limit()) * float64(time.Second))
		}
	}
	if h.Circuit != CircuitClosed {
		n = 1
	}
	return n, 0
}

// record stores how an attempt ended.
func (h *health) record(deliveryID string, err error, now time.Time) (opened, closed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
	h.attempts.add(err != nil, now)
	if err == nil {
		h.Sent++
		h.LastSuccess = now
		if h.Circuit != CircuitClosed && h.breakRate > 0 && now.Before(h.openUntil) {
			return false, false // the attempt began before the circuit opened; with a failure rate, some succeed
		}
		return false, h.recovered()
	}
	h.failed(err, now)
	if !slices.Contains(h.failing, deliveryID) && len(h.failing) < distinct {
		h.failing = append(h.failing, deliveryID)
	}
	switch {
	case h.Circuit != CircuitClosed:
		if now.Before(h.openUntil) {
			return false, false // the attempt began before the circuit opened
		}
		h.openFor = min(2*h.openFor, maxOpen)
	case h.mustOpen(now):
		opened, h.openFor = true, h.breakFor
	default:
		return false, false
	}
	h.Circuit = CircuitOpen
	h.openUntil = now.Add(time.Duration(float64(h.openFor) * (0.9 + 0.2*rand.Float64())))
	return opened, false
}

// mustOpen reports whether a failure opens the closed circuit.
func (h *health) mustOpen(now time.Time) bool {
	if h.breakRate > 0 && h.attempts.share(now) >= h.breakRate {
		return true
	}
	return h.breakAfter >= 0 && h.Failures >= h.breakAfter && len(h.failing) >= distinct
}

func (h *health) failed(err error, now time.Time) {
	h.Failures++
	h.Failed++
	h.LastFailure, h.LastError, h.LastCause = now, err.Error(), redact.Error(err)
}

// recovered closes the circuit, and reports whether it was open.
func (h *health) recovered() bool {
	was := h.Circuit != CircuitClosed
	if was {
		h.attempts.reset() // the failures before it count no more
	}
	h.Circuit, h.Failures, h.failing, h.openFor, h.openUntil = CircuitClosed, 0, nil, 0, time.Time{}
	return was
}

// answered records a rejection of one event by a receiver that works.
func (h *health) answered(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
	h.failed(err, time.Now())
	h.recovered()
}

// hold makes no attempt until a time, as the receiver asked.
func (h *health) hold(until time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
	h.failed(err, time.Now())
	h.recovered()
	if until.After(h.holdUntil) {
		h.holdUntil = until
	}
}

// abstain ends an attempt that says nothing about the receiver.
func (h *health) abstain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
}
