package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/destination"
)

const (
	// URLHandler is the name of the handler, and of the queue, of deliveries to the URLs of replays.
	// The key of such a delivery is its replay.
	URLHandler  = "replay/url"
	urlAttempts = 5
	urlWorkers  = 8
	// maxAdHoc bounds the URLs that are remembered.
	maxAdHoc = 32

	// queuedPerWorker is how many deliveries of a queue are open at most after a step, for each of its workers
	// on a node, within minQueued and maxQueued: new events must not come behind many of the past.
	queuedPerWorker = 4
	minQueued       = 16
	maxQueued       = 500
	maxBatch        = 25
	// fullWait is the time between the first two looks at a queue that is full; the others are further
	// apart, up to pace/2.
	fullWait = 10 * time.Millisecond
	// pace is how often new replays are looked for; nodeTime is how long a node has a replay after
	// its last step.
	pace     = 500 * time.Millisecond
	nodeTime = 10 * time.Second
	// stepTime bounds the search for events in one step.
	stepTime = 2 * time.Second
)

// Attach adds the handler of deliveries to URLs to the gateway.
func (s *Service) Attach() error {
	return s.o.Gateway.Attach("", "", gaff.HandlerFunc(s.send), gaff.HandleOptions{
		Name: URLHandler, Workers: urlWorkers, Match: func(*gaff.Subject) bool { return false },
		Retry: &gaff.RetryPolicy{MaxAttempts: urlAttempts, First: 10 * time.Second, Factor: 3, Max: 10 * time.Minute, Timeout: 20 * time.Second},
	})
}

// send sends an event to the URL of its replay.
func (s *Service) send(ctx context.Context, ev *gaff.Event) error {
	d, _ := gaff.DeliveryFrom(ctx)
	r, err := s.Get(ctx, d.Key)
	switch {
	case errors.Is(err, gaff.ErrNotFound):
		return gaff.Discard(fmt.Errorf("replay %s is not stored any more", d.Key))
	case err != nil:
		return err
	case r.State == Canceled:
		return gaff.Discard(errors.New("the replay was canceled"))
	}
	to, err := s.adHocOf(r)
	if err != nil {
		return gaff.Discard(err)
	}
	return to.Handle(ctx, ev)
}

func (s *Service) adHocOf(r *Replay) (*destination.Destination, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if to := s.adHoc[r.ID]; to != nil {
		return to, nil
	}
	to, err := s.target(r)
	if err != nil {
		return nil, err
	}
	if len(s.adHoc) >= maxAdHoc {
		clear(s.adHoc)
	}
	s.adHoc[r.ID] = to
	return to, nil
}

// Run runs the replays of the store until ctx ends.
func (s *Service) Run(ctx context.Context) {
	var seen int64 = -1
	var active []*Replay
	for {
		wait := pace
		revision, err := s.o.Store.RecordsRevision(ctx, kind)
		if err == nil && revision != seen {
			if active, err = s.running(ctx); err == nil {
				seen = revision
			}
		}
		for _, r := range active {
			if err != nil {
				break
			}
			var again time.Duration
			again, err = s.step(ctx, r)
			wait = min(wait, again)
			if errors.Is(err, gaff.ErrConflict) || errors.Is(err, gaff.ErrNotFound) {
				seen, err = -1, nil // canceled, or taken by another node
			}
			// After its own step the records are as it knows them.
			if r.revision == seen+1 {
				seen = r.revision
			}
		}
		if err != nil && ctx.Err() == nil {
			s.o.Log.Warn("replays cannot go on; they are tried again", "error", err)
			seen, wait = -1, time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-time.After(wait):
		}
	}
}

// running returns the replays that are not done.
func (s *Service) running(ctx context.Context) (active []*Replay, err error) {
	all, err := s.List(ctx)
	for _, r := range all {
		if r.State == Running {
			active = append(active, r)
		}
	}
	return active, err
}

// step queues the next events of a replay, and returns how long to wait for the next step.
func (s *Service) step(ctx context.Context, r *Replay) (wait time.Duration, err error) {
	now := time.Now()
	switch {
	case r.State != Running:
		return pace, nil
	case r.Node != s.node && now.Before(r.NodeUntil):
		return pace, nil
	case now.Before(r.NextAt):
		return time.Until(r.NextAt), nil
	}
	to, err := s.target(r)
	if errors.Is(err, gaff.ErrNotFound) {
		return pace, s.commit(ctx, r, nil, func(next *Replay) {
			next.State, next.Error, next.EndedAt = Failed, "the destination was deleted", now.UTC()
		})
	}
	if err != nil {
		return 0, err
	}
	counts, err := s.o.Store.QueueCounts(ctx, r.queue())
	if err != nil {
		return pace / 2, err
	}
	most := r.mostQueued(to)
	batch := min(int(min(max(r.Rate/4, 1), maxBatch)), most/2)
	if most-int(counts.Waiting) < batch {
		r.full = min(max(2*r.full, fullWait), pace/2)
		return r.full, nil
	}
	r.full = 0
	items, cursor, err := s.search(ctx, r, to, batch)
	if err != nil {
		return 0, err
	}
	wait = time.Duration(float64(len(items)) / r.Rate * float64(time.Second))
	return wait, s.commit(ctx, r, items, func(next *Replay) {
		next.Cursor, next.Matched = cursor, r.Matched+len(items)
		// From the time at which it was due, so that the time of the step itself costs no rate.
		due := next.NextAt
		if due.Before(now.Add(-time.Second)) {
			due = now
		}
		next.NextAt = due.Add(wait)
		if cursor >= r.UpTo {
			next.State, next.EndedAt = Done, time.Now().UTC()
		}
	})
}

// mostQueued is how many deliveries may be open in the queue of a replay.
func (r *Replay) mostQueued(to *destination.Destination) int {
	workers := urlWorkers
	if r.URL == "" {
		workers = to.HandleOptions().Workers
	}
	return min(max(queuedPerWorker*workers, minQueued), maxQueued)
}

// search examines events until some match, or for a bounded time.
func (s *Service) search(ctx context.Context, r *Replay, to *destination.Destination, limit int) (items []gaff.ReplayItem, cursor int64, err error) {
	until := time.Now().Add(stepTime)
	look := *r
	for len(items) == 0 && look.Cursor < look.UpTo && time.Now().Before(until) {
		if items, look.Cursor, err = s.page(ctx, &look, to, limit); err != nil {
			return nil, 0, err
		}
	}
	return items, look.Cursor, nil
}

// commit stores a step. r has the new state afterwards.
func (s *Service) commit(ctx context.Context, r *Replay, items []gaff.ReplayItem, change func(*Replay)) error {
	next := *r
	next.Node, next.NodeUntil = s.node, time.Now().Add(nodeTime).UTC()
	change(&next)
	rec, err := s.o.Store.ReplayBatch(ctx, gaff.Record{Kind: kind, Name: r.ID, Revision: r.revision}, items, func(added int) (json.RawMessage, error) {
		next.Queued = r.Queued + added
		return json.Marshal(next)
	})
	if err != nil {
		return err
	}
	next.revision = rec.Revision
	*r = next
	if len(items) > 0 {
		s.o.Gateway.Wake(r.queue())
	}
	return nil
}
