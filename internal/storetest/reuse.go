package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"gaff/internal/erase"
	"gaff/jobs"
)

// reusable returns the ids of the jobs of a reuse key, ended within a day.
func (s *suite) reusable(key string) (ids []string) {
	s.Helper()
	err := s.st.Write(s.ctx, func(tx jobs.Tx) error {
		ids = nil
		found, err := tx.ReusableJobs(s.ctx, key, tx.Now().Add(-24*time.Hour))
		for _, j := range found {
			ids = append(ids, j.ID)
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return ids
}

func testReusable(s *suite) {
	add := func(n int, change func(j *jobs.Job)) {
		s.Helper()
		err := s.st.Write(s.ctx, func(tx jobs.Tx) error {
			j := &jobs.Job{
				ID: fmt.Sprint("job_", n), Provider: "a", Model: "m", ReuseKey: "k", Status: jobs.JobCompleted, Result: json.RawMessage(`{}`),
				CreatedAt: tx.Now(), SettledAt: tx.Now(), Saved: 7, ReusedFrom: "job_0", SettledBy: jobs.SettledByReuse, Charge: jobs.Charge{Currency: "USD", State: jobs.ChargeBilled},
			}
			change(j)
			if err := tx.InsertJob(s.ctx, j); err != nil {
				return err
			}
			_, err := tx.AddMedia(s.ctx, &jobs.Media{JobID: j.ID, Position: "a:/0"})
			return err
		})
		if err != nil {
			s.Fatal(err)
		}
	}
	add(1, func(*jobs.Job) {})
	add(2, func(*jobs.Job) {})
	add(3, func(j *jobs.Job) { j.Status = jobs.JobFailed })
	add(4, func(j *jobs.Job) { j.SettledAt = j.SettledAt.Add(-25 * time.Hour) })
	add(5, func(j *jobs.Job) { j.ReuseKey = "other" })
	add(6, func(j *jobs.Job) { j.ReuseKey, j.Charge = "", jobs.Charge{} })
	if got, want := s.reusable("k"), []string{"job_2", "job_1"}; !slices.Equal(got, want) {
		s.Errorf("got %q, want %q", got, want)
	}
	if got := s.reusable(""); len(got) > 0 {
		s.Errorf("jobs without a key: %q", got)
	}
	j, err := s.st.Job(s.ctx, "job_1")
	if err != nil || j.ReusedFrom != "job_0" || j.Saved != 7 {
		s.Errorf("the job is %+v, %v", j, err)
	}
	sums, err := s.st.Costs(s.ctx, jobs.CostFilter{})
	if want := (jobs.CostSum{Currency: "USD", Jobs: 5, Reused: 5, Saved: 35}); err != nil || len(sums.Sums) != 1 || sums.Sums[0] != want {
		s.Errorf("the sums are %+v, %v; want %+v", sums, err, want)
	}
	files, err := s.st.Media(s.ctx, jobs.MediaFilter{JobID: "job_2"})
	if err != nil || len(files.Items) != 1 {
		s.Fatalf("files %+v, %v", files.Items, err)
	}
	if _, err := s.st.Erase(s.ctx, erase.Target{Kind: erase.Media, ID: files.Items[0].ID}); err != nil {
		s.Fatal(err)
	}
	if _, err := s.st.Erase(s.ctx, erase.Target{Kind: erase.Job, ID: "job_1"}); err != nil {
		s.Fatal(err)
	}
	if got := s.reusable("k"); len(got) > 0 {
		s.Errorf("got %q after a file of one job and the other job were erased", got)
	}
}

// addReuser stores a job that has the result of another one.
func (s *suite) addReuser(jobID, user, from string) {
	s.Helper()
	s.write(func(tx jobs.Tx) error {
		err := tx.InsertJob(s.ctx, &jobs.Job{
			ID: jobID, Provider: "p", UserID: user, Status: jobs.JobCompleted, SettledAt: s.now, SettledBy: jobs.SettledByReuse, ReusedFrom: from,
			Result: json.RawMessage(`{"text":"a result"}`), Saved: 7, Charge: jobs.Charge{Currency: "USD", State: jobs.ChargeBilled},
		})
		if err != nil {
			return err
		}
		if _, err := tx.AddMedia(s.ctx, &jobs.Media{JobID: jobID, Position: "0", Storage: jobs.StorageStored, StoredKey: "sha256/aa/shared", SHA256: "shared"}); err != nil {
			return err
		}
		return tx.AddLogEntry(s.ctx, jobID, jobs.ReuseEntry, "nothing was submitted: "+jobs.ReuseSource(from)+" the result of this input")
	})
}

// A job keeps the result and the files of an erased one, and no longer names it.
func testEraseReused(s *suite) {
	erased := addPersonal(s, erasedUser)
	s.addReuser("job_again", otherUser, erased.job)
	s.addReuser("job_own", erasedUser, erased.job)
	s.addReuser("job_other", otherUser, erased.job+"2")
	sums, err := s.st.Costs(s.ctx, jobs.CostFilter{UserID: otherUser})
	s.must(err)
	target := erase.Target{Kind: erase.User, ID: erasedUser}
	found, err := s.st.FindErasable(s.ctx, target)
	s.must(err)
	s.equal("found jobs", found.Jobs, int64(2))
	target = erase.Target{Kind: erase.Job, ID: erased.job}
	found, err = s.st.FindErasable(s.ctx, target)
	s.must(err)
	s.equal("jobs with the result", found.Records, int64(2))
	done, err := s.st.Erase(s.ctx, target)
	s.must(err)
	s.equal("erased", done.Counts, found.Counts)
	for id, want := range map[string]string{"job_again": "", "job_own": "", "job_other": erased.job + "2"} {
		j, err := s.st.Job(s.ctx, id)
		s.must(err)
		s.equal(id+" is reused from", j.ReusedFrom, want)
		s.equal("the result of "+id, string(j.Result), `{"text":"a result"}`)
		files, err := s.st.Media(s.ctx, jobs.MediaFilter{JobID: id})
		s.must(err)
		s.equal("files of "+id, len(files.Items), 1)
	}
	for id, want := range map[string]string{
		"job_again": "nothing was submitted: an erased job had the result of this input",
		"job_other": "nothing was submitted: job " + erased.job + "2 has the result of this input",
	} {
		log, err := s.st.JobLog(s.ctx, id)
		s.must(err)
		s.equal("the log of "+id, log[0].Text, want)
	}
	now, err := s.st.Costs(s.ctx, jobs.CostFilter{UserID: otherUser})
	s.must(err)
	s.equal("what reuse saved", now, sums)
}
