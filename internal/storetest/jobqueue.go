package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"gaff/jobs"
)

// queueJob stores a job of provider a that waits, or is released.
func (s *suite) queueJob(q jobs.QueuedJob) {
	s.Helper()
	q.Provider, q.Model = "a", "m"
	s.write(func(tx jobs.Tx) error {
		j := &jobs.Job{
			ID: q.JobID, Provider: q.Provider, Model: q.Model, ProjectID: q.ProjectID, UserID: q.UserID, Submit: jobs.SubmitWaiting,
			CreatedAt: tx.Now(), Priority: q.Priority,
		}
		if err := tx.InsertJob(s.ctx, j); err != nil {
			return err
		}
		if err := tx.LockQueue(s.ctx); err != nil {
			return err
		}
		return tx.JoinQueue(s.ctx, &q)
	})
}

// nextQueued returns the ids of the jobs of provider a whose turn it is.
func (s *suite) nextQueued(full map[jobs.LimitKey]bool) (ids []string) {
	s.Helper()
	s.write(func(tx jobs.Tx) error {
		ids = nil
		list, err := tx.NextQueued(s.ctx, "a", jobs.QueueQuery{Full: full, Limit: 10})
		for _, q := range list {
			ids = append(ids, q.JobID)
		}
		return err
	})
	return ids
}

// Waiting jobs take turns by project and user, after their priority.
func testQueueOrder(s *suite) {
	for _, q := range []jobs.QueuedJob{
		{JobID: "p1", ProjectID: "p"}, {JobID: "p2", ProjectID: "p"}, {JobID: "p3", ProjectID: "p"},
		{JobID: "o1", ProjectID: "o", UserID: "u"}, {JobID: "o2", ProjectID: "o", UserID: "u"}, {JobID: "o3", ProjectID: "o", UserID: "v"},
		{JobID: "n1"}, {JobID: "low", ProjectID: "l", Priority: -1}, {JobID: "high", ProjectID: "p", Priority: 1},
		{JobID: "moved", ProjectID: "p", First: true}, {JobID: "sent", ProjectID: "p", Released: true, Held: true},
	} {
		s.queueJob(q)
	}
	want := []string{"high", "moved", "p1", "o1", "n1", "o3", "p2", "o2", "p3", "low"}
	if got := s.nextQueued(nil); !slices.Equal(got, want) {
		s.Errorf("the order is %q, want %q", got, want)
	}
	s.write(func(tx jobs.Tx) error {
		var ids []string
		for at := (jobs.QueuePlace{}); ; {
			list, err := tx.NextQueued(s.ctx, "a", jobs.QueueQuery{After: at, Limit: 3})
			if err != nil || len(list) == 0 {
				if !slices.Equal(ids, want) {
					s.Errorf("the order, three at a time, is %q; want %q", ids, want)
				}
				return err
			}
			for _, q := range list {
				ids = append(ids, q.JobID)
			}
			at = list[len(list)-1].Place
		}
	})
	for i, id := range want {
		// "sent" is before them: a worker has it.
		if n, err := s.st.JobPosition(s.ctx, id); err != nil || n != int64(i)+2 {
			s.Errorf("the position of %s is %d, %v; want %d", id, n, err, i+2)
		}
	}
	full := map[jobs.LimitKey]bool{{Scope: "project", Name: "p"}: true, {Scope: "user", Name: "v"}: true, {Scope: "project", Name: "l"}: true}
	if got, want := s.nextQueued(full), []string{"o1", "n1", "o2"}; !slices.Equal(got, want) {
		s.Errorf("without those of full limits: %q, want %q", got, want)
	}
	if names, rows, err := s.st.QueuedProviders(s.ctx); err != nil || !rows || !slices.Equal(names, []string{"a"}) {
		s.Errorf("providers %q, %t, %v", names, rows, err)
	}
	s.write(func(tx jobs.Tx) error {
		if err := tx.ReleaseJob(s.ctx, "p1", true); err != nil {
			return err
		}
		if err := tx.LeaveQueue(s.ctx, "o1"); err != nil {
			return err
		}
		j, err := tx.Job(s.ctx, "n1")
		if err != nil {
			return err
		}
		j.Status = jobs.JobCancelled
		return tx.SaveJob(s.ctx, j)
	})
	use, err := s.st.LimitUse(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	got := map[string][2]int{}
	for _, u := range use {
		got[u.Scope+" "+u.Name] = [2]int{u.UnderWay, u.Waiting}
	}
	// n1 is cancelled, o1 left, p1 was released, and sent was from the start.
	if want := map[string][2]int{"provider a": {2, 7}, "model m": {2, 7}, "project p": {2, 4}, "project o": {0, 2}, "project l": {0, 1}, "user u": {0, 1}, "user v": {0, 1}}; !maps.Equal(got, want) {
		s.Errorf("use %v, want %v", got, want)
	}
	if got := s.nextQueued(nil); !slices.Equal(got, []string{"high", "moved", "o3", "p2", "o2", "p3", "low"}) {
		s.Errorf("after one was released, one left and one was cancelled: %q", got)
	}
	s.write(func(tx jobs.Tx) error {
		used, err := tx.UnderWay(s.ctx, "project", []string{"p", "o", "unknown"})
		if want := map[string]int{"p": 2}; err != nil || !maps.Equal(used, want) {
			s.Errorf("under way by project: %v, %v; want %v", used, err, want)
		}
		if n, err := tx.UnsentJobs(s.ctx, "a", tx.Now().Add(-time.Minute)); err != nil || n != 3 {
			s.Errorf("%d unsent jobs, %v; want 3: two that were released, and one without a row", n, err)
		}
		if waiting, queued, err := tx.QueueState(s.ctx, "a", 5); err != nil || waiting != 5 || !queued {
			s.Errorf("state %d, %t, %v; want 5 of them, and true", waiting, queued, err)
		}
		return nil
	})
}

// A project with a new user for each job gets 16 turns for one of another project, not all.
func testQueueUsers(s *suite) {
	for i := range 60 {
		s.queueJob(jobs.QueuedJob{JobID: fmt.Sprint("a", i), ProjectID: "a", UserID: fmt.Sprint("u", i)})
	}
	for i := range 3 {
		s.queueJob(jobs.QueuedJob{JobID: fmt.Sprint("b", i), ProjectID: "b", UserID: "v"})
	}
	for i := range 3 {
		most := int64(16*(i+1) + i + 1)
		if n, err := s.st.JobPosition(s.ctx, fmt.Sprint("b", i)); err != nil || n > most {
			s.Errorf("job %d of the other project is at %d, %v; want %d at most", i, n, err, most)
		}
	}
}

// Jobs that have ended count for no limit, and leave the queue.
func testQueueClean(s *suite) {
	for _, q := range []jobs.QueuedJob{
		{JobID: "ended", ProjectID: "p", Released: true, Held: true}, {JobID: "open", ProjectID: "p", Released: true, Held: true},
		{JobID: "free", ProjectID: "q", Released: true}, {JobID: "waits", ProjectID: "q"},
	} {
		s.queueJob(q)
	}
	s.write(func(tx jobs.Tx) error {
		j, err := tx.Job(s.ctx, "ended")
		if err != nil {
			return err
		}
		j.Status, j.SettledAt = jobs.JobCompleted, tx.Now()
		return tx.SaveJob(s.ctx, j)
	})
	key := jobs.LimitKey{Scope: "project", Name: "p"}
	s.write(func(tx jobs.Tx) error {
		if n, err := tx.UnderWay(s.ctx, key.Scope, []string{key.Name}); err != nil || n[key.Name] != 1 {
			s.Errorf("%v under way, %v; want 1", n, err)
		}
		if err := tx.SetPace(s.ctx, key, tx.Now().Add(-time.Hour)); err != nil {
			return err
		}
		return tx.CleanQueue(s.ctx, tx.Now().Add(time.Minute))
	})
	s.write(func(tx jobs.Tx) error {
		if at, err := tx.Paces(s.ctx, key.Scope, []string{key.Name}); err != nil || len(at) > 0 {
			s.Errorf("a pace of an hour ago is %s, %v after cleaning", at, err)
		}
		at := tx.Now().Add(time.Hour).Truncate(time.Millisecond)
		if err := tx.SetPace(s.ctx, key, at); err != nil {
			return err
		}
		if got, err := tx.Paces(s.ctx, key.Scope, []string{key.Name, "unknown"}); err != nil || got[key.Name].Sub(at).Abs() > time.Second {
			s.Errorf("the pace is %s, %v; want %s", got, err, at)
		}
		return nil
	})
	use, err := s.st.LimitUse(s.ctx)
	if err != nil || !slices.ContainsFunc(use, func(u jobs.LimitUse) bool { return u.LimitKey == key && u.Next.After(time.Now()) }) {
		s.Errorf("use %+v, %v; want a pace of the project", use, err)
	}
	if got := s.nextQueued(nil); !slices.Equal(got, []string{"waits"}) {
		s.Errorf("waiting jobs after cleaning: %q", got)
	}
}

var errFull = errors.New("full")

// Transactions that lock the queue see each other's jobs, so that no two get the same place.
func testQueueLock(s *suite) {
	const limit, submits = 7, 100
	key := jobs.LimitKey{Scope: "user", Name: "u"}
	var wg sync.WaitGroup
	var mu sync.Mutex
	released := 0
	for i := range submits {
		wg.Go(func() {
			q := &jobs.QueuedJob{JobID: fmt.Sprint("job_", i), Provider: "a", Model: "m", UserID: "u", Held: true}
			err := s.st.Write(context.WithoutCancel(s.ctx), func(tx jobs.Tx) error {
				if err := tx.InsertJob(s.ctx, &jobs.Job{ID: q.JobID, Provider: "a", Model: "m", UserID: "u", Submit: jobs.SubmitWaiting}); err != nil {
					return err
				}
				if err := tx.LockQueue(s.ctx); err != nil {
					return err
				}
				n, err := tx.UnderWay(s.ctx, key.Scope, []string{key.Name})
				if err != nil {
					return err
				}
				if q.Released = n[key.Name] < limit; !q.Released {
					return errFull
				}
				return tx.JoinQueue(s.ctx, q)
			})
			switch {
			case err == nil:
				mu.Lock()
				released++
				mu.Unlock()
			case !errors.Is(err, errFull):
				s.Error(err)
			}
		})
	}
	wg.Wait()
	if released != limit {
		s.Errorf("%d jobs were released, want %d", released, limit)
	}
}
