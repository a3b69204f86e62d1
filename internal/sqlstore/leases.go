package sqlstore

import (
	"cmp"
	"encoding/json"
	"sync"
	"time"

	"gaff"
)

type deliveryKey struct {
	seq int64
	n   int
}

func keyOf(l gaff.Lease) deliveryKey { return deliveryKey{l.Event, l.Delivery} }

// compareLeases is the order in which rows of deliveries are locked.
func compareLeases(a, b gaff.Lease) int {
	return cmp.Or(cmp.Compare(a.Event, b.Event), cmp.Compare(a.Delivery, b.Delivery))
}

// leases are the claimed deliveries of this process. If one process owns the database, nothing
// else is known of a claim: after a crash no worker has any. Otherwise they are those whose
// stored leases are renewed.
type leases struct {
	mu  sync.Mutex
	all map[deliveryKey]lease
}

type lease struct {
	claim int
	until time.Time // zero if claims are not stored
}

func (h *leases) add(key deliveryKey, l lease) {
	h.mu.Lock()
	h.all[key] = l
	h.mu.Unlock()
}

func (h *leases) drop(key deliveryKey) {
	h.mu.Lock()
	delete(h.all, key)
	h.mu.Unlock()
}

// end forgets the lease, unless the delivery was claimed again since.
func (h *leases) end(l gaff.Lease) {
	key := keyOf(l)
	h.mu.Lock()
	if had, ok := h.all[key]; ok && had.claim == l.Claim {
		delete(h.all, key)
	}
	h.mu.Unlock()
}

func (h *leases) endAll(ls []gaff.Lease) {
	for _, l := range ls {
		h.end(l)
	}
}

func (h *leases) has(key deliveryKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.all[key]
	return ok
}

func (h *leases) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

// json lists the claimed deliveries, as pairs of an event's number and a delivery's.
func (h *leases) json() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	pairs := make([][2]int64, 0, len(h.all))
	for key := range h.all {
		pairs = append(pairs, [2]int64{key.seq, int64(key.n)})
	}
	text, _ := json.Marshal(pairs) // numbers: never fails
	return string(text)
}

// endingBefore returns the leases that end before a time.
func (h *leases) endingBefore(before time.Time) (ls []gaff.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, l := range h.all {
		if l.until.Before(before) {
			ls = append(ls, gaff.Lease{Event: key.seq, Delivery: key.n, Claim: l.claim})
		}
	}
	return ls
}

// renewed sets the end of the renewed ones of ls, drops the others and returns their number.
func (h *leases) renewed(ls []gaff.Lease, renewed map[deliveryKey]bool, until time.Time) (lost int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range ls {
		key := keyOf(l)
		had, ok := h.all[key]
		switch {
		case !ok || had.claim != l.Claim: // ended or claimed again meanwhile
		case renewed[key]:
			had.until = until
			h.all[key] = had
		default:
			delete(h.all, key)
			lost++
		}
	}
	return lost
}
