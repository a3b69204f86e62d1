package media

import (
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Of unknown permanent links, each client may ask for so many a second, and at once: each costs a
// query of the database.
const (
	missRate  = 10
	missBurst = 100
	// maxMissing bounds the clients, and the known links, that are remembered.
	maxMissing = 4096
)

// misses bounds the queries for permanent links that nobody gave out. Links that were found lately are
// not counted, so that a client behind the same address is not blocked by another one.
type misses struct {
	mu      sync.Mutex
	clients map[string]*rate.Limiter
	found   map[string]struct{}
}

// allows reports whether a link may be looked up for a client.
func (m *misses) allows(client, token string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.found[token]; ok {
		return true
	}
	limit := m.clients[client]
	return limit == nil || limit.TokensAt(now) >= 1
}

// note remembers whether a link was found.
func (m *misses) note(client, token string, found bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found {
		if m.found == nil || len(m.found) >= maxMissing {
			m.found = map[string]struct{}{}
		}
		m.found[token] = struct{}{}
		return
	}
	delete(m.found, token)
	if m.clients == nil {
		m.clients = map[string]*rate.Limiter{}
	}
	limit := m.clients[client]
	if limit == nil {
		if len(m.clients) >= maxMissing {
			maps.DeleteFunc(m.clients, func(_ string, l *rate.Limiter) bool { return l.TokensAt(now) >= missBurst })
		}
		if len(m.clients) >= maxMissing {
			clear(m.clients)
		}
		limit = rate.NewLimiter(missRate, missBurst)
		m.clients[client] = limit
	}
	limit.AllowN(now, 1)
}
