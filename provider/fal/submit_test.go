package fal_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/standin"
	"gaff/jobs"
	"gaff/provider/fal"
)

func TestSubmitsThatAreNotTakenAreRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{Options: standin.Options{Faults: standin.Faults{standin.Busy: 1}}})
		j := r.submit("")
		time.Sleep(30 * time.Second)
		if j = r.job(j.ID); j.Submit != jobs.SubmitWaiting || !strings.Contains(r.notes(j.ID), "not taken: fal answered 429") {
			t.Fatalf("submit is %s\n%s", j.Submit, r.notes(j.ID))
		}
		r.fal.SetFaults(standin.Faults{standin.Down: 1})
		time.Sleep(3 * time.Minute)
		r.fal.SetFaults(nil)
		time.Sleep(5 * time.Minute)
		if j = r.job(j.ID); j.Status != jobs.JobCompleted || len(r.fal.Jobs()) != 1 {
			t.Errorf("%s, fal has %d jobs\n%s", j.Status, len(r.fal.Jobs()), r.notes(j.ID))
		}
	})
}

func TestASubmitThatIsNeverTakenFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{Options: standin.Options{Faults: standin.Faults{standin.Busy: 1}}})
		j := r.submit("")
		time.Sleep(70 * time.Minute)
		if j = r.job(j.ID); j.Status != jobs.JobFailed || j.ErrorType != "not_accepted" || !strings.Contains(j.Error, "429") {
			t.Errorf("%s %q: %s", j.Status, j.ErrorType, j.Error)
		}
	})
}

func TestRefusedSubmits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		j := r.submit("no such fault") // the stand-in answers 400
		if j = r.job(j.ID); j.Status != jobs.JobFailed || j.SettledBy != "" || j.Submit != jobs.SubmitRejected || !strings.Contains(j.Error, "fal answered 400") {
			t.Errorf("%s by %q, %s: %s", j.Status, j.SettledBy, j.Submit, j.Error)
		}
		if ends, _ := r.ends(j.ID); ends != 1 {
			t.Errorf("%d ends", ends)
		}
	})
}

// halting calls fal, and then never returns: as if the process had died at that moment.
type halting struct {
	jobs.Provider
	before, after bool
}

func (h *halting) Submit(ctx context.Context, j *jobs.Job, input json.RawMessage, webhook string) (a jobs.Accepted, err error) {
	if !h.before {
		a, err = h.Provider.Submit(ctx, j, input, webhook)
	}
	if h.before || h.after {
		<-ctx.Done()
		panic("the process is gone")
	}
	return a, err
}

// A gateway that ends while it submits does not submit again, whether or not fal got it.
func TestCrashWhileSubmitting(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]*halting{"before fal is called": {before: true}, "after fal has answered": {after: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := rigOptions{jobs: jobs.ServiceOptions{SubmitPatience: 20 * time.Minute}, wrap: func(p jobs.Provider) jobs.Provider {
					h.Provider = p
					return h
				}}
				r := newRig(t, o)
				j := r.submit("lost")
				if j = r.job(j.ID); j.Submit != jobs.SubmitSending {
					t.Fatalf("submit is %s", j.Submit)
				}
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				if err := r.Stop(ctx); err != nil {
					t.Fatal(err)
				}
				r.stop()
				o.wrap = nil
				r.begin(o)
				time.Sleep(30 * time.Minute)
				submits := 1
				if h.before {
					submits = 0
				}
				if j = r.job(j.ID); j.Status != jobs.JobFailed || j.ErrorType != "submit_outcome_unknown" || len(r.fal.Jobs()) != submits {
					t.Errorf("%s %q, fal has %d jobs\n%s", j.Status, j.ErrorType, len(r.fal.Jobs()), r.notes(j.ID))
				}
			})
		})
	}
}

// What fal can list is found again: by its input, and the time.
func TestALostAnswerIsFoundInFalsList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{listed: true})
		// Two of the same input: each is found once.
		a, b := r.submit("unknown-outcome,lost"), r.submit("unknown-outcome,lost")
		time.Sleep(10 * time.Minute)
		a, b = r.job(a.ID), r.job(b.ID)
		if a.Status != jobs.JobCompleted || b.Status != jobs.JobCompleted || a.RequestID == b.RequestID || len(r.fal.Jobs()) != 2 {
			t.Errorf("%s %s, %s %s\n%s", a.Status, a.RequestID, b.Status, b.RequestID, r.notes(a.ID))
		}
	})
}

func TestIdempotencyAndMistakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		first := r.submit("", func(s *jobs.Submission) { s.IdempotencyKey, s.ID = "k", "mine/1 ü" })
		again, created, err := r.Submit(context.Background(), jobs.Submission{Provider: "fal", Model: "another/model", IdempotencyKey: "k"})
		if err != nil || created || again.ID != first.ID {
			t.Errorf("again: %v, created %v, %v", again, created, err)
		}
		if _, _, err := r.Submit(context.Background(), jobs.Submission{Provider: "fal", Model: model, ID: first.ID}); !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("a taken id: %v", err)
		}
		for field, s := range map[string]jobs.Submission{
			"provider":       {Provider: "nobody", Model: model},
			"model":          {Provider: "fal", Model: "../../etc"},
			"input":          {Provider: "fal", Model: model, Input: json.RawMessage(`"text"`)},
			"metadata":       {Provider: "fal", Model: model, Metadata: json.RawMessage(`[]`)},
			"id":             {Provider: "fal", Model: model, ID: strings.Repeat("x", 151)},
			"projectId":      {Provider: "fal", Model: model, ProjectID: "a\nb"},
			"callbackUrl":    {Provider: "fal", Model: model, Callback: "ftp://x/y"},
			"idempotencyKey": {Provider: "fal", Model: model, IdempotencyKey: strings.Repeat("x", 257)},
		} {
			var invalid *jobs.InvalidError
			if _, _, err := r.Submit(context.Background(), s); !errors.As(err, &invalid) || invalid.Field != field || !errors.Is(err, gaff.ErrInvalid) {
				t.Errorf("a bad %s: %v", field, err)
			}
		}
		time.Sleep(10 * time.Second)
		if j := r.job(first.ID); j.SettledBy != "webhook" || len(r.fal.Jobs()) != 1 {
			t.Errorf("%s by %q, fal has %d jobs", j.Status, j.SettledBy, len(r.fal.Jobs()))
		}
		mine, err := fal.RegisterWebhook(context.Background(), r.Service, "film", "scene-1", model, json.RawMessage(`{"prompt":"x"}`))
		if err != nil || mine.ID != "scene-1" || mine.ProjectID != "film" || !strings.Contains(mine.WebhookURL, "/scene-1.") {
			t.Errorf("%+v, %v", mine, err)
		}
		if again, err := fal.RegisterWebhook(context.Background(), r.Service, "film", "scene-1", model, nil); err != nil || again.ID != mine.ID {
			t.Errorf("again: %v, %v", again, err)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		r := newRig(t, rigOptions{Options: standin.Options{Queue: time.Minute}})
		waiting := r.submit("busy")
		queued := r.submit("")
		unknown := r.submit("unknown-outcome")
		time.Sleep(time.Second)
		for _, j := range []*jobs.Job{waiting, queued, unknown} {
			if got, err := r.Service.Cancel(ctx, j.ID); err != nil || got.Status != jobs.JobCancelled {
				t.Errorf("cancel: %v, %v\n%s", got, err, r.notes(j.ID))
			}
			if got, err := r.Service.Cancel(ctx, j.ID); err != nil || got.Status != jobs.JobCancelled {
				t.Errorf("cancel again: %v, %v", got, err)
			}
		}
		done := r.submit("lost")
		time.Sleep(65 * time.Second)
		if _, err := r.Service.Cancel(ctx, done.ID); !errors.Is(err, gaff.ErrConflict) || !strings.Contains(err.Error(), "completed") {
			t.Errorf("cancel what has ended: %v", err)
		}
		if j := r.job(done.ID); j.Status != jobs.JobCompleted {
			t.Errorf("what had ended is %s", j.Status)
		}
		away := r.submit("")
		time.Sleep(time.Second)
		r.net.cut(falHost, true)
		if _, err := r.Service.Cancel(ctx, away.ID); err == nil || errors.Is(err, gaff.ErrConflict) || r.job(away.ID).Status.Settled() {
			t.Errorf("cancel while fal is away: %v, %s", err, r.job(away.ID).Status)
		}
		r.net.cut(falHost, false)
		time.Sleep(10 * time.Minute)
		for _, j := range []*jobs.Job{waiting, queued, unknown} {
			ends, files := r.ends(j.ID)
			if got := r.job(j.ID); got.Status != jobs.JobCancelled || ends != 1 || files != 0 {
				t.Errorf("%s, %d ends, %d files", got.Status, ends, files)
			}
		}
		// The one of unknown outcome was processed, and its log says so.
		if log := r.notes(unknown.ID); !strings.Contains(log, "came after the job was cancelled") {
			t.Errorf("its log:\n%s", log)
		}
		if _, err := r.Service.Cancel(ctx, "job_none"); !errors.Is(err, gaff.ErrNotFound) {
			t.Errorf("cancel an unknown job: %v", err)
		}
	})
}

// An application that submits itself registers its jobs.
func TestRegister(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		r := newRig(t, rigOptions{})
		j, created, err := r.Register(ctx, "app-1", jobs.Registration{Provider: "fal", ProjectID: "film"})
		if err != nil || !created || j.WebhookURL == "" {
			t.Fatalf("%+v, %v", j, err)
		}
		// It submits with that address, and its webhook finds the job without more.
		submit := func(webhook string) (id string) {
			req, _ := http.NewRequest(http.MethodPost, "http://"+falHost+"/"+model+"?fal_webhook="+webhook, strings.NewReader(`{"prompt":"x"}`))
			req.Header.Set("Authorization", "Key the-key")
			resp, err := r.net.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			var a struct {
				RequestID string `json:"request_id"`
			}
			if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
				t.Fatal(err)
			}
			return a.RequestID
		}
		submit(j.WebhookURL)
		time.Sleep(5 * time.Second)
		if j := r.job("app-1"); j.SettledBy != "webhook" || j.ProjectID != "film" {
			t.Errorf("%s by %q", j.Status, j.SettledBy)
		}
		// Or it gives the plain address, and registers the request; also after the webhook came.
		id := submit("http://" + gaffHost + gaff.PathPrefix + "fal")
		time.Sleep(10 * time.Second)
		if _, _, err := r.Register(ctx, "app-2", jobs.Registration{Provider: "fal", Model: model, RequestID: id}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if j := r.job("app-2"); j.SettledBy != "webhook" || j.RequestID != id {
			t.Errorf("%s by %q", j.Status, j.SettledBy)
		}
		// Or there is no webhook at all, and gaff asks.
		id = submit("")
		if _, _, err := r.Register(ctx, "app-3", jobs.Registration{Provider: "fal", RequestID: id, StatusURL: "http://" + falHost + "/fal-ai/flux/requests/" + id + "/status", Model: model}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if j := r.job("app-3"); j.SettledBy != "reconciliation" {
			t.Errorf("%s by %q\n%s", j.Status, j.SettledBy, r.notes("app-3"))
		}
		for name, c := range map[string]struct {
			id   string
			r    jobs.Registration
			want error
		}{
			"another request":            {"app-3", jobs.Registration{RequestID: "another"}, gaff.ErrConflict},
			"another job's request":      {"app-4", jobs.Registration{Provider: "fal", RequestID: id}, gaff.ErrConflict},
			"another provider":           {"app-3", jobs.Registration{Provider: "lastframe"}, gaff.ErrConflict},
			"no provider":                {"app-4", jobs.Registration{RequestID: "x"}, gaff.ErrInvalid},
			"an address elsewhere":       {"app-4", jobs.Registration{Provider: "fal", StatusURL: "https://evil.example/status"}, gaff.ErrInvalid},
			"an address with a password": {"app-4", jobs.Registration{Provider: "fal", ResponseURL: "https://queue.fal.run@evil.example/x"}, gaff.ErrInvalid},
		} {
			if _, _, err := r.Register(ctx, c.id, c.r); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
	})
}

// A job that an application registers without its request id cannot be polled. Reconciliation
// still looks at it, and ends it in time; once its request id is known, it is polled as others.
func TestRegisteredAndForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		j, _, err := r.Register(t.Context(), "told", jobs.Registration{Provider: "fal"})
		if err != nil || time.Until(j.NextPollAt) < 12*time.Hour {
			t.Fatalf("%v; to be looked at %s", err, j.NextPollAt)
		}
		lost := r.submit("lost")
		time.Sleep(time.Second)
		request := r.job(lost.ID).RequestID
		err = r.st.Write(t.Context(), func(tx jobs.Tx) error {
			for id, age := range map[string]time.Duration{"young": time.Hour, "old": 31 * 24 * time.Hour} {
				if err := tx.InsertJob(t.Context(), &jobs.Job{ID: id, Provider: "fal", CreatedAt: tx.Now().Add(-age), NextPollAt: tx.Now()}); err != nil {
					return err
				}
			}
			j, err := tx.Job(t.Context(), lost.ID)
			if err != nil {
				return err
			}
			j.RequestID = ""
			return tx.SaveJob(t.Context(), j)
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Register(t.Context(), "told", jobs.Registration{RequestID: request, Model: model}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if j := r.job("told"); j.Status != jobs.JobCompleted {
			t.Errorf("%s\n%s", j.Status, r.notes(j.ID))
		}
		if j := r.job("young"); j.Status != jobs.JobQueued || !strings.Contains(r.notes(j.ID), "too little is known") || time.Until(j.NextPollAt) < 12*time.Hour {
			t.Errorf("%s, next %s\n%s", j.Status, j.NextPollAt, r.notes(j.ID))
		}
		if j := r.job("old"); j.Status != jobs.JobFailed || j.ErrorType != "given_up" {
			t.Errorf("%s, %s\n%s", j.Status, j.ErrorType, r.notes(j.ID))
		}
	})
}
