package fal_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff/jobs"
)

// other is a provider that completes all work when it is polled.
type other struct{ submits int }

func (*other) Name() string                            { return "other" }
func (*other) Check(*jobs.Submission) error            { return nil }
func (*other) Account() string                         { return "" }
func (*other) CanPoll(j *jobs.Job) bool                { return j.RequestID != "" }
func (*other) Polled() bool                            { return true }
func (*other) Cancel(context.Context, *jobs.Job) error { return nil }
func (o *other) Submit(context.Context, *jobs.Job, json.RawMessage, string) (jobs.Accepted, error) {
	o.submits++
	return jobs.Accepted{RequestID: "other-1"}, nil
}

func (*other) Poll(_ context.Context, j *jobs.Job) (jobs.Update, error) {
	return jobs.Update{Provider: "other", RequestID: j.RequestID, Status: jobs.JobCompleted, Result: json.RawMessage(`{"images":[{"url":"https://other.test/1.png"}]}`)}, nil
}

// newCandidates is a rig whose model falls back to another provider.
func newCandidates(t *testing.T, o rigOptions) (*proxied, *other) {
	second := &other{}
	o.more = []jobs.Provider{second}
	o.jobs.Alias = func(name string) []jobs.Candidate {
		if name != model {
			return nil
		}
		return []jobs.Candidate{{Provider: "fal", Model: model}, {Provider: "other", Model: "m"}}
	}
	return newProxied(t, o), second
}

// follow polls as fal's client does, until the request has ended, and gets its result.
func (p *proxied) follow(id string) reply {
	p.t.Helper()
	base := "https://queue.fal.run/fal-ai/flux/requests/" + id
	for range 600 {
		state := p.call("GET", base+"/status", "")
		if state.Code != http.StatusOK || state.body.RequestID != id {
			p.t.Fatalf("the status is answered %d %s", state.Code, state.Body)
		}
		if state.body.Status == "COMPLETED" {
			return p.call("GET", base, "")
		}
		time.Sleep(500 * time.Millisecond)
	}
	p.t.Fatal("the request does not end")
	return reply{}
}

func TestProxiedRequestFallsBack(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]string{"failed at fal": "error-model", "full at fal": "busy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, second := newCandidates(t, rigOptions{})
				res := p.call("POST", queueTarget, `{"prompt":"x","standin":{"fault":"`+fault+`"}}`)
				id := res.body.RequestID
				if res.Code != http.StatusOK || !strings.HasPrefix(id, "job_") || !strings.HasPrefix(res.body.StatusURL, "http://"+falHost+"/fal-ai/flux/requests/"+id) {
					t.Fatalf("the submit is answered %d %s", res.Code, res.Body)
				}
				if res = p.follow(id); res.Code != http.StatusOK || !strings.Contains(string(res.body.Images), "other.test/1.png") {
					t.Errorf("the result is answered %d %s, want that of the second provider", res.Code, res.Body)
				}
				if j := p.job(id); second.submits != 1 || j.Provider != "other" || j.Attempt != 2 {
					t.Errorf("%d submits; the job is at %s, attempt %d", second.submits, j.Provider, j.Attempt)
				}
			})
		})
	}
}

func TestProxiedRequestWithCandidatesIsServedByFalIfItCan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, second := newCandidates(t, rigOptions{})
		id := p.call("POST", queueTarget, `{"prompt":"x"}`).body.RequestID
		if res := p.follow(id); res.Code != http.StatusOK || len(res.body.Images) == 0 || second.submits > 0 {
			t.Errorf("the result is answered %d %s after %d submits to the other", res.Code, res.Body, second.submits)
		}
	})
}

func TestProxiedRequestWithCandidatesIsCancelledAndStreamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := newCandidates(t, rigOptions{})
		id := p.call("POST", queueTarget, `{"prompt":"x","standin":{"seconds":60}}`).body.RequestID
		synctest.Wait()
		base := "https://queue.fal.run/fal-ai/flux/requests/" + id
		if res := p.call("GET", base, ""); res.Code != http.StatusBadRequest {
			t.Errorf("an early call for the result is answered %d", res.Code)
		}
		if res := p.call("PUT", base+"/cancel", ""); res.Code != http.StatusAccepted {
			t.Errorf("a cancellation is answered %d %s", res.Code, res.Body)
		}
		if res := p.call("GET", base+"/status/stream", ""); !strings.Contains(res.Body.String(), `"status":"COMPLETED"`) {
			t.Errorf("the stream is %s", res.Body)
		}
		if res := p.call("PUT", base+"/cancel", ""); p.job(id).Status != jobs.JobCancelled || res.Code == http.StatusNotFound {
			t.Errorf("the job is %s, and a second cancellation answered %d", p.job(id).Status, res.Code)
		}
	})
}

func TestPageReachesItsRequestsWithCandidatesOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := newCandidates(t, rigOptions{})
		page := func(r *http.Request) {
			r.Header.Del("Authorization")
			r.Header.Set("Origin", "https://page.example")
		}
		own := p.call("POST", queueTarget, `{"prompt":"x"}`, page).body.RequestID
		others := p.call("POST", queueTarget, `{"prompt":"y"}`).body.RequestID
		base := "https://queue.fal.run/fal-ai/flux/requests/"
		if res := p.call("GET", base+own+"/status", "", page); res.Code != http.StatusOK {
			t.Errorf("the page's own request is answered %d", res.Code)
		}
		if res := p.call("GET", base+others+"/status", "", page); res.Code != http.StatusUnauthorized {
			t.Errorf("the request of a token is answered %d to a page", res.Code)
		}
	})
}

func TestProxiedSubmitOverBudgetIs402(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := rigOptions{}
		o.jobs.Price = func(string, string) jobs.Price { return jobs.Price{Job: "0.60", Currency: "USD"} }
		p := newProxied(t, o)
		if err := p.SaveBudget(t.Context(), jobs.Budget{Name: "all", Period: "month", Currency: "USD", Limit: 1_000_000}); err != nil {
			t.Fatal(err)
		}
		if res := p.call("POST", queueTarget, `{"prompt":"x"}`); res.Code != http.StatusOK {
			t.Fatalf("the first submit is answered %d", res.Code)
		}
		if res := p.call("POST", queueTarget, `{"prompt":"y"}`); res.Code != http.StatusPaymentRequired || !strings.Contains(res.Body.String(), "budget all") {
			t.Errorf("the second submit is answered %d %s, want 402 with the budget", res.Code, res.Body)
		}
		if n := len(p.fal.Jobs()); n != 1 {
			t.Errorf("fal has %d jobs, want 1", n)
		}
	})
}

// link returns the link of the first picture of a result.
func link(r reply) string {
	var images []struct{ URL string }
	if json.Unmarshal(r.body.Images, &images) != nil || len(images) == 0 {
		return ""
	}
	return images[0].URL
}

func TestProxiedRequestIsAnsweredByReuse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := rigOptions{}
		o.jobs.Reuse = func(string, string, string) (jobs.ReuseRule, bool) { return jobs.ReuseRule{Within: time.Hour}, true }
		p := newProxied(t, o)
		const body = `{"prompt":"x","seed":3}`
		id := p.call("POST", queueTarget, body).body.RequestID
		time.Sleep(time.Minute) // its webhook has come
		first := p.call("GET", "https://queue.fal.run/fal-ai/flux/requests/"+id, "")
		again := p.call("POST", queueTarget, body)
		if again.Code != http.StatusOK || again.body.Status != "COMPLETED" || !strings.HasPrefix(again.body.RequestID, "job_") {
			t.Fatalf("the second submit is answered %d %s", again.Code, again.Body)
		}
		if res := p.follow(again.body.RequestID); res.Code != http.StatusOK || link(res) == "" || link(res) != link(first) {
			t.Errorf("the result is answered %d %s, want that of the first request: %s", res.Code, res.Body, first.Body)
		}
		fresh := p.call("POST", queueTarget, body, func(r *http.Request) { r.Header.Set("X-Gaff-Reuse", "false") })
		if n := len(p.fal.Jobs()); n != 2 || fresh.body.Status != "IN_QUEUE" {
			t.Errorf("fal has %d requests, and the last is answered %s; want 2", n, fresh.Body)
		}
	})
}

func TestProxiedCallsObeyTheLimitOfAProject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := rigOptions{}
		o.jobs.Limit = func(scope, name string) jobs.Limit {
			if scope == "project" && name == "film" {
				return jobs.Limit{Concurrency: 1}
			}
			return jobs.Limit{}
		}
		p := newProxied(t, o)
		film := func(r *http.Request) { r.Header.Set("X-Gaff-Project", "film"); r.Header.Set("X-Gaff-Priority", "99") }
		first := p.call("POST", queueTarget, `{"prompt":"x","standin":{"seconds":20}}`, film)
		waits := p.call("POST", queueTarget, `{"prompt":"x"}`, film)
		other := p.call("POST", queueTarget, `{"prompt":"y"}`)
		id := waits.body.RequestID
		if strings.HasPrefix(first.body.RequestID, "job_") || !strings.HasPrefix(id, "job_") || strings.HasPrefix(other.body.RequestID, "job_") || len(p.fal.Jobs()) != 2 {
			t.Fatalf("the requests are %s, %s and %s; fal has %d", first.body.RequestID, id, other.body.RequestID, len(p.fal.Jobs()))
		}
		if j := p.job(id); j.Priority != jobs.MaxOperatorPriority {
			t.Errorf("the priority is %d, want that of operators at most", j.Priority)
		}
		run := p.call("POST", "https://fal.run/"+model, `{"prompt":"z"}`, film)
		if run.Code != http.StatusTooManyRequests || run.Header().Get("Retry-After") != "1" || !strings.Contains(run.Body.String(), "project film has no room") {
			t.Errorf("a call that cannot wait is answered %d %s", run.Code, run.Body)
		}
		if res := p.follow(id); res.Code != http.StatusOK || len(res.body.Images) == 0 {
			t.Errorf("the result is answered %d %s", res.Code, res.Body)
		}
	})
}
