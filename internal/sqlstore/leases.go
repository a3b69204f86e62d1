package sqlstore

import (
	"encoding/json"
	"sync"
	"time"

	"gaff"
)

type deliveryKey struct {
	seq int64
	n   int
}

// leases are the deliveries that this process is working on. Where one process owns the
// database they are all that is known of a claim: after a crash nobody works on them.
// Else they are those whose leases are to be renewed.
type leases struct {
	mu     sync.Mutex
	leases map[deliveryKey]heldLease
}

type heldLease struct {
	claim int
	until time.Time // zero where claims are not stored
}

func (h *leases) take(key deliveryKey, l heldLease) {
	h.mu.Lock()
	h.leases[key] = l
	h.mu.Unlock()
}

func (h *leases) drop(key deliveryKey) {
	h.mu.Lock()
	delete(h.leases, key)
	h.mu.Unlock()
}

// give forgets what was taken under the lease, unless someone took it anew since.
func (h *leases) give(l gaff.Lease) {
	key := deliveryKey{l.Event, l.Delivery}
	h.mu.Lock()
	if had, ok := h.leases[key]; ok && had.claim == l.Claim {
		delete(h.leases, key)
	}
	h.mu.Unlock()
}

func (h *leases) has(key deliveryKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.leases[key]
	return ok
}

func (h *leases) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.leases)
}

// json lists what is held, as pairs of an event's number and a delivery's.
func (h *leases) json() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	pairs := make([][2]int64, 0, len(h.leases))
	for key := range h.leases {
		pairs = append(pairs, [2]int64{key.seq, int64(key.n)})
	}
	text, _ := json.Marshal(pairs) // numbers: never fails
	return string(text)
}
