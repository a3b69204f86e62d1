package ui

import (
	"sync"
	"time"

	"github.com/a-h/templ"
)

// badge is a number beside an entry of the navigation, with the list that it counts.
type badge struct {
	N    int64
	Text string
	Page templ.SafeURL
	// Kind is "wait" for decisions, else empty for faults.
	Kind string
}

// badgeCache caches the numbers that need queries of their own: every page shows them.
type badgeCache struct {
	mu                sync.Mutex
	at                time.Time
	waiting, rejected int64
}

const badgesFor = 3 * time.Second

// get returns the badges by the keys of the navigation. Numbers that cannot be read are left out.
func (bc *badgeCache) get(q *request, failing int64) map[string]badge {
	bc.mu.Lock()
	defer bc.mu.Unlock()
	if age := q.now.Sub(bc.at); age >= badgesFor || age < 0 {
		bc.at, bc.waiting, bc.rejected = q.now, 0, 0
		if refs, err := q.store.WaitingApprovals(q.Context(), maxWaiting); err == nil {
			bc.waiting = int64(len(refs))
		}
		if hour, err := q.store.Counts(q.Context(), q.now.Add(-time.Hour)); err == nil {
			for _, s := range hour.Sources {
				bc.rejected += s.Rejected
			}
		}
	}
	return map[string]badge{
		"events":     {failing, plural(failing, "failed event", "failed events"), filtered("/events", "status", "error", "inner", "true"), ""},
		"rejections": {bc.rejected, plural(bc.rejected, "rejected request in the last hour", "rejected requests in the last hour"), filtered("/rejections", "since", "1h"), ""},
		"runs":       {bc.waiting, plural(bc.waiting, "step waits for approval", "steps wait for approval"), filtered("/runs", "waiting", "true"), "wait"},
	}
}
