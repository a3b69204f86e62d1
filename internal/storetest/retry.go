package storetest

import (
	"slices"

	"gaff"
)

func testRetry(s *suite) {
	rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(), Deliveries: to("a", "b"), Take: takeAll(2)})
	s.must(err)
	retry := func(p gaff.RetryParams) ([]string, []gaff.Work, error) {
		p.Now, p.Tries = s.now, max(p.Tries, 1)
		return s.st.Retry(s.ctx, p)
	}
	_, _, err = retry(gaff.RetryParams{EventID: rc.ID})
	s.wants("none has failed", err, gaff.ErrConflict)
	s.must(s.finish(rc.Work[0], gaff.StateDead, "x"))
	s.must(s.finish(rc.Work[1], gaff.StateSucceeded, ""))
	ids, work, err := retry(gaff.RetryParams{EventID: rc.ID, Take: true})
	s.must(err)
	s.equal("retried", ids, []string{rc.Work[0].Delivery.ID})
	if len(work) != 1 || work[0].Lease.Attempt != 2 || work[0].Delivery.MaxAttempts != 2 {
		s.Fatalf("work %+v", work)
	}
	if more := s.claim(10); len(more) != 0 {
		s.Errorf("claimed %d that were taken", len(more))
	}
	if d := s.detail(rc.ID); d.Status != gaff.StatusPending {
		s.Errorf("status %s while it is retried", d.Status)
	}
	s.wants("the old lease", s.finish(rc.Work[0], gaff.StateSucceeded, ""), gaff.ErrLeaseLost)
	s.must(s.finish(work[0], gaff.StateDead, "y"))
	ids, _, err = retry(gaff.RetryParams{DeliveryID: rc.Work[0].Delivery.ID, Tries: 5})
	s.must(err)
	if work = s.claim(10); len(ids) != 1 || len(work) != 1 || work[0].Delivery.MaxAttempts != 2+5 {
		s.Fatalf("claimed %+v", work)
	}
	s.must(s.finish(work[0], gaff.StateSucceeded, ""))
	if d := s.detail(rc.ID); d.Status != gaff.StatusSuccess || d.Error != "" || d.RetryCount != 2 || len(d.Attempts) != 4 {
		s.Errorf("log %+v", d.Log)
	}
	_, _, err = retry(gaff.RetryParams{DeliveryID: rc.Work[0].Delivery.ID})
	s.wants("a delivery that succeeded", err, gaff.ErrConflict)
	_, _, err = retry(gaff.RetryParams{DeliveryID: rc.Work[0].Delivery.ID + "7"})
	s.wants("an unknown delivery", err, gaff.ErrNotFound)
}

func testReplay(s *suite) {
	w := s.take()
	_, err := s.st.Replay(s.ctx, w.Event.ID, to("h"))
	s.wants("while it is processed", err, gaff.ErrConflict)
	_, err = s.st.Replay(s.ctx, w.Event.ID, nil)
	s.wants("without a handler", err, gaff.ErrConflict)
	s.must(s.finish(w, gaff.StateDead, "x"))
	ids, err := s.st.Replay(s.ctx, w.Event.ID, to("h", "new"))
	s.must(err)
	if d := s.detail(w.Event.ID); len(ids) != 2 || len(d.Deliveries) != 3 || d.Status != gaff.StatusPending {
		s.Fatalf("replayed %v: %+v", ids, d)
	}
	for _, w := range s.claim(10) {
		if !slices.Contains(ids, w.Delivery.ID) {
			s.Errorf("claimed %s", w.Delivery.ID)
		}
		s.must(s.finish(w, gaff.StateSucceeded, ""))
	}
	if d := s.detail(w.Event.ID); d.Status != gaff.StatusSuccess || d.Error != "" {
		s.Errorf("a replay that succeeded leaves %s %q", d.Status, d.Error)
	}
	_, _, err = s.st.Retry(s.ctx, gaff.RetryParams{EventID: w.Event.ID, Tries: 1, Now: s.now})
	s.wants("a retry of a replaced delivery", err, gaff.ErrConflict)
	// A replay processes an event that had no handler.
	rc := s.accept(s.event())
	_, err = s.st.Replay(s.ctx, rc.ID, to("h"))
	s.must(err)
	if d := s.detail(rc.ID); d.Unhandled || d.Status != gaff.StatusPending {
		s.Errorf("log %+v", d.Log)
	}
}

func testCancel(s *suite) {
	w := s.take()
	s.must(s.st.Cancel(s.ctx, w.Delivery.ID))
	s.wants("its worker", s.finish(w, gaff.StateSucceeded, ""), gaff.ErrLeaseLost)
	s.wants("twice", s.st.Cancel(s.ctx, w.Delivery.ID), gaff.ErrConflict)
	d := s.detail(w.Event.ID)
	if d.Status != gaff.StatusError || d.Deliveries[0].State != gaff.StateCanceled || d.Error == "" {
		s.Errorf("log %+v", d)
	}
	if work := s.claim(10); len(work) != 0 {
		s.Errorf("a canceled one was claimed")
	}
	_, work, err := s.st.Retry(s.ctx, gaff.RetryParams{EventID: w.Event.ID, Tries: 1, Now: s.now, Take: true})
	s.must(err)
	s.must(s.finish(work[0], gaff.StateSucceeded, ""))
}
