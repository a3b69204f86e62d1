package verify

import (
	"context"
	"errors"
	"sync"
	"time"

	"gaff"
	"gaff/internal/httpx"
	"gaff/internal/redact"
)

// fetchCache fetches and caches values by names in requests, such as certificates by their URLs.
// Callers check a name against the sender's hosts first.
type fetchCache[T any] struct {
	what string // for errors
	load func(ctx context.Context, name string) (T, error)
	now  func() time.Time

	mu     sync.Mutex
	kept   map[string]*cachedFetch[T]
	budget fetchBudget
}

// cachedFetch is a fetch that runs, or its result. Fields after done may be read once done is
// closed.
type cachedFetch[T any] struct {
	done chan struct{}
	it   T
	has  bool // it is set: by this fetch, or by an earlier one if the host is unreachable
	err  error
	due  time.Time // of the next fetch
}

const (
	maxRemote      = 512              // cached, failures included
	remoteMaxAge   = 24 * time.Hour   // until the next fetch
	remoteBackoff  = 30 * time.Second // after a failure
	remoteMaxBytes = 64 << 10
)

// errUnknown means that the host does not have the value: the request is wrong, not the host.
var errUnknown error = redact.Const("not known to its host")

func newFetchCache[T any](what string, load func(ctx context.Context, name string) (T, error)) *fetchCache[T] {
	return &fetchCache[T]{what: what, load: load, now: time.Now, kept: map[string]*cachedFetch[T]{}}
}

// get returns the value of a name, for a request from an address. A name that was fetched before
// does not count against the client's budget. The error wraps [gaff.ErrUnverifiable] or errUnknown.
func (c *fetchCache[T]) get(ctx context.Context, name, address string) (T, error) {
	client := httpx.ClientAt(address)
	c.mu.Lock()
	entry := c.kept[name]
	var old *cachedFetch[T]
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
			return none, redact.Errorf("%s %s: %w: requests from %s named too many others in this minute", redact.Own(c.what), name, gaff.ErrUnverifiable, client)
		}
		entry = &cachedFetch[T]{done: make(chan struct{})}
		c.kept[name] = entry
		go c.fetch(context.WithoutCancel(ctx), name, client, entry, old)
	}
	c.mu.Unlock()
	select {
	case <-entry.done:
		return entry.it, entry.err
	case <-ctx.Done():
		var none T
		return none, redact.Errorf("%s %s: %w: %w", redact.Own(c.what), name, gaff.ErrUnverifiable, ctx.Err())
	}
}

// makeRoom drops an entry if the cache is full, failures first, so that invented names do not
// displace those in use. It reports false if all entries are being fetched.
func (c *fetchCache[T]) makeRoom(name string) bool {
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
		default: // being fetched
		}
	}
	delete(c.kept, victim)
	return found
}

// fetch fills the entry. The earlier value stays in use while its host is unreachable.
func (c *fetchCache[T]) fetch(ctx context.Context, name, client string, entry, old *cachedFetch[T]) {
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
		entry.err = redact.Errorf("%s %s: %w", redact.Own(c.what), name, err)
	case old != nil && old.has:
		entry.it, entry.has = old.it, true
	default:
		entry.err = redact.Errorf("%s %s: %w: %w", redact.Own(c.what), name, gaff.ErrUnverifiable, err)
	}
}
