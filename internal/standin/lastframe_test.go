package standin_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/standin"
	"gaff/provider/lastframe"
)

func TestLastFrame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{})
		const order = `{"service":"video-stitch","inputs":[{"url":"https://a.test/1.mp4"},{"url":"https://a.test/2.mp4"}],
			"webhook_url":"http://hooks.test/lf","metadata":{"project_id":"p","user_id":"u","original_job_id":"job_1"}}`
		code, _, body := w.call("POST", "http://frames.test/v1/jobs", order, "Idempotency-Key", "k1")
		var job struct {
			JobID     string `json:"job_id"`
			Status    string `json:"status"`
			StatusURL string `json:"status_url"`
		}
		if err := json.Unmarshal(body, &job); err != nil || code != 202 || job.Status != "queued" {
			t.Fatalf("%d %s %v", code, body, err)
		}
		if code, _, again := w.call("POST", "http://frames.test/v1/jobs", order, "Idempotency-Key", "k1"); code != 200 || !strings.Contains(string(again), job.JobID) {
			t.Errorf("the same key: %d %s", code, again)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		src, err := lastframe.Source(lastframe.Options{Secrets: []string{frameSecret}})
		if err != nil {
			t.Fatal(err)
		}
		hooks := w.hooks.all()
		if len(hooks) != 2 {
			t.Fatalf("%d webhooks, want 2", len(hooks))
		}
		for i, want := range []string{lastframe.InProgress, lastframe.Completed} {
			proof, err := src.Verifier.Verify(context.Background(), hooks[i])
			if err != nil {
				t.Fatal(err)
			}
			env, err := src.Parser.Parse(hooks[i], proof)
			if err != nil || env.Type != want || env.CorrelationID != job.JobID {
				t.Errorf("webhook %d: %+v %v", i, env, err)
			}
		}
		u, err := (lastframe.Interpreter{}).Interpret(&gaff.Event{Data: hooks[1].Body})
		if err != nil || u.JobID != "job_1" || u.ProjectID != "p" || len(u.Files) != 1 {
			t.Fatalf("%+v %v", u, err)
		}
		if code, _, data := w.call("GET", u.Files[0].URL, ""); code != 200 || string(data[4:8]) != "ftyp" {
			t.Errorf("output: %d", code)
		}
		if _, _, status := w.call("GET", job.StatusURL, ""); string(status) != string(hooks[1].Body) {
			t.Errorf("status %s is not what the webhook said: %s", status, hooks[1].Body)
		}
	})
}

func TestLastFrameFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{Key: "frames"})
		order := func(fault string) (int, string) {
			code, _, body := w.call("POST", "http://frames.test/v1/jobs", `{"service":"video-stitch","inputs":[{"url":"https://a.test/1.mp4"}],
				"webhook_url":"http://hooks.test/lf"}`, standin.FaultHeader, fault, "Authorization", "Bearer frames")
			return code, string(body)
		}
		for fault, want := range map[string]int{"busy": 429, "down": 503, "error": 202, "forgets": 202, "lost": 202} {
			if code, body := order(fault); code != want {
				t.Errorf("%s: %d %s", fault, code, body)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		hooks := w.hooks.all()
		if len(hooks) != 2 || !strings.Contains(string(hooks[1].Body), `"error": "The clips`) {
			t.Errorf("%d webhooks", len(hooks))
		}
		for _, j := range w.lastframe.Jobs() {
			code, _, _ := w.call("GET", "http://frames.test/v1/jobs/"+j.ID, "", "Authorization", "Bearer frames")
			if want := map[bool]int{true: 404, false: 200}[j.Faults == "forgets"]; code != want {
				t.Errorf("%s: status %d, want %d", j.Faults, code, want)
			}
		}
		for _, bad := range []string{`{`, `{"service":"cook"}`, `{"service":"video-stitch"}`, `{"service":"video-stitch","inputs":[{"url":"x"}]}`} {
			if code, _, _ := w.call("POST", "http://frames.test/v1/jobs", bad, "Authorization", "Bearer frames"); code != 400 && code != 422 {
				t.Errorf("%s: %d", bad, code)
			}
		}
		if code, _, _ := w.call("POST", "http://frames.test/v1/jobs", `{}`); code != 401 {
			t.Errorf("without the key: %d", code)
		}
	})
}
