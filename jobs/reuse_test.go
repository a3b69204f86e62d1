package jobs_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gaff/internal/erase"
	"gaff/jobs"
)

// reusing is a pair whose model m may be reused for an hour, without a seed in the project loose.
func reusing(t *testing.T) *pair {
	t.Helper()
	return newPair(t, func(o *jobs.ServiceOptions) {
		o.Reuse = func(_, model, project string) (jobs.ReuseRule, bool) {
			return jobs.ReuseRule{Within: time.Hour, WithoutSeed: project == "loose"}, model == "m" || model == "a-1"
		}
	})
}

// asked submits a job of model m with an input, and waits until all has happened that happens at once.
func (p *pair) asked(input string, change ...func(*jobs.Submission)) *jobs.Job {
	p.t.Helper()
	s := jobs.Submission{Provider: "a", Model: "m", ProjectID: "film", UserID: "anna", Input: json.RawMessage(input)}
	for _, f := range change {
		f(&s)
	}
	j, _, err := p.Submit(p.t.Context(), s)
	if err != nil {
		p.t.Fatal(err)
	}
	synctest.Wait()
	return p.now(j.ID)
}

// completed is asked, with a webhook that completes the job with a file.
func (p *pair) completed(input string, change ...func(*jobs.Submission)) *jobs.Job {
	p.t.Helper()
	j := p.asked(input, change...)
	p.n++
	p.post(j, "a", fmt.Sprintf(`{"request":%q,"status":"completed","result":{"images":[{"url":"https://files.test/1.png"}]},"N":%d}`, j.RequestID, p.n))
	if j = p.now(j.ID); j.Status != jobs.JobCompleted {
		p.t.Fatalf("the job is %s", j.Status)
	}
	return j
}

func (p *pair) files(jobID string) []jobs.Media {
	p.t.Helper()
	page, err := p.st.Media(p.t.Context(), jobs.MediaFilter{JobID: jobID})
	if err != nil {
		p.t.Fatal(err)
	}
	return page.Items
}

const dog = `{"prompt":"a dog","seed":7}`

func TestEqualSubmitGetsTheStoredResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := reusing(t)
		first := p.completed(dog)
		j := p.asked(`{ "seed": 7.0, "prompt": "a \u0064og" }`)
		if j.Status != jobs.JobCompleted || j.ReusedFrom != first.ID || j.SettledBy != jobs.SettledByReuse || j.Cost != "0" || string(j.Result) != string(first.Result) {
			t.Errorf("the job is %s with %s, reused from %q by %q at cost %q", j.Status, j.Result, j.ReusedFrom, j.SettledBy, j.Cost)
		}
		if len(p.a.submits()) != 1 {
			t.Errorf("a got %q, want one submit", p.a.submits())
		}
		if got := p.files(j.ID); len(got) != 1 || got[0].URL != "https://files.test/1.png" || got[0].ID == p.files(first.ID)[0].ID {
			t.Errorf("the files are %+v, want one of its own", got)
		}
		if got := p.internal(t, j.ID); !slices.Contains(got, "job.completed") || slices.Contains(got, "job.submit") {
			t.Errorf("the events are %q", got)
		}
		if third := p.asked(dog); third.ReusedFrom != first.ID {
			t.Errorf("the third job is reused from %q, want the job that did the work", third.ReusedFrom)
		}
	})
}

func TestReusedJobsSaveWhatTheWorkCost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := reusing(t)
		if err := p.SaveBudget(t.Context(), jobs.Budget{Name: "b", Period: "day", Currency: "USD", Limit: 100_000}); err != nil {
			t.Fatal(err)
		}
		p.completed(dog)
		j := p.asked(dog) // the budget is spent
		if j.Saved != 100_000 || j.Charge != (jobs.Charge{Currency: "USD", State: jobs.ChargeBilled}) {
			t.Errorf("the job saved %s and is charged %+v, want 0.10 and nothing", j.Saved, j.Charge)
		}
		sums, err := p.st.Costs(t.Context(), jobs.CostFilter{})
		if want := (jobs.CostSum{Currency: "USD", Charged: 100_000, Estimated: 100_000, Jobs: 2, Reused: 1, Saved: 100_000}); err != nil || len(sums.Sums) != 1 || sums.Sums[0] != want {
			t.Errorf("the sums are %+v, %v; want %+v", sums, err, want)
		}
	})
}

func TestReusedJobsDoNotNameAnErasedJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := reusing(t)
		first := p.completed(dog)
		j := p.asked(dog)
		if _, err := p.st.Erase(t.Context(), erase.Target{Kind: erase.Job, ID: first.ID}); err != nil {
			t.Fatal(err)
		}
		log, err := p.st.JobLog(t.Context(), j.ID)
		if want := "nothing was submitted: an erased job had the result of this input, and cost 0.10 USD"; err != nil || len(log) != 1 || log[0].Text != want {
			t.Errorf("the log is %+v, %v; want %q", log, err, want)
		}
	})
}

func TestOtherSubmitsAreNotAnsweredByReuse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		input  string
		change func(*jobs.Submission)
	}{
		"other input":       {`{"prompt":"a dog","seed":8}`, nil},
		"other project":     {dog, func(s *jobs.Submission) { s.ProjectID = "other" }},
		"other user":        {dog, func(s *jobs.Submission) { s.UserID = "bert" }},
		"no project":        {dog, func(s *jobs.Submission) { s.ProjectID = "" }},
		"other provider":    {dog, func(s *jobs.Submission) { s.Provider = "b" }},
		"model not named":   {dog, func(s *jobs.Submission) { s.Model = "n" }},
		"new result wanted": {dog, func(s *jobs.Submission) { s.NoReuse = true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := reusing(t)
				p.completed(dog)
				if c.change == nil {
					c.change = func(*jobs.Submission) {}
				}
				if j := p.asked(c.input, c.change); j.ReusedFrom != "" || j.Submit != jobs.SubmitAccepted {
					t.Errorf("the job is reused from %q, submit %s", j.ReusedFrom, j.Submit)
				}
			})
		})
	}
}

func TestInputWithoutSeedIsReusedOnlyIfAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := reusing(t)
		const input = `{"prompt":"a dog"}`
		p.completed(input)
		if j := p.asked(input); j.ReusedFrom != "" {
			t.Error("a job without a seed was reused")
		}
		loose := func(s *jobs.Submission) { s.ProjectID = "loose" }
		first := p.completed(input, loose)
		if j := p.asked(input, loose); j.ReusedFrom != first.ID {
			t.Errorf("reused from %q, want %s: the project allows it", j.ReusedFrom, first.ID)
		}
	})
}

func TestResultThatDoesNotHoldIsNotReused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(p *pair, first *jobs.Job) error{
		"too old": func(*pair, *jobs.Job) error { time.Sleep(time.Hour + time.Second); return nil },
		"copy failed": func(p *pair, first *jobs.Job) error {
			return p.changeFile(first, func(m *jobs.Media) { m.Storage = jobs.StorageFailed })
		},
		"copy pending": func(p *pair, first *jobs.Job) error {
			return p.changeFile(first, func(m *jobs.Media) { m.Storage = jobs.StoragePending })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := reusing(t)
				if err := spoil(p, p.completed(dog)); err != nil {
					t.Fatal(err)
				}
				if j := p.asked(dog); j.ReusedFrom != "" {
					t.Errorf("reused from %s", j.ReusedFrom)
				}
			})
		})
	}
}

// changeFile changes the row of the first file of a job.
func (p *pair) changeFile(j *jobs.Job, change func(*jobs.Media)) error {
	m := p.files(j.ID)[0]
	change(&m)
	return p.st.Write(p.t.Context(), func(tx jobs.Tx) error { return tx.SaveMedia(p.t.Context(), &m) })
}

func TestCopyIsAdoptedByReuse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := reusing(t)
		first := p.completed(dog)
		err := p.changeFile(first, func(m *jobs.Media) {
			m.Storage, m.StoredKey, m.ThumbnailKey, m.SHA256, m.Size = jobs.StorageStored, "sha256/ab/abc", "thumbnail/ab/abc", "abc", 3
		})
		if err != nil {
			t.Fatal(err)
		}
		if m := p.files(p.asked(dog).ID)[0]; m.StoredKey != "sha256/ab/abc" || m.SHA256 != "abc" || m.Size != 3 || m.ThumbnailKey == "" {
			t.Errorf("the file is %+v, want the copy of the first job's", m)
		}
	})
}

func TestReuseOfAnAliasIsThatOfItsFirstCandidate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := reusing(t)
		fast := func(s *jobs.Submission) { s.Provider, s.Model = "", "fast" }
		failed := p.asked(dog, fast)
		p.hook(failed, "a", failed.RequestID, "failed")
		moved := p.now(failed.ID)
		p.hook(moved, "b", moved.RequestID, "completed")
		if j := p.asked(dog, fast); j.ReusedFrom != "" {
			t.Errorf("reused from %s, which a fallback served", j.ReusedFrom)
		}
		first := p.completed(`{"seed":1}`, fast)
		j := p.asked(`{"seed":1}`, fast)
		if j.ReusedFrom != first.ID || j.Attempt != 1 {
			t.Errorf("reused from %q at attempt %d, want %s at 1", j.ReusedFrom, j.Attempt, first.ID)
		}
		if plan, _, err := p.st.JobPlan(t.Context(), j.ID); err != nil || plan == nil || plan.Alias != "fast" {
			t.Errorf("the plan is %+v, %v", plan, err)
		}
	})
}

func TestEqualSubmitsAtOnceBothGoOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := reusing(t)
		first, second := p.asked(dog), p.asked(dog)
		if first.ReusedFrom+second.ReusedFrom != "" || len(p.a.submits()) != 2 {
			t.Errorf("a got %d submits, want 2", len(p.a.submits()))
		}
	})
}

func TestProxiedCallIsAnsweredByReuse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := reusing(t)
		first := p.completed(dog)
		call, err := p.Begin(t.Context(), jobs.Submission{Provider: "a", Model: "m", ProjectID: "film", UserID: "anna", Input: json.RawMessage(dog)}, "key")
		if err != nil {
			t.Fatal(err)
		}
		call.Delivered(t.Context(), true)
		if j := call.Job; j.ReusedFrom != first.ID || j.Attempt != 1 || j.Status != jobs.JobCompleted || !call.Created {
			t.Errorf("the call has job %+v, want the result of %s", j, first.ID)
		}
	})
}

func TestIdempotencyKeyOfAReusedJobFindsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := reusing(t)
		p.completed(dog)
		key := func(s *jobs.Submission) { s.IdempotencyKey = "k" }
		if a, b := p.asked(dog, key), p.asked(dog, key); a.ID != b.ID || a.ReusedFrom == "" {
			t.Errorf("the jobs are %s and %s, want one that is reused", a.ID, b.ID)
		}
	})
}
