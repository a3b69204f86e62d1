package gaff

import (
	"math/rand/v2"
	"time"
)

// RetryPolicy says when a failed delivery is tried again.
type RetryPolicy struct {
	// MaxAttempts is the number of attempts in all, the first included.
	// Zero means 8. One means no retries.
	MaxAttempts int
	// First is the wait after the first failure. It grows by Factor after each further
	// one, up to Max. Zero means 15 seconds.
	First time.Duration
	// Factor multiplies the wait. Zero means 2.3; less than 1 is taken as 1.
	Factor float64
	// Max is the longest wait. Zero means 30 minutes.
	Max time.Duration
	// Timeout is how long one run of a handler may take. Zero means 30 seconds.
	Timeout time.Duration
}

// DefaultRetryPolicy is eight attempts over about an hour: the waits are 15 s, 35 s,
// 79 s, 3 min, 7 min, 16 min and 30 min.
var DefaultRetryPolicy = RetryPolicy{
	MaxAttempts: 8, First: 15 * time.Second, Factor: 2.3,
	Max: 30 * time.Minute, Timeout: 30 * time.Second,
}

// over returns p with its zero fields taken from base.
func (p RetryPolicy) over(base RetryPolicy) RetryPolicy {
	if p.MaxAttempts <= 0 {
		p.MaxAttempts = base.MaxAttempts
	}
	if p.First <= 0 {
		p.First = base.First
	}
	if p.Factor == 0 {
		p.Factor = base.Factor
	}
	if p.Max <= 0 {
		p.Max = base.Max
	}
	if p.Timeout <= 0 {
		p.Timeout = base.Timeout
	}
	return p
}

// Wait returns how long to wait after the given number of failed attempts: the
// policy's wait, up to a fifth shorter or longer by chance, so that a crowd that
// failed together does not come back together.
func (p RetryPolicy) Wait(failed int) time.Duration {
	p = p.over(DefaultRetryPolicy)
	wait := float64(p.First)
	for range failed - 1 {
		wait *= max(p.Factor, 1)
		if wait >= float64(p.Max) {
			break
		}
	}
	wait = min(wait, float64(p.Max))
	return time.Duration(wait * (0.8 + 0.4*rand.Float64()))
}
