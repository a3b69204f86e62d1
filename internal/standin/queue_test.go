package standin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/standin"
	"gaff/jobs"
	"gaff/provider/fal"
)

func TestAJobThroughTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{Queue: time.Second, Work: 3 * time.Second})
		s := w.submit("fal-ai/flux/dev", `{"prompt":"a dog in the snow — ☃","num_images":2,"image_size":{"width":64,"height":48}}`)
		if want := "http://queue.test/fal-ai/flux/requests/" + s.RequestID; s.ResponseURL != want || s.StatusURL != want+"/status" || s.CancelURL != want+"/cancel" {
			t.Errorf("addresses %+v, want them below %s", s, want)
		}
		for _, step := range []struct {
			after    time.Duration
			code     int
			contains string
		}{
			{0, 202, `"queue_position": 0`}, {1500 * time.Millisecond, 202, `"status": "IN_PROGRESS"`}, {3 * time.Second, 200, `"status": "COMPLETED"`},
		} {
			time.Sleep(step.after)
			code, _, body := w.call(http.MethodGet, s.StatusURL+"?logs=1", "")
			if code != step.code || !strings.Contains(string(body), step.contains) {
				t.Errorf("status %d %s, want %d with %s", code, body, step.code, step.contains)
			}
			if step.code == 202 {
				if code, _, _ := w.call(http.MethodGet, s.ResponseURL, ""); code != 400 {
					t.Errorf("result of an unfinished job: %d, want 400", code)
				}
			}
		}
		synctest.Wait()
		code, header, result := w.call(http.MethodGet, s.ResponseURL, "")
		if code != 200 || header.Get("X-Fal-Billable-Units") != "2" || header.Get("X-Fal-Request-Id") != s.RequestID {
			t.Errorf("result: %d %v", code, header)
		}
		hooks := w.hooks.all()
		if len(hooks) != 1 {
			t.Fatalf("%d webhooks, want 1", len(hooks))
		}
		if hooks[0].URL != "http://hooks.test/fal?a=1" {
			t.Errorf("the webhook's address is %s", hooks[0].URL)
		}
		proof, env, err := w.read(hooks[0])
		if err != nil || proof.Subject != standin.UserID || env.Type != fal.Completed || env.CorrelationID != s.RequestID {
			t.Errorf("webhook reads as %+v %+v %v", proof, env, err)
		}
		u, err := (fal.Interpreter{}).Interpret(&gaff.Event{Data: hooks[0].Body, Verification: proof})
		if err != nil || u.Status != jobs.JobCompleted || len(u.Files) != 2 {
			t.Fatalf("interpreted as %+v, %v", u, err)
		}
		var hook struct{ Payload json.RawMessage }
		if err := json.Unmarshal(hooks[0].Body, &hook); err != nil || string(hook.Payload) != string(result) {
			t.Errorf("webhook's payload %s is not the result %s", hook.Payload, result)
		}
		if !bytes.HasPrefix(hooks[0].Body, []byte(`{"error": null, "gateway_request_id": "`)) || !bytes.Contains(hooks[0].Body, []byte(`\u2014 \u2603`)) {
			t.Errorf("not in Python's style: %.200s", hooks[0].Body)
		}
		seen := map[string]bool{}
		for _, f := range u.Files {
			code, header, data := w.call(http.MethodGet, f.URL, "")
			img, format, err := image.Decode(bytes.NewReader(data))
			if code != 200 || err != nil || format != "png" || img.Bounds().Dx() != 64 || header.Get("Content-Type") != "image/png" {
				t.Errorf("file: %d %s %v", code, format, err)
			}
			seen[string(data)] = true
		}
		if len(seen) != 2 {
			t.Error("both pictures are the same")
		}
		if code, _, body := w.call(http.MethodPut, s.CancelURL, ""); code != 400 || string(body) != `{"status": "ALREADY_COMPLETED"}` {
			t.Errorf("cancel a finished job: %d %s", code, body)
		}
	})
}

func TestAnswersOfTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{Key: "id:secret"})
		const url = "http://queue.test/fal-ai/flux"
		for name, c := range map[string]struct {
			method, url, body, key string
			code                   int
			contains               string
		}{
			"wrong key":       {"POST", url, `{}`, "Key other", 401, "detail"},
			"no key":          {"POST", url, `{}`, "", 401, "detail"},
			"no JSON":         {"POST", url, `{`, "Key id:secret", 422, "json_invalid"},
			"bad webhook":     {"POST", url + "?fal_webhook=here", `{}`, "Key id:secret", 400, "fal_webhook"},
			"one segment":     {"POST", "http://queue.test/flux", `{}`, "Key id:secret", 404, "not found"},
			"unknown request": {"GET", url + "/requests/abc/status", "", "Key id:secret", 404, "NOT_FOUND"},
			"unknown fault":   {"POST", url, `{"standin":{"fault":"none"}}`, "Key id:secret", 400, "not known"},
		} {
			code, _, body := w.call(c.method, c.url, c.body, "Authorization", c.key)
			if code != c.code || !strings.Contains(string(body), c.contains) {
				t.Errorf("%s: %d %s, want %d with %s", name, code, body, c.code, c.contains)
			}
		}
		if n := len(w.fal.Jobs()); n != 0 {
			t.Errorf("%d jobs were taken", n)
		}
		// A job of one app is not found under another, and one in the queue can be cancelled.
		s := w.submit("fal-ai/veo3.1", `{"prompt":"x"}`)
		if code, _, _ := w.call("GET", url+"/requests/"+s.RequestID+"/status", ""); code != 404 {
			t.Errorf("another app's address answers %d", code)
		}
		if code, _, body := w.call("PUT", s.CancelURL, ""); code != 202 || !strings.Contains(string(body), "CANCELLATION_REQUESTED") {
			t.Errorf("cancel: %d %s", code, body)
		}
		if _, _, body := w.call("GET", s.StatusURL, ""); !strings.Contains(string(body), `"error_type": "client_cancelled"`) {
			t.Errorf("cancelled: %s", body)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(w.hooks.all()); n != 0 {
			t.Errorf("%d webhooks of a cancelled job", n)
		}
	})
}

func TestUnknownOutcomeTakesTheJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{Faults: standin.Faults{standin.UnknownOutcome: 1}})
		_, _, _, err := w.try("POST", "http://queue.test/fal-ai/flux?fal_webhook=http://hooks.test/", `{"prompt":"dog"}`)
		if err == nil {
			t.Error("the submit was answered")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(w.hooks.all()); n != 1 {
			t.Errorf("%d webhooks, want 1", n)
		}
	})
}

func TestRefusedSubmitsTakeNoJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{})
		for fault, want := range map[string]int{"busy": 429, "down": 503} {
			if code, _, _ := w.call("POST", "http://queue.test/fal-ai/flux", `{"prompt":"x"}`, standin.FaultHeader, fault); code != want {
				t.Errorf("%s: %d, want %d", fault, code, want)
			}
		}
		if n := len(w.fal.Jobs()); n != 0 {
			t.Errorf("%d jobs", n)
		}
	})
}

func TestABurstGoesOutAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{Faults: standin.Faults{standin.Burst: 1}, BurstEvery: 10 * time.Second})
		for range 5 {
			w.submit("fal-ai/whisper", `{}`)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		hooks := w.hooks.all()
		if len(hooks) != 5 {
			t.Fatalf("%d webhooks, want 5", len(hooks))
		}
		for _, h := range hooks {
			if !h.ReceivedAt.Equal(hooks[0].ReceivedAt) {
				t.Errorf("one came at %s, one at %s", hooks[0].ReceivedAt, h.ReceivedAt)
			}
		}
	})
}

func TestDeliveriesAreRepeated(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(n int) int
		want   int
	}{
		"until they are taken": {func(n int) int {
			if n < 4 {
				return 503
			}
			return 200
		}, 4},
		"ten times":                {func(int) int { return 401 }, 10},
		"never after a redirect":   {func(int) int { return 302 }, 1},
		"not after a 204 either":   {func(int) int { return 204 }, 1},
		"after a 404 like any 4xx": {func(n int) int { return []int{404, 200}[n-1] }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, standin.Options{})
				w.hooks.answer = c.answer
				w.submit("fal-ai/whisper", `{}`)
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				hooks := w.hooks.all()
				if len(hooks) != c.want {
					t.Errorf("%d tries, want %d", len(hooks), c.want)
				}
				if got := w.fal.Jobs()[0].Deliveries; len(got) != c.want || got[len(got)-1].Status != c.answer(c.want) {
					t.Errorf("remembered as %+v", got)
				}
			})
		})
	}
}

// The platform's list has the requests that have ended, the last first, in pages.
func TestListOfRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{})
		began := time.Now()
		const list = "https://queue.test/v1/models/requests/by-endpoint"
		var ids []string
		for n := range 5 {
			ids = append(ids, w.submit("fal-ai/flux/dev", fmt.Sprintf(`{"prompt":"%d"}`, n)).RequestID)
			time.Sleep(10 * time.Second)
		}
		w.submit("fal-ai/flux/dev", `{"prompt":"under way"}`)
		failed := w.submit("fal-ai/veo3.1", `{"prompt":"bad","standin":{"fault":"error-model","seconds":0}}`).RequestID
		time.Sleep(time.Second)
		var got []string
		var page struct {
			Items []struct {
				ID      string          `json:"request_id"`
				Status  int             `json:"status_code"`
				SentAt  time.Time       `json:"sent_at"`
				EndedAt time.Time       `json:"ended_at"`
				Input   json.RawMessage `json:"json_input"`
			}
			Next string `json:"next_cursor"`
			More bool   `json:"has_more"`
		}
		for query := "?endpoint_id=fal-ai/flux/dev&limit=2&expand=payloads"; ; query = "?endpoint_id=fal-ai/flux/dev&limit=2&cursor=" + page.Next {
			page.Next, page.Items = "", nil
			status, _, body := w.call("GET", list+query, "")
			if err := json.Unmarshal(body, &page); err != nil || status != 200 {
				t.Fatalf("%d %s: %v", status, body, err)
			}
			if first := len(got) == 0; first != (len(page.Items[0].Input) > 0) {
				t.Errorf("payloads are there: %s", body)
			}
			for _, item := range page.Items {
				got = append([]string{item.ID}, got...)
				if sent := item.SentAt.Sub(began); item.Status != 200 || sent%(10*time.Second) != 0 || item.EndedAt.Sub(item.SentAt) != 2*time.Second {
					t.Errorf("an item is %+v", item)
				}
			}
			if !page.More {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(ids) {
			t.Errorf("listed %v, want %v", got, ids)
		}
		for query, want := range map[string]string{
			"?endpoint_id=fal-ai/veo3.1": `"status_code": 422`, "?endpoint_id=fal-ai/a/b,fal-ai/veo3.1": failed, "?endpoint_id=x&endpoint_id=fal-ai/veo3.1": failed,
			"?endpoint_id=fal-ai/veo3.1&end=" + began.Format(time.RFC3339): `"items": []`, "?endpoint_id=fal-ai/veo3.1&start=2100-01-01": `"items": []`,
			"": "Invalid endpoint_id", "?endpoint_id=x&limit=101": "Invalid limit", "?endpoint_id=x&cursor=x": "Invalid cursor", "?endpoint_id=x&start=soon": "Invalid start",
		} {
			if _, _, body := w.call("GET", list+query, ""); !strings.Contains(string(body), want) {
				t.Errorf("%s: %s, want %s", query, body, want)
			}
		}
		if status, _, _ := w.call("GET", list+"?endpoint_id=x", "", "Authorization", ""); status != 401 {
			t.Errorf("without a key: %d", status)
		}
	})
}

// What fal's client calls besides the queue: fal.run, fal.stream, and uploads from a page.
func TestFalRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := standin.NewFal(standin.Options{URL: "http://fal.test", Key: "k", Seed: 1})
		defer f.Close()
		call := func(path, body string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("POST", standin.RunPath+path, strings.NewReader(body))
			r.Header.Set("Authorization", "Key k")
			w := httptest.NewRecorder()
			f.ServeHTTP(w, r)
			return w
		}
		for name, c := range map[string]struct {
			path, body string
			status     int
			has        string
			took       time.Duration
		}{
			"an image":       {"/fal-ai/flux/dev", `{"prompt":"x"}`, 200, `"images": [`, 2 * time.Second},
			"speech":         {"/fal-ai/minimax/speech-02-hd", `{"text":"x"}`, 200, `"audio": {`, 2 * time.Second},
			"a stream":       {"/fal-ai/flux/dev/stream", `{"prompt":"x"}`, 200, "data: {", 2 * time.Second},
			"a mistake":      {"/fal-ai/flux/dev", `{}`, 422, `"value_error.missing"`, 2 * time.Second},
			"a stream's":     {"/fal-ai/flux/dev/stream", `{}`, 422, `"value_error.missing"`, 2 * time.Second},
			"a full account": {"/fal-ai/flux/dev", `{"prompt":"x","standin":{"fault":"busy"}}`, 429, `"concurrent_requests_limit"`, 0},
			"no model":       {"/flux", `{}`, 404, "not found", 0},
		} {
			began := time.Now()
			w := call(c.path, c.body)
			if took := time.Since(began); w.Code != c.status || !strings.Contains(w.Body.String(), c.has) || took != c.took {
				t.Errorf("%s is answered %d after %s: %.300s", name, w.Code, took, w.Body)
			}
		}
		if events := strings.Count(call("/fal-ai/flux/dev/stream", `{"prompt":"x"}`).Body.String(), "data: "); events < 2 {
			t.Errorf("a stream has %d events", events)
		}
	})
}
