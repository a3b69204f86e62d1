package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gaff"
)

// replayRecord stores the record of a replay.
func (s *suite) replayRecord() gaff.Record {
	s.Helper()
	r, err := s.st.PutRecord(s.ctx, gaff.Record{Kind: "replay", Name: "rpl_1", Value: json.RawMessage(`{"n":0}`), Revision: gaff.NewRecord})
	s.must(err)
	return r
}

// replayed reads all events that a query chooses.
func (s *suite) replayed(q gaff.ReplayQuery) (evs []*gaff.Event) {
	s.Helper()
	from, to, err := s.st.ReplayRange(s.ctx, q.Since)
	s.must(err)
	q.After, q.UpTo, q.Limit = from, to, 2
	for q.After < q.UpTo {
		page, examined, err := s.st.ReplayPage(s.ctx, q)
		s.must(err)
		if examined <= q.After {
			s.Fatalf("examined up to %d, after %d", examined, q.After)
		}
		evs, q.After = append(evs, page...), examined
	}
	return evs
}

func itemsOf(evs []*gaff.Event, d gaff.Delivery, missing bool) (items []gaff.ReplayItem) {
	for _, ev := range evs {
		items = append(items, gaff.ReplayItem{Event: ev, Delivery: d, Missing: missing})
	}
	return items
}

func idsOf(evs []*gaff.Event) (ids []string) {
	for _, ev := range evs {
		ids = append(ids, ev.ID)
	}
	return ids
}

func testReplayPage(s *suite) {
	s.equal("of no event", len(s.replayed(gaff.ReplayQuery{})), 0)
	paid := s.accept(s.event()).ID
	sent := s.accept(s.event(func(ev *gaff.Event) { ev.Type = "sent" }), to("app")...).ID
	other := s.accept(s.event(func(ev *gaff.Event) { ev.Source = "other" }), to("app")...).ID
	own := s.accept(s.event(func(ev *gaff.Event) { ev.Source = gaff.InternalSource })).ID
	w := s.claim(1)[0]
	s.must(s.finish(w, gaff.StateDead, "no"))
	dead := gaff.StatusError
	for name, want := range map[string][]string{
		"all": {paid, sent, other}, "internal": {paid, sent, other, own}, "source": {paid, sent}, "type": {sent}, "status": {sent}, "missing": {paid, sent}, "since": {sent, other}, "until": {paid},
	} {
		second := s.detail(sent).ReceivedAt
		q := map[string]gaff.ReplayQuery{
			"internal": {Internal: true}, "source": {Source: "shop"}, "type": {Type: "sent"}, "status": {Status: &dead}, "missing": {Missing: "app"},
			"since": {Since: second}, "until": {Until: second},
		}[name]
		s.equal(name, idsOf(s.replayed(q)), want)
	}
}

// The deliveries and the position of a replay are one commit, which only the last reader of the
// position can make.
func testReplayBatch(s *suite) {
	for range 3 {
		s.accept(s.event())
	}
	evs := s.replayed(gaff.ReplayQuery{})
	r := s.replayRecord()
	count := func(added int) (json.RawMessage, error) { return json.RawMessage(fmt.Sprintf(`{"n":%d}`, added)), nil }
	next, err := s.st.ReplayBatch(s.ctx, r, itemsOf(evs[:2], to("app")[0], false), count)
	s.must(err)
	s.equal("the record", string(next.Value), `{"n":2}`)
	_, err = s.st.ReplayBatch(s.ctx, r, itemsOf(evs[2:], to("app")[0], false), count)
	s.wants("with an older record", err, gaff.ErrConflict)
	s.equal("added by it", len(s.detail(evs[2].ID).Deliveries), 0)
	s.reopen()
	next, err = s.st.ReplayBatch(s.ctx, next, itemsOf(evs, to("app")[0], false), count)
	s.must(err)
	s.equal("added beside open ones", string(next.Value), `{"n":1}`)
	for _, w := range s.claim(10) {
		s.must(s.finish(w, gaff.StateSucceeded, ""))
	}
	s.equal("the status after their success", s.detail(evs[0].ID).Status, gaff.StatusSuccess)
	next, err = s.st.ReplayBatch(s.ctx, next, itemsOf(evs, to("app")[0], true), count)
	s.must(err)
	s.equal("added of those that are missing", string(next.Value), `{"n":0}`)
	next, err = s.st.ReplayBatch(s.ctx, next, itemsOf(evs, to("app")[0], false), count)
	s.must(err)
	s.equal("added again", string(next.Value), `{"n":3}`)
	// Replays to URLs have one handler; their key is the difference.
	for _, key := range []string{"rpl_1", "rpl_2"} {
		d := gaff.Delivery{Handler: "url", Queue: "url", MaxAttempts: 1, Key: key}
		next, err = s.st.ReplayBatch(s.ctx, next, itemsOf(evs[:1], d, false), count)
		s.must(err)
		s.equal("added for "+key, string(next.Value), `{"n":1}`)
	}
	_, err = s.st.ReplayBatch(s.ctx, gaff.Record{Kind: "replay", Name: "none"}, nil, count)
	s.wants("without a record", err, gaff.ErrNotFound)
}

// The ends of many attempts of a replay are stored as others are, each once.
func testBackgroundFinish(s *suite) {
	for range 40 {
		s.accept(s.event(), to("h")...)
	}
	work := s.claim(100)
	end := gaff.Outcome{State: gaff.StateSucceeded, Attempt: gaff.Attempt{Outcome: gaff.AttemptSucceeded, StartedAt: s.now}, Background: true}
	var running sync.WaitGroup
	var lost atomic.Int64
	for _, w := range work {
		for range 2 {
			running.Go(func() {
				if err := s.st.Finish(s.ctx, w.Lease, end); errors.Is(err, gaff.ErrLeaseLost) {
					lost.Add(1)
				} else if err != nil {
					s.Error(err)
				}
			})
		}
	}
	running.Wait()
	s.equal("ends that came second", lost.Load(), int64(len(work)))
	for _, w := range work {
		d := s.detail(w.Event.ID)
		s.equal("attempts", len(d.Attempts), 1)
		s.equal("status", d.Status, gaff.StatusSuccess)
	}
}

// Several nodes with the same replay add each delivery once.
func testReplayUnderRace(s *suite) {
	for range 40 {
		s.accept(s.event())
	}
	evs := s.replayed(gaff.ReplayQuery{})
	s.replayRecord()
	var wg sync.WaitGroup
	var total atomic.Int64
	until := time.Now().Add(20 * time.Second)
	for range 4 {
		wg.Go(func() {
			for time.Now().Before(until) {
				r, err := s.st.Record(s.ctx, "replay", "rpl_1")
				var at struct{ N int }
				if err != nil || json.Unmarshal(r.Value, &at) != nil || at.N >= len(evs) {
					return
				}
				n := min(at.N+3, len(evs))
				var added int
				if _, err := s.st.ReplayBatch(s.ctx, r, itemsOf(evs[at.N:n], to("app")[0], false), func(some int) (json.RawMessage, error) {
					added = some
					return json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)), nil
				}); err == nil {
					total.Add(int64(added))
				}
			}
		})
	}
	wg.Wait()
	s.equal("added", total.Load(), int64(40))
	for _, ev := range evs {
		if n := len(s.detail(ev.ID).Deliveries); n != 1 {
			s.Errorf("event %s has %d deliveries", ev.ID, n)
		}
	}
}
