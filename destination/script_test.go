//go:build !slim

package destination

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/client"
	"gaff/internal/redact"
	"gaff/jobs"
)

func TestScriptBuildsTheRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script, body, contentType, kind string
	}{
		"object": {
			`function transform(event, out) { out.headers["x-kind"] = event.type; return {urls: event.media.map((m) => m.url), seed: event.job.result.seed} }`,
			`{"urls":["https://f/1.png"],"seed":9007199254740993}`, "application/json", "job.completed",
		},
		"text": {`const transform = (event) => "job=" + event.job.id`, "job=job_1", "text/plain; charset=utf-8", ""},
		"text of a type": {
			`function transform(event, out) { out.headers["Content-Type"] = "application/x-www-form-urlencoded"; return "job=" + event.job.id }`,
			"job=job_1", "application/x-www-form-urlencoded", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, nil)
			ev, o := completed(jobs.Job{Status: jobs.JobCompleted, Result: []byte(`{"seed":9007199254740993}`)}, jobs.Media{ID: "med_1", URL: "https://f/1.png"})
			d := newDestination(t, Spec{URL: r.URL, Secrets: []string{secret}, TransformJS: c.script}, o)
			if err := d.Handle(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
			if string(r.body) != c.body {
				t.Errorf("body %s, want %s", r.body, c.body)
			}
			if got := r.header.Get("Content-Type"); got != c.contentType {
				t.Errorf("Content-Type %q, want %q", got, c.contentType)
			}
			if got := r.header.Get("X-Kind"); got != c.kind {
				t.Errorf("X-Kind %q, want %q", got, c.kind)
			}
			if _, err := client.Verify([]string{secret}, r.header, r.body, time.Now()); err != nil {
				t.Errorf("the body is not signed: %v", err)
			}
		})
	}
}

func TestScriptThatReturnsNullSendsNothing(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	ev, o := completed(jobs.Job{Status: jobs.JobCompleted})
	d := newDestination(t, Spec{URL: r.URL, TransformJS: `const transform = (event) => event.job.status === "failed" ? event : null`}, o)
	if err := d.Handle(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	if r.body != nil {
		t.Errorf("sent %s", r.body)
	}
	if _, err := d.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing was sent") {
		t.Errorf("a test: %v, want that nothing was sent", err)
	}
}

// A script that fails can be corrected: its delivery is retried, and nothing is sent.
func TestScriptFailureIsRetried(t *testing.T) {
	t.Parallel()
	ev, o := completed(jobs.Job{Status: jobs.JobCompleted})
	for name, c := range map[string]struct {
		script, want string
		batch        *Batch
	}{
		"exception":                 {script: "function transform(event) {\n  return event.job.result.nope.deeper\n}", want: "transform: 2:26: TypeError: cannot read property 'nope' of null"},
		"no value":                  {script: `function transform() {}`, want: "transform: TypeError: transform returned undefined"},
		"header of gaff":            {script: `function transform(e, out) { out.headers["webhook-id"] = "1"; return {} }`, want: "transform: headers: Webhook-Id is set by gaff itself"},
		"header with a line break":  {script: `function transform(e, out) { out.headers["X-A"] = "1\r\nHost: b"; return {} }`, want: "transform: headers: the value of X-A holds a line break"},
		"name that is not a header": {script: `function transform(e, out) { out.headers["a b"] = "1"; return {} }`, want: "transform: headers: invalid name of a header"},
		"text in a batch":           {script: `const transform = () => "a"`, want: "transform: a text cannot be part of a batch", batch: &Batch{Size: 2}},
		"header in a batch":         {script: `function transform(e, out) { out.headers["X-A"] = "1"; return {} }`, want: "transform: an event of a batch cannot have headers", batch: &Batch{Size: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, nil)
			err := newDestination(t, Spec{URL: r.URL, TransformJS: c.script, Batch: c.batch}, o).Handle(t.Context(), ev)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Fatalf("error %v, want one that begins with %q", err, c.want)
			}
			if !errors.Is(err, errTransform) || gaff.IsDiscarded(err) {
				t.Errorf("%v ends the delivery at once", err)
			}
			if r.body != nil {
				t.Errorf("sent %s", r.body)
			}
			if text := redact.Error(err); strings.Contains(text, "nope") || !strings.HasPrefix(text, "the transformation failed") {
				t.Errorf("the log has %q", text)
			}
		})
	}
}

// A destination's own headers win over those of its script, which so cannot replace credentials.
func TestScriptDoesNotReplaceConfiguredHeaders(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	ev, o := completed(jobs.Job{Status: jobs.JobCompleted})
	d := newDestination(t, Spec{
		URL: r.URL, Headers: map[string]string{"Authorization": "Bearer right"},
		TransformJS: `function transform(e, out) { out.headers.authorization = "Bearer wrong"; return {} }`,
	}, o)
	if err := d.Handle(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	if got := r.header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer right" {
		t.Errorf("Authorization %q, want the destination's", got)
	}
}

func TestScriptIsChecked(t *testing.T) {
	t.Parallel()
	const good = `const transform = (e) => e`
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"syntax":                {Spec{TransformJS: "function transform(e) {\n  return {a: }\n}"}, "transformJs: 2:14: SyntaxError: "},
		"no function":           {Spec{TransformJS: `const a = 1`}, "transformJs: the script defines no function transform"},
		"beside CEL":            {Spec{TransformJS: good, Transform: `{"a": 1}`}, "transformJs: cannot be set together with transform"},
		"with another format":   {Spec{TransformJS: good, Format: FormatSpec}, "transformJs: replaces the body of the format envelope"},
		"for clients that pull": {Spec{TransformJS: good, Kind: KindPull}, "transformJs: is for destinations of kind http and queue"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.spec.Name = "app"
			if c.spec.Kind == "" {
				c.spec.URL = "https://app.example.com/"
			}
			if err := c.spec.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// A broker gets the body and headers, too.
func TestScriptForBroker(t *testing.T) {
	t.Parallel()
	var got Message
	ev, o := completed(jobs.Job{Status: jobs.JobCompleted})
	o.Publish = func(_ context.Context, m Message) error { got = m; return nil }
	d, err := New(Spec{
		Name: "q", Kind: KindQueue, URL: "nats://127.0.0.1:4222", Topic: "t",
		TransformJS: `function transform(e, out) { out.headers["X-Id"] = e.id; return [e.id] }`,
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Handle(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	if string(got.Payload) != `["evt_1"]` || got.Header[http.CanonicalHeaderKey("x-id")] != "evt_1" {
		t.Errorf("message %s with headers %v", got.Payload, got.Header)
	}
}
