package storetest

import (
	"strings"
	"time"

	"gaff"
)

func testClaim(s *suite) {
	var ids []string
	for range 10 {
		ids = append(ids, s.accept(s.event(), to("h")...).ID)
	}
	later := gaff.Delivery{Handler: "h", MaxAttempts: 1, RunAt: s.now.Add(48 * time.Hour)}
	s.accept(s.event(), later)
	var got []string
	for _, w := range append(s.claim(4), s.claim(100)...) {
		got = append(got, w.Event.ID)
		if w.Lease.Attempt != 1 || w.Delivery.Attempts != 0 || w.Event.Request == nil || w.Event.Verification.Scheme == "" {
			s.Errorf("work %+v", w)
		}
	}
	s.equal("claimed, oldest first", got, ids)
	if more := s.claim(100); len(more) != 0 {
		s.Errorf("%d were claimed twice", len(more))
	}
	due, err := s.st.NextDue(s.ctx, "")
	s.must(err)
	if !due.Equal(later.RunAt) {
		s.Errorf("next due %s, want %s", due, later.RunAt)
	}
	// A delivery that is taken on arrival is not claimed again.
	w := s.take()
	if more := s.claim(100); len(more) != 0 {
		s.Errorf("%d were claimed that had been taken", len(more))
	}
	s.must(s.finish(w, gaff.StateSucceeded, ""))
	select {
	case <-s.st.Wake(""):
	default:
		s.Error("Wake received nothing after a delivery was added")
	}
}

// A store may claim many deliveries in several operations.
func testClaimMany(s *suite) {
	var ids, got []string
	for range 40 {
		ids = append(ids, s.accept(s.event(), to("h")...).ID)
	}
	for _, limit := range []int{35, 35} {
		for _, w := range s.claim(limit) {
			got = append(got, w.Event.ID)
		}
	}
	s.equal("claimed, oldest first", got, ids)
}

// A claim may begin behind the leased deliveries. The next one finds deliveries that became due
// before that place.
func testClaimEarlier(s *suite) {
	at := func(runAt time.Time) gaff.Delivery { return gaff.Delivery{Handler: "h", MaxAttempts: 2, RunAt: runAt} }
	claimed := func(what string, want ...string) []gaff.Work {
		s.Helper()
		var got []string
		work := s.claim(10)
		for _, w := range work {
			got = append(got, w.Event.ID)
		}
		s.equal(what, got, want)
		return work
	}
	first, second := s.accept(s.event(), at(s.now)).ID, s.accept(s.event(), at(s.now.Add(10*time.Second))).ID
	work := claimed("the first two", first, second)
	late := s.accept(s.event(), at(s.now.Add(-time.Hour))).ID
	w := claimed("stored later, due earlier", late)[0]
	s.must(s.st.Release(s.ctx, []gaff.Lease{w.Lease}))
	w = claimed("released", late)[0]
	s.must(s.finish(w, gaff.StateRetrying, "busy"))
	w = claimed("to be retried", late)[0]
	s.must(s.finish(w, gaff.StateDead, "busy"))
	_, _, err := s.st.Retry(s.ctx, gaff.RetryParams{EventID: late, Tries: 1, Now: s.now.Add(-time.Minute)})
	s.must(err)
	claimed("retried by a person", late)
	s.must(s.st.Finish(s.ctx, work[0].Lease, gaff.Outcome{State: gaff.StatePending, RunAt: s.now, Attempt: gaff.Attempt{Outcome: gaff.AttemptSnoozed}}))
	due, err := s.st.NextDue(s.ctx, "")
	s.must(err)
	s.equal("next due, of the snoozed one", due, s.now)
	claimed("snoozed", first)
}

func testQueues(s *suite) {
	ds := to("a", "slow", "slower")
	ds[1].Queue, ds[2].Queue = "slow", "slower"
	woken := func(queue string) bool {
		select {
		case <-s.st.Wake(queue):
			return true
		default:
			return false
		}
	}
	woken("slow")
	woken("slower")
	rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(), Deliveries: ds, Take: []bool{true, false, true}})
	s.must(err)
	if len(rc.Work) != 2 || rc.Work[0].Delivery.Handler != "a" || rc.Work[1].Delivery.Queue != "slower" {
		s.Fatalf("claimed %+v", rc.Work)
	}
	if !woken("slow") || woken("slower") || woken("") {
		s.Error("the woken queues are not those with due deliveries")
	}
	s.must(s.st.Release(s.ctx, []gaff.Lease{rc.Work[1].Lease}))
	queues, err := s.st.Queues(s.ctx)
	s.must(err)
	s.equal("queues", queues, []string{"slow", "slower"})
	for _, queue := range queues {
		due, err := s.st.NextDue(s.ctx, queue)
		s.must(err)
		if due.IsZero() {
			s.Errorf("nothing is due in %s", queue)
		}
		work, err := s.st.Claim(s.ctx, gaff.ClaimParams{Queue: queue, Now: time.Now(), Limit: 10})
		s.must(err)
		if len(work) != 1 || work[0].Delivery.Handler != queue || work[0].Delivery.Queue != queue {
			s.Fatalf("claimed from %s: %+v", queue, work)
		}
		s.must(s.finish(work[0], gaff.StateDead, "no"))
	}
	if more := s.claim(10); len(more) != 0 {
		s.Errorf("claimed from the unnamed queue: %+v", more)
	}
	_, _, err = s.st.Retry(s.ctx, gaff.RetryParams{EventID: rc.ID, Tries: 1, Now: s.now})
	s.must(err)
	if !woken("slow") || !woken("slower") {
		s.Error("a retry did not wake the queue")
	}
}

func testFinish(s *suite) {
	w := s.take()
	s.must(s.finish(w, gaff.StateRetrying, "first"))
	s.wants("finishing twice", s.finish(w, gaff.StateSucceeded, ""), gaff.ErrLeaseLost)
	again := s.claim(1)[0]
	if again.Lease.Attempt != 2 || again.Delivery.Attempts != 1 || again.Delivery.State != gaff.StateRetrying {
		s.Errorf("second lease %+v of %+v", again.Lease, again.Delivery)
	}
	s.wants("the first lease", s.finish(w, gaff.StateSucceeded, ""), gaff.ErrLeaseLost)
	s.must(s.finish(again, gaff.StateSucceeded, ""))
	s.wants("a finished one", s.finish(again, gaff.StateDead, "late"), gaff.ErrLeaseLost)
	d := s.detail(w.Event.ID)
	if d.Status != gaff.StatusSuccess || d.Error != "" || d.RetryCount != 1 || len(d.Attempts) != 2 || d.ProcessedAt.IsZero() {
		s.Errorf("log %+v, attempts %+v", d.Log, d.Attempts)
	}
	if a := d.Attempts[0]; a.Outcome != gaff.AttemptFailed || a.Error != "first" || a.Number != 1 || a.Duration != 3*time.Millisecond ||
		!a.StartedAt.Equal(s.now) || a.DeliveryID != w.Delivery.ID {
		s.Errorf("attempt %+v", a)
	}
	if dl := d.Deliveries[0]; dl.State != gaff.StateSucceeded || dl.FinishedAt.IsZero() || dl.Attempts != 2 || dl.Error != "" {
		s.Errorf("delivery %+v", dl)
	}
	// A snoozed delivery: its attempt does not count.
	w = s.take()
	s.must(s.st.Finish(s.ctx, w.Lease, gaff.Outcome{State: gaff.StatePending, RunAt: s.now, Attempt: gaff.Attempt{Outcome: gaff.AttemptSnoozed}}))
	if d := s.detail(w.Event.ID); d.Deliveries[0].Attempts != 0 || len(d.Attempts) != 0 || d.Status != gaff.StatusPending {
		s.Errorf("snoozed: %+v", d.Deliveries[0])
	}
	w = s.claim(1)[0]
	long := strings.Repeat("é", 1<<20)
	s.must(s.finish(w, gaff.StateDead, long))
	if d := s.detail(w.Event.ID); d.Status != gaff.StatusError || len(d.Error) == 0 || len(d.Error) > 8<<10 {
		s.Errorf("%d bytes of error, %s", len(d.Error), d.Status)
	}
}

func testRelease(s *suite) {
	w := s.take()
	s.must(s.st.Release(s.ctx, []gaff.Lease{w.Lease}))
	w = s.claim(1)[0]
	if w.Lease.Attempt != 1 {
		s.Errorf("attempt %d after a release", w.Lease.Attempt)
	}
	s.must(s.st.Release(s.ctx, nil))
	s.reopen()
	work := s.claim(10)
	if len(work) != 1 || work[0].Lease.Attempt != 1 {
		s.Fatalf("after the store was reopened: %+v", work)
	}
	s.must(s.finish(work[0], gaff.StateSucceeded, ""))
}

func testOutcome(s *suite) {
	rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(), Deliveries: to("a", "b", "c"), Take: takeAll(3)})
	s.must(err)
	steps := []struct {
		state  gaff.State
		err    string
		status gaff.Status
		shown  string
	}{
		{gaff.StateSucceeded, "", gaff.StatusPending, ""},
		{gaff.StateDead, "broken", gaff.StatusError, "broken"},
		{gaff.StateSucceeded, "", gaff.StatusError, "broken"},
	}
	for i, step := range steps {
		s.must(s.finish(rc.Work[i], step.state, step.err))
		if d := s.detail(rc.ID); d.Status != step.status || d.Error != step.shown {
			s.Errorf("step %d: %s %q, want %s %q", i, d.Status, d.Error, step.status, step.shown)
		}
	}
}
