package storetest

import (
	"encoding/json"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/sqlstore"
	"gaff/jobs"
)

func testRetention(s *suite) {
	old, cutoff := s.now.Add(-100*24*time.Hour), s.now.Add(-10*24*time.Hour)
	aged := func(i int) func(*gaff.Event) {
		return func(ev *gaff.Event) {
			ev.ReceivedAt = old.Add(time.Duration(i) * time.Second)
			ev.Request.ReceivedAt = ev.ReceivedAt
		}
	}
	open := s.take(aged(0)) // the oldest, and never done
	var done, dead []string
	for i := range 450 { // more than a bite
		w := s.take(aged(i + 1))
		if i%100 == 3 {
			s.must(s.st.Finish(s.ctx, w.Lease, gaff.Outcome{State: gaff.StateDead, Attempt: gaff.Attempt{
				Outcome: gaff.AttemptFailed, StartedAt: s.now, Error: "broken", Detail: "a copy of the body",
			}}))
			dead = append(dead, w.Event.ID)
			continue
		}
		s.must(s.finish(w, gaff.StateSucceeded, ""))
		done = append(done, w.Event.ID)
	}
	first := s.event(aged(500))
	s.accept(first)
	empty := s.accept(s.event(aged(501), func(ev *gaff.Event) { ev.Request.Body, ev.Data = []byte{}, json.RawMessage(`{}`) }))
	fresh := s.take()
	s.must(s.st.Apply(s.ctx, fresh.Lease, func(tx jobs.Tx) error {
		if err := tx.InsertJob(s.ctx, &jobs.Job{ID: "job_1", Provider: "p", CreatedAt: old}); err != nil {
			return err
		}
		_, err := tx.AddMedia(s.ctx, &jobs.Media{JobID: "job_1", Position: "0", CreatedAt: old})
		return err
	}))
	for i := range 5 {
		s.must(s.st.Reject(s.ctx, &gaff.Rejection{ID: fmt.Sprint("rej_old_", i), Source: "shop", Status: 401, ReceivedAt: old}))
	}
	s.must(s.st.Reject(s.ctx, &gaff.Rejection{ID: "rej_new", Source: "shop", Status: 401, ReceivedAt: s.now}))

	// Before anything is forgotten, what was kept empty can be worked anew.
	_, err := s.st.Replay(s.ctx, empty.ID, to("h"))
	s.must(err)
	for _, w := range s.claim(10) {
		s.must(s.finish(w, gaff.StateSucceeded, ""))
	}

	f, err := s.st.Prune(s.ctx, sqlstore.Retention{})
	s.must(err)
	s.equal("nothing is asked for", f, sqlstore.Pruned{})
	f, err = s.st.Prune(s.ctx, sqlstore.Retention{Payloads: cutoff, Rejections: cutoff})
	s.must(err)
	s.equal("bodies", f, sqlstore.Pruned{Payloads: 452, Rejections: 5})
	if d := s.detail(done[0]); d.Status != gaff.StatusSuccess || len(d.Data) != 0 || d.Request != nil || len(d.Attempts) != 1 {
		s.Errorf("without its body: %+v", d)
	}
	if d := s.detail(dead[0]); len(d.Attempts) != 1 || d.Attempts[0].Detail != "" || d.Attempts[0].Error != "broken" {
		s.Errorf("attempts of an event without its body: %+v, want the error and no detail", d.Attempts)
	}
	if d := s.detail(open.Event.ID); len(d.Data) == 0 || d.Request == nil {
		s.Error("an event that is not done lost its body")
	}
	if d := s.detail(fresh.Event.ID); len(d.Data) == 0 {
		s.Error("a young event lost its body")
	}
	_, _, err = s.st.Retry(s.ctx, gaff.RetryParams{EventID: dead[0], Tries: 1, Now: s.now})
	s.wants("a retry without the body", err, gaff.ErrConflict)
	_, err = s.st.Replay(s.ctx, dead[0], to("h"))
	s.wants("a replay without the body", err, gaff.ErrConflict)
	if rc := s.accept(first); !rc.Duplicate || rc.Conflict {
		s.Errorf("what was seen before: %+v", rc)
	}
	if _, err := s.st.Rejection(s.ctx, "rej_new"); err != nil {
		s.Error(err)
	}
	s.must(s.st.RollUp(s.ctx, time.Now()))
	f, err = s.st.Prune(s.ctx, sqlstore.Retention{Payloads: cutoff, Events: cutoff})
	s.must(err)
	s.equal("events", f, sqlstore.Pruned{Events: 452})
	page, err := s.st.Events(s.ctx, gaff.EventFilter{Cursor: gaff.Cursor{Limit: 500}})
	s.must(err)
	var left []string
	for _, l := range page.Items {
		left = append(left, l.ID)
	}
	s.equal("events that stay", left, []string{fresh.Event.ID, open.Event.ID})
	for _, id := range []string{done[0], dead[0]} {
		_, err := s.st.Event(s.ctx, id)
		s.wants("a forgotten event", err, gaff.ErrNotFound)
	}
	ds, err := s.st.Deliveries(s.ctx, gaff.DeliveryFilter{Cursor: gaff.Cursor{Limit: 500}})
	s.must(err)
	if len(ds.Items) != 2 {
		s.Errorf("%d deliveries stay, want 2", len(ds.Items))
	}
	counts, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	if c := counts.Sources[0]; c.Pending != 1 || c.Success != 1 || c.Error != 0 || c.Rejected != 6 {
		s.Errorf("the totals are not those of what is there: %+v", c)
	}
	recent, err := s.st.Counts(s.ctx, s.now)
	s.must(err)
	if c := recent.Sources[0]; c.Success < 1 || c.Error < 0 {
		s.Errorf("the counts of late: %+v", c)
	}
	if _, err := s.st.Job(s.ctx, "job_1"); err != nil {
		s.Error(err)
	}
	media, err := s.st.Media(s.ctx, jobs.MediaFilter{})
	s.must(err)
	if len(media.Items) != 1 {
		s.Errorf("%d media stay", len(media.Items))
	}
	// The key is forgotten with its event; and what was open goes on.
	if rc := s.accept(first); rc.Duplicate {
		s.Error("the key of a forgotten event is still known")
	}
	s.must(s.finish(open, gaff.StateSucceeded, ""))
}
