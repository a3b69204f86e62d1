package storetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"gaff"
)

// ordered accepts an event with one delivery of a key in the queue "out".
func (s *suite) ordered(key string, order gaff.Order) gaff.Receipt {
	s.Helper()
	return s.accept(s.event(), gaff.Delivery{Handler: "out", Queue: "out", MaxAttempts: 3, Key: key, Order: order})
}

func (s *suite) claimQueue(limit int) (ids []string, work []gaff.Work) {
	s.Helper()
	work, err := s.st.Claim(s.ctx, gaff.ClaimParams{Queue: "out", Now: time.Now().Add(time.Minute), Limit: limit})
	s.must(err)
	for _, w := range work {
		ids = append(ids, w.Event.ID)
	}
	return ids, work
}

func (s *suite) fail(w gaff.Work) error {
	return s.finish(w, gaff.StateRetrying, "not yet")
}

func (s *suite) states(ids ...string) (states []string) {
	for _, id := range ids {
		d := s.detail(id).Deliveries[0]
		state := d.State.String()
		if d.Held {
			state = "held"
		}
		states = append(states, state)
	}
	return states
}

func testOrderByKey(s *suite) {
	a1, a2, b1, a3 := s.ordered("a", gaff.OrderSkipDead), s.ordered("a", gaff.OrderSkipDead), s.ordered("b", gaff.OrderSkipDead), s.ordered("a", gaff.OrderSkipDead)
	free := s.ordered("", gaff.OrderSkipDead)
	ids, work := s.claimQueue(10)
	s.equal("claimed at first", ids, []string{a1.ID, b1.ID, free.ID})
	// A failed attempt holds its key, and no other.
	s.must(s.fail(work[0]))
	s.must(s.finish(work[1], gaff.StateSucceeded, ""))
	b2 := s.ordered("b", gaff.OrderSkipDead)
	ids, work = s.claimQueue(10)
	s.equal("claimed while a's first is retried", ids, []string{a1.ID, b2.ID})
	s.equal("behind it", s.states(a2.ID, a3.ID), []string{"held", "held"})
	due, err := s.st.NextDue(s.ctx, "out")
	s.must(err)
	if !due.IsZero() && due.Before(time.Now().AddDate(100, 0, 0)) {
		s.Errorf("a delivery that is held back is due at %s", due)
	}
	// A dead delivery releases the next one.
	select {
	case <-s.st.Wake("out"):
	default:
	}
	s.must(s.finish(work[0], gaff.StateDead, "no"))
	select {
	case <-s.st.Wake("out"):
	default:
		s.Error("Wake received nothing when the next delivery of the key became due")
	}
	ids, work = s.claimQueue(10)
	s.equal("after the dead one", ids, []string{a2.ID})
	// The retried one is held back, unless the retry takes it.
	_, taken, err := s.st.Retry(s.ctx, gaff.RetryParams{EventID: a1.ID, Tries: 1, Now: s.now})
	s.must(err)
	if len(taken) != 0 {
		s.Error("a retry without Take was claimed")
	}
	s.equal("retried", s.states(a1.ID), []string{"held"})
	s.must(s.finish(work[0], gaff.StateSucceeded, ""))
	ids, work = s.claimQueue(10)
	s.equal("oldest first", ids, []string{a1.ID})
	s.must(s.finish(work[0], gaff.StateSucceeded, ""))
	ids, work = s.claimQueue(10)
	s.equal("then the last", ids, []string{a3.ID})
	s.must(s.finish(work[0], gaff.StateSucceeded, ""))
	// A key without open deliveries holds nothing back.
	ids, _ = s.claimQueue(10)
	s.equal("remaining deliveries", len(ids), 0)
	a4 := s.ordered("a", gaff.OrderSkipDead)
	ids, _ = s.claimQueue(10)
	s.equal("the next delivery of the key", ids, []string{a4.ID})
}

func testOrderHoldsDead(s *suite) {
	one, two, three := s.ordered("k", gaff.OrderHoldDead), s.ordered("k", gaff.OrderHoldDead), s.ordered("k", gaff.OrderHoldDead)
	_, work := s.claimQueue(10)
	s.must(s.finish(work[0], gaff.StateDead, "no"))
	if ids, _ := s.claimQueue(10); len(ids) != 0 {
		s.Errorf("claimed behind a dead one: %v", ids)
	}
	_, _, err := s.st.Retry(s.ctx, gaff.RetryParams{EventID: one.ID, Tries: 1, Now: s.now})
	s.must(err)
	ids, work := s.claimQueue(10)
	s.equal("retried", ids, []string{one.ID})
	s.must(s.finish(work[0], gaff.StateDead, "no again"))
	s.must(s.st.Cancel(s.ctx, s.detail(one.ID).Deliveries[0].ID))
	s.wants("cancel twice", s.st.Cancel(s.ctx, s.detail(one.ID).Deliveries[0].ID), gaff.ErrConflict)
	if d := s.detail(one.ID); d.Status != gaff.StatusError || d.Deliveries[0].State != gaff.StateCanceled {
		s.Errorf("canceled: event %s, delivery %s", d.Status, d.Deliveries[0].State)
	}
	ids, work = s.claimQueue(10)
	s.equal("after it was canceled", ids, []string{two.ID})
	// Canceling a held-back delivery releases no other.
	s.must(s.st.Cancel(s.ctx, s.detail(three.ID).Deliveries[0].ID))
	four := s.ordered("k", gaff.OrderHoldDead)
	if ids, _ := s.claimQueue(10); len(ids) != 0 {
		s.Errorf("overtaken: %v", ids)
	}
	s.must(s.finish(work[0], gaff.StateSucceeded, ""))
	ids, _ = s.claimQueue(10)
	s.equal("at last", ids, []string{four.ID})
}

func testOrderLatest(s *suite) {
	one := s.ordered("k", gaff.OrderLatest)
	_, work := s.claimQueue(1)
	two, three := s.ordered("k", gaff.OrderLatest), s.ordered("k", gaff.OrderLatest)
	other := s.ordered("j", gaff.OrderLatest)
	s.equal("while the first runs", s.states(one.ID, two.ID, three.ID, other.ID), []string{"running", "succeeded", "held", "pending"})
	d := s.detail(two.ID)
	if d.Status != gaff.StatusSuccess || len(d.Attempts) != 1 || d.Attempts[0].Outcome != gaff.AttemptSuperseded {
		s.Errorf("superseded: %s, %+v", d.Status, d.Attempts)
	}
	// A failed attempt is not repeated if a newer delivery is queued.
	s.must(s.fail(work[0]))
	s.equal("after its failure", s.states(one.ID, three.ID), []string{"succeeded", "pending"})
	if d := s.detail(one.ID); len(d.Attempts) != 2 || d.Attempts[0].Outcome != gaff.AttemptFailed || d.Attempts[1].Number != 2 {
		s.Errorf("attempts of the first: %+v", d.Attempts)
	}
	ids, work := s.claimQueue(10)
	s.equal("claimed", ids, []string{other.ID, three.ID})
	// A newer delivery supersedes one that waits for its next attempt.
	s.must(s.fail(work[1]))
	four := s.ordered("k", gaff.OrderLatest)
	s.equal("replaced", s.states(three.ID, four.ID), []string{"succeeded", "pending"})
	counts, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	if c := counts.Sources[0]; c.Success != 3 || c.Pending != 2 || c.Error != 0 {
		s.Errorf("counted %+v", c)
	}
}

func testOrderPerKey(s *suite) {
	two := gaff.PerKey(2)
	a1, a2, a3, a4, b1 := s.ordered("a", two), s.ordered("a", two), s.ordered("a", two), s.ordered("a", two), s.ordered("b", two)
	ids, work := s.claimQueue(10)
	s.equal("claimed at first", ids, []string{a1.ID, a2.ID, b1.ID})
	s.equal("behind them", s.states(a3.ID, a4.ID), []string{"held", "held"})
	s.must(s.fail(work[0]))
	s.equal("while one is retried", s.states(a3.ID), []string{"held"})
	s.must(s.finish(work[1], gaff.StateSucceeded, ""))
	s.equal("after the end of one", s.states(a1.ID, a3.ID, a4.ID), []string{"retrying", "pending", "held"})
	// A dead delivery holds nothing back, nor does a canceled one.
	ids, work = s.claimQueue(10)
	s.equal("claimed then", ids, []string{a1.ID, a3.ID})
	s.must(s.finish(work[0], gaff.StateDead, "no"))
	s.equal("after a dead one", s.states(a4.ID), []string{"pending"})
	a5 := s.ordered("a", two)
	s.equal("a new one", s.states(a5.ID), []string{"held"})
	s.must(s.st.Cancel(s.ctx, s.detail(a4.ID).Deliveries[0].ID))
	s.equal("after a canceled one", s.states(a5.ID), []string{"pending"})
	_, _, err := s.st.Retry(s.ctx, gaff.RetryParams{EventID: a1.ID, Tries: 1, Now: s.now})
	s.must(err)
	s.equal("a retried one waits for a place", s.states(a1.ID), []string{"held"})
	s.must(s.finish(work[1], gaff.StateSucceeded, ""))
	s.equal("at last", s.states(a1.ID, a5.ID), []string{"pending", "pending"})
	// A larger limit opens as many as it allows at the next end.
	c := make([]string, 5)
	for i := range c {
		order := gaff.PerKey(1)
		if i > 0 {
			order = gaff.PerKey(3)
		}
		c[i] = s.ordered("c", order).ID
	}
	s.equal("with the larger limit", s.states(c...), []string{"pending", "pending", "pending", "held", "held"})
}

func testOrderUnderRace(s *suite) {
	const each, keys = 12, 4
	var mu sync.Mutex
	var wg sync.WaitGroup
	done := map[string][]string{}
	want := map[string][]string{}
	for k := range keys {
		key := fmt.Sprint("k", k)
		var evs []*gaff.Event
		for range each {
			evs = append(evs, s.event())
		}
		wg.Go(func() {
			for _, ev := range evs {
				rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: ev, Deliveries: []gaff.Delivery{
					{Handler: "out", Queue: "out", MaxAttempts: 3, Key: key, Order: gaff.OrderSkipDead},
				}})
				if err != nil {
					s.Error(err)
					return
				}
				mu.Lock()
				want[key] = append(want[key], rc.ID)
				mu.Unlock()
			}
		})
	}
	ended := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, ids := range done {
			n += len(ids)
		}
		return n
	}
	until := time.Now().Add(20 * time.Second)
	for range 3 {
		wg.Go(func() {
			for ended() < each*keys && time.Now().Before(until) {
				work, err := s.st.Claim(s.ctx, gaff.ClaimParams{Queue: "out", Now: time.Now().Add(time.Minute), Limit: 3})
				if err != nil {
					s.Error(err)
					return
				}
				for _, w := range work {
					mu.Lock()
					done[w.Delivery.Key] = append(done[w.Delivery.Key], w.Event.ID)
					mu.Unlock()
					if err := s.finish(w, gaff.StateSucceeded, ""); err != nil {
						s.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	s.equal("the order of each key", done, want)
}

func testCancelQueue(s *suite) {
	var ids []string
	for range 5 {
		ids = append(ids, s.ordered("k", gaff.OrderSkipDead).ID)
	}
	other := s.accept(s.event(), to("h")...)
	c, err := s.st.QueueCounts(s.ctx, "out")
	s.must(err)
	if c.Waiting != 5 || c.Held != 4 || c.Dead != 0 || c.NextDue.IsZero() {
		s.Errorf("counted %+v", c)
	}
	s.equal("pending and due of each handler", s.handlerQueues(time.Now().Add(time.Hour)), "h 1 1, out 5 1")
	s.equal("the same before they came", s.handlerQueues(time.UnixMicro(0)), "h 1 0, out 5 0")
	n, err := s.st.CancelQueue(s.ctx, "out", "gone", 3)
	s.must(err)
	s.equal("canceled", n, 3)
	n, err = s.st.CancelQueue(s.ctx, "out", "gone", 3)
	s.must(err)
	s.equal("canceled then", n, 2)
	for _, id := range ids {
		if d := s.detail(id); d.Status != gaff.StatusError || d.Deliveries[0].Error != "gone" {
			s.Errorf("%s: %s %q", id, d.Status, d.Deliveries[0].Error)
		}
	}
	if d := s.detail(other.ID); d.Status != gaff.StatusPending {
		s.Errorf("the delivery of another queue became %s", d.Status)
	}
	c, err = s.st.QueueCounts(s.ctx, "out")
	s.must(err)
	s.equal("counts of the empty queue", c, gaff.QueueCounts{})
}

// handlerQueues lists the handlers with open deliveries: how many, and how many of them are due.
func (s *suite) handlerQueues(now time.Time) string {
	s.Helper()
	queues, err := s.st.HandlerQueues(s.ctx, now)
	s.must(err)
	var all []string
	for _, q := range queues {
		if q.OldestDue.IsZero() != (q.Due == 0) {
			s.Errorf("%s: %d are due, the oldest since %v", q.Handler, q.Due, q.OldestDue)
		}
		all = append(all, fmt.Sprint(q.Handler, " ", q.Pending, " ", q.Due))
	}
	return strings.Join(all, ", ")
}

func testRecords(s *suite) {
	_, err := s.st.Record(s.ctx, "destination", "a")
	s.wants("unknown", err, gaff.ErrNotFound)
	rev, err := s.st.RecordsRevision(s.ctx, "destination")
	s.must(err)
	s.equal("revision at first", rev, int64(0))
	put := func(name, value string, revision int64) (gaff.Record, error) {
		return s.st.PutRecord(s.ctx, gaff.Record{Kind: "destination", Name: name, Value: json.RawMessage(value), Revision: revision})
	}
	a, err := put("a", `{"n":1}`, gaff.NewRecord)
	s.must(err)
	_, err = put("a", `{"n":2}`, gaff.NewRecord)
	s.wants("made twice", err, gaff.ErrConflict)
	b, err := put("b", `{"n":1}`, gaff.AnyRevision)
	s.must(err)
	if b.Revision <= a.Revision {
		s.Errorf("revisions %d, then %d", a.Revision, b.Revision)
	}
	a2, err := put("a", `{"n":3}`, a.Revision)
	s.must(err)
	_, err = put("a", `{"n":4}`, a.Revision)
	s.wants("written over another's change", err, gaff.ErrConflict)
	all, err := s.st.Records(s.ctx, "destination")
	s.must(err)
	if len(all) != 2 || string(all[0].Value) != `{"n":3}` || all[0].Revision != a2.Revision || all[0].UpdatedAt.IsZero() {
		s.Errorf("kept %+v", all)
	}
	s.must(s.st.DeleteRecord(s.ctx, "destination", "b"))
	s.wants("deleted twice", s.st.DeleteRecord(s.ctx, "destination", "b"), gaff.ErrNotFound)
	rev, err = s.st.RecordsRevision(s.ctx, "destination")
	s.must(err)
	if rev <= a2.Revision {
		s.Error("a deletion does not show in the revision")
	}
	other, err := s.st.Records(s.ctx, "other")
	s.must(err)
	s.equal("records of another kind", len(other), 0)
}

func testRecordHistory(s *suite) {
	values := func(name string) (all []string) {
		history, err := s.st.RecordHistory(s.ctx, "workflow", name)
		s.must(err)
		for i, r := range history {
			all = append(all, string(r.Value))
			if r.UpdatedAt.IsZero() || i > 0 && r.Revision >= history[i-1].Revision {
				s.Errorf("value %d of the history: %+v", i, r)
			}
		}
		return all
	}
	revision := int64(gaff.NewRecord)
	for _, value := range []string{`1`, `2`, `3`, `4`} {
		r, err := s.st.PutRecord(s.ctx, gaff.Record{Kind: "workflow", Name: "a", Value: json.RawMessage(value), Revision: revision, History: 3})
		s.must(err)
		revision = r.Revision
	}
	for name, history := range map[string]int{"b": 3, "c": 0} {
		_, err := s.st.PutRecord(s.ctx, gaff.Record{Kind: "workflow", Name: name, Value: json.RawMessage(`5`), History: history})
		s.must(err)
	}
	_, err := s.st.PutRecord(s.ctx, gaff.Record{Kind: "workflow", Name: "a", Value: json.RawMessage(`9`), Revision: revision - 1, History: 3})
	s.wants("written over another's change", err, gaff.ErrConflict)
	s.equal("the newest three", values("a"), []string{`4`, `3`, `2`})
	s.equal("of another record", values("b"), []string{`5`})
	s.equal("of a record without a history", len(values("c")), 0)
	s.must(s.st.DeleteRecord(s.ctx, "workflow", "a"))
	s.equal("after the deletion", len(values("a")), 0)
	s.equal("of the other one after the deletion", values("b"), []string{`5`})
}

func testFollow(s *suite) {
	newest, err := s.st.NewestEvent(s.ctx)
	s.must(err)
	s.equal("newest of none", newest, "")
	var ids []string
	for range 5 {
		ids = append(ids, s.accept(s.event(), to("h")...).ID)
	}
	evs, gone, err := s.st.EventsAfter(s.ctx, "", 2)
	s.must(err)
	if gone || len(evs) != 2 || evs[0].ID != ids[0] || evs[1].ID != ids[1] || evs[0].Request == nil || len(evs[0].Request.Body) == 0 {
		s.Errorf("the first two: %+v, gone %v", evs, gone)
	}
	evs, gone, err = s.st.EventsAfter(s.ctx, ids[1], 10)
	s.must(err)
	if gone || len(evs) != 3 || evs[2].ID != ids[4] {
		s.Errorf("the rest: %d, gone %v", len(evs), gone)
	}
	newest, err = s.st.NewestEvent(s.ctx)
	s.must(err)
	s.equal("newest", newest, ids[4])
	evs, _, err = s.st.EventsAfter(s.ctx, newest, 10)
	s.must(err)
	s.equal("nothing more", len(evs), 0)
	_, _, err = s.st.EventsAfter(s.ctx, "evt_x", 10)
	s.wants("a broken id", err, gaff.ErrInvalid)
}
