package workflow_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestHTTPStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var keys []string
		answers := []int{503, 429, 200}
		w := newWorld(t, func(w *world) {
			w.client = roundTrip(func(r *http.Request) (*http.Response, error) {
				body, _ := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				keys = append(keys, r.Header.Get("Idempotency-Key"))
				status := answers[0]
				if len(answers) > 1 {
					answers = answers[1:]
				}
				if r.Header.Get("Authorization") != "Bearer s3cret" || string(body) != `{"n":7}` || r.Method != "PUT" {
					status = 400
				}
				return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Body: io.NopCloser(strings.NewReader(`{"ok":12345678901234567}`))}, nil
			})
		}, `
name: call
inputs: [{name: url}]
steps:
  - name: a
    http:
      method: PUT
      url: ${input.url}
      headers: {Authorization: "Bearer ${secrets.token}"}
      body: {n: "${3 + 4}"}
    retry: {attempts: 3, wait: 1s}
  - name: b
    when: steps.a.result.status == 200 && steps.a.result.body.ok == 12345678901234567
    emit: {type: called}
`)
		run := w.run("call", `{"url":"https://app.example/x"}`)
		w.await(run, "running a=retrying b=pending")
		time.Sleep(10 * time.Second)
		w.await(run, "completed a=completed b=completed")
		mu.Lock()
		// One key for all tries.
		if len(keys) != 3 || keys[0] != run+"/a/1" || keys[1] != keys[0] || keys[2] != keys[0] {
			t.Errorf("keys %q", keys)
		}
		answers = []int{404}
		mu.Unlock()
		// A refusal is not tried again by itself.
		run = w.run("call", `{"url":"https://app.example/x"}`)
		if r := w.await(run, "failed a=failed b=pending"); !strings.HasPrefix(r.Error, "step a: answered 404") {
			t.Errorf("error %q", r.Error)
		}
		rows, err := w.st.StepValues(context.Background(), run, "a")
		if err != nil || strings.Contains(string(rows[0].Input), "s3cret") {
			t.Errorf("stored: %s %v", rows[0].Input, err)
		}
		run = w.run("call", `{"url":"gopher://x"}`)
		w.await(run, "failed a=failed b=pending")
	})
}
