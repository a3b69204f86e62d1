package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff/internal/pgtest"
	"gaff/internal/standin"
)

const falAPIKey = "fal-id:fal-secret"

// playFal is a stand-in for fal, and the settings of a gateway on addr that uses it.
func playFal(t *testing.T, addr string, o standin.Options) (fal *standin.Fal, url string, settings []string) {
	t.Helper()
	o.Key = falAPIKey
	fal = standin.NewFal(o)
	srv := httptest.NewServer(fal)
	t.Cleanup(func() {
		fal.Close()
		srv.Close()
	})
	return fal, srv.URL, []string{
		"FAL_KEY=" + falAPIKey, "GAFF_FAL_QUEUE_URL=" + srv.URL, "GAFF_FAL_JWKS_URL=" + srv.URL + standin.JWKSPath,
		"WEBHOOK_BASE_URL=http://" + addr, "GAFF_ALLOW_ADDRESSES=127.0.0.0/8",
	}
}

// ledgerJob is what the API says about a job.
type ledgerJob struct {
	ID, Status, Submit, Error, ErrorType, SettledBy, IdempotencyKey string
	RequestID, ProjectID, UserID, Kind, Cost                        string
	CreatedAt, SettledAt                                            time.Time
	Log                                                             []struct{ What, Text string }
}

// call makes a request with the admin's token.
func (g *gateway) call(method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(context.Background(), method, g.url+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return json.Unmarshal(answer, into)
}

// The official client of fal, unchanged, works through the gateway's proxy; each of its
// submits is a job, and none is paid twice.
func TestOfficialFalClient(t *testing.T) {
	t.Parallel()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	fal, _, settings := playFal(t, addr, standin.Options{Queue: 50 * time.Millisecond})
	dir := t.TempDir()
	g, err := serve(dir, environment(dir, addr, settings...), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer g.kill()

	// Nothing to do where "make test" was run before.
	if said, err := exec.Command("../../tools/test-setup.sh").CombinedOutput(); err != nil {
		t.Fatalf("what the tests need could not be installed: %v\n%s", err, said)
	}
	node := exec.Command("node", "../../tools/js/fal-proxy.mjs")
	node.Env = append(os.Environ(), "GAFF_PROXY="+g.url+"/api/fal/proxy", "GAFF_TOKEN="+adminToken)
	node.Stderr = os.Stderr
	said, err := node.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s\n%s", err, said, g.log)
	}
	var out struct {
		RequestID, StatusURL, ResultID, Cancelled string
		Statuses                                  []string
		Images                                    int
		Subscribed                                struct {
			RequestID string
			Images    int
		}
		Webhook struct {
			Headers map[string]string
			Body    string
		}
		Refused, Lost, Stranger struct {
			Name, Type, Job string
			Status          int
		}
	}
	if err := json.Unmarshal(said, &out); err != nil {
		t.Fatalf("%v in %s", err, said)
	}

	if out.Images == 0 || out.ResultID != out.RequestID || out.Statuses[len(out.Statuses)-1] != "COMPLETED" {
		t.Errorf("submit, status and result: %d images, request %s, result of %s, statuses %v", out.Images, out.RequestID, out.ResultID, out.Statuses)
	}
	// fal's answer comes back as it is.
	if !strings.Contains(out.StatusURL, "/fal-ai/flux/requests/"+out.RequestID) || strings.Contains(out.StatusURL, addr) {
		t.Errorf("status_url %s is not the one that fal answered", out.StatusURL)
	}
	if out.Subscribed.Images == 0 || !strings.Contains(out.Webhook.Body, out.Subscribed.RequestID) {
		t.Errorf("subscribe: %+v, the application's webhook was %s", out.Subscribed, out.Webhook.Body)
	}
	for _, name := range []string{"x-fal-webhook-signature", "x-fal-webhook-user-id", "x-fal-webhook-timestamp", "x-gaff-job-id"} {
		if out.Webhook.Headers[name] == "" {
			t.Errorf("the webhook was passed on without %s: %v", name, out.Webhook.Headers)
		}
	}
	if out.Refused.Name != "ValidationError" || out.Refused.Status != 422 || out.Refused.Type != "content_policy_violation" {
		t.Errorf("a failure of the model reached the client as %+v", out.Refused)
	}
	if out.Lost.Status != 500 || out.Lost.Type != "submit_outcome_unknown" || out.Lost.Job == "" {
		t.Errorf("a lost answer reached the client as %+v", out.Lost)
	}
	if out.Stranger.Status != 401 {
		t.Errorf("a stranger was answered %d", out.Stranger.Status)
	}

	submits := map[string]int{}
	for _, j := range fal.Jobs() {
		var in struct{ Prompt string }
		if err := json.Unmarshal(j.Input, &in); err != nil {
			t.Fatal(err)
		}
		submits[in.Prompt]++
		if !strings.HasPrefix(j.Webhook, g.url+"/api/v1/webhooks/fal/job_") {
			t.Errorf("%q was submitted with the webhook %q", in.Prompt, j.Webhook)
		}
	}
	want := map[string]int{"submitted": 1, "subscribed": 1, "cancelled": 1, "refused": 1, "lost answer": 1}
	if !maps.Equal(submits, want) {
		t.Errorf("fal was asked for %v, want %v", submits, want)
	}
	byRequest := func(id string) (j ledgerJob) {
		t.Helper()
		if err := each(g, "/api/v1/jobs?requestId="+id, func(one ledgerJob) { j = one }); err != nil {
			t.Fatal(err)
		}
		return j
	}
	if j := byRequest(out.RequestID); j.Status != "completed" || j.ProjectID != "film-1" || j.UserID != "anna" || j.Kind != "image" {
		t.Errorf("the submitted job is %+v", j)
	}
	if j := byRequest(out.Cancelled); j.Status != "cancelled" {
		t.Errorf("the cancelled job is %+v", j)
	}
	err = poll(10*time.Second, func() error {
		var j ledgerJob
		if err := g.get("/api/v1/jobs/"+out.Lost.Job, &j); err != nil {
			return fatal{err}
		}
		if j.Status != "completed" || j.SettledBy != "webhook" || j.RequestID == "" {
			return fmt.Errorf("the job whose answer was lost is %+v", j)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestChaosFal loses, doubles and delays the webhooks of many jobs, and kills the gateway
// while it submits them. Every job must be settled, once, and none paid twice.
func TestChaosFal(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		chaosFal(t, t.TempDir())
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		// What a killed process held is free again soon.
		if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), fmt.Appendf(nil, "limits: {lease: %s}\n", clusterLease), 0o600); err != nil {
			t.Fatal(err)
		}
		chaosFal(t, dir, "GAFF_DATABASE_URL="+pgtest.Empty(t))
	})
}

func chaosFal(t *testing.T, dir string, database ...string) {
	jobs, kills := 80, 2
	for name, to := range map[string]*int{"GAFF_CHAOS_JOBS": &jobs, "GAFF_CHAOS_KILLS": &kills} {
		if text := os.Getenv(name); text != "" {
			var err error
			if *to, err = strconv.Atoi(text); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	large := jobs > 500
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	o := standin.Options{
		Seed: 20261124, Work: 300 * time.Millisecond, Queue: 50 * time.Millisecond, LateBy: 2 * time.Second,
		Faults: standin.Faults{standin.Lost: .2, standin.Duplicate: .2, standin.Late: .2, standin.BeforeAnswer: .05},
	}
	pace := []string{"GAFF_RECONCILE_AFTER=1s", "GAFF_RECONCILE_RATE=100", "GAFF_SUBMIT_PATIENCE=5s"}
	if large {
		o.Work, o.LateBy = 2*time.Second, 20*time.Second
		pace = []string{"GAFF_RECONCILE_AFTER=10s", "GAFF_RECONCILE_RATE=20", "GAFF_SUBMIT_PATIENCE=1m"}
	}
	fal, _, settings := playFal(t, addr, o)
	env := environment(dir, addr, slices.Concat(settings, pace, database, []string{"GAFF_LOG_LEVEL=error"})...)
	g, err := serve(dir, env, addr)
	if err != nil {
		t.Fatal(err)
	}

	addrs := []string{addr}
	if len(database) > 0 {
		// On PostgreSQL a second node works on the same jobs, and is not killed.
		beside, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		other := t.TempDir()
		second, err := serve(other, environment(other, beside, slices.Concat(settings, pace, database, []string{"GAFF_LOG_LEVEL=error"})...), beside)
		if err != nil {
			t.Fatal(err)
		}
		defer second.kill()
		addrs = append(addrs, beside)
	}

	// The application: it submits each job until it is told that the job is there.
	began := time.Now()
	numbers := make(chan int)
	var submitters sync.WaitGroup
	client := &http.Client{Timeout: 10 * time.Second}
	for range 8 {
		submitters.Go(func() {
			for n := range numbers {
				body := fmt.Sprintf(`{"provider":"fal","model":"fal-ai/flux/dev","kind":"image","projectId":"chaos","input":{"prompt":"job %d"},"idempotencyKey":"chaos-%d"}`, n, n)
				err := poll(time.Minute, func() error {
					req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+addrs[n%len(addrs)]+"/api/v1/jobs", strings.NewReader(body))
					if err != nil {
						return fatal{err}
					}
					req.Header.Set("Authorization", "Bearer "+adminToken)
					req.Header.Set("Content-Type", "application/json")
					resp, err := client.Do(req)
					if err != nil {
						return err
					}
					defer resp.Body.Close()
					if resp.StatusCode != http.StatusAccepted {
						return errors.New(resp.Status)
					}
					return nil
				})
				if err != nil {
					t.Errorf("submit job %d: %v", n, err)
				}
			}
		})
	}
	killAfter := map[int]bool{}
	for len(killAfter) < kills {
		killAfter[1+rand.IntN(jobs-1)] = true
	}
	for n := range jobs {
		numbers <- n
		if killAfter[n] {
			g.kill()
			if g, err = serve(dir, env, addr); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(numbers)
	submitters.Wait()
	submitted := time.Now()
	defer func() { g.kill() }()

	open := 0
	err = poll(10*time.Minute, func() error {
		open = 0
		for _, status := range []string{"queued", "processing"} {
			if err := each(g, "/api/v1/jobs?status="+status, func(ledgerJob) { open++ }); err != nil {
				return fatal{err}
			}
		}
		if open > 0 {
			time.Sleep(50 * time.Millisecond)
			return fmt.Errorf("%d jobs are open", open)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	paid := map[string]int{}
	for _, j := range fal.Jobs() {
		paid[string(j.Input)]++
	}
	for input, times := range paid {
		if times != 1 {
			t.Errorf("%s was submitted %d times", input, times)
		}
	}
	seen, by, last := map[string]bool{}, map[string]int{}, time.Time{}
	completed, unknown := map[string]bool{}, 0
	if err := each(g, "/api/v1/jobs", func(j ledgerJob) {
		if seen[j.IdempotencyKey] {
			t.Errorf("two jobs of key %s", j.IdempotencyKey)
		}
		seen[j.IdempotencyKey] = true
		by[j.SettledBy]++
		if j.SettledAt.After(last) {
			last = j.SettledAt
		}
		switch {
		case j.Status == "completed":
			completed[j.ID] = true
		case j.ErrorType == "submit_outcome_unknown":
			unknown++
		default:
			t.Errorf("job %s ended as %s: %s", j.ID, j.Status, j.Error)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != jobs {
		t.Errorf("%d jobs, want %d", len(seen), jobs)
	}
	// What was being submitted at a kill may be of unknown outcome: at most what the
	// workers had in hand.
	if unknown > 8*kills {
		t.Errorf("%d jobs ended with an unknown outcome, after %d kills", unknown, kills)
	}
	files := map[string]int{}
	if err := each(g, "/api/v1/media", func(m struct{ JobID string }) { files[m.JobID]++ }); err != nil {
		t.Fatal(err)
	}
	ended := map[string]int{}
	if err := each(g, "/api/v1/events?source=gaff&type=job.completed", func(ev struct{ CorrelationID string }) {
		ended[ev.CorrelationID]++
	}); err != nil {
		t.Fatal(err)
	}
	for id := range completed {
		if files[id] != 1 {
			t.Errorf("job %s has %d files, want 1", id, files[id])
		}
		if ended[id] != 1 {
			t.Errorf("job %s came to its end %d times", id, ended[id])
		}
	}
	t.Logf("%d jobs, %d kills: submitted in %s, the last was settled %s after that; %d by webhook, %d by reconciliation, %d of them of unknown outcome; fal was asked %d times for work",
		jobs, kills, submitted.Sub(began).Round(time.Millisecond), last.Sub(submitted).Round(time.Millisecond),
		by["webhook"], by["reconciliation"], unknown, len(slices.Collect(maps.Keys(paid))))
}
