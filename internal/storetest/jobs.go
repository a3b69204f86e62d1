package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gaff"
	"gaff/jobs"
)

// testJobService tests what a jobs.Service stores besides the jobs.
func testJobService(s *suite) {
	full := jobs.Job{
		ID: "job_full", Provider: "fal", Model: "m", Status: jobs.JobQueued, CreatedAt: s.now, Submit: jobs.SubmitSending,
		SentAt: s.now, Account: "a", IdempotencyKey: "k", RunID: "run", StepID: "step", StatusURL: "s", ResponseURL: "r", CancelURL: "c",
		WebhookURL: "w", Callback: "b", Caller: "key:1", Cost: "1.5", NextPollAt: s.now.Add(-time.Second), Polls: 3, Misses: 1, OwedBy: "me", CallKey: "call",
	}
	s.write(func(tx jobs.Tx) error {
		j := full
		s.must(tx.InsertJob(s.ctx, &j))
		return tx.SaveInput(s.ctx, j.ID, json.RawMessage(`{"seed":17454220438242315174}`))
	})
	got, err := s.st.Job(s.ctx, full.ID)
	s.must(err)
	want := full
	want.UpdatedAt = got.UpdatedAt
	s.equal("as inserted", *got, want)
	input, err := s.st.JobInput(s.ctx, full.ID)
	s.must(err)
	s.equal("input", string(input), `{"seed":17454220438242315174}`)
	if input, err := s.st.JobInput(s.ctx, "none"); err != nil || input != nil {
		s.Errorf("no input: %s, %v", input, err)
	}

	// An id, and an idempotency key of a caller, belong to one job.
	for what, j := range map[string]jobs.Job{
		"the same key": {ID: "job_other", Provider: "fal", Caller: "key:1", IdempotencyKey: "k"},
		"the same id":  {ID: full.ID, Provider: "fal"},
	} {
		s.wants(what, s.st.Write(s.ctx, func(tx jobs.Tx) error { return tx.InsertJob(s.ctx, &j) }), gaff.ErrConflict)
	}
	s.write(func(tx jobs.Tx) error {
		j, err := tx.JobByKey(s.ctx, "key:1", "k", false)
		s.must(err)
		s.equal("by key", j.ID, full.ID)
		for key, n := range map[string]int{"call": 1, "other": 0, "": 0} {
			js, err := tx.JobsByCall(s.ctx, key, s.now)
			s.must(err)
			s.equal("by call "+key, len(js), n)
		}
		js, err := tx.JobsByCall(s.ctx, "call", s.now.Add(time.Microsecond))
		s.must(err)
		s.equal("by call, later", len(js), 0)
		j.OwedBy, j.Submit, j.SentAt, j.Cost, j.Polls, j.Misses = "", jobs.SubmitAccepted, s.now.Add(time.Second), "2", 4, 0
		j.StatusURL, j.ResponseURL, j.CancelURL, j.WebhookURL, j.Callback, j.Account = "s2", "r2", "c2", "w2", "b2", "a2"
		want = *j
		return tx.SaveJob(s.ctx, j)
	})
	got, err = s.st.Job(s.ctx, full.ID)
	s.must(err)
	want.UpdatedAt = got.UpdatedAt
	s.equal("as saved", *got, want)
	s.write(func(tx jobs.Tx) error {
		js, err := tx.JobsByCall(s.ctx, "call", s.now)
		s.must(err)
		s.equal("jobs of an answered call", len(js), 0)
		return nil
	})
}

// testIdempotencyKeys: a key belongs to its caller. Keys without a caller are found by searches
// that allow them.
func testIdempotencyKeys(s *suite) {
	for id, caller := range map[string]string{"job_none": "", "job_a": "key:a"} {
		s.write(func(tx jobs.Tx) error {
			return tx.InsertJob(s.ctx, &jobs.Job{ID: id, Provider: "fal", Caller: caller, IdempotencyKey: "k"})
		})
	}
	for _, c := range []struct {
		caller, key string
		orNone      bool
		want        string
	}{
		{"key:a", "k", false, "job_a"},
		{"key:a", "k", true, "job_a"},
		{"key:b", "k", false, ""},
		{"key:b", "k", true, "job_none"},
		{"", "k", true, "job_none"},
		{"key:a", "", true, ""},
		{"key:a", "other", true, ""},
	} {
		s.write(func(tx jobs.Tx) error {
			found, err := tx.JobByKey(s.ctx, c.caller, c.key, c.orNone)
			switch {
			case errors.Is(err, gaff.ErrNotFound):
				found = &jobs.Job{}
			case err != nil:
				return err
			}
			s.equal(fmt.Sprintf("%+v", c), found.ID, c.want)
			return nil
		})
	}
}

// testRemovedJob: a removed job has no rows, and its id and key are free.
func testRemovedJob(s *suite) {
	j := jobs.Job{ID: "job_gone", Provider: "fal", IdempotencyKey: "k", CallKey: "call", OwedBy: "me", CreatedAt: s.now}
	for range 2 {
		s.write(func(tx jobs.Tx) error {
			fresh := j
			s.must(tx.InsertJob(s.ctx, &fresh))
			s.must(tx.SaveInput(s.ctx, j.ID, json.RawMessage(`{}`)))
			return tx.AddLogEntry(s.ctx, j.ID, "submit", "text")
		})
		s.write(func(tx jobs.Tx) error { return tx.RemoveJob(s.ctx, j.ID) })
		if _, err := s.st.Job(s.ctx, j.ID); !errors.Is(err, gaff.ErrNotFound) {
			s.Errorf("the removed job: %v", err)
		}
		input, err := s.st.JobInput(s.ctx, j.ID)
		s.must(err)
		notes, err := s.st.JobLog(s.ctx, j.ID)
		s.must(err)
		s.equal("input and log", fmt.Sprint(len(input), len(notes)), "0 0")
	}
}

func testNotes(s *suite) {
	for n := range 120 {
		s.write(func(tx jobs.Tx) error { return tx.AddLogEntry(s.ctx, "job_1", "ask", fmt.Sprint(n)) })
	}
	s.write(func(tx jobs.Tx) error { return tx.AddLogEntry(s.ctx, "job_2", "submit", strings.Repeat("é", 10_000)) })
	notes, err := s.st.JobLog(s.ctx, "job_1")
	s.must(err)
	s.equal("kept", len(notes), 100)
	s.equal("the newest last", notes[99].Text, "119")
	if notes[0].At.IsZero() || notes[0].What != "ask" {
		s.Errorf("a note is %+v", notes[0])
	}
	notes, err = s.st.JobLog(s.ctx, "job_2")
	s.must(err)
	if len(notes) != 1 || len(notes[0].Text) > 5000 {
		s.Errorf("a long note has %d bytes", len(notes[0].Text))
	}
}

// testPolls: due jobs are returned once, the oldest first; settled ones are not.
func testPolls(s *suite) {
	past := time.Now().Add(-time.Hour).Truncate(time.Microsecond)
	s.write(func(tx jobs.Tx) error {
		for n, after := range []time.Duration{3, 1, 2, 100} {
			j := &jobs.Job{ID: fmt.Sprintf("job_%d", n), Provider: "fal", NextPollAt: past.Add(after * time.Minute)}
			s.must(tx.InsertJob(s.ctx, j))
		}
		s.must(tx.InsertJob(s.ctx, &jobs.Job{ID: "job_never", Provider: "fal"}))
		return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_else", Provider: "other", NextPollAt: past})
	})
	due := func(limit int) (ids string) {
		s.write(func(tx jobs.Tx) error {
			js, err := tx.DuePolls(s.ctx, "fal", limit, time.Now().Add(time.Hour))
			ids = ""
			for _, j := range js {
				ids += j.ID + " "
			}
			return err
		})
		return ids
	}
	next := func() (at time.Time) {
		s.write(func(tx jobs.Tx) (err error) {
			at, err = tx.NextPoll(s.ctx, "fal")
			return err
		})
		return at
	}
	s.equal("next", next().Equal(past.Add(time.Minute)), true)
	s.equal("two", due(2), "job_1 job_2 ")
	s.write(func(tx jobs.Tx) error {
		j, err := tx.Job(s.ctx, "job_0")
		s.must(err)
		j.Status, j.SettledAt = jobs.JobCompleted, tx.Now()
		return tx.SaveJob(s.ctx, j)
	})
	s.equal("settled, taken and later jobs", due(10), "")
	s.equal("next of all", next().Equal(past.Add(100*time.Minute)), true)
	keep := func(from, to time.Time) (kept bool) {
		s.write(func(tx jobs.Tx) (err error) {
			kept, err = tx.KeepPoll(s.ctx, "job_3", from, to)
			return err
		})
		return kept
	}
	s.equal("kept", keep(past.Add(100*time.Minute), past.Add(90*time.Minute)), true)
	s.equal("kept by one that lost it", keep(past.Add(100*time.Minute), past.Add(200*time.Minute)), false)
	s.equal("next of the kept one", next().Equal(past.Add(90*time.Minute)), true)
	if at, err := s.st.Job(s.ctx, "job_0"); err != nil || !at.NextPollAt.IsZero() {
		s.Errorf("a job that ended will be polled at %s, %v", at.NextPollAt, err)
	}
}

func testSettings(s *suite) {
	for _, value := range []string{"", "one", "two"} {
		if value != "" {
			s.write(func(tx jobs.Tx) error { return tx.SetSetting(s.ctx, "name", value) })
		}
		s.write(func(tx jobs.Tx) error {
			got, err := tx.Setting(s.ctx, "name")
			s.equal("setting", got, value)
			return err
		})
	}
}

func testWaits(s *suite) {
	first := jobs.Durations{Provider: "fal", Model: "a", N: 1, Mean: -0.5, Deviation: 0.25}
	second := jobs.Durations{Provider: "fal", Model: "", N: 1 << 40, Mean: 1e-9, Deviation: 3}
	for _, w := range []jobs.Durations{{Provider: "fal", Model: "a", N: 7}, second, first} {
		s.write(func(tx jobs.Tx) error { return tx.SaveDurations(s.ctx, w) })
	}
	s.write(func(tx jobs.Tx) error {
		got, err := tx.Durations(s.ctx, "fal", "a")
		s.must(err)
		s.equal("kept", got, first)
		got, err = tx.Durations(s.ctx, "other", "a")
		s.equal("not known", got, jobs.Durations{Provider: "other", Model: "a"})
		return err
	})
	all, err := s.st.Durations(s.ctx)
	s.must(err)
	s.equal("all", fmt.Sprint(all), fmt.Sprint([]jobs.Durations{first, second}))
}
