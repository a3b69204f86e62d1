package standin_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/standin"
	"gaff/jobs"
	"gaff/provider/fal"
	"gaff/provider/lastframe"
	"gaff/verify"
)

// receiver keeps the webhooks that come, and answers with what it is told.
type receiver struct {
	mu     sync.Mutex
	got    []*gaff.Request
	answer func(n int) int
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	rc.mu.Lock()
	rc.got = append(rc.got, &gaff.Request{
		Method: r.Method, URL: r.URL.String(), Header: r.Header.Clone(), Body: body, ReceivedAt: time.Now(),
	})
	n := len(rc.got)
	rc.mu.Unlock()
	if rc.answer != nil {
		w.WriteHeader(rc.answer(n))
	}
}

func (rc *receiver) all() []*gaff.Request {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return append([]*gaff.Request(nil), rc.got...)
}

// world joins a stand-in for fal, one for Last Frame and a receiver, without a network.
type world struct {
	t         *testing.T
	fal       *standin.Fal
	lastframe *standin.LastFrame
	hooks     *receiver
	client    *http.Client
}

const frameSecret = "frame-secret"

func newWorld(t *testing.T, o standin.Options) *world {
	w := &world{t: t, hooks: &receiver{}}
	hosts := standin.Hosts{"hooks.test": w.hooks}
	w.client = &http.Client{Transport: hosts, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	o.Client = w.client
	if o.Seed == 0 {
		o.Seed = 42
	}
	w.fal, w.lastframe = standin.NewFal(o), standin.NewLastFrame(frameSecret, o)
	hosts["queue.test"], hosts["frames.test"] = w.fal, w.lastframe
	t.Cleanup(w.fal.Close)
	t.Cleanup(w.lastframe.Close)
	return w
}

func (w *world) call(method, url, body string, header ...string) (int, http.Header, []byte) {
	w.t.Helper()
	status, h, text, err := w.try(method, url, body, header...)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, url, err)
	}
	return status, h, text
}

func (w *world) try(method, url, body string, header ...string) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Key id:secret")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, text, err
}

type submitted struct {
	RequestID   string `json:"request_id"`
	StatusURL   string `json:"status_url"`
	ResponseURL string `json:"response_url"`
	CancelURL   string `json:"cancel_url"`
}

func (w *world) submit(model, input string, header ...string) submitted {
	w.t.Helper()
	status, _, body := w.call(http.MethodPost, "http://queue.test/"+model+"?fal_webhook=http%3A%2F%2Fhooks.test%2Ffal%3Fa%3D1", input, header...)
	if status != http.StatusOK {
		w.t.Fatalf("submit: %d %s", status, body)
	}
	var s submitted
	if err := json.Unmarshal(body, &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// read takes the webhooks through gaff's own source, as a gateway would.
func (w *world) read(r *gaff.Request) (gaff.Verification, gaff.Envelope, error) {
	keys := verify.NewJWKS("http://queue.test"+standin.JWKSPath, verify.JWKSOptions{Client: w.client})
	src, err := fal.Source(fal.Options{JWKS: keys})
	if err != nil {
		w.t.Fatal(err)
	}
	proof, err := src.Verifier.Verify(context.Background(), r)
	if err != nil {
		return proof, gaff.Envelope{}, err
	}
	env, err := src.Parser.Parse(r, proof)
	return proof, env, err
}

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

func TestFaults(t *testing.T) {
	t.Parallel()
	type state struct {
		w     *world
		s     submitted
		hooks []*gaff.Request
	}
	failed := func(code, message string) func(*testing.T, state) {
		return func(t *testing.T, st state) {
			proof, env, err := st.w.read(st.hooks[0])
			if err != nil || env.Type != fal.Failed {
				t.Fatalf("reads as %+v, %v", env, err)
			}
			u, err := (fal.Interpreter{}).Interpret(&gaff.Event{Data: st.hooks[0].Body, Verification: proof})
			if err != nil || u.ErrorType != code || !strings.Contains(u.Error, message) {
				t.Errorf("interpreted as %q %q, %v", u.ErrorType, u.Error, err)
			}
			_, _, status := st.w.call("GET", st.s.StatusURL, "")
			answer, header, _ := st.w.call("GET", st.s.ResponseURL, "")
			if !strings.Contains(string(status), `"error_type": "`+code+`"`) || answer < 400 || header.Get("X-Fal-Error-Type") != code {
				t.Errorf("status %s, result %d %v", status, answer, header)
			}
		}
	}
	refused := func(t *testing.T, st state) {
		if _, _, err := st.w.read(st.hooks[0]); err == nil {
			t.Error("gaff takes it for authentic")
		}
	}
	for name, c := range map[string]struct {
		early, hooks int // webhooks after ten seconds, and after two minutes
		check        func(*testing.T, state)
	}{
		"duplicate":   {2, 2, func(t *testing.T, st state) { sameBody(t, st.hooks) }},
		"late":        {0, 1, nil},
		"lost":        {0, 0, nil},
		"wrong-key":   {1, 1, refused},
		"stale":       {1, 1, refused},
		"error-model": {1, 1, failed("content_policy_violation", "prompt: The content")},
		"error-infra": {1, 1, failed("runner_disconnected", "Runner disconnected")},
		"other-user": {1, 1, func(t *testing.T, st state) {
			if proof, _, err := st.w.read(st.hooks[0]); err != nil || proof.Subject == standin.UserID {
				t.Errorf("proof %+v, %v", proof, err)
			}
		}},
		"payload-error": {1, 1, func(t *testing.T, st state) {
			if !strings.Contains(string(st.hooks[0].Body), `"payload": null, "payload_error": "Response payload`) {
				t.Errorf("body %s", st.hooks[0].Body)
			}
			if code, _, body := st.w.call("GET", st.s.ResponseURL, ""); code != 200 || !strings.Contains(string(body), `"images"`) {
				t.Errorf("result %d %s", code, body)
			}
		}},
		"large": {1, 1, func(t *testing.T, st state) {
			if n := len(st.hooks[0].Body); n < 5<<20 {
				t.Errorf("%d bytes", n)
			}
		}},
		"before-answer": {1, 1, nil},
		"forgets": {0, 0, func(t *testing.T, st state) {
			if code, _, _ := st.w.call("GET", st.s.StatusURL, ""); code != 404 {
				t.Errorf("status answers %d", code)
			}
		}},
		"result-504": {1, 1, func(t *testing.T, st state) {
			for _, want := range []int{504, 200} {
				if code, _, _ := st.w.call("GET", st.s.ResponseURL, ""); code != want {
					t.Errorf("result answers %d, want %d", code, want)
				}
			}
		}},
		"duplicate,late": {0, 2, nil},
		"burst":          {1, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, standin.Options{})
				s := w.submit("fal-ai/flux/dev", `{"prompt":"dog","image_size":{"width":32,"height":32}}`, standin.FaultHeader, name)
				if name == "before-answer" && len(w.hooks.all()) != 1 {
					t.Error("the submit was answered before the webhook came")
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if n := len(w.hooks.all()); n != c.early {
					t.Errorf("%d webhooks after 10 s, want %d", n, c.early)
				}
				time.Sleep(110 * time.Second)
				synctest.Wait()
				hooks := w.hooks.all()
				if len(hooks) != c.hooks {
					t.Fatalf("%d webhooks after 2 min, want %d", len(hooks), c.hooks)
				}
				if c.check != nil {
					c.check(t, state{w, s, hooks})
				}
			})
		})
	}
}

func sameBody(t *testing.T, hooks []*gaff.Request) {
	for _, h := range hooks {
		if !bytes.Equal(h.Body, hooks[0].Body) {
			t.Error("the copies differ")
		}
	}
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

func TestKeysRotateAndFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{})
		w.fal.Rotate()
		w.submit("fal-ai/whisper", `{}`)
		time.Sleep(time.Minute)
		hooks := w.hooks.all()
		hooks[0].ReceivedAt = hooks[0].ReceivedAt.Add(time.Second)
		if _, _, err := w.read(hooks[0]); err != nil {
			t.Errorf("signed by the new key: %v", err)
		}
		w.fal.FailJWKS(1)
		if code, _, _ := w.call("GET", "http://queue.test"+standin.JWKSPath, ""); code != 500 {
			t.Errorf("keys answer %d", code)
		}
		if code, _, body := w.call("GET", "http://queue.test"+standin.JWKSPath, ""); code != 200 || strings.Count(string(body), "OKP") != 2 {
			t.Errorf("keys: %d %s", code, body)
		}
	})
}

func TestOneSeedOneStory(t *testing.T) {
	t.Parallel()
	tell := func(seed uint64) string {
		var story string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, standin.Options{Seed: seed, Faults: standin.Faults{standin.Lost: 0.5, standin.Duplicate: 0.5, standin.Error: 0.3}})
			for i := range 20 {
				w.submit("fal-ai/flux/dev", fmt.Sprintf(`{"prompt":"%d"}`, i))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, j := range w.fal.Jobs() {
				story += fmt.Sprintln(j.ID, j.Faults, len(j.Deliveries))
			}
		})
		return story
	}
	first := tell(7)
	if again := tell(7); again != first {
		t.Errorf("two runs of one seed differ:\n%s\n%s", first, again)
	}
	if other := tell(8); other == first {
		t.Error("two seeds make the same story")
	}
}

func TestResultsHaveTheirModelsShape(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{})
		for model, want := range map[string]map[string]string{
			"fal-ai/veo3.1":                             {"/video": "generated-video"},
			"fal-ai/kling-video/v2.5-turbo/pro":         {"/video": "generated-video"},
			"fal-ai/wan-25-preview/text-to-video":       {"/video": "generated-video"},
			"fal-ai/ltx/webm":                           {"/video": "generated-video"},
			"fal-ai/nano-banana":                        {"/images/0": "generated-image"},
			"fal-ai/minimax/speech-02-hd":               {"/audio": "generated-audio"},
			"fal-ai/stable-audio":                       {"/audio": "generated-audio"},
			"fal-ai/demucs":                             {"/vocals": "generated-audio", "/drums": "generated-audio", "/bass": "generated-audio", "/other": "generated-audio"},
			"fal-ai/trellis":                            {"/model_mesh": "generated-model"},
			"fal-ai/flux-lora-fast-training":            {"/diffusers_lora_file": "generated-file", "/config_file": "generated-file"},
			"fal-ai/sam2/video":                         {"/video": "generated-video", "/boundingbox_frames_zip": "generated-file"},
			"fal-ai/whisper":                            {},
			"workflows/someone/flux-then-something/one": {"/images/0": "generated-image"},
		} {
			s := w.submit(model, `{"prompt":"a dog","text":"hello"}`)
			time.Sleep(5 * time.Second)
			code, _, result := w.call("GET", s.ResponseURL, "")
			files, _ := jobs.Files("fal", result, time.Now())
			if code != 200 || len(files) != len(want) {
				t.Errorf("%s: %d %s", model, code, result)
				continue
			}
			for _, f := range files {
				if kind := want[strings.TrimPrefix(f.Position, "fal:")]; kind != f.MediaType {
					t.Errorf("%s: %s is a %s, want %q", model, f.Position, f.MediaType, kind)
				}
				code, header, data := w.call("GET", f.URL, "")
				if code != 200 || len(data) == 0 || header.Get("Content-Type") == "" {
					t.Errorf("%s: file %s: %d, %d bytes", model, f.URL, code, len(data))
				}
				checkFile(t, header.Get("Content-Type"), data)
			}
		}
	})
}

// checkFile looks at the first bytes, and inside where that is easy; the players' view is
// that of the tests of what reads media.
func checkFile(t *testing.T, contentType string, data []byte) {
	magic := map[string]string{
		"image/png": "\x89PNG", "video/webm": "\x1aE\xdf\xa3", "audio/wav": "RIFF", "audio/ogg": "OggS", "model/gltf-binary": "glTF",
		"application/zip": "PK",
	}[contentType]
	if !bytes.HasPrefix(data, []byte(magic)) {
		t.Errorf("%s begins with %q", contentType, data[:8])
	}
	switch contentType {
	case "video/mp4":
		if string(data[4:8]) != "ftyp" {
			t.Errorf("mp4 begins with %q", data[:8])
		}
	case "application/zip":
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil || len(z.File) != 3 {
			t.Errorf("zip: %v", err)
		}
	}
}

func TestDataURI(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{})
		s := w.submit("fal-ai/flux", `{"prompt":"x","sync_mode":true,"output_format":"jpeg","image_size":"square"}`)
		time.Sleep(time.Minute)
		var result struct{ Images []struct{ URL string } }
		_, _, body := w.call("GET", s.ResponseURL, "")
		if err := json.Unmarshal(body, &result); err != nil {
			t.Fatal(err)
		}
		text, ok := strings.CutPrefix(result.Images[0].URL, "data:image/jpeg;base64,")
		data, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			t.Fatalf("%.60s: %v", result.Images[0].URL, err)
		}
		if img, format, err := image.Decode(bytes.NewReader(data)); err != nil || format != "jpeg" || img.Bounds().Dx() != 512 {
			t.Errorf("%s, %v", format, err)
		}
	})
}

func TestFileFaults(t *testing.T) {
	t.Parallel()
	f := standin.NewFal(standin.Options{Work: -1, Queue: -1})
	t.Cleanup(f.Close)
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	link := func(fault string) string {
		req, _ := http.NewRequest("POST", srv.URL+"/fal-ai/veo3.1", strings.NewReader(`{"prompt":"x","standin":{"fault":"`+fault+`"}}`))
		req.Header.Set("Authorization", "Key k")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var s submitted
		_ = json.NewDecoder(resp.Body).Decode(&s)
		resp.Body.Close()
		req, _ = http.NewRequest("GET", s.ResponseURL, nil)
		req.Header.Set("Authorization", "Key k")
		if resp, err = client.Do(req); err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var r struct{ Video struct{ URL string } }
		if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
			t.Fatal(err)
		}
		return r.Video.URL
	}
	for fault, check := range map[string]func(*http.Response, []byte, error) bool{
		"file-gone": func(r *http.Response, _ []byte, _ error) bool { return r.StatusCode == 410 },
		"file-cut":  func(r *http.Response, data []byte, err error) bool { return err != nil && len(data) > 0 },
		"file-redirect": func(r *http.Response, _ []byte, _ error) bool {
			return r.StatusCode == 302 && strings.HasPrefix(r.Header.Get("Location"), "/files/")
		},
		"file-escape": func(r *http.Response, _ []byte, _ error) bool {
			return r.StatusCode == 302 && strings.Contains(r.Header.Get("Location"), "169.254.169.254")
		},
	} {
		resp, err := client.Get(link(fault))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !check(resp, data, err) {
			t.Errorf("%s: %s, %d bytes, %v", fault, resp.Status, len(data), err)
		}
	}
	// A whole one can be asked for in parts.
	req, _ := http.NewRequest("GET", link(""), nil)
	req.Header.Set("Range", "bytes=4-7")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if data, _ := io.ReadAll(resp.Body); resp.StatusCode != 206 || string(data) != "ftyp" {
		t.Errorf("range: %s %q", resp.Status, data)
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

func TestUploads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standin.Options{})
	_, _, body := w.call("POST", "http://queue.test/storage/upload/initiate?storage_type=fal-cdn-v3", `{"content_type":"image/png","file_name":"in put.png"}`)
	var up struct {
		Upload string `json:"upload_url"`
		File   string `json:"file_url"`
	}
	if err := json.Unmarshal(body, &up); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := w.call("PUT", up.Upload, "some bytes"); code != 200 {
		t.Errorf("upload: %d", code)
	}
	if code, header, data := w.call("GET", up.File, ""); code != 200 || string(data) != "some bytes" || header.Get("Content-Type") != "image/png" {
		t.Errorf("file: %d %q", code, data)
	}
}

func TestParseFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "lost": "lost", " lost=0.2, duplicate ": "duplicate,lost=0.2", "late=1": "late", "late=0": "",
	} {
		if f, err := standin.ParseFaults(text); err != nil || f.String() != want {
			t.Errorf("%q: %q, %v, want %q", text, f, err, want)
		}
	}
	for _, text := range []string{"nonsense", "lost=2", "lost=-1", "lost=NaN", "lost="} {
		if _, err := standin.ParseFaults(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

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

func TestUploadInParts(t *testing.T) {
	t.Parallel()
	f := standin.NewFal(standin.Options{URL: "http://fal.test", Key: "k", Seed: 1})
	defer f.Close()
	call := func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Key k")
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		return w
	}
	var began struct {
		UploadURL string `json:"upload_url"`
		FileURL   string `json:"file_url"`
	}
	w := call("POST", "/storage/upload/initiate-multipart?storage_type=fal-cdn-v3", `{"content_type":"video/mp4","file_name":"a.mp4"}`)
	if err := json.Unmarshal(w.Body.Bytes(), &began); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	path := strings.TrimPrefix(began.UploadURL, "http://fal.test")
	var parts []string
	for n, text := range []string{"one ", "two"} {
		w := call("PUT", fmt.Sprint(path, "/", n+1), text)
		if w.Code != 200 {
			t.Fatalf("part: %d %s", w.Code, w.Body)
		}
		parts = append(parts, w.Body.String())
	}
	if w := call("POST", path+"/complete", `{"parts":[{"partNumber":3,"etag":"x"}]}`); w.Code != 400 {
		t.Errorf("a part that is missing: %d", w.Code)
	}
	if w := call("POST", path+"/complete", `{"parts":[`+strings.Join(parts, ",")+`]}`); w.Code != 200 {
		t.Errorf("complete: %d %s", w.Code, w.Body)
	}
	w = call("GET", strings.TrimPrefix(began.FileURL, "http://fal.test"), "")
	if w.Body.String() != "one two" || w.Header().Get("Content-Type") != "video/mp4" {
		t.Errorf("the file is %q, %s", w.Body, w.Header().Get("Content-Type"))
	}
}

// Pages read files and upload them, whatever their origin; the rest is for pages of this
// machine.
func TestPagesReadStandins(t *testing.T) {
	t.Parallel()
	f := standin.NewFal(standin.Options{URL: "http://fal.test", Key: "k"})
	defer f.Close()
	l := standin.NewLastFrame("secret", standin.Options{URL: "http://lf.test"})
	defer l.Close()
	for name, c := range map[string]struct {
		host         http.Handler
		path, origin string
		status       int
		allowed      bool
	}{
		"an upload":               {f, "/upload/x.png", "https://app.example.com", 204, true},
		"a file":                  {f, "/files/b/lion/x.png", "https://app.example.com", 204, true},
		"a file of Last Frame":    {l, "/files/b/lion/x.png", "http://127.0.0.1:3001", 204, true},
		"a local page's submit":   {f, "/fal-ai/flux/dev", "http://localhost:3001", 204, true},
		"another page's submit":   {f, "/fal-ai/flux/dev", "https://evil.example", 401, false},
		"a name that looks local": {f, "/fal-ai/flux/dev", "https://localhost.evil.example", 401, false},
	} {
		r := httptest.NewRequest("OPTIONS", c.path, nil)
		r.Header.Set("Origin", c.origin)
		r.Header.Set("Access-Control-Request-Method", "PUT")
		r.Header.Set("Access-Control-Request-Headers", "content-type")
		w := httptest.NewRecorder()
		c.host.ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != c.status || (got == c.origin) != c.allowed {
			t.Errorf("%s is answered %d, for %q", name, w.Code, got)
		}
		if c.allowed && (!strings.Contains(w.Header().Get("Access-Control-Allow-Methods"), "PUT") || w.Header().Get("Access-Control-Allow-Headers") != "content-type") {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
}
