package lastframe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/fuzzseed"
	"gaff/jobs"
	"gaff/provider/lastframe"
)

var now = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func request(body string) *gaff.Request {
	return &gaff.Request{Method: http.MethodPost, Header: http.Header{}, Body: []byte(body), ReceivedAt: now}
}

func TestSignature(t *testing.T) {
	t.Parallel()
	src, err := lastframe.Source(lastframe.Options{Secrets: []string{"new", "old"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(r *gaff.Request)
		ok     bool
	}{
		"first secret":  {func(r *gaff.Request) { lastframe.Sign(r, "new") }, true},
		"second secret": {func(r *gaff.Request) { lastframe.Sign(r, "old") }, true},
		"another":       {func(r *gaff.Request) { lastframe.Sign(r, "other") }, false},
		"none":          {func(*gaff.Request) {}, false},
		"cut":           {func(r *gaff.Request) { lastframe.Sign(r, "new"); h(r, r.Header.Get("X-Lastframe-Signature")[1:]) }, false},
		"another body":  {func(r *gaff.Request) { lastframe.Sign(r, "new"); r.Body = append(r.Body, '\n') }, false},
		"fresh":         {func(r *gaff.Request) { lastframe.Sign(r, "new"); stamp(r, now.Add(-5*time.Minute)) }, true},
		"stale":         {func(r *gaff.Request) { lastframe.Sign(r, "new"); stamp(r, now.Add(-6*time.Minute)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request(`{"job_id":"j","status":"completed"}`)
			c.change(r)
			if _, err := src.Verifier.Verify(context.Background(), r); (err == nil) != c.ok {
				t.Errorf("accepted: %v (%v), want %v", err == nil, err, c.ok)
			}
		})
	}
	quiet, err := lastframe.Source(lastframe.Options{})
	if err != nil || !strings.Contains(quiet.DisabledReason, "LASTFRAME_WEBHOOK_SECRET") {
		t.Fatalf("without a secret: %q, %v", quiet.DisabledReason, err)
	}
	r := request(`{}`)
	lastframe.Sign(r, "")
	if _, err := quiet.Verifier.Verify(context.Background(), r); err == nil {
		t.Error("without a secret a request under the empty one is accepted")
	}
}

func h(r *gaff.Request, value string) { r.Header.Set("X-Lastframe-Signature", value) }

func stamp(r *gaff.Request, at time.Time) {
	r.Header.Set("X-Lastframe-Timestamp", strconv.FormatInt(at.Unix(), 10))
}

func TestParse(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"job_id":"j","status":"completed","service":"video-stitch"}`: "processing.completed j completed",
		`{"job_id":"j","status":"failed"}`:                             "processing.failed j failed",
		`{"job_id":"j","status":"in_progress","result":null}`:          "processing.in_progress j in_progress",
		`{"job_id":"j","status":"done"}`:                               "",
		`{"job_id":"","status":"completed"}`:                           "",
		`{"job_id":7,"status":"completed"}`:                            "",
		`["job_id"]`:                                                   "", `null`: "", ``: "", `{`: "", `{} {}`: "",
	} {
		env, err := lastframe.Parser{}.Parse(request(body), gaff.Verification{})
		got := ""
		if err == nil {
			got = env.Type + " " + env.ID + " " + env.Status
		}
		if got != want {
			t.Errorf("%s is read as %q, %v; want %q", body, got, err, want)
		}
	}
}

func TestInterpret(t *testing.T) {
	t.Parallel()
	metadata := `"metadata":{"project_id":"p","user_id":"u","original_job_id":"o"}`
	for name, c := range map[string]struct {
		body string
		want string // job, status, error; empty: discarded
		// file is the metadata of the one file, without generatedAt.
		file string
	}{
		"a stitched film": {
			`{"job_id":"j","status":"completed","service":"video-stitch","result":{"output_url":"https://f/s.mp4","duration":120.50},` + metadata + `}`,
			"o j completed ", `{"duration":120.50,"service":"video-stitch"}`,
		},
		"no original job":     {`{"job_id":"j","status":"completed","service":"s","result":{"output_url":"https://f/s.mp4"}}`, "j j completed ", `{"service":"s"}`},
		"a failure":           {`{"job_id":"j","status":"failed","result":{"error":"no"},` + metadata + `}`, "o j failed no", ""},
		"a failure, no words": {`{"job_id":"j","status":"failed"}`, "j j failed failed without a reason", ""},
		"progress":            {`{"job_id":"j","status":"in_progress","result":{"output_url":"https://f/preview.mp4"}}`, "j j processing ", ""},
		"a completed nothing": {`{"job_id":"j","status":"completed","result":null}`, "j j completed ", ""},
		"a text for a result": {`{"job_id":"j","status":"completed","result":"x"}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := lastframe.Interpreter{}.Interpret(&gaff.Event{Data: json.RawMessage(c.body), ReceivedAt: now})
			got := ""
			if err == nil {
				got = fmt.Sprintf("%s %s %s %s", u.JobID, u.RequestID, u.Status, u.Error)
			}
			if got != c.want || err == nil && (!u.Create || u.Provider != "lastframe") {
				t.Fatalf("read as %q (%+v), %v; want %q", got, u, err, c.want)
			}
			if (len(u.Files) == 1) != (c.file != "") {
				t.Fatalf("%d files", len(u.Files))
			}
			if c.file == "" {
				return
			}
			f := u.Files[0]
			facts := strings.Replace(string(f.Metadata), `"generatedAt":"2026-01-31T12:00:00Z",`, "", 1)
			if facts != c.file || f.MediaType != jobs.MediaVideo || f.Position != "lastframe:/output_url" {
				t.Errorf("the file is %+v with %s, want %s", f, facts, c.file)
			}
		})
	}
}

func TestInterpretReadsTheFirstOfManyFiles(t *testing.T) {
	t.Parallel()
	body := `{"job_id":"j","status":"completed","result":{"image_urls":["https://f/a.png"` + strings.Repeat(`,"https://f/a.png"`, 19_999) + `]}}`
	u, err := lastframe.Interpreter{}.Interpret(&gaff.Event{Data: json.RawMessage(body)})
	if err != nil || u.Status != jobs.JobCompleted || len(u.Files) != 1000 || u.FilesTotal != 20_000 {
		t.Errorf("%s with %d of %d files, %v; want completed with 1,000 of 20,000", u.Status, len(u.Files), u.FilesTotal, err)
	}
}

func TestSamples(t *testing.T) {
	t.Parallel()
	for _, eventType := range lastframe.Samples {
		body, err := lastframe.Sample(eventType, now)
		if err != nil {
			t.Fatal(err)
		}
		env, err := lastframe.Parser{}.Parse(request(string(body)), gaff.Verification{})
		if err != nil || env.Type != eventType {
			t.Errorf("sample %s is read as %s, %v", eventType, env.Type, err)
		}
	}
	if _, err := lastframe.Sample("processing.dancing", now); err == nil {
		t.Error("a sample of a type that there is not")
	}
}

func FuzzBody(f *testing.F) {
	for _, eventType := range lastframe.Samples {
		body, err := lastframe.Sample(eventType, now)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
		for _, other := range fuzzseed.Vary(string(body)) {
			f.Add([]byte(other))
		}
	}
	f.Add([]byte(`{"job_id":"j","status":"completed","result":{"output_url":"https://f","duration":1e999,"width":{}}}`))
	f.Add([]byte(`{"job_id":"j","status":"failed","result":[1],"metadata":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		env, err := lastframe.Parser{}.Parse(&gaff.Request{Body: body}, gaff.Verification{})
		if err != nil {
			return
		}
		if env.Type == "" || env.ID == "" || !json.Valid(body) {
			t.Errorf("read %q as %+v", body, env)
		}
		u, err := lastframe.Interpreter{}.Interpret(&gaff.Event{Data: body})
		handed, handedErr := lastframe.Interpreter{}.Interpret(&gaff.Event{Data: body, Parsed: env.Parsed})
		if env.Parsed == nil || !reflect.DeepEqual(handed, u) || fmt.Sprint(handedErr) != fmt.Sprint(err) {
			t.Errorf("handed on, %q is %+v, %v; read again, %+v, %v", body, handed, handedErr, u, err)
		}
		if err != nil {
			return
		}
		if u.JobID == "" || u.Status == jobs.JobFailed && u.Error == "" || u.Result != nil && !json.Valid(u.Result) {
			t.Errorf("interpreted %q as %+v", body, u)
		}
		for _, file := range u.Files {
			if !json.Valid(file.Metadata) {
				t.Errorf("metadata %q", file.Metadata)
			}
		}
	})
}
