package destination

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/internal/id"
)

// Bounds of pulling.
const (
	MaxPull      = 100
	MaxLease     = 12 * time.Hour
	maxLeases    = 5000
	maxPullWait  = 60 * time.Second
	pullPace     = 100 * time.Millisecond
	maxNackDelay = 24 * time.Hour
)

// leases are the deliveries that applications pulled from this process and have not ended.
type leases struct {
	mu  sync.Mutex
	all map[string]*leased
	// count is how many, by destination.
	count map[string]int
}

type leased struct {
	work  gaff.Work
	until time.Time
}

func (l *leases) init() { l.all, l.count = map[string]*leased{}, map[string]int{} }

func (l *leases) add(token string, h *leased) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[token] = h
	l.count[h.work.Delivery.Handler]++
}

func (l *leases) take(token string) *leased {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.all[token]
	if h != nil {
		delete(l.all, token)
		l.count[h.work.Delivery.Handler]--
	}
	return h
}

// Pulled is a delivery that an application has for a time.
type Pulled struct {
	// Lease is the token that acknowledges, extends or releases it.
	Lease    string
	Until    time.Time
	Delivery gaff.Delivery
	Attempt  int
	Event    *gaff.Event
	Envelope json.RawMessage
	// Original is set if the destination's format is original: the request as received.
	Original bool
}

// Pull leases up to limit deliveries of a destination of kind pull, and waits for the first
// one for at most wait.
func (m *Manager) Pull(ctx context.Context, name string, limit int, wait, lease time.Duration) ([]Pulled, error) {
	l, err := m.get(name)
	if err != nil {
		return nil, err
	}
	spec := l.d.Spec()
	switch {
	case spec.Kind != KindPull:
		return nil, fmt.Errorf("%w: %s is of kind %s; only one of kind pull can be asked", gaff.ErrConflict, name, spec.Kind)
	case limit < 1 || limit > MaxPull:
		return nil, fmt.Errorf("%w: max must be 1 to %d", gaff.ErrInvalid, MaxPull)
	case wait < 0 || wait > maxPullWait:
		return nil, fmt.Errorf("%w: wait must be 0s to %s", gaff.ErrInvalid, maxPullWait)
	}
	if lease == 0 {
		lease = time.Duration(spec.Lease)
	}
	if lease < time.Second || lease > MaxLease {
		return nil, fmt.Errorf("%w: lease must be 1s to %s", gaff.ErrInvalid, MaxLease)
	}
	deadline := time.Now().Add(wait)
	for {
		changed := m.o.Store.Changed()
		pulled, err := m.claim(ctx, l, limit, lease)
		if err != nil || len(pulled) > 0 {
			return pulled, err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil, nil
		}
		if due, err := m.o.Store.NextDue(ctx, name); err == nil && !due.IsZero() {
			left = min(left, max(time.Until(due), pullPace))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(left, 5*time.Second)):
		case <-changed:
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(min(left, pullPace)):
			}
		}
	}
}

func (m *Manager) claim(ctx context.Context, l *live, limit int, lease time.Duration) ([]Pulled, error) {
	spec := l.d.Spec()
	if l.d.Health().State != StateActive {
		return nil, nil
	}
	m.pull.mu.Lock()
	room := maxLeases - m.pull.count[spec.Name]
	m.pull.mu.Unlock()
	if room <= 0 {
		return nil, fmt.Errorf("%w: %d deliveries of %s are leased and not acknowledged", gaff.ErrUnavailable, maxLeases, spec.Name)
	}
	work, err := m.o.Store.Claim(ctx, gaff.ClaimParams{Queue: spec.Name, Now: time.Now(), Limit: min(limit, room)})
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(lease)
	var pulled []Pulled
	for i, w := range work {
		w.Lease.StartedAt = time.Now()
		p := Pulled{
			Lease: token(w.Lease, w.Delivery.ID), Until: until, Delivery: w.Delivery, Attempt: w.Lease.Attempt, Event: w.Event,
			Original: spec.Format == FormatOriginal,
		}
		if !p.Original || w.Event.Request == nil {
			if p.Envelope, err = NewEnvelope(ctx, w.Event, m.o.Lookup); err != nil {
				var left []gaff.Lease
				for _, rest := range work[i:] {
					left = append(left, rest.Lease)
				}
				err = errors.Join(fmt.Errorf("%w: the job of %s cannot be read", gaff.ErrUnavailable, w.Event.ID), m.o.Store.Release(context.WithoutCancel(ctx), left))
				if len(pulled) > 0 {
					return pulled, nil
				}
				return nil, err
			}
		}
		m.pull.add(p.Lease, &leased{work: w, until: until})
		pulled = append(pulled, p)
	}
	if err := ctx.Err(); err != nil {
		// The caller has left.
		for _, p := range pulled {
			m.giveBack(p.Lease)
		}
		return nil, err
	}
	return pulled, nil
}

// GiveBack releases deliveries that did not reach the caller. It counts no attempt.
func (m *Manager) GiveBack(pulled []Pulled) {
	for _, p := range pulled {
		m.giveBack(p.Lease)
	}
}

func (m *Manager) giveBack(token string) {
	if h := m.pull.take(token); h != nil {
		if err := m.o.Store.Release(context.Background(), []gaff.Lease{h.work.Lease}); err != nil && !errors.Is(err, gaff.ErrStopped) {
			m.o.Log.Error("release delivery", "delivery", h.work.Delivery.ID, "error", err)
		}
	}
}

// Holds reports whether a lease of this process has neither ended nor expired.
func (m *Manager) Holds(token string) bool {
	m.pull.mu.Lock()
	defer m.pull.mu.Unlock()
	return m.pull.all[token] != nil
}

// Envelope encodes an event as destinations get it.
func (m *Manager) Envelope(ctx context.Context, ev *gaff.Event) (json.RawMessage, error) {
	text, err := NewEnvelope(ctx, ev, m.o.Lookup)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: the job of %s cannot be read", gaff.ErrUnavailable, ev.ID)
	}
	return text, err
}

// token names a lease. A client with the token and the right to pull can end the lease, on any
// node and after a restart.
func token(l gaff.Lease, deliveryID string) string {
	return fmt.Sprintf("%s.%d.%d", deliveryID, l.Attempt, l.Claim)
}

// find returns the lease of a token.
func (m *Manager) find(ctx context.Context, text string) (gaff.Lease, *gaff.Delivery, error) {
	parts := strings.Split(text, ".")
	bad := fmt.Errorf("%w: %.80q is not a lease", gaff.ErrInvalid, text)
	if len(parts) != 3 {
		return gaff.Lease{}, nil, bad
	}
	eventID, n, ok := id.ParseDelivery(parts[0])
	attempt, err1 := strconv.Atoi(parts[1])
	claim, err2 := strconv.Atoi(parts[2])
	if !ok || err1 != nil || err2 != nil {
		return gaff.Lease{}, nil, bad
	}
	m.pull.mu.Lock()
	h := m.pull.all[text]
	m.pull.mu.Unlock()
	if h != nil {
		return h.work.Lease, &h.work.Delivery, nil
	}
	d, _, err := m.o.Store.Delivery(ctx, parts[0])
	if err != nil {
		return gaff.Lease{}, nil, err
	}
	l, err := m.get(d.Handler)
	if err != nil || l.d.Spec().Kind != KindPull {
		return gaff.Lease{}, nil, fmt.Errorf("%w: %s is for no destination of kind pull", gaff.ErrConflict, parts[0])
	}
	seq, _ := id.ParseEvent(eventID)
	return gaff.Lease{
		Event: seq, Delivery: n, Attempt: attempt, Claim: claim, EventID: eventID, Source: d.Source, StartedAt: d.UpdatedAt,
	}, d, nil
}

// Ended is the result for one lease.
type Ended struct {
	Lease string
	Err   error
}

// Ack ends leases as succeeded. An expired lease is ErrLeaseLost if another client has the
// delivery since.
func (m *Manager) Ack(ctx context.Context, tokens []string) []Ended {
	return m.each(ctx, tokens, func(l gaff.Lease, d *gaff.Delivery, _ string) error {
		now := time.Now()
		return m.o.Store.Finish(ctx, l, gaff.Outcome{State: gaff.StateSucceeded, Attempt: gaff.Attempt{
			DeliveryID: d.ID, Number: l.Attempt, Outcome: gaff.AttemptSucceeded, StartedAt: l.StartedAt, Duration: now.Sub(l.StartedAt),
		}})
	})
}

// Fail ends leases as failed: they are due again after delay, or by the destination's
// waits where that is negative, until the attempts are used up; or dead at once.
func (m *Manager) Fail(ctx context.Context, tokens []string, reason string, delay time.Duration, dead bool) ([]Ended, error) {
	if delay > maxNackDelay {
		return nil, fmt.Errorf("%w: delay must not be longer than %s", gaff.ErrInvalid, maxNackDelay)
	}
	if reason == "" {
		reason = "the application could not process it"
	}
	return m.each(ctx, tokens, func(l gaff.Lease, d *gaff.Delivery, _ string) error {
		return m.failed(ctx, l, d, gaff.AttemptFailed, reason, delay, dead)
	}), nil
}

func (m *Manager) failed(ctx context.Context, l gaff.Lease, d *gaff.Delivery, outcome, reason string, delay time.Duration, dead bool) error {
	now := time.Now()
	if delay < 0 {
		var policy gaff.RetryPolicy
		if live, err := m.get(d.Handler); err == nil {
			policy = *live.d.HandleOptions().Retry
		}
		delay = policy.Wait(l.Attempt)
	}
	out := gaff.Outcome{State: gaff.StateRetrying, RunAt: now.Add(delay), Attempt: gaff.Attempt{
		DeliveryID: d.ID, Number: l.Attempt, Outcome: outcome, StartedAt: l.StartedAt, Duration: now.Sub(l.StartedAt), Error: reason,
	}}
	if dead || l.Attempt >= d.MaxAttempts {
		out.State, out.RunAt = gaff.StateDead, time.Time{}
		if dead {
			out.Attempt.Outcome = gaff.AttemptDiscarded
		}
		out.Failure = pullFailure(d, outcome)
	}
	return m.o.Store.Finish(ctx, l, out)
}

// pullFailure describes a dead delivery. The reason that the application reported may quote
// the payload, so it stays with the attempt.
func pullFailure(d *gaff.Delivery, outcome string) *gaff.Failure {
	cause := "the application reported a failure"
	if outcome == gaff.AttemptLost {
		cause = "the application did not acknowledge it in time"
	}
	return &gaff.Failure{Handler: d.Handler, Cause: cause, Operational: gaff.Operational(&gaff.Event{Source: d.Source, Type: d.Type})}
}

// Release gives leases back: the deliveries are due at once, and no attempt counts.
func (m *Manager) Release(ctx context.Context, tokens []string) []Ended {
	return m.each(ctx, tokens, func(l gaff.Lease, _ *gaff.Delivery, text string) error {
		return m.o.Store.Release(ctx, []gaff.Lease{l})
	})
}

// DestinationOf returns the destination of a lease, also of one that has ended.
func (m *Manager) DestinationOf(ctx context.Context, lease string) (string, error) {
	_, d, err := m.find(ctx, lease)
	if err != nil {
		return "", err
	}
	return d.Handler, nil
}

// Extend makes leases last for the given time from now. A lease of another node can be extended
// there only, and is ErrLeaseLost here.
func (m *Manager) Extend(tokens []string, by time.Duration) ([]Ended, time.Time, error) {
	if by < time.Second || by > MaxLease {
		return nil, time.Time{}, fmt.Errorf("%w: lease must be 1s to %s", gaff.ErrInvalid, MaxLease)
	}
	until := time.Now().Add(by)
	m.pull.mu.Lock()
	defer m.pull.mu.Unlock()
	var all []Ended
	for _, text := range tokens {
		e := Ended{Lease: text}
		if h := m.pull.all[text]; h != nil {
			h.until = until
		} else {
			e.Err = fmt.Errorf("%w: it ran out, or was ended", gaff.ErrLeaseLost)
		}
		all = append(all, e)
	}
	return all, until, nil
}

func (m *Manager) each(ctx context.Context, tokens []string, f func(gaff.Lease, *gaff.Delivery, string) error) []Ended {
	ended := make([]Ended, len(tokens))
	var wg sync.WaitGroup
	for i, text := range tokens { // side by side, so that they share a commit
		ended[i].Lease = text
		wg.Go(func() {
			l, d, err := m.find(ctx, text)
			if err == nil {
				err = f(l, d, text)
			}
			if err == nil || errors.Is(err, gaff.ErrLeaseLost) {
				m.pull.take(text)
			}
			ended[i].Err = err
		})
	}
	wg.Wait()
	return ended
}

// expireAtOnce is how many leases expire ends at the same time: enough to share commits.
const expireAtOnce = 256

// expire ends the leases that ran out: the attempt is lost, and the delivery due again. They
// are ended side by side, so that they share commits and the manager's other work goes on.
func (m *Manager) expire(ctx context.Context, now time.Time) {
	m.pull.mu.Lock()
	var out []string
	for text, h := range m.pull.all {
		if now.After(h.until) {
			out = append(out, text)
		}
	}
	m.pull.mu.Unlock()
	for part := range slices.Chunk(out, expireAtOnce) {
		var ending sync.WaitGroup
		for _, text := range part {
			ending.Go(func() { m.expireOne(ctx, text) })
		}
		ending.Wait()
	}
}

func (m *Manager) expireOne(ctx context.Context, text string) {
	h := m.pull.take(text)
	if h == nil {
		return
	}
	err := m.failed(ctx, h.work.Lease, &h.work.Delivery, gaff.AttemptLost, "the lease ran out before it was acknowledged", 0, false)
	if err != nil && !errors.Is(err, gaff.ErrLeaseLost) && !errors.Is(err, gaff.ErrStopped) {
		m.o.Log.Error("end a lease", "delivery", h.work.Delivery.ID, "error", err)
		m.pull.add(text, h) // ended later
	}
}
