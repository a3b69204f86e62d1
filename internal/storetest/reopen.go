package storetest

import (
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/jobs"
)

func testUnknown(s *suite) {
	rc := s.accept(s.event(), to("h")...)
	other := rc.ID[:len(rc.ID)-1] + "Z"
	for _, eventID := range []string{"", "evt_", "evt_1", other, "evt_7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "job_" + rc.ID[4:], strings.ToLower(rc.ID), "\x00\xff"} {
		_, err := s.st.Event(s.ctx, eventID)
		s.wants("event "+eventID, err, gaff.ErrNotFound)
		_, _, err = s.st.Retry(s.ctx, gaff.RetryParams{EventID: eventID, Tries: 1, Now: s.now})
		s.wants("retry "+eventID, err, gaff.ErrNotFound)
		_, err = s.st.Replay(s.ctx, eventID, to("h"))
		s.wants("replay "+eventID, err, gaff.ErrNotFound)
		s.wants("cancel", s.st.Cancel(s.ctx, strings.Replace(eventID, "evt_", "dlv_", 1)+"-1"), gaff.ErrNotFound)
		_, _, err = s.st.Delivery(s.ctx, eventID)
		s.wants("delivery "+eventID, err, gaff.ErrNotFound)
		_, err = s.st.Job(s.ctx, eventID)
		s.wants("job "+eventID, err, gaff.ErrNotFound)
		_, err = s.st.MediaByID(s.ctx, eventID)
		s.wants("media "+eventID, err, gaff.ErrNotFound)
		_, err = s.st.Rejection(s.ctx, eventID)
		s.wants("rejection "+eventID, err, gaff.ErrNotFound)
	}
}

func testClosed(s *suite) {
	w := s.take()
	s.must(s.st.Ready(s.ctx))
	s.must(s.st.Close())
	s.must(s.st.Close())
	_, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event()})
	s.wants("accept", err, gaff.ErrStopped)
	s.wants("finish", s.finish(w, gaff.StateSucceeded, ""), gaff.ErrStopped)
	s.wants("apply", s.st.Apply(s.ctx, w.Lease, func(jobs.Tx) error { return nil }), gaff.ErrStopped)
	s.wants("ready", s.st.Ready(s.ctx), gaff.ErrStopped)
	if _, err := s.st.Events(s.ctx, gaff.EventFilter{}); err == nil {
		s.Error("a closed store lists events")
	}
}

func testReopen(s *suite) {
	var before []*gaff.EventDetail
	for i := range 5 {
		w := s.take()
		switch i {
		case 0:
			s.must(s.finish(w, gaff.StateRetrying, "x"))
		case 1:
			s.must(s.finish(w, gaff.StateDead, "x"))
		case 2:
			s.must(s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
				return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_1", Provider: "p"})
			}))
		}
		s.must(s.st.Release(s.ctx, []gaff.Lease{w.Lease}))
		before = append(before, s.detail(w.Event.ID))
	}
	counts, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	s.reopen()
	for _, d := range before {
		s.equal(d.ID, s.detail(d.ID), d)
	}
	if _, err := s.st.Job(s.ctx, "job_1"); err != nil {
		s.Error(err)
	}
	after, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	s.equal("counts", after, counts)
	if rc := s.accept(s.event()); slices.ContainsFunc(before, func(d *gaff.EventDetail) bool { return d.ID == rc.ID }) {
		s.Errorf("the id %s was given twice", rc.ID)
	}
}
