package fal_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff/jobs"
)

// Each form in which fal's webhook comes, or does not, ends a job as it should.
func TestHowJobsEnd(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]struct {
		status        jobs.JobStatus
		by, errorType string
		within        time.Duration
	}{
		"":                         {jobs.JobCompleted, "webhook", "", 5 * time.Second},
		"duplicate":                {jobs.JobCompleted, "webhook", "", 5 * time.Second},
		"before-answer":            {jobs.JobCompleted, "webhook", "", 5 * time.Second},
		"payload-error":            {jobs.JobCompleted, "webhook", "", 5 * time.Second},
		"unknown-outcome":          {jobs.JobCompleted, "webhook", "", 5 * time.Second},
		"error-model":              {jobs.JobFailed, "webhook", "content_policy_violation", 5 * time.Second},
		"error-infra":              {jobs.JobFailed, "webhook", "runner_disconnected", 5 * time.Second},
		"late":                     {jobs.JobCompleted, "webhook", "", 30 * time.Second},
		"lost":                     {jobs.JobCompleted, "reconciliation", "", 3 * time.Minute},
		"wrong-key":                {jobs.JobCompleted, "reconciliation", "", 3 * time.Minute},
		"stale":                    {jobs.JobCompleted, "reconciliation", "", 3 * time.Minute},
		"large":                    {jobs.JobCompleted, "reconciliation", "", 3 * time.Minute},
		"lost,error-model":         {jobs.JobFailed, "reconciliation", "content_policy_violation", 3 * time.Minute},
		"lost,result-504":          {jobs.JobCompleted, "reconciliation", "", 7 * time.Minute},
		"payload-error,result-504": {jobs.JobCompleted, "webhook", "", time.Minute},
		"forgets":                  {jobs.JobFailed, "reconciliation", "not_found", 4 * time.Minute},
		"unknown-outcome,lost":     {jobs.JobFailed, "reconciliation", "submit_outcome_unknown", 21 * time.Minute},
	} {
		t.Run("fault "+fault, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, rigOptions{jobs: jobs.ServiceOptions{SubmitPatience: 20 * time.Minute}})
				j := r.submit(fault)
				began := time.Now()
				for !j.Status.Settled() && time.Since(began) < want.within+time.Minute {
					time.Sleep(time.Second)
					j = r.job(j.ID)
				}
				took := time.Since(began)
				// A late webhook must change nothing.
				time.Sleep(10 * time.Minute)
				j = r.job(j.ID)
				ends, files := r.ends(j.ID)
				wantFiles := 0
				if want.status == jobs.JobCompleted {
					wantFiles = 1
				}
				if j.Status != want.status || j.SettledBy != want.by || j.ErrorType != want.errorType || took > want.within || ends != 1 || files != wantFiles {
					t.Errorf("after %s %s by %q, %q (%s), %d ends, %d files; want %+v\n%s", took, j.Status, j.SettledBy, j.ErrorType, j.Error, ends, files, want, r.notes(j.ID))
				}
				if n := len(r.fal.Jobs()); n != 1 {
					t.Errorf("fal was given the work %d times", n)
				}
				if j.Status == jobs.JobFailed && j.Error == "" {
					t.Error("failed without a reason")
				}
				if !j.NextPollAt.IsZero() {
					t.Errorf("will be polled at %s", j.NextPollAt)
				}
				if want.by == "reconciliation" && want.status == jobs.JobCompleted && j.Cost == "" {
					t.Error("what fal billed is not kept")
				}
			})
		})
	}
}

// fal takes nothing for a while; then it does, once.
func TestFetchedResultOfManyFilesCompletesTheJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		r.net.mu.Lock()
		r.net.hosts[falHost] = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/requests/") && !strings.HasSuffix(req.URL.Path, "/status") {
				_, _ = io.WriteString(w, `{"image_urls":`+manyLinks(20_000)+`}`)
				return
			}
			r.fal.ServeHTTP(w, req)
		})
		r.net.mu.Unlock()
		j := r.submit("lost")
		time.Sleep(10 * time.Minute)
		if j = r.job(j.ID); j.Status != jobs.JobCompleted {
			t.Errorf("the job is %s: %s, want completed", j.Status, j.Error)
		}
		if n, err := r.st.MediaCount(t.Context(), "p"); n != 1000 || err != nil {
			t.Errorf("%d files, %v; want 1,000", n, err)
		}
		if log := r.notes(j.ID); !strings.Contains(log, "ask: 1,000 of 20,000 files stored: ") {
			t.Errorf("log %s", log)
		}
	})
}
