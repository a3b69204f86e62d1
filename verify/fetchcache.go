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
	budget fetchBudget
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
	maxRemote      = 512              // cached, failures included
	remoteMaxAge   = 24 * time.Hour   // then it is fetched again
	remoteBackoff  = 30 * time.Second // after a failure
	remoteMaxBytes = 64 << 10
)

// errUnknown says that the host has no such thing: a mistake of the request, not of the host.
var errUnknown = errors.New("not known to its host")

func newRemote[T any](what string, load func(ctx context.Context, name string) (T, error)) *remote[T] {
	return &remote[T]{what: what, load: load, now: time.Now, kept: map[string]*loaded[T]{}}
}

// get returns what has the name, for a request from an address. A name that was fetched
// before costs nothing of the client's budget. The error wraps [gaff.ErrUnverifiable], or
// errUnknown.
func (c *remote[T]) get(ctx context.Context, name, address string) (T, error) {
	client := clientOf(address)
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
		if (old == nil || !old.has) && !c.budget.take(c.now(), client) || !c.makeRoom(name) {
			c.mu.Unlock()
			var none T
			return none, fmt.Errorf("%s %s: %w: requests from %s named too many others in this minute", c.what, name, gaff.ErrUnverifiable, client)
		}
		entry = &loaded[T]{done: make(chan struct{})}
		c.kept[name] = entry
		go c.fetch(context.WithoutCancel(ctx), name, client, entry, old)
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

// makeRoom drops an entry if there are too many, a failure first, so that names that are
// made up do not drive out those in use. It reports false if all are being fetched.
func (c *remote[T]) makeRoom(name string) bool {
	if _, replaced := c.kept[name]; replaced || len(c.kept) < maxRemote {
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
func (c *remote[T]) fetch(ctx context.Context, name, client string, entry, old *loaded[T]) {
	defer close(entry.done)
	it, err := c.load(ctx, name)
	if err == nil {
		c.mu.Lock()
		c.budget.giveBack(client)
		c.mu.Unlock()
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
