package destination

import "time"

const (
	// rateSlots is into how many slots the window of a failure rate is divided.
	rateSlots = 10
	// minAttempts is how many attempts a window must have before its failure rate counts.
	minAttempts = 20
)

// failureRate counts the attempts of a sliding window, by outcome.
type failureRate struct {
	slot   time.Duration
	counts [rateSlots]struct {
		at           int64 // the number of the slot since 1970
		good, failed int
	}
}

func (f *failureRate) add(failed bool, now time.Time) {
	n := now.UnixNano() / int64(f.slot)
	c := &f.counts[n%rateSlots]
	if c.at != n {
		*c = struct {
			at           int64
			good, failed int
		}{at: n}
	}
	if failed {
		c.failed++
	} else {
		c.good++
	}
}

// share returns the share of failed attempts in the window; zero while there are too few.
func (f *failureRate) share(now time.Time) float64 {
	n := now.UnixNano() / int64(f.slot)
	good, failed := 0, 0
	for _, c := range f.counts {
		if c.at > n-rateSlots {
			good, failed = good+c.good, failed+c.failed
		}
	}
	if good+failed < minAttempts {
		return 0
	}
	return float64(failed) / float64(good+failed)
}

func (f *failureRate) reset() { clear(f.counts[:]) }
