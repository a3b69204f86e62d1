package writer

import "time"

const (
	// backgroundPart is the part of the time of the only connection that batches with background
	// operations may take while webhooks come in: one tenth.
	backgroundPart = 10
	// maxBackgroundRows bounds such a batch, in rows.
	maxBackgroundRows = 16
	// minRest and maxRest bound the time until the next such batch: operations gather meanwhile, since each
	// commit writes pages and waits for the disk, and a slow disk does not stop them.
	minRest = 10 * time.Millisecond
	maxRest = 100 * time.Millisecond
	// patience is how long background operations wait for a moment without queued webhooks.
	patience = 50 * time.Millisecond
	// quietAfter is how long after the last webhook the background is no longer limited.
	quietAfter = time.Second
)

// backgroundShare limits the background operations of a connection that writes webhooks, too. The response time of
// senders then depends little on how much background work there is. The share is measured in time, so it
// is smaller in operations if the disk or the processor is slow.
type backgroundShare struct {
	accepted time.Time // when webhooks were last written
	next     time.Time // from when on a batch may have background operations again
	refused  time.Time // since when they wait only because of queued webhooks; zero: they do not
}

// busy reports whether webhooks come in.
func (s *backgroundShare) busy(now time.Time) bool { return now.Sub(s.accepted) < quietAfter }

// rest returns how long no batch may have background operations.
func (s *backgroundShare) rest(now time.Time) time.Duration {
	if !s.busy(now) {
		return 0
	}
	return max(s.next.Sub(now), 0)
}

// open reports whether a batch may have background operations; accepts is whether webhooks are queued.
func (s *backgroundShare) open(now time.Time, accepts bool) bool {
	switch {
	case s.rest(now) > 0:
		return false
	case !accepts:
		return true
	case s.refused.IsZero():
		s.refused = now
	}
	return now.Sub(s.refused) >= patience
}

// rows is how many rows the background operations of a batch may have.
func (s *backgroundShare) rows(now time.Time) int {
	if s.busy(now) {
		return maxBackgroundRows
	}
	return maxEffects
}

// wrote is called after a batch. accepts and background report what it had.
func (s *backgroundShare) wrote(began, ended time.Time, accepts, background bool) {
	if accepts {
		s.accepted = ended
	}
	if background {
		s.next, s.refused = ended.Add(min(max((backgroundPart-1)*ended.Sub(began), minRest), maxRest)), time.Time{}
	}
}
