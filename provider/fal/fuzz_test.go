package fal_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gaff/jobs"
	"gaff/provider/fal"
)

// noJobs writes nothing down, so that no submit is sent.
type noJobs struct{ fal.Jobs }

func (noJobs) Begin(context.Context, jobs.Submission, string) (*jobs.Call, error) {
	return nil, errors.New("no")
}
func (noJobs) RecordUpdate(context.Context, string, string, jobs.Update) error { return nil }
func (noJobs) WebhookURL(string, string) string                                { return "https://h/x" }

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// For any target of a caller, the key goes to fal's hosts alone.
func FuzzProxyTarget(f *testing.F) {
	for _, target := range []string{
		"https://queue.fal.run/fal-ai/flux/requests/1/status", "https://fal.run/fal-ai/flux", "https://rest.fal.ai/storage/upload/initiate",
		"https://queue.fal.run@evil.example/a/b", "https://queue.fal.run:443/a/b", "//evil.example/a/b", "https://queue.fal.run/a/%2e%2e/b",
		"https://queue.fal.run\\@evil.example/a/b", "HTTPS://QUEUE.FAL.RUN/a/b",
	} {
		f.Add(target, "GET")
	}
	f.Fuzz(func(t *testing.T, target, method string) {
		queue, err := fal.NewQueue(fal.QueueOptions{Key: "the-key", Client: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "https" || r.URL.User != nil || r.Host != r.URL.Host ||
				r.URL.Host != "queue.fal.run" && r.URL.Host != "fal.run" && r.URL.Host != "rest.fal.ai" && r.URL.Host != "rest.alpha.fal.ai" {
				t.Errorf("%q leads to %s", target, r.URL)
			}
			if strings.HasPrefix(r.URL.Host, "rest.") && !strings.HasPrefix(r.URL.Path, "/storage/upload/") {
				t.Errorf("%q leads to %s", target, r.URL)
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"status":"IN_QUEUE"}`)), Request: r}, nil
		})}})
		if err != nil {
			t.Fatal(err)
		}
		proxy := fal.NewProxy(fal.ProxyOptions{
			Queue: queue, Jobs: noJobs{}, Log: slog.New(slog.DiscardHandler),
			Authorize: func(*http.Request) (string, error) { return "someone", nil },
		})
		r := httptest.NewRequest(http.MethodGet, fal.ProxyPath, nil)
		r.Method = method
		r.Header[fal.TargetHeader] = []string{target}
		proxy.Proxy().ServeHTTP(httptest.NewRecorder(), r)
	})
}
