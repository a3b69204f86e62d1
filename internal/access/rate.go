package access

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxRate bounds the rate of a key, in requests a second.
	maxRate = 10_000
	// maxRates bounds the keys whose requests are counted. Beyond it, the counts begin again.
	maxRates = 10_000
)

// rates counts the requests of keys that have a rate. The zero value is ready.
type rates struct {
	mu sync.Mutex
	by map[string]*rate.Limiter
}

func (r *rates) of(key string, perSecond int) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil || len(r.by) >= maxRates {
		r.by = map[string]*rate.Limiter{}
	}
	l := r.by[key]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(perSecond), perSecond)
		r.by[key] = l
	}
	return l
}

type takenKey struct{}

// Taken returns a context for calls that belong to a request that was counted already.
func Taken(ctx context.Context) context.Context { return context.WithValue(ctx, takenKey{}, true) }

// Take counts a request of a caller. wait is 0 if its key may make the request, else how long until
// it may. A key, its sessions and its browser tokens share the rate; each node counts by itself.
func (g *Guard) Take(ctx context.Context, who Identity) (wait time.Duration) {
	if who.Rate <= 0 || who.KeyID == "" || ctx.Value(takenKey{}) != nil {
		return 0
	}
	now := g.now()
	l := g.rates.of(who.KeyID, who.Rate)
	if l.AllowN(now, 1) {
		return 0
	}
	g.Refused(DeniedRate, who, "")
	missing := 1 - l.TokensAt(now)
	return max(time.Duration(missing/float64(who.Rate)*float64(time.Second)), time.Millisecond)
}
