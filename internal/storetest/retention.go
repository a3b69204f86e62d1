package storetest

import (
	"encoding/json"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/id"
	"gaff/internal/sqlstore"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// agedStore is a store with old and young rows.
type agedStore struct {
	*suite
	old, cutoff time.Time
	open        gaff.Work // the oldest; its delivery is not done
	done, dead  []string  // old events
	again       *gaff.Event
	fresh       gaff.Work // young, done
}

// aged makes an event the i-th old one.
func (a *agedStore) aged(i int) func(*gaff.Event) {
	return func(ev *gaff.Event) {
		ev.ReceivedAt = a.old.Add(time.Duration(i) * time.Second)
		ev.Request.ReceivedAt = ev.ReceivedAt
	}
}

// newAged fills a store with 452 old events that are done, an older open one and a young one.
func newAged(s *suite) *agedStore {
	a := &agedStore{suite: s, old: s.now.Add(-100 * 24 * time.Hour), cutoff: s.now.Add(-10 * 24 * time.Hour)}
	a.open = s.take(a.aged(0))
	for i := range 450 { // more than one transaction removes
		w := s.take(a.aged(i + 1))
		if i%100 == 3 {
			s.must(s.st.Finish(s.ctx, w.Lease, gaff.Outcome{State: gaff.StateDead, Attempt: gaff.Attempt{
				Outcome: gaff.AttemptFailed, StartedAt: s.now, Error: "broken", Detail: "a copy of the body",
			}}))
			a.dead = append(a.dead, w.Event.ID)
			continue
		}
		s.must(s.finish(w, gaff.StateSucceeded, ""))
		a.done = append(a.done, w.Event.ID)
	}
	a.again = s.event(a.aged(500))
	s.accept(a.again)
	empty := s.accept(s.event(a.aged(501), func(ev *gaff.Event) { ev.Request.Body, ev.Data = []byte{}, json.RawMessage(`{}`) }))
	_, err := s.st.Replay(s.ctx, empty.ID, to("h")) // an empty body is not a removed one
	s.must(err)
	for _, w := range s.claim(10) {
		s.must(s.finish(w, gaff.StateSucceeded, ""))
	}
	a.fresh = s.take()
	s.must(s.st.Apply(s.ctx, a.fresh.Lease, func(tx jobs.Tx) error {
		if err := tx.InsertJob(s.ctx, &jobs.Job{ID: "job_1", Provider: "p", CreatedAt: a.old}); err != nil {
			return err
		}
		_, err := tx.AddMedia(s.ctx, &jobs.Media{JobID: "job_1", Position: "0", CreatedAt: a.old})
		return err
	}))
	for i := range 5 {
		s.must(s.st.Reject(s.ctx, &gaff.Rejection{ID: fmt.Sprint("rej_old_", i), Source: "shop", Status: 401, ReceivedAt: a.old}))
	}
	s.must(s.st.Reject(s.ctx, &gaff.Rejection{ID: "rej_new", Source: "shop", Status: 401, ReceivedAt: s.now}))
	return a
}

func (a *agedStore) prune(what string, r sqlstore.Retention, want sqlstore.Pruned) {
	a.Helper()
	got, err := a.st.Prune(a.ctx, r)
	a.must(err)
	a.equal(what, got, want)
}

func testPayloadRetention(s *suite) {
	a := newAged(s)
	a.prune("without a time", sqlstore.Retention{}, sqlstore.Pruned{})
	a.prune("before an event is archived", sqlstore.Retention{Payloads: a.cutoff, Events: a.cutoff, Archives: true}, sqlstore.Pruned{})
	first, _ := id.ParseEvent(a.done[0])
	a.prune("before the first old one is archived", sqlstore.Retention{Payloads: a.cutoff, Archives: true, Archived: first - 1}, sqlstore.Pruned{})
	a.prune("an archived payload", sqlstore.Retention{Payloads: a.cutoff, Archives: true, Archived: first}, sqlstore.Pruned{Payloads: 1})
	a.prune("payloads", sqlstore.Retention{Payloads: a.cutoff, Rejections: a.cutoff}, sqlstore.Pruned{Payloads: 451, Rejections: 5})
	if d := s.detail(a.done[0]); d.Status != gaff.StatusSuccess || len(d.Data) != 0 || d.Request != nil || len(d.Attempts) != 1 {
		s.Errorf("event without its body: %+v", d)
	}
	if d := s.detail(a.dead[0]); len(d.Attempts) != 1 || d.Attempts[0].Detail != "" || d.Attempts[0].Error != "broken" {
		s.Errorf("attempts of an event without its body: %+v, want the error and no detail", d.Attempts)
	}
	if d := s.detail(a.open.Event.ID); len(d.Data) == 0 || d.Request == nil {
		s.Error("an event that is not done lost its body")
	}
	if d := s.detail(a.fresh.Event.ID); len(d.Data) == 0 {
		s.Error("a young event lost its body")
	}
	_, _, err := s.st.Retry(s.ctx, gaff.RetryParams{EventID: a.dead[0], Tries: 1, Now: s.now})
	s.wants("a retry without the body", err, gaff.ErrConflict)
	_, err = s.st.Replay(s.ctx, a.dead[0], to("h"))
	s.wants("a replay without the body", err, gaff.ErrConflict)
	if rc := s.accept(a.again); !rc.Duplicate || rc.Conflict {
		s.Errorf("receipt of a known key: %+v, want a duplicate", rc)
	}
	_, err = s.st.Rejection(s.ctx, "rej_new")
	s.must(err)
}

func testEventRetention(s *suite) {
	a := newAged(s)
	s.must(s.st.RollUp(s.ctx, time.Now()))
	a.prune("events", sqlstore.Retention{Payloads: a.cutoff, Events: a.cutoff}, sqlstore.Pruned{Events: 452})
	page, err := s.st.Events(s.ctx, gaff.EventFilter{Cursor: gaff.Cursor{Limit: 500}})
	s.must(err)
	var left []string
	for _, l := range page.Items {
		left = append(left, l.ID)
	}
	s.equal("events that stay", left, []string{a.fresh.Event.ID, a.open.Event.ID})
	for _, id := range []string{a.done[0], a.dead[0]} {
		_, err := s.st.Event(s.ctx, id)
		s.wants("a removed event", err, gaff.ErrNotFound)
	}
	ds, err := s.st.Deliveries(s.ctx, gaff.DeliveryFilter{Cursor: gaff.Cursor{Limit: 500}})
	s.must(err)
	s.equal("deliveries that stay", len(ds.Items), 2)
	counts, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	if c := counts.Sources[0]; c.Pending != 1 || c.Success != 1 || c.Error != 0 || c.Rejected != 6 {
		s.Errorf("totals %+v, want those of the stored rows", c)
	}
	recent, err := s.st.Counts(s.ctx, s.now)
	s.must(err)
	if c := recent.Sources[0]; c.Success < 1 || c.Error < 0 {
		s.Errorf("recent counts: %+v", c)
	}
	_, err = s.st.Job(s.ctx, "job_1")
	s.must(err)
	media, err := s.st.Media(s.ctx, jobs.MediaFilter{})
	s.must(err)
	s.equal("media that stay", len(media.Items), 1)
	if rc := s.accept(a.again); rc.Duplicate {
		s.Error("the key of a removed event is still known")
	}
	s.must(s.finish(a.open, gaff.StateSucceeded, ""))
}

func testJobRetention(s *suite) {
	old, cutoff := s.now.Add(-100*24*time.Hour), s.now.Add(-10*24*time.Hour)
	s.write(func(tx jobs.Tx) error {
		for i := range 250 { // more than one transaction removes
			j := &jobs.Job{ID: fmt.Sprint("job_old_", i), Provider: "p", Status: jobs.JobCompleted, CreatedAt: old, SettledAt: old}
			if i == 7 {
				j.Status, j.SettledAt = jobs.JobProcessing, time.Time{}
			}
			if i == 8 {
				j.SettledAt = s.now // it took long
			}
			if err := tx.InsertJob(s.ctx, j); err != nil {
				return err
			}
			if err := tx.SaveInput(s.ctx, j.ID, json.RawMessage(`{}`)); err != nil {
				return err
			}
			m := &jobs.Media{JobID: j.ID, CreatedAt: old, Storage: jobs.StorageStored, StoredKey: "sha256/" + j.ID}
			if i == 8 {
				m.Storage = jobs.StoragePending
			}
			if _, err := tx.AddMedia(s.ctx, m); err != nil {
				return err
			}
		}
		if _, err := tx.AddMedia(s.ctx, &jobs.Media{JobID: "job_old_1", Position: "young", CreatedAt: s.now, StoredKey: "sha256/young"}); err != nil {
			return err
		}
		return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_young", Provider: "p", Status: jobs.JobCompleted, CreatedAt: s.now, SettledAt: s.now})
	})
	prune := func(r sqlstore.Retention) sqlstore.Pruned {
		got, err := s.st.Prune(s.ctx, r)
		s.must(err)
		return got
	}
	s.equal("without times", prune(sqlstore.Retention{}), sqlstore.Pruned{})
	s.equal("files", prune(sqlstore.Retention{Media: cutoff}), sqlstore.Pruned{Media: 249})
	s.equal("jobs", prune(sqlstore.Retention{Jobs: cutoff}), sqlstore.Pruned{Jobs: 248})
	s.equal("jobs again", prune(sqlstore.Retention{Jobs: cutoff, Media: cutoff, Runs: cutoff}), sqlstore.Pruned{})
	s.equal("inputs of removed jobs", s.naming("job_old_1")["job_input"], 0)
	keys, err := s.st.ErasedFiles(s.ctx, "", 1000)
	s.must(err)
	s.equal("copies to delete", len(keys), 249+1)
	for _, id := range []string{"job_old_7", "job_old_8", "job_young"} {
		if _, err := s.st.Job(s.ctx, id); err != nil {
			s.Errorf("%s: %v", id, err)
		}
	}
	s.writeRuns(func(tx runs.Tx) error {
		for i, status := range []runs.Status{runs.Completed, runs.Running, runs.Failed} {
			run := &runs.Run{ID: fmt.Sprint("run_", i), Workflow: "w", Version: "v", Status: status, CreatedAt: old}
			if status.Settled() {
				run.SettledAt = old
			}
			if _, err := tx.InsertRun(s.ctx, run); err != nil {
				return err
			}
			if err := tx.SaveSteps(s.ctx, run.ID, []runs.Step{{Name: "a", Item: -1}}); err != nil {
				return err
			}
		}
		return nil
	})
	s.equal("runs", prune(sqlstore.Retention{Runs: cutoff}), sqlstore.Pruned{Runs: 2})
	s.equal("steps of the run that is not finished", s.rows("run_step"), 1)
}

// rows counts the rows of a table.
func (s *suite) rows(table string) int { return s.naming("")[table] }
