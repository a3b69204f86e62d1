package destination

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"gaff"
	"gaff/internal/id"
)

// A subscription is a cursor in the log of events. Listeners do not affect destinations or other
// listeners, and make no deliveries. They can read events as far back as the log still has them.

const (
	maxSubscriptions = 200
	// forgetAfter is when a subscription that nobody used is removed.
	forgetAfter = 30 * 24 * time.Hour
	MaxListen   = 100
	// scanned is how many events one reading looks through for those that match.
	scanned    = 200
	scanRounds = 25
)

// Subscription is a named cursor in the log of events, with a filter.
type Subscription struct {
	Name   string   `json:"name"`
	Events []string `json:"events,omitempty"`
	Filter string   `json:"filter,omitempty"`
	// Cursor is the last event that was acknowledged or skipped; empty before the first.
	Cursor    string    `json:"cursor"`
	CreatedAt time.Time `json:"createdAt"`
	SeenAt    time.Time `json:"seenAt"`
}

// Where a new subscription begins, besides an event's id.
const (
	FromNow       = "now"
	FromBeginning = "beginning"
)

var subscriptionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$`)

func (s Subscription) matcher() (*Destination, error) {
	// A destination of which only the filter is used.
	return New(Spec{Name: "listen", Kind: KindPull, Events: s.Events, Filter: s.Filter}, Options{})
}

// Subscribe makes a subscription, or changes the filter of the one with the name. A new one
// starts at from: now (or empty), beginning, or after the event of that id.
func (m *Manager) Subscribe(ctx context.Context, name string, events []string, filter, from string) (s Subscription, made bool, err error) {
	if !subscriptionName.MatchString(name) {
		return s, false, fmt.Errorf("%w: name: invalid name %.80q: want at most 100 letters, digits, . _ @ and -", gaff.ErrInvalid, name)
	}
	r, s, err := m.subscription(ctx, name)
	switch {
	case errors.Is(err, gaff.ErrNotFound):
		made = true
		r = gaff.Record{Kind: subscriptionKind, Name: name, Revision: gaff.NewRecord}
		s = Subscription{Name: name, CreatedAt: time.Now().UTC()}
		all, err := m.o.Store.Records(ctx, subscriptionKind)
		if err != nil {
			return s, false, err
		}
		if len(all) >= maxSubscriptions {
			return s, false, fmt.Errorf("%w: there are %d subscriptions; delete those that nobody uses", gaff.ErrConflict, maxSubscriptions)
		}
		switch from {
		case "", FromNow:
			if s.Cursor, err = m.o.Store.NewestEvent(ctx); err != nil {
				return s, false, err
			}
		case FromBeginning:
		default:
			if _, ok := id.ParseEvent(from); !ok {
				return s, false, fmt.Errorf("%w: from: %.80q: want now, beginning or the id of an event", gaff.ErrInvalid, from)
			}
			s.Cursor = from
		}
	case err != nil:
		return s, false, err
	}
	s.Events, s.Filter, s.SeenAt = events, filter, time.Now().UTC()
	if _, err := s.matcher(); err != nil {
		return s, false, err
	}
	return s, made, m.putSubscription(ctx, r, s)
}

func (m *Manager) subscription(ctx context.Context, name string) (r gaff.Record, s Subscription, err error) {
	if r, err = m.o.Store.Record(ctx, subscriptionKind, name); err != nil {
		return r, s, err
	}
	return r, s, json.Unmarshal(r.Value, &s)
}

func (m *Manager) putSubscription(ctx context.Context, r gaff.Record, s Subscription) (err error) {
	if r.Value, err = json.Marshal(s); err != nil {
		return err
	}
	_, err = m.o.Store.PutRecord(ctx, r)
	return err
}

// Subscriptions lists them by name.
func (m *Manager) Subscriptions(ctx context.Context) ([]Subscription, error) {
	records, err := m.o.Store.Records(ctx, subscriptionKind)
	if err != nil {
		return nil, err
	}
	all := []Subscription{}
	for _, r := range records {
		var s Subscription
		if json.Unmarshal(r.Value, &s) == nil {
			all = append(all, s)
		}
	}
	return all, nil
}

// Unsubscribe removes a subscription.
func (m *Manager) Unsubscribe(ctx context.Context, name string) error {
	return m.o.Store.DeleteRecord(ctx, subscriptionKind, name)
}

// ListenResult has the next events of a subscription.
type ListenResult struct {
	Events []*gaff.Event
	// Cursor is to be acknowledged after the events were processed. It may be past the last of
	// them if later events did not match.
	Cursor string
	// Gone is set if retention removed events before these.
	Gone bool
}

// Listen returns up to limit events of a subscription after a place in the log, or after
// the acknowledged one if that is empty, and waits for the first for at most wait.
func (m *Manager) Listen(ctx context.Context, name, after string, limit int, wait time.Duration) (h ListenResult, err error) {
	if limit < 1 || limit > MaxListen {
		return h, fmt.Errorf("%w: limit must be 1 to %d", gaff.ErrInvalid, MaxListen)
	}
	if wait < 0 || wait > maxPullWait {
		return h, fmt.Errorf("%w: wait must be 0s to %s", gaff.ErrInvalid, maxPullWait)
	}
	_, s, err := m.subscription(ctx, name)
	if err != nil {
		return h, err
	}
	match, err := s.matcher()
	if err != nil {
		return h, err
	}
	if h.Cursor = after; after == "" {
		h.Cursor = s.Cursor
	}
	deadline := time.Now().Add(wait)
	for {
		changed := m.o.Store.Changed()
		if err := m.scan(ctx, &h, match, limit); err != nil || len(h.Events) > 0 || h.Gone {
			return h, err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return h, nil
		}
		select {
		case <-ctx.Done():
			return h, ctx.Err()
		case <-time.After(min(left, watchEvery)):
		case <-changed:
			select {
			case <-ctx.Done():
				return h, ctx.Err()
			case <-time.After(min(left, pullPace)):
			}
		}
	}
}

// scan reads on from h.Cursor.
func (m *Manager) scan(ctx context.Context, h *ListenResult, match *Destination, limit int) error {
	for range scanRounds {
		evs, gone, err := m.o.Store.EventsAfter(ctx, h.Cursor, scanned)
		if err != nil {
			return err
		}
		h.Gone = h.Gone || gone
		for _, ev := range evs {
			h.Cursor = ev.ID
			if ev.Damaged {
				continue
			}
			if match.Matches(&gaff.Subject{Event: ev}) {
				if h.Events = append(h.Events, ev); len(h.Events) == limit {
					return nil
				}
			}
		}
		if len(evs) < scanned {
			return nil
		}
	}
	return nil
}

// Acknowledge moves the cursor of a subscription. It only moves forward.
func (m *Manager) Acknowledge(ctx context.Context, name, cursor string) (Subscription, error) {
	seq, ok := id.ParseEvent(cursor)
	if !ok {
		return Subscription{}, fmt.Errorf("%w: cursor: %.80q is not the id of an event", gaff.ErrInvalid, cursor)
	}
	for try := 0; ; try++ {
		r, s, err := m.subscription(ctx, name)
		if err != nil {
			return s, err
		}
		if at, _ := id.ParseEvent(s.Cursor); seq < at {
			return s, nil
		}
		s.Cursor, s.SeenAt = cursor, time.Now().UTC()
		err = m.putSubscription(ctx, r, s)
		if errors.Is(err, gaff.ErrConflict) && try < 5 {
			continue
		}
		return s, err
	}
}

// remove deletes the subscriptions that were unused for long.
func (m *Manager) remove(ctx context.Context, now time.Time) {
	all, err := m.Subscriptions(ctx)
	if err != nil {
		return
	}
	for _, s := range all {
		if now.Sub(s.SeenAt) > forgetAfter {
			if err := m.Unsubscribe(ctx, s.Name); err == nil {
				m.o.Log.Info("a subscription that nobody used was removed", "subscription", s.Name, "seenAt", s.SeenAt)
			}
		}
	}
}
