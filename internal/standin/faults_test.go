package standin_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/standin"
	"gaff/provider/fal"
)

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
