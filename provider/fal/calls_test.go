package fal_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
)

// slow has fal take its time to answer submits.
func (p *proxied) slow(d time.Duration) {
	inner := p.net.hosts[falHost]
	p.net.hosts[falHost] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			time.Sleep(d)
		}
		inner.ServeHTTP(w, r)
	})
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// atOnce calls the proxy n times at the same moment, each with the changes that it is given.
func (p *proxied) atOnce(n int, change func(i int) []func(*http.Request)) []reply {
	replies := make([]reply, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { replies[i] = p.call("POST", queueTarget, `{"prompt":"a lighthouse"}`, change(i)...) })
	}
	all.Wait()
	return replies
}

// distinct counts the requests and the replays among answers.
func distinct(replies []reply) (requests, replayed int) {
	ids := map[string]bool{}
	for _, res := range replies {
		if res.body.RequestID != "" {
			ids[res.body.RequestID] = true
		}
		if res.Header().Get("Idempotency-Replayed") == "true" {
			replayed++
		}
	}
	return len(ids), replayed
}

func TestEqualSubmitsAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change            func(i int) []func(*http.Request)
		requests, replays int
	}{
		"without a key": {func(int) []func(*http.Request) { return nil }, 12, 0},
		"a key each": {func(i int) []func(*http.Request) {
			return []func(*http.Request){header("Idempotency-Key", fmt.Sprint(i))}
		}, 12, 0},
		"one key for all": {func(int) []func(*http.Request) { return []func(*http.Request){header("Idempotency-Key", "k")} }, 1, 11},
		"one key of two callers": {func(i int) []func(*http.Request) {
			return []func(*http.Request){header("Idempotency-Key", "k"), header("Authorization", []string{"Key operator", "Key another"}[i%2])}
		}, 2, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProxied(t, rigOptions{})
				p.slow(400 * time.Millisecond)
				requests, replays := distinct(p.atOnce(12, c.change))
				if at := len(p.fal.Jobs()); requests != c.requests || replays != c.replays || at != c.requests {
					t.Errorf("%d requests, %d replays, %d submits at fal; want %d, %d, %d", requests, replays, at, c.requests, c.replays, c.requests)
				}
			})
		})
	}
}

// A caller leaves while fal still works on the answer, and calls again at once.
func TestRepeatWhileTheFirstIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{})
		p.slow(10 * time.Second)
		ctx, leave := context.WithTimeout(context.Background(), 2*time.Second)
		defer leave()
		var gone, again, another reply
		var all sync.WaitGroup
		all.Go(func() {
			gone = p.call("POST", queueTarget, `{"prompt":"b"}`, func(r *http.Request) { *r = *r.WithContext(ctx) })
		})
		time.Sleep(time.Second)
		all.Go(func() { another = p.call("POST", queueTarget, `{"prompt":"b"}`) })
		time.Sleep(1001 * time.Millisecond)
		all.Go(func() { again = p.call("POST", queueTarget, `{"prompt":"b"}`) })
		all.Wait()
		if again.body.RequestID == "" || again.body.RequestID != gone.body.RequestID || again.Header().Get("Idempotency-Replayed") != "true" {
			t.Errorf("the repeated call is answered %d %s, the first was %s", again.Code, again.Body, gone.Body)
		}
		if another.body.RequestID == gone.body.RequestID || another.Header().Get("Idempotency-Replayed") != "" {
			t.Errorf("a call between them, whose caller stayed, is answered %s", another.Body)
		}
		if n := len(p.fal.Jobs()); n != 2 {
			t.Errorf("fal has %d jobs, want 2", n)
		}
	})
}

// Each of several aborted calls has one repetition.
func TestRepeatsShareNoJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{})
		p.slow(time.Second)
		ctx, leave := context.WithCancel(context.Background())
		time.AfterFunc(500*time.Millisecond, leave)
		left, _ := distinct(p.atOnce(4, func(int) []func(*http.Request) {
			return []func(*http.Request){func(r *http.Request) { *r = *r.WithContext(ctx) }}
		}))
		requests, replays := distinct(p.atOnce(6, func(int) []func(*http.Request) { return nil }))
		if left != 4 || requests != 6 || replays != 4 || len(p.fal.Jobs()) != 6 {
			t.Errorf("%d calls were left; 6 more got %d requests, %d of them replays; fal has %d jobs", left, requests, replays, len(p.fal.Jobs()))
		}
	})
}

// A submit that fal did not take leaves nothing behind, and its repetition is a new one.
func TestProxiedSubmitNotTaken(t *testing.T) {
	t.Parallel()
	answers := map[string]http.HandlerFunc{
		"429": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"500": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Fal-Needs-Retry", "1")
			w.WriteHeader(http.StatusInternalServerError)
		},
		"504": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Fal-Request-Timeout-Type", "user")
			w.WriteHeader(http.StatusGatewayTimeout)
		},
		"503 of gaff's": nil, // no connection
	}
	for want, handler := range answers {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProxied(t, rigOptions{})
				inner := p.net.hosts[falHost]
				if handler != nil {
					p.net.hosts[falHost] = handler
				} else {
					p.net.deaf = true
				}
				key := header("Idempotency-Key", "k")
				for range 3 {
					res := p.call("POST", queueTarget, `{"prompt":"x"}`, key)
					if got := fmt.Sprint(res.Code); got != want[:3] || res.Header().Get("X-Gaff-Job-Id") != "" {
						t.Errorf("answered %s, job %q", got, res.Header().Get("X-Gaff-Job-Id"))
					}
				}
				p.net.hosts[falHost] = inner
				p.net.deaf = false
				res := p.call("POST", queueTarget, `{"prompt":"x"}`, key)
				if res.Code != http.StatusOK || res.Header().Get("Idempotency-Replayed") != "" {
					t.Errorf("the call that fal took is answered %d %s", res.Code, res.Body)
				}
				time.Sleep(time.Hour)
				page, err := p.st.Jobs(context.Background(), jobs.JobFilter{Cursor: gaff.Cursor{Limit: 10}})
				if err != nil {
					t.Fatal(err)
				}
				if len(page.Items) != 1 || page.Items[0].Status != jobs.JobCompleted {
					t.Errorf("%d jobs are left, want the completed one", len(page.Items))
				}
				events, err := p.st.Events(context.Background(), gaff.EventFilter{Source: gaff.InternalSource, Type: "job.failed", Cursor: gaff.Cursor{Limit: 10}})
				if err != nil {
					t.Fatal(err)
				}
				if len(events.Items) != 0 {
					t.Errorf("%d gaff:job.failed events", len(events.Items))
				}
			})
		})
	}
}

// A key that an older version stored is found by every caller with a token.
func TestKeyOfUnknownCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{})
		old, _, err := p.Submit(context.Background(), jobs.Submission{Provider: "fal", Model: model, IdempotencyKey: "proxy:k"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		key := header("Idempotency-Key", "k")
		if res := p.call("POST", queueTarget, `{}`, key); res.body.RequestID == "" || res.body.RequestID != p.job(old.ID).RequestID {
			t.Errorf("a caller with a token is answered %s", res.Body)
		}
		page := p.call("POST", queueTarget, `{}`, key, header("Authorization", ""), header("Origin", "https://page.example"))
		if page.body.RequestID == "" || page.body.RequestID == p.job(old.ID).RequestID {
			t.Errorf("a page is answered %s", page.Body)
		}
	})
}

// What a page's visitor says of a job without a token does not count.
func TestPageWithoutToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{})
		from := func(address string) func(*http.Request) {
			return func(r *http.Request) {
				r.Header.Del("Authorization")
				r.Header.Set("Origin", "https://page.example")
				r.RemoteAddr = address
				for _, name := range []string{"Project", "User", "Kind"} {
					r.Header.Set("X-Gaff-"+name, "theirs")
				}
			}
		}
		key := header("Idempotency-Key", "film-1/scene-7")
		target := queueTarget + "?fal_webhook=http%3A%2F%2F" + appHost + "%2Fhook"
		own := p.call("POST", target, `{"prompt":"private"}`, key)
		one := p.call("POST", target, `{"prompt":"x"}`, from("192.0.2.1:1"), key)
		same := p.call("POST", target, `{"prompt":"x"}`, from("192.0.2.1:2"), key)
		two := p.call("POST", target, `{"prompt":"x"}`, from("192.0.2.2:1"), key)
		if requests, replays := distinct([]reply{own, one, same, two}); requests != 3 || replays != 1 {
			t.Errorf("one key of three callers: %d requests, %d replays", requests, replays)
		}
		if expose := one.Header().Get("Access-Control-Expose-Headers"); !slices.Contains(strings.Split(expose, ", "), "x-gaff-job-id") {
			t.Errorf("a page may read %s", expose)
		}
		j := p.job(one.Header().Get("X-Gaff-Job-Id"))
		if j.ProjectID != "page:page.example" || j.UserID != "" || j.Kind != "" || j.Callback != "" {
			t.Errorf("its job has project %q, user %q, kind %q, callback %q", j.ProjectID, j.UserID, j.Kind, j.Callback)
		}
		time.Sleep(time.Minute)
		if len(p.app) != 1 {
			t.Errorf("callbacks: %d, want that of the caller with a token", len(p.app))
		}
	})
}
