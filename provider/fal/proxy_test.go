package fal_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff/internal/standin"
	"gaff/jobs"
	"gaff/provider"
	"gaff/provider/fal"
)

// proxied is a rig with a proxy in front, at which the token "operator" is good.
type proxied struct {
	*rig
	proxy *fal.Proxy
}

func newProxied(t *testing.T, o rigOptions) *proxied {
	p := &proxied{rig: newRig(t, o)}
	p.front()
	return p
}

func (p *proxied) front() {
	p.proxy = fal.NewProxy(fal.ProxyOptions{
		Queue: p.queue, Jobs: p.Service, Log: slog.New(slog.DiscardHandler), BaseURL: "https://" + gaffHost,
		Origins: []string{"https://page.example"}, Models: []string{"fal-ai/flux/*", "fal-ai/veo3"},
		Authorize: func(r *http.Request) (string, error) {
			switch _, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); token {
			case "operator", "another":
				return "key:" + token, nil
			case "viewer":
				return "", provider.ErrNotAllowed
			case "outage":
				return "", errors.New("the database does not answer")
			}
			return "", provider.ErrUnknownCaller
		},
	})
}

type reply struct {
	*httptest.ResponseRecorder
	body struct {
		RequestID   string `json:"request_id"`
		Status      string
		StatusURL   string          `json:"status_url"`
		ResponseURL string          `json:"response_url"`
		CancelURL   string          `json:"cancel_url"`
		ErrorType   string          `json:"error_type"`
		Job         string          `json:"gaff_job_id"`
		Images      json.RawMessage `json:"images"`
	}
}

// call calls the proxy for a target at fal.
func (p *proxied) call(method, target, body string, change ...func(*http.Request)) reply {
	return p.serve(p.proxy.Proxy(), method, fal.ProxyPath, body, append([]func(*http.Request){
		func(r *http.Request) { r.Header.Set(fal.TargetHeader, target) },
	}, change...)...)
}

func (p *proxied) serve(h http.Handler, method, path, body string, change ...func(*http.Request)) reply {
	p.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Key operator")
	for _, f := range change {
		f(r)
	}
	out := reply{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(out, r)
	_ = json.Unmarshal(out.Body.Bytes(), &out.body) // no fields if it is not JSON
	return out
}

const queueTarget = "https://queue.fal.run/" + model

// The proxy reaches fal's hosts, and nothing else.
func TestProxyTargets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{})
		for _, target := range []string{
			"", "queue.fal.run/fal-ai/flux", "http://queue.fal.run/fal-ai/flux", "https://queue.fal.run", "https://queue.fal.run/fal-ai",
			"https://queue.fal.run:444/fal-ai/flux", "https://queue.fal.run@evil.example/fal-ai/flux", "https://evil.example/fal-ai/flux",
			"https://queue.fal.run.evil.example/fal-ai/flux", "https://u:p@queue.fal.run/fal-ai/flux", "https://queue.fal.run/fal-ai/../../flux",
			"https://queue.fal.run/fal-ai/%2e%2e/flux", "https://queue.fal.run/fal-ai/flux#x", "https://rest.fal.ai/tokens/", "https://api.fal.ai/v1/keys",
			"https://rest.fal.ai/storage/upload/initiate/../../tokens", "file:///etc/passwd", "http://169.254.169.254/latest", "https://fal.run/fal-ai/../flux",
			"javascript:alert(1)",
		} {
			if res := p.call("POST", target, `{}`); res.Code != http.StatusBadRequest || !strings.Contains(res.Body.String(), "Invalid request") {
				t.Errorf("%s is answered %d %s", target, res.Code, res.Body)
			}
		}
		if n := len(p.fal.Jobs()); n != 0 {
			t.Errorf("fal has %d jobs", n)
		}
		for _, target := range []string{queueTarget, "http://" + falHost + "/" + model, "https://queue.fal.run/" + model + "/"} {
			if res := p.call("POST", target, `{"prompt":"x"}`); res.Code != http.StatusOK || res.body.RequestID == "" {
				t.Errorf("%s is answered %d %s", target, res.Code, res.Body)
			}
		}
		res := p.call("POST", "https://rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3", `{"content_type":"image/png","file_name":"a.png"}`)
		if res.Code != http.StatusOK || !strings.Contains(res.Body.String(), "upload_url") {
			t.Errorf("an upload is answered %d %s", res.Code, res.Body)
		}
	})
}

// Calls of fal.run pass through to where it is played, if that is named.
func TestRunURL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{})
		if res := p.call("POST", "https://fal.run/"+model, `{"prompt":"x"}`); res.Code != http.StatusOK || len(res.body.Images) == 0 {
			t.Errorf("fal.run is answered %d %s", res.Code, res.Body)
		}
		stream := p.call("POST", "https://fal.run/"+model+"/stream", `{"prompt":"x"}`, header("Accept", "text/event-stream"))
		if stream.Code != http.StatusOK || !strings.HasPrefix(stream.Header().Get("Content-Type"), "text/event-stream") || !strings.Contains(stream.Body.String(), "data: {") {
			t.Errorf("a stream is answered %d %s", stream.Code, stream.Body)
		}
		var err error
		if p.queue, err = fal.NewQueue(fal.QueueOptions{URL: "http://" + falHost, Client: &http.Client{Transport: p.net}}); err != nil {
			t.Fatal(err)
		}
		p.front()
		if res := p.call("POST", "https://fal.run/"+model, `{"prompt":"x"}`); res.Code != http.StatusBadRequest || !strings.Contains(res.Body.String(), "GAFF_FAL_RUN_URL") {
			t.Errorf("without an address it is answered %d %s", res.Code, res.Body)
		}
	})
}

func TestWhoMayUseTheProxy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{})
		unknown := func(r *http.Request) { r.Header.Set("Authorization", "Key nobody") }
		from := func(origin string) func(*http.Request) {
			return func(r *http.Request) {
				r.Header.Del("Authorization")
				r.Header.Set("Origin", origin)
			}
		}
		token := func(token string) func(*http.Request) {
			return func(r *http.Request) { r.Header.Set("Authorization", "Key "+token) }
		}
		page := p.call("POST", queueTarget, `{}`, from("https://page.example"))
		owned := p.call("POST", queueTarget, `{}`)
		for name, c := range map[string]struct {
			method, target string
			as             func(*http.Request)
			want           int
		}{
			"an unknown caller":               {"POST", queueTarget, unknown, 401},
			"a page that is named":            {"POST", queueTarget, from("https://page.example"), 200},
			"another model":                   {"POST", "https://queue.fal.run/fal-ai/kling-video/pro", from("https://page.example"), 401},
			"a model, to the letter":          {"POST", "https://queue.fal.run/fal-ai/veo3", from("https://page.example"), 200},
			"another page":                    {"POST", queueTarget, from("https://evil.example"), 401},
			"a viewer":                        {"POST", queueTarget, token("viewer"), 403},
			"an outage":                       {"POST", queueTarget, token("outage"), 503},
			"a page and a job of a page":      {"GET", page.body.StatusURL, from("https://page.example"), 202},
			"a page and no job":               {"GET", "https://queue.fal.run/fal-ai/flux/requests/none/status", from("https://page.example"), 401},
			"a page and an application's":     {"GET", owned.body.StatusURL, from("https://page.example"), 401},
			"a page cancels another's":        {"PUT", owned.body.CancelURL, from("https://page.example"), 401},
			"a page begins an upload":         {"POST", "https://rest.fal.ai/storage/upload/initiate", from("https://page.example"), 401},
			"a browser's question":            {"OPTIONS", "", from("https://page.example"), 204},
			"another browser's question":      {"OPTIONS", "", from("https://evil.example"), 403},
			"a method that there is not":      {"DELETE", queueTarget, func(*http.Request) {}, 405},
			"a body other than a JSON object": {"POST", queueTarget + "?", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("[1]")) }, 422},
		} {
			res := p.call(c.method, c.target, `{}`, c.as)
			if res.Code != c.want {
				t.Errorf("%s is answered %d, want %d: %s", name, res.Code, c.want, res.Body)
			}
			allow := res.Header().Get("Access-Control-Allow-Origin")
			if strings.Contains(name, "page") && !strings.Contains(name, "another page") && allow != "https://page.example" {
				t.Errorf("%s: the browser lets %q read", name, allow)
			}
		}
		if res := p.serve(p.proxy.Queue(), "POST", fal.QueuePath+"/"+model, `{}`, from("https://page.example")); res.Code != 401 {
			t.Errorf("a page at the queue host is answered %d", res.Code)
		}
	})
}

// Clients repeat a submit by themselves on some answers; they get those only where fal has
// not taken the work.
func TestProxyNeverPaysTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{})
		// JavaScript repeats on 429, 502, 503, 504, Python on 408 and 409 as well.
		lost := p.call("POST", queueTarget, `{"prompt":"a","standin":{"fault":"unknown-outcome"}}`)
		if lost.Code != http.StatusInternalServerError || lost.body.ErrorType != "submit_outcome_unknown" || lost.body.Job == "" {
			t.Errorf("a lost answer: %d %s", lost.Code, lost.Body)
		}
		time.Sleep(10 * time.Second)
		if j := p.job(lost.body.Job); j.Status != jobs.JobCompleted || j.SettledBy != "webhook" {
			t.Errorf("its job is %s by %q", j.Status, j.SettledBy)
		}
		for fault, status := range map[string]int{"busy": 429, "down": 503} {
			res := p.call("POST", queueTarget, `{"standin":{"fault":"`+fault+`"}}`)
			id := res.Header().Get("X-Gaff-Job-Id")
			if res.Code != status || id != "" {
				t.Errorf("%s: %d %s, job %q", fault, res.Code, res.Body, id)
			}
		}
		before := len(p.fal.Jobs())

		// The client goes away before it has the answer, and calls again.
		inner := p.net.hosts[falHost]
		leave := func(r *http.Request) {
			ctx, cancel := context.WithCancel(context.Background())
			*r = *r.WithContext(ctx)
			p.net.hosts[falHost] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				cancel()
				inner.ServeHTTP(w, r)
			})
		}
		gone := p.call("POST", queueTarget, `{"prompt":"b"}`, leave)
		again := p.call("POST", queueTarget, `{"prompt":"b"}`)
		if gone.body.RequestID == "" || again.body.RequestID != gone.body.RequestID || again.body.StatusURL == "" || again.Code != http.StatusOK {
			t.Errorf("a repeated call is answered %d %s, the first was %s", again.Code, again.Body, gone.Body)
		}
		// It has its answer now: the same call once more is another job.
		if third := p.call("POST", queueTarget, `{"prompt":"b"}`); third.body.RequestID == "" || third.body.RequestID == gone.body.RequestID {
			t.Errorf("a new call is answered %s", third.Body)
		}
		// Another's call of the same words is his own, and so is another project's.
		gone = p.call("POST", queueTarget, `{"prompt":"c"}`, leave)
		other := p.call("POST", queueTarget, `{"prompt":"c"}`, func(r *http.Request) { r.Header.Set("X-Gaff-Project", "p2") })
		if other.body.RequestID == gone.body.RequestID {
			t.Error("two projects share a job")
		}
		if n := len(p.fal.Jobs()) - before; n != 4 {
			t.Errorf("fal was given %d jobs, want 4", n)
		}
		key := func(r *http.Request) { r.Header.Set("Idempotency-Key", "k") }
		one, two := p.call("POST", queueTarget, `{"prompt":"d"}`, key), p.call("POST", queueTarget, `{"prompt":"d"}`, key)
		if one.body.RequestID != two.body.RequestID || two.Header().Get("Idempotency-Replayed") != "true" {
			t.Errorf("one idempotency key: %s, %s", one.Body, two.Body)
		}
	})
}

// The gateway dies after it gave the work to fal; the client calls the next one.
func TestProxyAfterACrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := rigOptions{}
		p := newProxied(t, o)
		inner := p.net.hosts[falHost]
		dead := make(chan struct{})
		p.net.hosts[falHost] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(w, r)
			if r.Method == http.MethodPost {
				<-dead // nobody hears the answer
				panic(http.ErrAbortHandler)
			}
		})
		call := func() chan reply {
			done := make(chan reply, 1)
			front := p.proxy
			go func() {
				done <- p.serve(front.Proxy(), "POST", fal.ProxyPath, `{"prompt":"e","standin":{"fault":"lost"}}`,
					func(r *http.Request) { r.Header.Set(fal.TargetHeader, queueTarget) })
			}()
			return done
		}
		first := call()
		synctest.Wait()
		p.stop()
		p.begin(o)
		p.front()
		p.net.hosts[falHost] = inner
		second := call()
		synctest.Wait()
		close(dead) // the first process is long gone; what its goroutine does still is the test's
		res := <-second
		<-first
		if res.Code != http.StatusInternalServerError || res.body.ErrorType != "submit_outcome_unknown" || len(p.fal.Jobs()) != 1 {
			t.Errorf("the repeated call is answered %d %s, fal has %d jobs", res.Code, res.Body, len(p.fal.Jobs()))
		}
	})
}

// fal's Python client takes gaff for the queue: it follows the addresses in the answers.
func TestQueueHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{})
		at := func(method, address, body string) reply {
			t.Helper()
			path, ok := strings.CutPrefix(address, "https://"+gaffHost)
			if !ok {
				t.Fatalf("%s leads away from the gateway", address)
			}
			return p.serve(p.proxy.Queue(), method, path, body)
		}
		for _, base := range []string{"https://" + gaffHost + fal.QueuePath, "https://" + gaffHost} {
			p.app = nil
			sub := at("POST", base+"/"+model+"?fal_webhook=http%3A%2F%2F"+appHost+"%2Fhook", `{"prompt":"x"}`)
			if sub.Code != http.StatusOK || sub.body.RequestID == "" || !strings.HasPrefix(sub.body.StatusURL, base+"/fal-ai/flux/requests/") {
				t.Fatalf("submit: %d %s", sub.Code, sub.Body)
			}
			if res := at("GET", sub.body.StatusURL+"?logs=true", ""); res.Code != http.StatusAccepted || res.body.Status != "IN_QUEUE" || res.body.ResponseURL != sub.body.ResponseURL {
				t.Errorf("status: %d %s", res.Code, res.Body)
			}
			time.Sleep(5 * time.Second)
			if res := at("GET", sub.body.StatusURL+"?logs=true", ""); res.body.Status != "COMPLETED" || !strings.Contains(res.Body.String(), `"logs"`) {
				t.Errorf("status: %s", res.Body)
			}
			if res := at("GET", sub.body.ResponseURL, ""); res.Code != http.StatusOK || len(res.body.Images) == 0 || res.Header().Get("X-Fal-Request-Id") != sub.body.RequestID {
				t.Errorf("result: %d %s", res.Code, res.Body)
			}
			if res := at("PUT", sub.body.CancelURL, ""); res.Code != http.StatusBadRequest || res.body.Status != "ALREADY_COMPLETED" {
				t.Errorf("cancel: %d %s", res.Code, res.Body)
			}
			if len(p.app) != 1 {
				t.Errorf("the application's webhook was called %d times", len(p.app))
			}
		}
		for _, path := range []string{"/", "/x", "/a/../b/c", "/%2e%2e/a/b"} {
			if res := p.serve(p.proxy.Queue(), "POST", fal.QueuePath+path, `{}`); res.Code != http.StatusNotFound {
				t.Errorf("%s is answered %d", path, res.Code)
			}
		}
	})
}

// What passes through teaches the ledger.
func TestProxyTeachesTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{Options: standin.Options{Faults: standin.Faults{standin.Lost: 1}}})
		sub := p.call("POST", queueTarget, `{"prompt":"x"}`)
		id := sub.Header().Get("X-Gaff-Job-Id")
		time.Sleep(time.Second)
		p.call("GET", sub.body.StatusURL, "")
		if j := p.job(id); j.Status != jobs.JobProcessing {
			t.Errorf("after a status of IN_PROGRESS it is %s", j.Status)
		}
		time.Sleep(5 * time.Second)
		p.call("GET", sub.body.ResponseURL, "")
		ends, files := p.ends(id)
		if j := p.job(id); j.Status != jobs.JobCompleted || j.SettledBy != "reconciliation" || j.Cost == "" || ends != 1 || files != 1 {
			t.Errorf("after its result it is %s by %q, cost %q, %d ends, %d files", j.Status, j.SettledBy, j.Cost, ends, files)
		}
		// A status alone has the result fetched soon.
		sub = p.call("POST", queueTarget, `{"prompt":"y","standin":{"fault":"lost,error-model"}}`)
		id = sub.Header().Get("X-Gaff-Job-Id")
		time.Sleep(5 * time.Second)
		p.call("GET", sub.body.StatusURL, "")
		time.Sleep(10 * time.Second)
		if j := p.job(id); j.Status != jobs.JobFailed || j.ErrorType != "content_policy_violation" {
			t.Errorf("after a status of COMPLETED it is %s", j.Status)
		}
		sub = p.call("POST", queueTarget, `{"prompt":"z"}`)
		p.call("PUT", sub.body.CancelURL, "")
		if j := p.job(sub.Header().Get("X-Gaff-Job-Id")); j.Status != jobs.JobCancelled {
			t.Errorf("after a cancellation it is %s", j.Status)
		}
	})
}

// The route that docs/fal-proxy.md shows is the one that the client's example has.
func TestDocumentedRoute(t *testing.T) {
	t.Parallel()
	route, err := os.ReadFile("../../clients/typescript/examples/nextjs/app/api/fal/proxy/route.ts")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/fal-proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```ts\n"+string(route)+"```\n") {
		t.Error("docs/fal-proxy.md shows another route than examples/nextjs: copy it")
	}
}
