package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/store/sqlite"
)

// scripted is a provider that answers as a test says.
type scripted struct {
	name   string
	mu     sync.Mutex
	inputs []string // of the submits, with the models before them
	submit func(n int) (jobs.Accepted, error)
	delay  time.Duration // of each answer to a submit
	refuse string        // inputs with this text are not accepted now
	poll   func() (jobs.Update, error)
}

func (p *scripted) Name() string                 { return p.name }
func (p *scripted) Check(*jobs.Submission) error { return nil }
func (p *scripted) Account() string              { return "" }
func (p *scripted) CanPoll(j *jobs.Job) bool     { return j.RequestID != "" }

func (p *scripted) Submit(_ context.Context, j *jobs.Job, input json.RawMessage, _ string) (jobs.Accepted, error) {
	time.Sleep(p.delay)
	if p.refuse != "" && strings.Contains(string(input), p.refuse) {
		return jobs.Accepted{}, &jobs.NotNow{Err: errors.New("busy")}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inputs = append(p.inputs, j.Model+" "+string(input))
	if p.submit != nil {
		return p.submit(len(p.inputs))
	}
	return jobs.Accepted{RequestID: fmt.Sprintf("%s-%d", p.name, len(p.inputs))}, nil
}

func (p *scripted) Poll(_ context.Context, j *jobs.Job) (jobs.Update, error) {
	if p.poll == nil {
		return jobs.Update{Provider: p.name, RequestID: j.RequestID, Status: jobs.JobProcessing}, nil
	}
	u, err := p.poll()
	u.Provider, u.RequestID = p.name, j.RequestID
	return u, err
}

func (p *scripted) Cancel(context.Context, *jobs.Job) error { return nil }

func (p *scripted) submits() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.inputs)
}

// hook reads webhooks of a scripted provider as those of the studio.
type hook struct {
	studio
	name string
}

func (h hook) Interpret(ev *gaff.Event) (jobs.Update, error) {
	u, err := h.studio.Interpret(ev)
	u.Provider = h.name
	return u, err
}

// pair is a gateway with the providers a and b, and the alias fast for both. Use it within a bubble.
type pair struct {
	*stage
	*jobs.Service
	t    *testing.T
	a, b *scripted
}

// swap maps an input for the test: it needs no expression language.
func swap(expression, _ string, value json.RawMessage) (json.RawMessage, error) {
	if expression == "broken" {
		return nil, errors.New("unknown name")
	}
	return fmt.Appendf(nil, `{%q:%s}`, expression, value), nil
}

func newPair(t *testing.T, change ...func(*jobs.ServiceOptions)) *pair {
	t.Helper()
	p := &pair{t: t, a: &scripted{name: "a"}, b: &scripted{name: "b"}}
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	gw, err := gaff.New(gaff.Options{Store: st, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	p.stage = &stage{Gateway: gw, st: st}
	o := jobs.ServiceOptions{
		Store: st, Router: gw, Log: log, Providers: []jobs.Provider{p.a, p.b}, Mapping: swap,
		Address: func(name string) string { return "https://gaff.test/api/v1/webhooks/" + name },
		Alias: func(name string) []jobs.Candidate {
			if name != "fast" {
				return nil
			}
			return []jobs.Candidate{{Provider: "a", Model: "a-1"}, {Provider: "b", Model: "b-1", Input: "mapped", Result: "wrapped"}}
		},
		Price: func(string, string) jobs.Price { return jobs.Price{Job: "0.10", Unit: "0.01", Currency: "USD"} },
	}
	for _, f := range change {
		f(&o)
	}
	if p.Service, err = jobs.NewService(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		gw.AddSource(gaff.Source{Name: name, Verifier: studio{}, Parser: studio{}, CheckCallbackToken: p.CheckCallbackToken})
		gw.Handle(name, "*", jobs.NewHandler(jobs.Options{Store: st, Router: gw, Interpreter: hook{name: name}, Service: p.Service}))
	}
	p.Attach(gw)
	if err := gw.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
		if err := errors.Join(gw.Stop(context.Background()), st.Close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// fast submits a job of the alias, and waits until all has happened that happens at once.
func (p *pair) fast() *jobs.Job {
	p.t.Helper()
	j, _, err := p.Submit(p.t.Context(), jobs.Submission{Model: "fast", Input: json.RawMessage(`{"n":1}`)})
	if err != nil {
		p.t.Fatal(err)
	}
	synctest.Wait()
	return p.now(j.ID)
}

func (p *pair) now(id string) *jobs.Job { return p.stage.job(p.t, id) }

// hook sends a webhook to a job's own URL at a provider.
func (p *pair) hook(j *jobs.Job, name, request, status string) {
	p.t.Helper()
	p.n++
	p.post(j, name, fmt.Sprintf(`{"request":%q,"status":%q,"result":{"ok":true},"error":"blocked","N":%d}`, request, status, p.n))
}

// post sends a body to a job's own URL at a provider.
func (p *pair) post(j *jobs.Job, name, body string) {
	p.t.Helper()
	_, token, _ := strings.Cut(strings.TrimPrefix(j.WebhookURL, "https://gaff.test/api/v1/webhooks/"), "/")
	rec := httptest.NewRecorder()
	p.IngestHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/api/v1/webhooks/"+name+"/"+token, strings.NewReader(body)))
	if rec.Code != http.StatusOK {
		p.t.Fatalf("the webhook was answered %d %s", rec.Code, rec.Body)
	}
	synctest.Wait()
}

func (p *pair) attempts(id string) (past []jobs.Attempt) {
	p.t.Helper()
	_, past, err := p.st.JobPlan(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return past
}

// served wants a job that b completed, after one submit to each.
func (p *pair) served(id string) *jobs.Job {
	p.t.Helper()
	j := p.now(id)
	if j.Status != jobs.JobCompleted || j.Provider != "b" || j.Model != "b-1" || string(j.Result) != `{"wrapped":{"ok":true}}` {
		p.t.Errorf("the job is %s at %s %s with %s, want it completed at b", j.Status, j.Provider, j.Model, j.Result)
	}
	if got := p.b.submits(); len(got) != 1 || got[0] != `b-1 {"mapped":{"n":1}}` {
		p.t.Errorf("b got %q, want one submit with the mapped input", got)
	}
	return j
}

func TestFailedCandidateIsFollowedByTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		j := p.fast()
		p.hook(j, "a", "a-1", "failed")
		if j = p.now(j.ID); j.Status.Settled() || j.Provider != "b" || j.RequestID != "b-1" || j.Attempt != 2 {
			t.Fatalf("the job is %s at %s with request %s, want it at b", j.Status, j.Provider, j.RequestID)
		}
		p.hook(j, "b", "b-1", "completed")
		p.served(j.ID)
		past := p.attempts(j.ID)
		if len(past) != 1 || past[0].Provider != "a" || past[0].RequestID != "a-1" || past[0].Error != "blocked" || past[0].EndedAt.IsZero() {
			t.Errorf("the former attempts are %+v", past)
		}
		if got := p.internal(t, j.ID); slices.Contains(got, "job.failed") || !slices.Contains(got, "job.completed") {
			t.Errorf("the events are %q, want no job.failed", got)
		}
	})
}

func TestRejectedSubmitIsFollowedByTheNextCandidate(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"rejection":    &jobs.Rejected{Text: "no such model"},
		"long 429":     &jobs.NotNow{After: time.Hour, Err: errors.New("too many")},
		"unreachable":  &jobs.NotNow{Err: errors.New("connection refused")},
		"wrong secret": &jobs.Rejected{Text: "401", Type: "unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				p.a.submit = func(int) (jobs.Accepted, error) { return jobs.Accepted{}, err }
				j := p.fast()
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				p.hook(p.now(j.ID), "b", "b-1", "completed")
				p.served(j.ID)
			})
		})
	}
}

func TestShortRefusalIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.a.submit = func(n int) (jobs.Accepted, error) {
			if n < 3 {
				return jobs.Accepted{}, &jobs.NotNow{After: 2 * time.Second, Err: errors.New("too many")}
			}
			return jobs.Accepted{RequestID: "late"}, nil
		}
		j := p.fast()
		time.Sleep(20 * time.Second)
		if j = p.now(j.ID); j.Provider != "a" || j.RequestID != "late" {
			t.Errorf("the job is at %s with request %q, want it at a", j.Provider, j.RequestID)
		}
	})
}

func TestUnknownSubmitHasNoFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.a.submit = func(int) (jobs.Accepted, error) {
			return jobs.Accepted{}, errors.New("the connection was reset")
		}
		j := p.fast()
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		if j = p.now(j.ID); j.Status != jobs.JobFailed || j.ErrorType != "submit_outcome_unknown" {
			t.Errorf("the job is %s %q, want it failed with an unknown outcome", j.Status, j.ErrorType)
		}
		if got := p.b.submits(); len(got) > 0 {
			t.Errorf("b got %q after an unknown submit", got)
		}
	})
}

func TestFailureThatTheProviderDidNotReportHasNoFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.a.poll = func() (jobs.Update, error) { return jobs.Update{}, jobs.ErrNoSuchWork }
		j := p.fast()
		time.Sleep(time.Hour)
		synctest.Wait()
		if j = p.now(j.ID); j.ErrorType != "not_found" || len(p.b.submits()) > 0 {
			t.Errorf("the job is %s %q at %s, want it failed at a", j.Status, j.ErrorType, j.Provider)
		}
	})
}

func TestPolledFailureIsFollowedByTheNextCandidate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.a.poll = func() (jobs.Update, error) {
			return jobs.Update{Status: jobs.JobFailed, Error: "out of memory", Cost: "3"}, nil
		}
		p.b.poll = func() (jobs.Update, error) {
			return jobs.Update{Status: jobs.JobCompleted, Result: json.RawMessage(`{"ok":true}`), Cost: "5"}, nil
		}
		j := p.fast()
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		j = p.served(j.ID)
		if past := p.attempts(j.ID); len(past) != 1 || past[0].Charge.Amount != 30_000 || j.Charge.Amount != 50_000 {
			t.Errorf("the attempts cost %+v and %+v, want 0.03 and 0.05", past, j.Charge)
		}
		sums, err := p.st.Costs(t.Context(), jobs.CostFilter{})
		if err != nil || len(sums.Sums) != 1 || sums.Sums[0].Charged != 80_000 {
			t.Errorf("the sums are %+v, %v; want 0.08 for both attempts", sums, err)
		}
	})
}

func TestWebhooksOfFormerAttemptsChangeNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, func(o *jobs.ServiceOptions) {
			o.Alias = func(string) []jobs.Candidate {
				return []jobs.Candidate{{Provider: "a", Model: "m1"}, {Provider: "a", Model: "m2"}}
			}
		})
		answer := make(chan struct{})
		p.a.submit = func(n int) (jobs.Accepted, error) {
			if n == 2 {
				<-answer
			}
			return jobs.Accepted{RequestID: fmt.Sprint("r", n)}, nil
		}
		j := p.fast()
		p.hook(j, "a", "r1", "failed")
		p.hook(j, "a", "r1", "failed")    // doubled, while the second submit is under way
		p.hook(j, "a", "r1", "completed") // and a change of mind
		close(answer)
		synctest.Wait()
		if j = p.now(j.ID); j.Status.Settled() || j.RequestID != "r2" || j.Attempt != 2 {
			t.Fatalf("the job is %s with request %q at attempt %d, want r2 to go on", j.Status, j.RequestID, j.Attempt)
		}
		p.hook(j, "a", "r2", "completed")
		if j = p.now(j.ID); j.Status != jobs.JobCompleted {
			t.Errorf("the job is %s", j.Status)
		}
		if got := p.a.submits(); len(got) != 2 {
			t.Errorf("submits: %q, want two", got)
		}
	})
}

func TestAnswerThatComesAfterTheFailureDoesNotCountForTheNextAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		answer := make(chan struct{})
		p.a.submit = func(int) (jobs.Accepted, error) {
			<-answer
			return jobs.Accepted{RequestID: "a-1"}, nil
		}
		j := p.fast()
		p.hook(j, "a", "a-1", "failed") // faster than the answer to the submit
		close(answer)
		synctest.Wait()
		if j = p.now(j.ID); j.RequestID != "b-1" {
			t.Errorf("the request is %q, want that of b", j.RequestID)
		}
	})
}

func TestLastCandidatesFailureIsTheJobs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.a.submit = func(int) (jobs.Accepted, error) { return jobs.Accepted{}, &jobs.Rejected{Text: "first"} }
		p.b.submit = func(int) (jobs.Accepted, error) { return jobs.Accepted{}, &jobs.Rejected{Text: "second"} }
		j := p.fast()
		if j.Status != jobs.JobFailed || j.Error != "second" || j.Charge.State != jobs.ChargeNone {
			t.Errorf("the job is %s with %q and %+v, want the failure of b", j.Status, j.Error, j.Charge)
		}
	})
}

func TestCandidateWithoutRoomInABudgetIsSkipped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		if err := p.SaveBudget(t.Context(), jobs.Budget{Name: "b", Provider: "b", Period: "month", Currency: "USD", Limit: 50_000}); err != nil {
			t.Fatal(err)
		}
		j := p.fast()
		p.hook(j, "a", "a-1", "failed")
		if j = p.now(j.ID); j.Status != jobs.JobFailed || j.ErrorType != "budget_reached" || len(p.b.submits()) > 0 {
			t.Errorf("the job is %s %q, want it failed by the budget of b", j.Status, j.ErrorType)
		}
	})
}

func TestCancelledJobHasNoFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		j := p.fast()
		if _, err := p.Cancel(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		p.hook(j, "a", "a-1", "failed")
		if j = p.now(j.ID); j.Status != jobs.JobCancelled || len(p.b.submits()) > 0 {
			t.Errorf("the job is %s", j.Status)
		}
	})
}

func TestWrongCandidatesAreRejectedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		for want, s := range map[string]jobs.Submission{
			"provider: is missing":                {Model: "slow"},
			"fallback[0].provider: \"c\" is not":  {Provider: "a", Model: "m", Fallback: []jobs.Candidate{{Provider: "c"}}},
			"fallback[0].input: unknown name":     {Provider: "a", Model: "m", Fallback: []jobs.Candidate{{Provider: "b", Input: "broken"}}},
			"fallback: a job has 9 candidates; a": {Provider: "a", Model: "m", Fallback: make([]jobs.Candidate, 8)},
		} {
			_, _, err := p.Submit(t.Context(), s)
			if !errors.Is(err, gaff.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
	})
}

func TestProviderThatAsksToWaitGetsNothingMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.a.submit = func(n int) (jobs.Accepted, error) {
			if n == 1 {
				return jobs.Accepted{}, &jobs.NotNow{After: 5 * time.Minute, Err: errors.New("too many")}
			}
			return jobs.Accepted{RequestID: fmt.Sprint("r", n)}, nil
		}
		first := p.submit(jobs.Submission{})
		var others []*jobs.Job
		for range 20 {
			others = append(others, p.submit(jobs.Submission{}))
		}
		candidate := p.fast() // has somebody else to go to
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if n := len(p.a.submits()); n != 1 {
			t.Errorf("a got %d submits in its pause, want 1", n)
		}
		if j := p.now(candidate.ID); j.Provider != "b" || len(p.b.submits()) != 1 {
			t.Errorf("the job with a fallback is at %s", j.Provider)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, j := range append(others, first) {
			if j = p.now(j.ID); j.Submit != jobs.SubmitAccepted {
				t.Errorf("job %s is %s after the pause", j.ID, j.Submit)
			}
		}
		if n := len(p.a.submits()); n != 22 {
			t.Errorf("a got %d submits, want 22", n)
		}
	})
}
