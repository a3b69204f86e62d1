package destination

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/client"
	"gaff/jobs"
)

// decoded returns JSON as Go values, to compare it without the order of its members.
func decoded(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// completed is the event of a completed job, and the lookup that finds the job.
func completed(j jobs.Job, files ...jobs.Media) (*gaff.Event, Options) {
	j.ID, j.RequestID, j.Provider = "job_1", "req-1", "fal"
	ev := &gaff.Event{ID: "evt_1", Source: gaff.InternalSource, Type: "job.completed", ReceivedAt: time.Unix(1_800_000_000, 0), Data: []byte(`{"jobId":"job_1"}`)}
	return ev, Options{Lookup: fixed{j: &j, files: files}}
}

// The body is the one that the application's own route for fal verifies and reads.
func TestFormatSpecIsTheBodyOfTheSharedSecretDialect(t *testing.T) {
	t.Parallel()
	image := jobs.Media{ID: "med_1", URL: "https://f/1.png", MediaType: jobs.MediaImage, Metadata: json.RawMessage(`{"width":1024,"height":768}`)}
	video := jobs.Media{ID: "med_1", URL: "https://f/1.mp4", MediaType: jobs.MediaVideo, Metadata: json.RawMessage(`{"duration":5.2}`)}
	for name, c := range map[string]struct {
		job   jobs.Job
		files []jobs.Media
		want  string
	}{
		"image": {
			jobs.Job{Status: jobs.JobCompleted, ProjectID: "p1", UserID: "u1", Result: json.RawMessage(`{"images":[{"url":"https://f/1.png","width":512}],"seed":17454220438242315174}`)},
			[]jobs.Media{image},
			`{"request_id":"req-1","status":"completed","result":{"images":[{"url":"https://f/1.png","width":512,"height":768}],"seed":17454220438242315174},
			  "metadata":{"job_id":"job_1","project_id":"p1","user_id":"u1","generation_type":"image"}}`,
		},
		"video, with its duration": {
			jobs.Job{Status: jobs.JobCompleted, Result: json.RawMessage(`{"video":{"url":"https://f/1.mp4"}}`)}, []jobs.Media{video},
			`{"request_id":"req-1","status":"completed","result":{"video":{"url":"https://f/1.mp4","duration":5.2}},"metadata":{"job_id":"job_1","generation_type":"video"}}`,
		},
		"files that the result does not name": {
			jobs.Job{Status: jobs.JobCompleted, Result: json.RawMessage(`{"output":["https://f/1.png"]}`)}, []jobs.Media{image},
			`{"request_id":"req-1","status":"completed","result":{"output":["https://f/1.png"],"images":[{"url":"https://f/1.png","width":1024,"height":768}]},
			  "metadata":{"job_id":"job_1","generation_type":"image"}}`,
		},
		"metadata of the application": {
			jobs.Job{Status: jobs.JobCompleted, Kind: "image", ProjectID: "p1", Metadata: json.RawMessage(`{"job_id":"mine","scene":7}`)}, nil,
			`{"request_id":"req-1","status":"completed","metadata":{"job_id":"mine","scene":7,"project_id":"p1","generation_type":"image"}}`,
		},
		"failure": {
			jobs.Job{Status: jobs.JobFailed, Error: "nsfw"}, nil,
			`{"request_id":"req-1","status":"failed","result":{"error":"nsfw"},"metadata":{"job_id":"job_1"}}`,
		},
		"cancellation": {
			jobs.Job{Status: jobs.JobCancelled}, nil,
			`{"request_id":"req-1","status":"failed","result":{"error":"cancelled"},"metadata":{"job_id":"job_1"}}`,
		},
		"unsettled job": {
			jobs.Job{Status: jobs.JobProcessing}, nil,
			`{"request_id":"req-1","status":"in_progress","metadata":{"job_id":"job_1"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, nil)
			ev, o := completed(c.job, c.files...)
			d := newDestination(t, Spec{URL: r.URL, Format: FormatSpec, Secrets: []string{"the application's secret"}}, o)
			if err := d.Handle(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decoded(t, c.want), decoded(t, string(r.body))); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(c.want, "17454220438242315174") && !strings.Contains(string(r.body), "17454220438242315174") {
				t.Errorf("a large number was rounded: %s", r.body)
			}
			mac := hmac.New(sha256.New, []byte("the application's secret"))
			mac.Write(r.body)
			if got, want := r.header.Get("X-Fal-Signature"), hex.EncodeToString(mac.Sum(nil)); got != want {
				t.Errorf("x-fal-signature is %q, want %q", got, want)
			}
			if got := r.header.Get(client.HeaderSignature); got != "" {
				t.Errorf("%s is %q for a secret that is not one of Standard Webhooks", client.HeaderSignature, got)
			}
		})
	}
}

func TestTransformBuildsTheBody(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	ev, o := completed(jobs.Job{Status: jobs.JobCompleted, ProjectID: "p1", Result: json.RawMessage(`{"seed":9007199254740993}`)},
		jobs.Media{ID: "med_1", URL: "https://f/1.png", MediaType: jobs.MediaImage}, jobs.Media{ID: "med_2", URL: "https://f/2.png", MediaType: jobs.MediaImage})
	d := newDestination(t, Spec{
		URL: r.URL, Secrets: []string{secret}, SignatureHeader: "X-Webhook-Signature",
		Transform: `{"kind": source + ":" + type, "project": job.?projectId.orValue(null), "seed": job.result.seed, "urls": media.map(m, m.url), "reply": event.correlationId}`,
	}, o)
	if err := d.Handle(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	const want = `{"kind":"gaff:job.completed","project":"p1","reply":null,"seed":9007199254740993,"urls":["https://f/1.png","https://f/2.png"]}`
	if string(r.body) != want {
		t.Errorf("body\n%s\nwant\n%s", r.body, want)
	}
	if _, err := client.Verify([]string{secret}, r.header, r.body, time.Now()); err != nil {
		t.Errorf("the transformed body is not signed by Standard Webhooks: %v", err)
	}
	if len(r.header.Get("X-Webhook-Signature")) != 64 {
		t.Errorf("X-Webhook-Signature is %q, want 64 hex digits", r.header.Get("X-Webhook-Signature"))
	}
}

// An expression that fails can be corrected, and the delivery then succeeds: it must not be dead at once.
func TestTransformFailureIsRetried(t *testing.T) {
	t.Parallel()
	ev, o := completed(jobs.Job{Status: jobs.JobCompleted})
	o.Publish = nil
	for name, c := range map[string]struct{ expression, want string }{
		"missing field":      {`{"x": job.result.nope.deeper}`, "no such"},
		"not an object":      {`data.jobId == "job_1" ? dyn([1]) : dyn({})`, "not an object"},
		"cost":               {`{"n": lists.range(20000).map(a, lists.range(20000).map(b, a * b)).size()}`, "transform"},
		"body over the size": {`{"n": lists.range(300).map(a, "x".replace("x", "0123456789".replace("", "0123456789012345678901234567890123456789012345678901234567890123456789").replace("", "0123456789012345678901234567890123456789012345678901234567890123456789")))}`, "transform"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, nil)
			err := newDestination(t, Spec{URL: r.URL, Transform: c.expression}, o).Handle(t.Context(), ev)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if !errors.Is(err, errTransform) {
				t.Errorf("%v ends the delivery at once", err)
			}
			if r.body != nil {
				t.Errorf("sent %s", r.body)
			}
		})
	}
}

func TestTransformIsChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"misspelled variable":      {Spec{Transform: `{"id": jobs.id}`}, `transform: `},
		"text":                     {Spec{Transform: `"a" + "b"`}, "want "},
		"with another format":      {Spec{Transform: `{"a": 1}`, Format: FormatCloudEvents}, "transform: replaces the body of the format envelope"},
		"for clients that pull":    {Spec{Kind: KindPull, Transform: `{"a": 1}`}, "transform: is for destinations of kind http and queue"},
		"spec for pulling clients": {Spec{Kind: KindPull, Format: FormatSpec}, "format: spec is for destinations"},
		"unknown format":           {Spec{Format: "xml"}, `format: unknown format "xml"; want envelope, original, cloudevents, cloudevents-binary or spec`},
		"header without a secret":  {Spec{SignatureHeader: "X-Signature"}, "signatureHeader: needs a secret"},
		"header of gaff":           {Spec{SignatureHeader: "Webhook-Id", Secrets: []string{secret}}, "signatureHeader: Webhook-Id is set by gaff itself"},
		"no header":                {Spec{SignatureHeader: "X Signature", Secrets: []string{secret}}, "is not the name of a header"},
		"short secret":             {Spec{Format: FormatSpec, Secrets: []string{"hush"}}, "secrets[0]: is shorter than 8 bytes"},
		"plain secret, no header":  {Spec{Secrets: []string{"the application's secret"}}, "secrets[0]: "},
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
