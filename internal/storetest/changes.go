package storetest

import (
	"fmt"
	"time"

	"gaff"
	"gaff/jobs"
)

func testChanges(s *suite) {
	_, start, _, err := s.st.Changes(s.ctx, "", 10)
	s.must(err)
	changed := s.st.Changed()
	w := s.take()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		s.Fatal("Changed was not closed")
	}
	s.must(s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
		if err := tx.InsertJob(s.ctx, &jobs.Job{ID: "job_1", Provider: "p", Status: jobs.JobCompleted}); err != nil {
			return err
		}
		_, err := tx.AddMedia(s.ctx, &jobs.Media{ID: "med_1", JobID: "job_1", MediaType: jobs.MediaImage})
		return err
	}))
	want := []string{"event pending " + w.Event.ID, "job completed job_1", "media generated-image med_1", "event success " + w.Event.ID}
	for _, limit := range []int{1, 2, 100} {
		var got []string
		at := start
		// Changes are readable at once, or a moment later if other connections write too.
		for end := time.Now().Add(10 * time.Second); len(got) < len(want) && time.Now().Before(end); {
			changed := s.st.Changed()
			cs, last, gone, err := s.st.Changes(s.ctx, at, limit)
			s.must(err)
			if gone {
				s.Fatal("gone")
			}
			if len(cs) > limit {
				s.Errorf("%d changes, asked for %d", len(cs), limit)
			}
			for _, c := range cs {
				got = append(got, c.Kind+" "+c.Status+" "+c.Ref)
			}
			if at = last; len(cs) == 0 {
				select {
				case <-changed:
				case <-time.After(2 * time.Second):
				}
			}
		}
		s.equal(fmt.Sprint("by ", limit), got, want)
		if cs, _, _, err := s.st.Changes(s.ctx, at, limit); err != nil || len(cs) != 0 {
			s.Errorf("after the last: %v, %v", cs, err)
		}
	}
	_, end, gone, err := s.st.Changes(s.ctx, "9223372036854775807-0", 10)
	s.must(err)
	if !gone || end == "" {
		s.Errorf("a change of the future: gone %v, continue after %q", gone, end)
	}
	_, _, _, err = s.st.Changes(s.ctx, "x", 10)
	s.wants("a broken id", err, gaff.ErrInvalid)
}
