package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff/internal/pgtest"
)

// fallbackKillConfig has two polled providers, of which the first fails all work.
const fallbackKillConfig = `limits: {lease: %[2]s}
models:
  both: [first:m, second:m]
providers:
  first:
    base_url: %[1]s/first
    describe:
      title: Stand-in
      base_url: https://api.standin.example
      submit: {url: "${base}/jobs", body: input, id: response.id}
      poll:
        url: ${base}/jobs/${id}
        status: response.status
        states: {done: completed, broken: failed}
        result: response.output
      expected: 200ms
  second:
    base_url: %[1]s/second
    describe:
      title: Stand-in
      base_url: https://api.standin.example
      submit: {url: "${base}/jobs", body: input, id: response.id}
      poll:
        url: ${base}/jobs/${id}
        status: response.status
        states: {done: completed, broken: failed}
        result: response.output
      expected: 200ms
`

// The moments at which the gateway is killed: before and after the answers about a failure and the next
// submit.
var fallbackMoments = []string{"first asked", "failure answered", "second asked", "second answered", "failure asked", "first answered"}

// fallbackVendors are the stand-ins for both providers. They count submits, and report when a moment of
// the round has come.
type fallbackVendors struct {
	mu      sync.Mutex
	submits map[string]int // by provider and job, such as "first/7"
	armed   string
	reached chan struct{}
	resumed chan struct{} // closed once the gateway was killed
}

// at reports a moment. A request that is asked then gets no answer from the vendor before the kill.
func (v *fallbackVendors) at(moment string) {
	v.mu.Lock()
	if v.armed != moment {
		v.mu.Unlock()
		return
	}
	v.armed = ""
	resumed := v.resumed
	close(v.reached)
	v.mu.Unlock()
	if strings.HasSuffix(moment, "asked") {
		<-resumed
	}
}

func (v *fallbackVendors) arm(moment string) (reached, resumed chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.armed, v.reached, v.resumed = moment, make(chan struct{}), make(chan struct{})
	return v.reached, v.resumed
}

func (v *fallbackVendors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if r.Method == http.MethodPost {
		var input struct{ N string }
		if body, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(body, &input) != nil {
			return
		}
		v.mu.Lock()
		v.submits[name+"/"+input.N]++
		v.mu.Unlock()
		v.at(name + " asked")
		fmt.Fprintf(w, `{"id":%q}`, input.N)
		_ = http.NewResponseController(w).Flush()
		v.at(name + " answered")
		return
	}
	if name == "second" {
		_, _ = io.WriteString(w, `{"status":"done","output":{"ok":true}}`)
		return
	}
	v.at("failure asked")
	fmt.Fprintf(w, `{"status":"broken","id":%q}`, rest)
	_ = http.NewResponseController(w).Flush()
	v.at("failure answered")
}

// TestFallbackKills kills the gateway around failures and the submits that follow them. No failure may
// have two next submits, and no job may be lost: one whose submit was interrupted has an unknown
// outcome, and no fallback. make fallback-kills has more rounds, on both stores.
func TestFallbackKills(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fallbackKills(t)
	})
	if os.Getenv("GAFF_FALLBACK_ROUNDS") == "" {
		return // the other database is for make fallback-kills
	}
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		fallbackKills(t, "GAFF_DATABASE_URL="+pgtest.Empty(t))
	})
}

const fallbackJobs = 4 // of each round

func fallbackKills(t *testing.T, database ...string) {
	rounds := setting(t, "GAFF_FALLBACK_ROUNDS", len(fallbackMoments))
	v := &fallbackVendors{submits: map[string]int{}}
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	c := &chaosRun{T: t, jobs: rounds * fallbackJobs}
	c.body = func(n int) string {
		return fmt.Sprintf(`{"model":"both","input":{"N":"%d"},"id":"job-%d","idempotencyKey":"%d"}`, n, n, n)
	}
	c.start(1, fmt.Sprintf(fallbackKillConfig, server.URL, clusterLease), func(string) []string {
		return append([]string{"GAFF_RECONCILE_AFTER=1s", "GAFF_RECONCILE_RATE=200", "GAFF_SUBMIT_PATIENCE=3s"}, database...)
	})
	client := &http.Client{Timeout: 10 * time.Second}
	for round := range rounds {
		moment := fallbackMoments[round%len(fallbackMoments)]
		reached, resumed := v.arm(moment)
		for i := range fallbackJobs {
			if err := c.submit(client, round*fallbackJobs+i); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-reached:
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		case <-time.After(30 * time.Second):
			t.Errorf("round %d: %s was not reached", round, moment)
		}
		c.nodes[0].kill()
		close(resumed)
		c.nodes[0].start(t)
	}
	c.await("/api/v1/jobs?status=queued", "/api/v1/jobs?status=processing")
	v.audit(t, c)
}

// audit compares the jobs with the submits that the providers got.
func (v *fallbackVendors) audit(t *testing.T, c *chaosRun) {
	v.mu.Lock()
	defer v.mu.Unlock()
	completed, unknown := 0, 0
	for n := range c.jobs {
		first, second := v.submits[fmt.Sprint("first/", n)], v.submits[fmt.Sprint("second/", n)]
		if first > 1 || second > 1 {
			t.Errorf("job %d was submitted %d times to the first provider and %d times to the second", n, first, second)
		}
		var j struct {
			Provider, Status, ErrorType string
			Attempts                    []json.RawMessage
		}
		if err := c.nodes[0].get(fmt.Sprint("/api/v1/jobs/job-", n), &j); err != nil {
			t.Errorf("job %d is lost: %v", n, err)
			continue
		}
		switch {
		case j.Status == "completed":
			completed++
			if j.Provider != "second" || len(j.Attempts) != 1 || first != 1 || second != 1 {
				t.Errorf("job %d: %+v after %d and %d submits", n, j, first, second)
			}
		case j.Status == "failed" && j.ErrorType == "submit_outcome_unknown":
			unknown++
			if j.Provider == "first" && second > 0 {
				t.Errorf("job %d has an unknown outcome at the first provider, and was submitted to the second", n)
			}
		default:
			t.Errorf("job %d: %+v", n, j)
		}
	}
	if completed == 0 {
		t.Error("no job was completed")
	}
	t.Logf("%d jobs: %d completed by the fallback, %d with an unknown submit", c.jobs, completed, unknown)
}
