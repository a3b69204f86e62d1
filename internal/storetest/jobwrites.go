package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"gaff"
	"gaff/jobs"
)

// Operations that are written together see each other's changes to a job, whether they announced
// that they would read it or not: no change is lost, and no file is added twice.
func testSharedJobs(s *suite) {
	const jobCount, each, places = 8, 9, 3
	var wg sync.WaitGroup
	var added atomic.Int64
	for i := range jobCount * each {
		w := s.take()
		wg.Go(func() {
			id, request := fmt.Sprint("job_", i%jobCount), fmt.Sprint("r-", i%jobCount)
			ctx := context.WithoutCancel(s.ctx)
			switch i / jobCount % 3 {
			case 0:
				ctx = jobs.ReadsJob(ctx, jobs.JobRef{ID: id})
			case 1:
				ctx = jobs.ReadsJob(ctx, jobs.JobRef{Provider: "p", RequestID: request})
			}
			isNew := false
			write := func(tx jobs.Tx) error {
				j, err := tx.Job(ctx, id)
				if i/jobCount%3 == 1 {
					j, err = tx.JobByRequest(ctx, "p", request)
				}
				switch {
				case errors.Is(err, gaff.ErrNotFound):
					err = tx.InsertJob(ctx, &jobs.Job{ID: id, Provider: "p", RequestID: request})
				case err == nil:
					j.Status = jobs.JobProcessing
					j.Polls++
					err = tx.SaveJob(ctx, j)
				}
				if err != nil {
					return err
				}
				isNew, err = tx.AddMedia(ctx, &jobs.Media{JobID: id, Position: fmt.Sprint(i / jobCount % places)})
				return err
			}
			err := s.st.Apply(ctx, w.Lease, write)
			for errors.Is(err, gaff.ErrConflict) { // another one made the job meanwhile
				err = s.st.Apply(ctx, w.Lease, write)
			}
			if err != nil {
				s.Errorf("%d: %v", i, err)
			} else if isNew {
				added.Add(1)
			}
		})
	}
	wg.Wait()
	for n := range jobCount {
		j, err := s.st.Job(s.ctx, fmt.Sprint("job_", n))
		s.must(err)
		if j.Polls != each-1 || j.Status != jobs.JobProcessing || j.RequestID != fmt.Sprint("r-", n) {
			s.Errorf("%s: %d of %d changes are there, %s, request %q", j.ID, j.Polls, each-1, j.Status, j.RequestID)
		}
	}
	media, err := s.st.Media(s.ctx, jobs.MediaFilter{Cursor: gaff.Cursor{Limit: 500}})
	s.must(err)
	if len(media.Items) != jobCount*places || added.Load() != jobCount*places {
		s.Errorf("%d files, %d reported as new, want %d", len(media.Items), added.Load(), jobCount*places)
	}
}

// apply runs fn as the effects of a new event.
func (s *suite) apply(fn func(tx jobs.Tx) error) error {
	s.Helper()
	w := s.take()
	err := s.st.Apply(s.ctx, w.Lease, fn)
	if err != nil {
		s.must(s.finish(w, gaff.StateDead, err.Error()))
	}
	return err
}

func testJobs(s *suite) {
	j := jobs.Job{
		ID: "job_1", Provider: "fal", Model: "m", Kind: "image", ProjectID: "p", UserID: "u", RequestID: "r1",
		Status: jobs.JobProcessing, Metadata: json.RawMessage(`{"a":17454220438242315174}`), CreatedAt: s.now, SubmittedAt: s.now,
	}
	s.must(s.apply(func(tx jobs.Tx) error { k := j; return tx.InsertJob(s.ctx, &k) }))
	s.wants("another job of the request", s.apply(func(tx jobs.Tx) error {
		return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_2", Provider: "fal", RequestID: "r1"})
	}), gaff.ErrConflict)
	s.must(s.apply(func(tx jobs.Tx) error {
		return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_3", Provider: "other", RequestID: "r1"})
	}))
	s.must(s.apply(func(tx jobs.Tx) error {
		byID, err := tx.Job(s.ctx, "job_1")
		if err != nil {
			return err
		}
		byRequest, err := tx.JobByRequest(s.ctx, "fal", "r1")
		if err != nil {
			return err
		}
		s.equal("by request", byRequest, byID)
		want := j
		want.UpdatedAt = byID.UpdatedAt
		s.equal("as inserted", *byID, want)
		if _, err := tx.Job(s.ctx, "none"); !errors.Is(err, gaff.ErrNotFound) {
			s.Errorf("no job: %v", err)
		}
		if _, err := tx.JobByRequest(s.ctx, "fal", ""); !errors.Is(err, gaff.ErrNotFound) {
			s.Errorf("no request: %v", err)
		}
		byID.Status, byID.Result, byID.SettledBy, byID.SettledAt = jobs.JobCompleted, json.RawMessage(`{"ok":1}`), "webhook", s.now
		return tx.SaveJob(s.ctx, byID)
	}))
	for _, status := range []jobs.JobStatus{jobs.JobQueued, jobs.JobProcessing, jobs.JobFailed, jobs.JobCancelled} {
		s.wants("back to "+status.String(), s.apply(func(tx jobs.Tx) error {
			j, err := tx.Job(s.ctx, "job_1")
			s.must(err)
			j.Status = status
			return tx.SaveJob(s.ctx, j)
		}), gaff.ErrConflict)
	}
	s.must(s.apply(func(tx jobs.Tx) error { // the same status again changes the rest
		j, err := tx.Job(s.ctx, "job_1")
		s.must(err)
		j.Model = "m2"
		return tx.SaveJob(s.ctx, j)
	}))
	got, err := s.st.Job(s.ctx, "job_1")
	s.must(err)
	if got.Status != jobs.JobCompleted || got.Model != "m2" || string(got.Result) != `{"ok":1}` || !got.SettledAt.Equal(s.now) {
		s.Errorf("job %+v", got)
	}
}

func testJobMedia(s *suite) {
	s.write(func(tx jobs.Tx) error { return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_1", Provider: "fal"}) })
	add := func(position string, storage jobs.Storage) (m jobs.Media) {
		m = jobs.Media{JobID: "job_1", Position: position, Storage: storage, Metadata: json.RawMessage("{}")}
		s.write(func(tx jobs.Tx) error { _, err := tx.AddMedia(s.ctx, &m); return err })
		return m
	}
	a, b := add("0", jobs.StorageStored), add("1", jobs.StoragePending)
	check := func(want bool) {
		s.write(func(tx jobs.Tx) error {
			pending, err := tx.CopiesPending(s.ctx, "job_1")
			s.equal("copies are pending", pending, want)
			return err
		})
	}
	check(true)
	s.write(func(tx jobs.Tx) error { b.Storage = jobs.StorageGone; return tx.SaveMedia(s.ctx, &b) })
	check(false)
	s.write(func(tx jobs.Tx) error {
		files, err := tx.JobMedia(s.ctx, "job_1")
		s.equal("files", len(files), 2)
		s.equal("order of files", files[0].ID+files[1].ID, a.ID+b.ID)
		return err
	})
}

func testPublicProject(s *suite) {
	s.write(func(tx jobs.Tx) error { return tx.SaveProject(s.ctx, &jobs.Project{ID: "p", PublicMedia: true}) })
	p, err := s.st.Project(s.ctx, "p")
	s.must(err)
	s.equal("public", p.PublicMedia, true)
	s.write(func(tx jobs.Tx) error {
		p, err := tx.Project(s.ctx, "p")
		s.equal("public in a transaction", p.PublicMedia, true)
		_, missing := tx.Project(s.ctx, "none")
		s.wants("an unknown project", missing, gaff.ErrNotFound)
		return err
	})
}

func testMedia(s *suite) {
	s.write(func(tx jobs.Tx) error { return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_1", Provider: "fal"}) })
	m := jobs.Media{JobID: "job_1", ProjectID: "p", Position: "fal:/images/0", URL: "u", MediaType: jobs.MediaImage,
		ContentType: "image/png", Size: 7, SHA256: "00", Metadata: json.RawMessage(`{"w":1}`)}
	for i, want := range []bool{true, false} {
		s.must(s.apply(func(tx jobs.Tx) error {
			k := m
			added, err := tx.AddMedia(s.ctx, &k)
			if added != want {
				s.Errorf("media %d: added is %v", i, added)
			}
			return err
		}))
	}
	page, err := s.st.Media(s.ctx, jobs.MediaFilter{})
	s.must(err)
	byID, err := s.st.MediaByID(s.ctx, page.Items[0].ID)
	s.must(err)
	m.ID, m.CreatedAt = byID.ID, byID.CreatedAt
	s.equal("media", *byID, m)

	// A file's type and size become known after it was downloaded.
	s.must(s.st.Write(s.ctx, func(tx jobs.Tx) error {
		k, err := tx.Media(s.ctx, m.ID)
		if err != nil {
			return err
		}
		s.equal("media in a transaction", *k, m)
		k.Storage, k.StorageError, k.StoredKey, k.ThumbnailKey, k.StoredAt = jobs.StorageStored, "e", "k", "t", s.now
		k.Size, k.SHA256, k.ContentType, k.MediaType, k.Metadata = 8, "01", "image/webp", jobs.MediaFile, json.RawMessage(`{"w":2}`)
		k.LinkToken = "secret"
		m = *k
		m.URL, k.URL = k.URL, "cannot change"
		return tx.SaveMedia(s.ctx, k)
	}))
	byID, err = s.st.MediaByID(s.ctx, m.ID)
	s.must(err)
	s.equal("saved media", *byID, m)
	byLink, err := s.st.MediaByLink(s.ctx, "secret")
	s.must(err)
	s.equal("media by link", *byLink, m)
	for _, token := range []string{"", "other", "secret\x00"} {
		_, err := s.st.MediaByLink(s.ctx, token)
		s.wants(fmt.Sprintf("media by link %q", token), err, gaff.ErrNotFound)
	}
	for storage, want := range map[jobs.Storage]int{jobs.StorageStored: 1, jobs.StorageGone: 0} {
		page, err := s.st.Media(s.ctx, jobs.MediaFilter{Storage: &storage})
		s.must(err)
		s.equal(fmt.Sprintf("media with storage %s", storage), len(page.Items), want)
	}
	for what, err := range map[string]error{
		"load": s.st.Write(s.ctx, func(tx jobs.Tx) error { _, err := tx.Media(s.ctx, "med_none"); return err }),
		"save": s.st.Write(s.ctx, func(tx jobs.Tx) error { return tx.SaveMedia(s.ctx, &jobs.Media{ID: "med_none"}) }),
	} {
		s.wants(what+" unknown media", err, gaff.ErrNotFound)
	}
}
