package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gaff"
)

// remote fetches and keeps things that requests name, such as certificates by their
// addresses. Whoever uses it pins what a name may be first.
type remote[T any] struct {
	what string // for errors
	load func(ctx context.Context, name string) (T, error)
	now  func() time.Time

	mu     sync.Mutex
	kept   map[string]*loaded[T]
	window time.Time // when the count of fetches began
	count  int
}

// loaded is one that is kept, or being fetched. The fields after done may be read once it
// is closed.
type loaded[T any] struct {
	done chan struct{}
	it   T
	has  bool // it is one: fetched now, or before its host could not be reached
	err  error
	due  time.Time // when to fetch it again
}

const (
	maxRemote       = 64               // kept
	remoteMaxAge    = 24 * time.Hour   // then it is fetched again
	remoteBackoff   = 30 * time.Second // after a failure
	remotePerMinute = 20               // fetches that strangers can cause
	remoteMaxBytes  = 64 << 10
)

// errUnknown says that the host has no such thing: a mistake of the request, not of the host.
var errUnknown = errors.New("not known to its host")

func newRemote[T any](what string, load func(ctx context.Context, name string) (T, error)) *remote[T] {
	return &remote[T]{what: what, load: load, now: time.Now, kept: map[string]*loaded[T]{}}
}

// get returns what has the name. Its error wraps [gaff.ErrUnverifiable], or errUnknown.
func (c *remote[T]) get(ctx context.Context, name string) (T, error) {
	c.mu.Lock()
	entry := c.kept[name]
	var old *loaded[T]
	if entry != nil {
		select {
		case <-entry.done:
			if !c.now().Before(entry.due) {
				entry, old = nil, entry
			}
		default:
		}
	}
	if entry == nil {
		if !c.mayFetch() {
			c.mu.Unlock()
			if old != nil && old.has {
				return old.it, nil
			}
			var none T
			return none, fmt.Errorf("%s %s: %w: too many different ones were asked for", c.what, name, gaff.ErrUnverifiable)
		}
		entry = &loaded[T]{done: make(chan struct{})}
		c.kept[name] = entry
		go c.fetch(context.WithoutCancel(ctx), name, entry, old)
	}
	c.mu.Unlock()
	select {
	case <-entry.done:
		return entry.it, entry.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%s %s: %w: %w", c.what, name, gaff.ErrUnverifiable, ctx.Err())
	}
}

// mayFetch counts a fetch and makes room for it. What could not be had makes way first, so
// that names made up by strangers do not drive out those in use.
func (c *remote[T]) mayFetch() bool {
	now := c.now()
	if now.Sub(c.window) >= time.Minute {
		c.window, c.count = now, 0
	}
	if c.count++; c.count > remotePerMinute {
		return false
	}
	if len(c.kept) < maxRemote {
		return true
	}
	victim, found := "", false
	for name, e := range c.kept {
		select {
		case <-e.done:
			victim, found = name, true
			if !e.has {
				delete(c.kept, victim)
				return true
			}
		default: // under way
		}
	}
	delete(c.kept, victim)
	return found
}

// fetch fills the entry. What was fetched before stays in use while its host is unreachable.
func (c *remote[T]) fetch(ctx context.Context, name string, entry, old *loaded[T]) {
	defer close(entry.done)
	it, err := c.load(ctx, name)
	if err == nil {
		entry.it, entry.has, entry.due = it, true, c.now().Add(remoteMaxAge)
		return
	}
	entry.due = c.now().Add(remoteBackoff)
	switch {
	case errors.Is(err, errUnknown):
		entry.err = fmt.Errorf("%s %s: %w", c.what, name, err)
	case old != nil && old.has:
		entry.it, entry.has = old.it, true
	default:
		entry.err = fmt.Errorf("%s %s: %w: %w", c.what, name, gaff.ErrUnverifiable, err)
	}
}
