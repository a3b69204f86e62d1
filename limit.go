package gaff

import (
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"gaff/internal/httpx"
)

// overRate takes a verified request from the source's rate; status 0 lets it in.
func (s *Source) overRate() reply {
	if s.verified == nil {
		return reply{}
	}
	wait, ok := takeFrom(s.verified, time.Now(), 1)
	if ok {
		return reply{}
	}
	return tooMany.because("over the limit of %g requests a second", s.Guard.Rate).after(wait)
}

// Of a source without a rate, so many unverified requests a second, and at once, are stored for
// each client.
const (
	unverifiedRate  = 100
	unverifiedBurst = 2000
)

// overUnverified takes an unverified request from what its client may send to the source; status 0
// lets it be rejected and stored like any other. Verified requests of the client are not counted,
// and never rejected for it.
func (s *Source) overUnverified(from string) reply {
	wait, ok := s.unverified.take(httpx.ClientAt(from), time.Now(), 1)
	if ok {
		return reply{}
	}
	if s.Guard.Rate <= 0 {
		rp := badSignature.because("over %d unverified requests a second from %s", unverifiedRate, from)
		rp.unstored = true
		return rp
	}
	rp := tooMany.because("over the limit of %g unverified requests a second from %s", s.Guard.Rate, from).after(wait)
	rp.unstored = true
	return rp
}

// newRateLimit returns a limit of so many requests a second in the long run and burst at
// once; burst 0 is one second's worth.
func newRateLimit(perSecond float64, burst int) *rate.Limiter {
	if burst <= 0 {
		burst = max(int(perSecond), 1)
	}
	return rate.NewLimiter(rate.Limit(perSecond), burst)
}

// takeFrom takes n from the limit, or returns how long to wait for it.
func takeFrom(limit *rate.Limiter, now time.Time, n int64) (wait time.Duration, ok bool) {
	if limit.AllowN(now, int(n)) {
		return 0, true
	}
	lacking := float64(n) - limit.TokensAt(now)
	return time.Duration(lacking / float64(limit.Limit()) * float64(time.Second)), false
}

// clientLimits are rate limits by client, in bounded number: once there are too
// many, the unused ones are dropped, or all if there are no unused ones.
type clientLimits struct {
	perSecond float64
	burst     int

	mu sync.Mutex
	of map[string]*rate.Limiter
}

const maxClientLimits = 4096

func newClientLimits(perSecond float64, burst int) *clientLimits {
	return &clientLimits{perSecond: perSecond, burst: burst, of: map[string]*rate.Limiter{}}
}

// take takes n from the limit of a client, or returns how long the client has to wait.
func (c *clientLimits) take(client string, now time.Time, n int64) (wait time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.of[client]
	if one == nil {
		if len(c.of) >= maxClientLimits {
			maps.DeleteFunc(c.of, func(_ string, old *rate.Limiter) bool { return old.TokensAt(now) >= float64(old.Burst()) })
		}
		if len(c.of) >= maxClientLimits {
			clear(c.of)
		}
		one = newRateLimit(c.perSecond, c.burst)
		c.of[client] = one
	}
	return takeFrom(one, now, n)
}
