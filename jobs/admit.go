package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gaff"
	"gaff/internal/excerpt"
)

// A provider's keys may sign for all its customers, so that any of them can send
// authentic webhooks about requests of no job here. They are stored, for such a webhook may
// overtake the answer to a submit, but a day has room for this much of them only: of all
// customers, and of one.
const (
	unclaimedWindow        = 24 * time.Hour
	unclaimedBytes         = 64 << 20
	unclaimedEvents        = 8000
	unclaimedCustomerShare = 4 // one customer may take up this part
	unclaimedRow           = 2 << 10
)

// unclaimed counts the stored events of unknown customers about unknown requests.
type unclaimed struct {
	mu    sync.Mutex
	since time.Time
	all   room
	of    map[string]*room // by customer
	// believed are customers whose webhooks changed a job.
	believed sync.Map
}

// room is what events took up.
type room struct{ events, bytes int }

func (r *room) add(bytes int) { r.events, r.bytes = r.events+1, r.bytes+bytes }

func (r *room) full(bytes, share int) bool {
	return r.events >= unclaimedEvents/share || r.bytes+bytes > unclaimedBytes/share
}

// take makes room for an event, and reports whether there was room.
func (u *unclaimed) take(now time.Time, customer string, bytes int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of == nil || now.Sub(u.since) >= unclaimedWindow {
		u.since, u.all, u.of = now, room{}, map[string]*room{}
	}
	bytes += unclaimedRow
	own := u.of[customer]
	if own == nil {
		own = &room{}
	}
	if u.all.full(bytes, 1) || own.full(bytes, unclaimedCustomerShare) {
		return false
	}
	u.all.add(bytes)
	own.add(bytes)
	u.of[customer] = own
	return true
}

// Admit is a gaff.Source's Admit. It bounds how many events it stores of customers of a
// provider who are not known to be the operator, about requests that are not those of a job.
func (l *Service) Admit(ctx context.Context, ev *gaff.Event) error {
	customer := ev.Verification.Subject
	if customer == "" || ev.CallbackToken != "" || len(l.o.Users[ev.Source].IDs) > 0 {
		return nil // the sender is the operator's own, or was checked already
	}
	if _, known := l.unclaimed.believed.Load([2]string{ev.Source, customer}); known {
		return nil
	}
	if j, err := l.byRequest(ctx, ev.Source, ev.CorrelationID); err != nil || j != nil {
		return nil //nolint:nilerr // what the store cannot answer now, it will say as it stores the event
	}
	bytes := len(ev.Data)
	if ev.Request != nil {
		bytes = len(ev.Request.Body)
	}
	if l.unclaimed.take(ev.ReceivedAt, customer, bytes) {
		return nil
	}
	return fmt.Errorf("user %s of %s: enough events about unknown requests were stored today; %s names the users whose webhooks count",
		excerpt.Text(customer, 80), ev.Source, l.o.Users[ev.Source].Setting)
}
