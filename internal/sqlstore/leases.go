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
	mu     sync.Mutex
	all    map[deliveryKey]lease
	fronts map[string]front
}

// front is a place in a queue: every delivery that is due before it is leased. A claim begins
// there, so that it does not read the leased ones.
type front struct {
	runAt   int64
	scanned time.Time // when a claim last began at the queue's first delivery
}

// rescan is how often a claim begins at a queue's first delivery, regardless of its front.
const rescan = time.Second

// front returns the time of a queue's deliveries from which a claim has to read; 0 for all.
func (h *leases) front(queue string, now time.Time) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, known := h.fronts[queue]
	if age := now.Sub(f.scanned); !known || age < 0 || age > rescan {
		h.fronts[queue] = front{scanned: now}
		return 0
	}
	return f.runAt
}

// passed moves a queue's front forward: a claim has read up to the deliveries of that time.
func (h *leases) passed(queue string, runAt int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f, known := h.fronts[queue]; known && runAt > f.runAt {
		f.runAt = runAt
		h.fronts[queue] = f
	}
}

// due moves a queue's front back to a delivery that is due at a time, and is not leased.
func (h *leases) due(queue string, runAt int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f, known := h.fronts[queue]; known && runAt < f.runAt {
		f.runAt = runAt
		h.fronts[queue] = f
	}
}

// forgetFronts makes claims read from the first delivery of each queue.
func (h *leases) forgetFronts() {
	h.mu.Lock()
	clear(h.fronts)
	h.mu.Unlock()
}

type lease struct {
	claim int
	until time.Time // zero if claims are not stored
	// The delivery's queue, and what it is ordered by.
	queue, key string
	order      gaff.Order
}

func (h *leases) add(key deliveryKey, l lease) {
	h.mu.Lock()
	h.all[key] = l
	h.mu.Unlock()
}

// drop forgets leases of a transaction that failed.
func (h *leases) drop(keys []deliveryKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range keys {
		delete(h.all, key)
	}
	if len(keys) > 0 {
		clear(h.fronts)
	}
}

// end forgets the lease of a delivery that was finished, unless it was claimed again since.
func (h *leases) end(l gaff.Lease) {
	key := keyOf(l)
	h.mu.Lock()
	if had, ok := h.all[key]; ok && had.claim == l.Claim {
		delete(h.all, key)
	}
	h.mu.Unlock()
}

// endAll forgets leases of deliveries that can be claimed again.
func (h *leases) endAll(ls []gaff.Lease) {
	for _, l := range ls {
		h.end(l)
	}
	if len(ls) > 0 {
		h.forgetFronts()
	}
}

func (h *leases) has(key deliveryKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.all[key]
	return ok
}

// orderOf fills the queue, key and order of a leased delivery; false if the lease is not known.
func (h *leases) orderOf(l gaff.Lease, k *ordered) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	had, ok := h.all[keyOf(l)]
	if !ok || had.claim != l.Claim {
		return false
	}
	k.queue, k.key, k.order = had.queue, had.key, had.order
	return true
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
