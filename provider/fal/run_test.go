package fal_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"gaff"
	"gaff/jobs"
	"gaff/provider/fal"
)

// only returns the only job of the store, or nil without one.
func (p *proxied) only() *jobs.Job {
	p.t.Helper()
	page, err := p.st.Jobs(context.Background(), jobs.JobFilter{})
	if err != nil || len(page.Items) > 1 {
		p.t.Fatalf("%d jobs, %v", len(page.Items), err)
	}
	if len(page.Items) == 0 {
		return nil
	}
	j, err := p.st.Job(context.Background(), page.Items[0].ID)
	if err != nil {
		p.t.Fatal(err)
	}
	return j
}

// A call of fal.run, and a stream, is a settled job with its files when the client has the answer.
func TestRunsAreRecorded(t *testing.T) {
	t.Parallel()
	of := func(r *http.Request) {
		for name, value := range map[string]string{"X-Gaff-Project": "film-1", "X-Gaff-User": "ann", "X-Gaff-Kind": "image", "X-Gaff-Metadata": `{"scene":1}`} {
			r.Header.Set(name, value)
		}
	}
	for name, call := range map[string]func(p *proxied) reply{
		"proxy": func(p *proxied) reply { return p.call("POST", "https://fal.run/"+model, `{"prompt":"x"}`, of) },
		"base URL": func(p *proxied) reply {
			return p.serve(p.proxy.Run(), "POST", fal.RunPath+"/"+model, `{"prompt":"x"}`, of)
		},
		"stream": func(p *proxied) reply {
			return p.call("POST", "https://fal.run/"+model+"/stream", `{"prompt":"x"}`, of, header("Accept", "text/event-stream"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProxied(t, rigOptions{})
				res := call(p)
				j := p.only()
				if res.Code != http.StatusOK || j == nil {
					t.Fatalf("answered %d %s, job %v", res.Code, res.Body, j)
				}
				if got := res.Header().Get("X-Gaff-Job-Id"); got != j.ID {
					t.Errorf("the answer names job %q, it is %q", got, j.ID)
				}
				if j.Status != jobs.JobCompleted || j.SettledBy != jobs.SettledBySubmit || j.Model != model {
					t.Errorf("job %s by %q of %s: %s", j.Status, j.SettledBy, j.Model, j.Error)
				}
				if j.ProjectID != "film-1" || j.UserID != "ann" || j.Kind != "image" || string(j.Metadata) != `{"scene":1}` {
					t.Errorf("job of %q %q %q %s", j.ProjectID, j.UserID, j.Kind, j.Metadata)
				}
				if j.RequestID == "" || j.RequestID != res.Header().Get("X-Fal-Request-Id") || !j.NextPollAt.IsZero() {
					t.Errorf("request %q, next poll %s", j.RequestID, j.NextPollAt)
				}
				if files, err := p.st.Media(context.Background(), jobs.MediaFilter{JobID: j.ID}); err != nil || len(files.Items) != 1 {
					t.Errorf("%d files, %v", len(files.Items), err)
				}
				if input, err := p.st.JobInput(context.Background(), j.ID); err != nil || string(input) != `{"prompt":"x"}` {
					t.Errorf("input %s, %v", input, err)
				}
				events, err := p.st.Events(context.Background(), gaff.EventFilter{Source: gaff.InternalSource, Type: "job.completed"})
				if err != nil || len(events.Items) != 1 {
					t.Errorf("%d events, %v", len(events.Items), err)
				}
			})
		})
	}
}

// An answer without a result is recorded too.
func TestOtherAnswersOfRun(t *testing.T) {
	t.Parallel()
	const stream = "text/event-stream"
	for name, c := range map[string]struct {
		status      int
		contentType string
		body        string
		job         string // status and error type of the job; empty for none
	}{
		"validation":        {422, "application/json", `{"detail":[{"loc":["body","prompt"],"msg":"missing","type":"missing"}]}`, "failed missing"},
		"model failure":     {500, "application/json", `{"detail":"the model failed"}`, "failed "},
		"rate limit":        {429, "application/json", `{"detail":"too many"}`, ""},
		"gateway":           {502, "text/html", `<html>`, ""},
		"no access":         {403, "application/json", `{"detail":"no"}`, ""},
		"sound":             {200, "audio/mpeg", "ID3", ""},
		"not JSON":          {200, "application/json", `{"images":`, "failed result_unreadable"},
		"error in a stream": {200, stream, "data: {\"n\":1}\n\nevent: error\ndata: {\"error\":\"no\"}\n\n", "failed "},
		"CR LF":             {200, stream, "data: {\"a\":\r\ndata: 1}\r\n\r\n: ping\r\n\r\n", "completed "},
		"cut in an event":   {200, stream, "data: {\"a\":1}\n\ndata: {\"b\"", "completed "},
		"empty stream":      {200, stream, ": ping\n\n", "failed result_unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProxied(t, rigOptions{})
				p.net.hosts[falHost] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", c.contentType)
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.body)
				})
				res := p.call("POST", "https://fal.run/"+model, `{"prompt":"x"}`)
				if res.Code != c.status || res.Body.String() != c.body {
					t.Errorf("answered %d %q", res.Code, res.Body)
				}
				got := ""
				if j := p.only(); j != nil {
					got = fmt.Sprintf("%s %s", j.Status, j.ErrorType)
				}
				if got != c.job && !(c.job == "failed " && strings.HasPrefix(got, c.job)) {
					t.Errorf("job %q, want %q", got, c.job)
				}
			})
		})
	}
}

// The work is recorded although the client left.
func TestRunIsRecordedWithoutItsClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{})
		ctx, cancel := context.WithCancel(context.Background())
		p.net.hosts[falHost] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cancel()
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"images":[{"url":"https://cdn.example/a.png"}]}`)
		})
		r := httptest.NewRequestWithContext(ctx, "POST", fal.RunPath+"/"+model, strings.NewReader(`{}`))
		r.Header.Set("Authorization", "Key operator")
		p.proxy.Run().ServeHTTP(httptest.NewRecorder(), r)
		if j := p.only(); j == nil || j.Status != jobs.JobCompleted {
			t.Errorf("job %v", j)
		}
	})
}

func TestRunRejectsOtherPathsAndCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProxied(t, rigOptions{})
		for path, want := range map[string]int{
			"": 404, "/": 404, "/fal-ai": 404, "/fal-ai/../x/y": 404, "/fal-ai/%2e%2e/flux": 404,
		} {
			if res := p.serve(p.proxy.Run(), "POST", fal.RunPath+path, `{}`); res.Code != want {
				t.Errorf("%q: %d, want %d", path, res.Code, want)
			}
		}
		for token, want := range map[string]int{"Key viewer": 403, "Key nobody": 401, "": 401} {
			res := p.serve(p.proxy.Run(), "POST", fal.RunPath+"/"+model, `{}`, header("Authorization", token))
			if res.Code != want {
				t.Errorf("%q: %d, want %d", token, res.Code, want)
			}
		}
		if j := p.only(); j != nil {
			t.Errorf("job %+v", j)
		}
	})
}
