package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"gaff"
	"gaff/jobs"
)

func testWrite(s *suite) {
	emitted := s.event(func(ev *gaff.Event) { ev.Source, ev.Request = gaff.InternalSource, nil })
	s.must(s.st.Write(s.ctx, func(tx jobs.Tx) error {
		if err := tx.InsertJob(s.ctx, &jobs.Job{ID: "job-1", Provider: "fal"}); err != nil {
			return err
		}
		return tx.Emit(s.ctx, emitted, to("h"))
	}))
	if _, err := s.st.Job(s.ctx, "job-1"); err != nil {
		s.Error(err)
	}
	if work := s.claim(10); len(work) != 1 || work[0].Event.ID != emitted.ID {
		s.Errorf("claimed %+v", work)
	}
	failure := errors.New("no")
	s.wants("an error of the function", s.st.Write(s.ctx, func(tx jobs.Tx) error {
		if err := tx.InsertJob(s.ctx, &jobs.Job{ID: "job-2", Provider: "fal"}); err != nil {
			return err
		}
		return failure
	}), failure)
	_, err := s.st.Job(s.ctx, "job-2")
	s.wants("what it had written", err, gaff.ErrNotFound)
}

func testApply(s *suite) {
	w := s.take()
	broken := errors.New("broken")
	write := func(tx jobs.Tx) error {
		if err := tx.InsertJob(s.ctx, &jobs.Job{ID: "job_1", Provider: "p", RequestID: "r"}); err != nil {
			return err
		}
		if added, err := tx.AddMedia(s.ctx, &jobs.Media{JobID: "job_1", Position: "p:/0", URL: "u"}); err != nil || !added {
			return fmt.Errorf("media: %v, %w", added, err)
		}
		return tx.Emit(s.ctx, &gaff.Event{Source: gaff.InternalSource, Type: "t", Data: json.RawMessage(`{}`)}, nil)
	}
	nothing := func(when string) {
		s.Helper()
		if _, err := s.st.Job(s.ctx, "job_1"); !errors.Is(err, gaff.ErrNotFound) {
			s.Errorf("%s: a job is there: %v", when, err)
		}
		media, err := s.st.Media(s.ctx, jobs.MediaFilter{})
		s.must(err)
		inner, err := s.st.Events(s.ctx, gaff.EventFilter{Source: gaff.InternalSource})
		s.must(err)
		if len(media.Items) != 0 || len(inner.Items) != 0 {
			s.Errorf("%s: %d media, %d inner events", when, len(media.Items), len(inner.Items))
		}
		if d := s.detail(w.Event.ID); d.Deliveries[0].State.Done() {
			s.Errorf("%s: the delivery is %s", when, d.Deliveries[0].State)
		}
	}
	s.wants("an error after writing", s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
		s.must(write(tx))
		return broken
	}), broken)
	nothing("after an error")
	if err := s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
		s.must(write(tx))
		panic("at the disco")
	}); err == nil || !strings.Contains(err.Error(), "at the disco") {
		s.Errorf("a panic: %v", err)
	}
	nothing("after a panic")
	old := w.Lease
	old.Attempt++
	s.wants("an unknown lease", s.st.Apply(s.ctx, old, write), gaff.ErrLeaseLost)
	nothing("after a lost lease")
	if got := s.claim(1); len(got) == 1 {
		w = got[0]
	}
	s.must(s.st.Apply(s.ctx, w.Lease, write))
	s.wants("twice", s.st.Apply(s.ctx, w.Lease, func(jobs.Tx) error { return nil }), gaff.ErrLeaseLost)
	if d := s.detail(w.Event.ID); d.Status != gaff.StatusSuccess || len(d.Attempts) != 1 || d.Deliveries[0].Attempts != 1 {
		s.Errorf("log %+v", d)
	}
	media, err := s.st.Media(s.ctx, jobs.MediaFilter{JobID: "job_1"})
	s.must(err)
	if len(media.Items) != 1 || media.Items[0].ID == "" || media.Items[0].CreatedAt.IsZero() {
		s.Errorf("media %+v", media.Items)
	}
}

func testBadNeighbour(s *suite) {
	var wg sync.WaitGroup
	// An effect's own ErrUnavailable does not mean that the store is unavailable.
	broken := fmt.Errorf("a service of the caller: %w", gaff.ErrUnavailable)
	for i := range 60 {
		w := s.take()
		wg.Go(func() {
			err := s.st.Apply(context.WithoutCancel(s.ctx), w.Lease, func(tx jobs.Tx) error {
				if err := tx.InsertJob(s.ctx, &jobs.Job{ID: fmt.Sprint("job_", i), Provider: "p", RequestID: fmt.Sprint(i)}); err != nil {
					return err
				}
				if i%7 == 3 {
					return broken
				}
				return nil
			})
			if i%7 == 3 != errors.Is(err, broken) || i%7 != 3 && err != nil {
				s.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	page, err := s.st.Jobs(s.ctx, jobs.JobFilter{Cursor: gaff.Cursor{Limit: 500}})
	s.must(err)
	if len(page.Items) != 60-9 {
		s.Errorf("%d jobs, want 51", len(page.Items))
	}
}

func testEmit(s *suite) {
	parent := s.take()
	s.must(s.st.Apply(s.ctx, parent.Lease, func(tx jobs.Tx) error {
		for range 2 {
			err := tx.Emit(s.ctx, &gaff.Event{Source: gaff.InternalSource, Type: "job.completed", DedupeKey: "once", Data: json.RawMessage(`{"j":1}`),
				ParentID: parent.Event.ID, Hop: 1}, to("next"))
			if err != nil {
				return err
			}
		}
		return nil
	}))
	select {
	case <-s.st.Wake(""):
	default:
		s.Error("Wake received nothing after an event was emitted")
	}
	work := s.claim(10)
	if len(work) != 1 || work[0].Event.ParentID != parent.Event.ID || work[0].Event.Hop != 1 || work[0].Event.Type != "job.completed" {
		s.Fatalf("work %+v", work)
	}
	if d := s.detail(parent.Event.ID); len(d.Children) != 1 || d.Children[0] != work[0].Event.ID {
		s.Errorf("children %v", d.Children)
	}
	if err := s.apply(func(tx jobs.Tx) error {
		return tx.Emit(s.ctx, &gaff.Event{Source: gaff.InternalSource, Type: "t", Data: json.RawMessage(`{}`), Hop: gaff.MaxHops + 1}, nil)
	}); err == nil || !strings.Contains(err.Error(), "loop") {
		s.Errorf("an endless chain: %v", err)
	}
}
