package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gaff/internal/standin"
)

// fallbackConfig has a model of fal that falls back to acme, described as data, and what both cost.
const fallbackConfig = `models:
  fal-ai/flux/dev:
    - fal:fal-ai/flux/dev
    - {provider: acme, model: fast-1, input: '{"text": input.prompt}', result: '{"images": result.urls.map(u, {"url": u})}'}
prices:
  - {provider: fal, job: "0.40", unit: "0.40", currency: USD, date: "2026-11-29", source: test}
  - {provider: acme, job: "0.40", currency: USD, date: "2026-11-29", source: test}
providers:
  acme:
    base_url: %s
    describe:
      title: Acme
      base_url: https://api.acme.example
      submit: {url: "${base}/jobs", body: '[input, {"model": model}]', id: response.id}
      poll:
        url: ${base}/jobs/${id}
        status: response.status
        states: {done: completed}
        result: response.output
      expected: 1s
`

// fal's own client, unchanged, with a budget and a fallback in between: the second picture fails at
// fal and is made by another provider, the third has no room in the budget.
func TestOfficialFalClientWithBudgetAndFallback(t *testing.T) {
	t.Parallel()
	var submits atomic.Int64
	acme := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if body, _ := io.ReadAll(r.Body); string(body) != `{"model":"fast-1","text":"a harbour"}` {
				t.Errorf("acme got %s", body)
			}
			submits.Add(1)
			_, _ = io.WriteString(w, `{"id":"acme-1"}`)
			return
		}
		_, _ = io.WriteString(w, `{"status":"done","output":{"urls":["https://acme.example/1.png"]}}`)
	}))
	defer acme.Close()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, _, settings := playFal(t, addr, standin.Options{Queue: 50 * time.Millisecond})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), fmt.Appendf(nil, fallbackConfig, acme.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := serve(dir, environment(dir, addr, settings...), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer g.kill()
	call := func(method, path, body string) (out map[string]any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, g.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adminToken)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode/100 != 2 {
			t.Fatalf("%s %s: %s, %v, %v", method, path, res.Status, out, err)
		}
		return out
	}
	call("PUT", "/api/v1/budgets/all", `{"period":"month","limit":"1.00"}`)

	if said, err := exec.Command("../../tools/test-setup.sh").CombinedOutput(); err != nil {
		t.Fatalf("what the tests need could not be installed: %v\n%s", err, said)
	}
	node := exec.Command("node", "../../tools/js/fal-fallback.mjs")
	node.Env = append(os.Environ(), "GAFF_PROXY="+g.url+"/api/fal/proxy", "GAFF_TOKEN="+adminToken)
	node.Stderr = os.Stderr
	said, err := node.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s\n%s", err, said, g.log)
	}
	var out []struct {
		RequestID, Last, Detail string
		Images                  []string
		Status                  int
	}
	if err := json.Unmarshal(said, &out); err != nil || len(out) != 3 {
		t.Fatalf("%v in %s", err, said)
	}
	if first := out[0]; len(first.Images) == 0 || first.Last != "COMPLETED" {
		t.Errorf("the first picture: %+v", first)
	}
	if second := out[1]; len(second.Images) != 1 || second.Images[0] != "https://acme.example/1.png" || submits.Load() != 1 {
		t.Errorf("the second picture after %d submits to acme: %+v", submits.Load(), second)
	}
	if third := out[2]; third.Status != http.StatusPaymentRequired || !strings.Contains(third.Detail, "budget all") {
		t.Errorf("the third picture: %+v, want 402 with the budget", third)
	}
	j := call("GET", "/api/v1/jobs/"+out[1].RequestID, "")
	attempts, _ := j["attempts"].([]any)
	if j["provider"] != "acme" || j["alias"] != "fal-ai/flux/dev" || len(attempts) != 1 {
		t.Errorf("the second job is %v", j)
	}
}
