package jobs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff/jobs"
)

// limited is a pair with limits. Provider a answers each submit after a second.
func limited(t *testing.T, limits map[jobs.LimitKey]jobs.Limit) *pair {
	t.Helper()
	p := newPair(t, func(o *jobs.ServiceOptions) {
		o.Limit = func(scope, name string) jobs.Limit {
			if l, ok := limits[jobs.LimitKey{Scope: scope, Name: name}]; ok {
				return l
			}
			return limits[jobs.LimitKey{Scope: scope, Name: "*"}]
		}
	})
	return p
}

// many submits jobs of a project and user to a, with the label and a number as input.
func (p *pair) many(n int, label, project, user string, change ...func(*jobs.Submission)) (ids []string) {
	p.t.Helper()
	for i := range n {
		s := jobs.Submission{Provider: "a", Model: "m", ProjectID: project, UserID: user, Input: json.RawMessage(fmt.Sprintf(`{"n":"%s%d"}`, label, i))}
		for _, f := range change {
			f(&s)
		}
		j, _, err := p.Submit(p.t.Context(), s)
		if err != nil {
			p.t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	return ids
}

// slow has a answer each submit after a time.
func (p *pair) slow(d time.Duration) {
	p.a.delay = d
}

// place returns the number of submits to a before the one with a label, or -1 if it was not sent.
func (p *pair) place(label string) int {
	return slices.IndexFunc(p.a.submits(), func(s string) bool { return strings.Contains(s, `"`+label+`"`) })
}

func (p *pair) position(id string) int64 {
	p.t.Helper()
	n, err := p.st.JobPosition(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func TestManyJobsDoNotDelayTheFirstOfOthers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		project, user, otherProject, otherUser string
		most                                   int64 // the last place that the job may have
	}{
		"project": {"busy", "", "calm", "", 20},
		"user":    {"", "busy", "", "calm", 20},
		// Users of a project share its turns, 16 at once.
		"user of the same project":        {"film", "busy", "film", "calm", 20 + 300/16},
		"project of the same user":        {"busy", "anna", "calm", "anna", 20},
		"without a project, before one":   {"", "", "calm", "", 20},
		"a project, before jobs without":  {"busy", "", "", "", 20},
		"user without a project, and one": {"", "busy", "calm", "", 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := limited(t, nil)
				p.slow(time.Second)
				p.many(300, "busy", c.project, c.user)
				synctest.Wait()
				late := p.many(1, "calm", c.otherProject, c.otherUser)[0]
				if n := p.position(late); n > c.most {
					t.Errorf("the position is %d of 301, want one of the next", n)
				}
				time.Sleep(time.Duration(c.most/4) * time.Second)
				synctest.Wait()
				if n := p.place("calm0"); n < 0 || n > int(c.most)+20 {
					t.Errorf("%d jobs were submitted before the other's, want it among the next", n)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := len(p.a.submits()); n != 301 {
					t.Errorf("%d submits after a minute, want 301", n)
				}
			})
		})
	}
}

func TestUserOfManyProjectsDoesNotDelayAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := limited(t, nil)
		p.slow(time.Second)
		for i := range 300 {
			p.many(1, "busy", fmt.Sprint("project-", i), "busy")
		}
		p.many(1, "calm", "calm", "calm")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := p.place("calm0"); n < 0 || n > 40 {
			t.Errorf("%d jobs were submitted before the other's", n)
		}
	})
}

func TestConcurrencyOfAProjectIsNotExceeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := limited(t, map[jobs.LimitKey]jobs.Limit{{Scope: "project", Name: "*"}: {Concurrency: 2}})
		ids := p.many(5, "film", "film", "")
		others := p.many(1, "shop", "shop", "")
		free := p.many(10, "free", "", "")
		synctest.Wait()
		if n := len(p.a.submits()); n != 2+1+10 {
			t.Errorf("%d submits, want 2 of film, 1 of shop, and all of no project", n)
		}
		for i, want := range []int64{0, 0, 1, 2, 3} {
			if n := p.position(ids[i]); n != want {
				t.Errorf("the position of job %d is %d, want %d", i, n, want)
			}
		}
		_, _ = others, free
		for i, id := range ids {
			j := p.now(id)
			if j.Submit != jobs.SubmitAccepted {
				t.Fatalf("job %d is %s after %d ends", i, j.Submit, i)
			}
			status := "completed"
			if i%2 == 1 {
				status = "failed"
			}
			p.hook(j, "a", j.RequestID, status)
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
	})
}

func TestRateOfAUserIsNotExceeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := limited(t, map[jobs.LimitKey]jobs.Limit{{Scope: "user", Name: "anna"}: {Rate: 0.1}})
		p.many(4, "anna", "", "anna")
		p.many(3, "bert", "", "bert")
		synctest.Wait()
		for _, want := range []int{4, 5, 6, 7} {
			if n := len(p.a.submits()); n != want {
				t.Errorf("%d submits, want %d: one of anna's each ten seconds", n, want)
			}
			time.Sleep(10*time.Second + 100*time.Millisecond)
			synctest.Wait()
		}
	})
}

func TestHighestPriorityIsSubmittedFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := limited(t, map[jobs.LimitKey]jobs.Limit{{Scope: "model", Name: "m"}: {Concurrency: 1}})
		first := p.many(1, "first", "p", "")[0]
		p.many(1, "low", "p", "", func(s *jobs.Submission) { s.Priority = -5 })
		p.many(1, "usual", "p", "")
		urgent := p.many(1, "urgent", "p", "", func(s *jobs.Submission) { s.Priority = 50 })[0]
		synctest.Wait()
		if n := p.position(urgent); n != 1 {
			t.Errorf("the position of the urgent job is %d, want 1", n)
		}
		for id := first; ; {
			j := p.now(id)
			p.hook(j, "a", j.RequestID, "completed")
			time.Sleep(2 * time.Second)
			synctest.Wait()
			page, err := p.st.Jobs(t.Context(), jobs.JobFilter{Unfinished: true})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(page.Items, func(j jobs.Job) bool { return j.Submit == jobs.SubmitAccepted })
			if i < 0 {
				break
			}
			id = page.Items[i].ID
		}
		if got := p.a.submits(); len(got) != 4 || p.place("urgent0") != 1 || p.place("usual0") != 2 || p.place("low0") != 3 {
			t.Errorf("the order is %q, want first, urgent, usual, low", got)
		}
		_, _, err := p.Submit(t.Context(), jobs.Submission{Provider: "a", Model: "m", Priority: 101})
		if bad, ok := errors.AsType[*jobs.InvalidError](err); !ok || bad.Field != "priority" {
			t.Errorf("a priority of 101: %v", err)
		}
	})
}

func TestCancelledJobLeavesTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := limited(t, map[jobs.LimitKey]jobs.Limit{{Scope: "provider", Name: "a"}: {Concurrency: 1}})
		ids := p.many(3, "j", "p", "")
		synctest.Wait()
		if _, err := p.Cancel(t.Context(), ids[1]); err != nil {
			t.Fatal(err)
		}
		if n := p.position(ids[2]); n != 1 {
			t.Errorf("the position of the next job is %d, want 1", n)
		}
		if _, err := p.Cancel(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if j := p.now(ids[2]); j.Submit != jobs.SubmitAccepted || p.place("j1") >= 0 {
			t.Errorf("the last job is %s; submits %q", j.Submit, p.a.submits())
		}
	})
}

func TestJobThatFallsBackTakesTheLimitsOfItsNextProvider(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := limited(t, map[jobs.LimitKey]jobs.Limit{{Scope: "provider", Name: "*"}: {Concurrency: 1}})
		first := p.fast()
		second := p.fast()
		if second.Submit != jobs.SubmitWaiting {
			t.Fatalf("the second job is %s", second.Submit)
		}
		p.hook(first, "a", first.RequestID, "failed") // moves to b, and makes room at a
		time.Sleep(2 * time.Second)
		synctest.Wait()
		first, second = p.now(first.ID), p.now(second.ID)
		if first.Provider != "b" || first.Submit != jobs.SubmitAccepted || second.Provider != "a" || second.Submit != jobs.SubmitAccepted {
			t.Errorf("the jobs are %s at %s, and %s at %s", first.Submit, first.Provider, second.Submit, second.Provider)
		}
		p.hook(second, "a", second.RequestID, "failed")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if second = p.now(second.ID); second.Provider != "b" || second.Submit != jobs.SubmitWaiting {
			t.Errorf("the second job is %s at %s, want it waiting for b", second.Submit, second.Provider)
		}
		p.hook(first, "b", first.RequestID, "completed")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if second = p.now(second.ID); second.Submit != jobs.SubmitAccepted {
			t.Errorf("the second job is %s", second.Submit)
		}
	})
}

func TestProxiedCallWaitsForItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := limited(t, map[jobs.LimitKey]jobs.Limit{{Scope: "project", Name: "film"}: {Concurrency: 1}})
		begin := func(key string) *jobs.Job {
			call, err := p.Begin(t.Context(), jobs.Submission{Provider: "a", Model: "m", ProjectID: "film", Input: json.RawMessage(`{}`)}, key)
			if err != nil {
				t.Fatal(err)
			}
			call.Delivered(t.Context(), true)
			return call.Job
		}
		direct, waits := begin("1"), begin("2")
		if direct.Attempt != 0 || direct.Submit != jobs.SubmitSending || waits.Attempt != 1 || waits.Submit != jobs.SubmitWaiting {
			t.Fatalf("the first is %s at attempt %d, the second %s at %d", direct.Submit, direct.Attempt, waits.Submit, waits.Attempt)
		}
		if err := p.Reserve(t.Context(), jobs.Submission{ID: "job_run", Provider: "a", Model: "m", ProjectID: "film"}); err == nil {
			t.Error("a call that cannot wait had room")
		} else if full, ok := errors.AsType[*jobs.LimitError](err); !ok || full.After <= 0 {
			t.Errorf("a call that cannot wait: %v", err)
		}
		if err := p.Answered(t.Context(), direct.ID, jobs.Accepted{RequestID: "r"}, nil); err != nil {
			t.Fatal(err)
		}
		p.hook(p.now(direct.ID), "a", "r", "completed")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if j := p.now(waits.ID); j.Submit != jobs.SubmitAccepted {
			t.Errorf("the second is %s", j.Submit)
		}
	})
}

// A provider that does not take the jobs of one project must not fill the places of the workers.
func TestJobsThatAreNotTakenDoNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := limited(t, nil)
		p.a.refuse = "busy"
		p.many(40, "busy", "busy", "")
		synctest.Wait()
		calm := p.many(20, "calm", "calm", "")
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, id := range calm {
			if j := p.now(id); j.Submit != jobs.SubmitAccepted {
				t.Fatalf("a job of another project is %s after a minute", j.Submit)
			}
		}
	})
}
