package lastframe_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff/internal/standin"
	"gaff/jobs"
	"gaff/provider/lastframe"
)

const clips = `{"inputs":[{"url":"https://f/1.mp4"},{"url":"https://f/2.mp4"}],"options":{"transition":"cut"},"standin":{"seconds":1}}`

func newClient(t *testing.T, o standin.Options) (*lastframe.Client, *standin.LastFrame) {
	o.URL, o.Key, o.Seed = "http://lastframe.test", "the-key", 1
	service := standin.NewLastFrame("secret", o)
	t.Cleanup(service.Close)
	return lastframe.NewClient(lastframe.ClientOptions{
		URL: o.URL, Key: o.Key, HTTP: &http.Client{Transport: standin.Hosts{"lastframe.test": service}},
	}), service
}

func job() *jobs.Job {
	return &jobs.Job{ID: "job_1", Provider: "lastframe", Model: "video-stitch", ProjectID: "film", UserID: "anna"}
}

func TestClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, service := newClient(t, standin.Options{})
		ctx, j := context.Background(), job()
		a, err := c.Submit(ctx, j, json.RawMessage(clips), "")
		if err != nil || a.RequestID == "" || !strings.HasSuffix(a.StatusURL, a.RequestID) {
			t.Fatalf("%+v, %v", a, err)
		}
		// The same job again is the same work.
		if again, err := c.Submit(ctx, j, json.RawMessage(clips), ""); err != nil || again.RequestID != a.RequestID || len(service.Jobs()) != 1 {
			t.Errorf("again: %+v, %v", again, err)
		}
		var sent struct {
			Options  struct{ Transition string }
			Metadata map[string]string
		}
		if err := json.Unmarshal(service.Jobs()[0].Input, &sent); err != nil || sent.Options.Transition != "cut" ||
			sent.Metadata["original_job_id"] != "job_1" || sent.Metadata["project_id"] != "film" || sent.Metadata["user_id"] != "anna" {
			t.Errorf("sent %+v, %v", sent, err)
		}
		j.RequestID, j.StatusURL = a.RequestID, a.StatusURL
		for _, want := range []jobs.JobStatus{jobs.JobQueued, jobs.JobProcessing, jobs.JobCompleted} {
			u, err := c.Poll(ctx, j)
			if err != nil || u.Status != want {
				t.Fatalf("%s, %v; want %s", u.Status, err, want)
			}
			if want == jobs.JobCompleted && (len(u.Files) != 1 || u.JobID != "job_1") {
				t.Errorf("completed as %+v", u)
			}
			time.Sleep(time.Second)
		}
		if err := c.Cancel(ctx, j); !errors.Is(err, jobs.ErrEnded) {
			t.Errorf("cancel what has ended: %v", err)
		}
		j.RequestID, j.StatusURL = "none", "https://evil.example/v1/jobs/none"
		if _, err := c.Poll(ctx, j); !errors.Is(err, jobs.ErrNoSuchWork) {
			t.Errorf("poll an unknown job: %v", err)
		}
		if err := c.Cancel(ctx, j); !errors.Is(err, jobs.ErrNoSuchWork) {
			t.Errorf("cancel an unknown job: %v", err)
		}
	})
}

func TestClientsFaults(t *testing.T) {
	t.Parallel()
	for fault, again := range map[string]bool{"busy": true, "down": true, "unknown-outcome": true, "no-such-fault": false} {
		synctest.Test(t, func(t *testing.T) {
			c, service := newClient(t, standin.Options{})
			faults, err := standin.ParseFaults(fault)
			if again && err != nil {
				t.Fatal(err)
			}
			service.SetFaults(faults)
			j := job()
			if !again {
				j.Model = "no-such-service"
			}
			_, err = c.Submit(context.Background(), j, json.RawMessage(clips), "")
			var later *jobs.NotNow
			var refused *jobs.Rejected
			if errors.As(err, &later) != again || errors.As(err, &refused) == again {
				t.Errorf("%s: %v", fault, err)
			}
			service.SetFaults(nil)
			// A job that was accepted, with a lost response, is not accepted twice.
			if _, err := c.Submit(context.Background(), job(), json.RawMessage(clips), ""); err != nil || len(service.Jobs()) != 1 {
				t.Errorf("%s, then again: %v, %d jobs", fault, err, len(service.Jobs()))
			}
		})
	}
}

func TestClientChecks(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, standin.Options{})
	for field, s := range map[string]jobs.Submission{
		"model": {Model: "no service", Input: json.RawMessage(clips)},
		"input": {Model: "video-stitch", Input: json.RawMessage(`{"inputs":[]}`)},
	} {
		var invalid *jobs.InvalidError
		if err := c.Check(&s); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	var invalid *jobs.InvalidError
	if err := lastframe.NewClient(lastframe.ClientOptions{}).Check(&jobs.Submission{}); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "GAFF_LASTFRAME_URL") {
		t.Errorf("without an address: %v", err)
	}
	for address, ok := range map[string]bool{
		"http://lastframe.test/v1/jobs/1": true, "https://lastframe.test/x": false, "http://lastframe.test@evil.example/": false, "http://evil.example/": false,
	} {
		if err := c.CheckAddress(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestRelaysOwnHeadersOnly(t *testing.T) {
	t.Parallel()
	c := lastframe.NewClient(lastframe.ClientOptions{})
	for name, want := range map[string]bool{"X-Lastframe-Signature": true, "X-Fal-Signature": false, "Content-Type": false, "Authorization": false} {
		if got := c.RelaysHeader(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
