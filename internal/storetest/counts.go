package storetest

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"gaff"
)

// testCounts runs random operations, and compares the counters with the lists.
func testCounts(s *suite) {
	seed := rand.Uint64()
	defer func() {
		if s.Failed() {
			s.Logf("seed %d", seed)
		}
	}()
	r := randomOperations{suite: s, r: rand.New(rand.NewPCG(seed, 1))}
	for range 400 {
		r.next()
	}
	want, open := s.listedCounts()
	counts, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	for _, sc := range counts.Sources {
		s.equal("source "+sc.Source, sc, *want[sc.Source])
	}
	s.equal("open deliveries", counts.Waiting, open)
}

// randomOperations runs random operations on events and deliveries.
type randomOperations struct {
	*suite
	r               *rand.Rand
	claimed         []gaff.Work
	ids, deliveries []string
}

func (r *randomOperations) next() {
	switch n := r.r.IntN(10); {
	case n < 3 || len(r.ids) == 0:
		r.accept()
	case n == 3:
		r.claimed = append(r.claimed, r.claim(1+r.r.IntN(5))...)
	case n < 7 && len(r.claimed) > 0:
		r.finish()
	case n == 7:
		_, work, err := r.st.Retry(r.ctx, gaff.RetryParams{EventID: r.event(), Tries: 1, Now: r.now, Take: r.r.IntN(2) == 0})
		r.may(err, gaff.ErrConflict)
		r.claimed = append(r.claimed, work...)
	case n == 8:
		_, err := r.st.Replay(r.ctx, r.event(), to("h", "z"))
		r.may(err, gaff.ErrConflict)
	case n == 9 && len(r.deliveries) > 0:
		r.may(r.st.Cancel(r.ctx, r.deliveries[r.r.IntN(len(r.deliveries))]), gaff.ErrConflict)
	}
}

// may allows one error.
func (r *randomOperations) may(err, allowed error) {
	if err != nil && !errors.Is(err, allowed) {
		r.Fatal(err)
	}
}

func (r *randomOperations) event() string { return r.ids[r.r.IntN(len(r.ids))] }

func (r *randomOperations) accept() {
	rc, err := r.st.Accept(r.ctx, gaff.AcceptParams{
		Event:      r.suite.event(func(ev *gaff.Event) { ev.Source = []string{"a", "b"}[r.r.IntN(2)] }),
		Deliveries: to([]string{"h", "i", "j"}[:r.r.IntN(4)]...), Take: []bool{r.r.IntN(2) == 0, r.r.IntN(2) == 0, r.r.IntN(2) == 0},
	})
	r.must(err)
	r.claimed, r.ids = append(r.claimed, rc.Work...), append(r.ids, rc.ID)
}

func (r *randomOperations) finish() {
	i := r.r.IntN(len(r.claimed))
	w := r.claimed[i]
	r.claimed = slices.Delete(r.claimed, i, i+1)
	r.deliveries = append(r.deliveries, w.Delivery.ID)
	state, failure := []gaff.State{gaff.StateSucceeded, gaff.StateDead, gaff.StateRetrying}[r.r.IntN(3)], ""
	if state != gaff.StateSucceeded {
		failure = "x"
	}
	r.may(r.suite.finish(w, state, failure), gaff.ErrLeaseLost)
}

// listedCounts counts the listed events by source, and the open deliveries. It checks that each
// event's status follows from its deliveries.
func (s *suite) listedCounts() (bySource map[string]*gaff.SourceCount, open int64) {
	s.Helper()
	bySource = map[string]*gaff.SourceCount{}
	for _, l := range pages(s, func(c gaff.Cursor) (gaff.Page[gaff.Log], error) {
		return s.st.Events(s.ctx, gaff.EventFilter{Cursor: c})
	}) {
		sc := bySource[l.Source]
		if sc == nil {
			sc = &gaff.SourceCount{Source: l.Source}
			bySource[l.Source] = sc
		}
		if l.ReceivedAt.After(sc.LastReceivedAt) {
			sc.LastReceivedAt = l.ReceivedAt
		}
		*[]*int64{&sc.Pending, &sc.Success, &sc.Error}[l.Status]++
		d := s.detail(l.ID)
		status, n := statusOf(d.Deliveries)
		if open += n; d.Status != status {
			s.Errorf("%s is %s with the deliveries %v, want %s", d.ID, d.Status, d.Deliveries, status)
		}
	}
	return bySource, open
}

// statusOf is the status of an event by its deliveries, of which the last of each handler
// counts, and the number of open ones.
func statusOf(ds []gaff.Delivery) (status gaff.Status, open int64) {
	dead := false
	last := map[string]gaff.State{}
	for _, d := range ds {
		if !d.State.Done() {
			open++
		}
		last[d.Handler] = d.State
	}
	for _, state := range last {
		dead = dead || state == gaff.StateDead || state == gaff.StateCanceled
	}
	switch {
	case dead:
		return gaff.StatusError, open
	case open > 0:
		return gaff.StatusPending, open
	}
	return gaff.StatusSuccess, open
}
