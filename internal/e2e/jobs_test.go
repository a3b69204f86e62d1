package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gaff/internal/eventually"
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
	return fal, srv.URL, falSettings(srv.URL, "http://"+addr)
}

// falSettings are those of a gateway that is reached at base and uses a stand-in for fal.
func falSettings(fal, base string) []string {
	return []string{
		"FAL_KEY=" + falAPIKey, "GAFF_FAL_QUEUE_URL=" + fal, "GAFF_FAL_JWKS_URL=" + fal + standin.JWKSPath, "GAFF_FAL_API_URL=" + fal + "/v1",
		"WEBHOOK_BASE_URL=" + base, "GAFF_ALLOW_ADDRESSES=127.0.0.0/8",
	}
}

// ledgerJob is what the API says about a job.
type ledgerJob struct {
	ID, Status, Submit, Error, ErrorType, SettledBy, IdempotencyKey string
	RequestID, ProjectID, UserID, Kind, Cost                        string
	CreatedAt, SettledAt                                            time.Time
	Log                                                             []struct{ What, Text string }
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
		t.Errorf("an unauthenticated client was answered %d", out.Stranger.Status)
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
	err = poll(eventually.Limit, func() error {
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
