package fal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/client"
	"gaff/internal/standin"
	"gaff/jobs"
	"gaff/provider/fal"
	"gaff/sender"
	"gaff/store/sqlite"
	"gaff/verify"
)

const (
	falHost  = "fal.test"
	gaffHost = "gaff.test"
	appHost  = "app.test"
	model    = "fal-ai/flux/dev"
)

// network joins the parts of a rig, and can be cut.
type network struct {
	mu    sync.Mutex
	hosts standin.Hosts
	down  map[string]bool
	deaf  bool           // no connection can be made
	asked map[string]int // calls by host
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.asked[r.URL.Host]++
	down, deaf := n.down[r.URL.Host], n.deaf
	hosts := n.hosts
	n.mu.Unlock()
	if trace := httptrace.ContextClientTrace(r.Context()); deaf && trace != nil {
		trace.GetConn(r.URL.Host)
		return nil, errors.New("connection refused")
	}
	if down {
		return nil, errors.New("the network is cut")
	}
	return hosts.RoundTrip(r)
}

func (n *network) cut(host string, down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down[host] = down
}

func (n *network) calls(host string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[host]
}

// rig is a gateway with a ledger, and fal as the stand-in plays it. Use it within a bubble.
type rig struct {
	*gaff.Gateway
	*jobs.Service
	t     *testing.T
	st    *sqlite.Store
	fal   *standin.Fal
	queue *fal.Queue
	net   *network
	app   []*http.Request // what came to the application's own address
	appOK atomic.Bool
	bodys [][]byte
	stop  func()
}

type rigOptions struct {
	standin.Options
	jobs    jobs.ServiceOptions
	private bool // the gateway has no public address
	unread  bool // the source takes any handle, as most do
	listed  bool // fal lists the requests that have ended
	wrap    func(jobs.Provider) jobs.Provider
}

func newRig(t *testing.T, o rigOptions) *rig {
	t.Helper()
	o.URL, o.Key = "http://"+falHost, "the-key"
	if o.Seed == 0 {
		o.Seed = 1
	}
	r := &rig{t: t, net: &network{hosts: standin.Hosts{}, down: map[string]bool{}, asked: map[string]int{}}}
	client := &http.Client{Transport: r.net}
	o.Client = client
	r.fal = standin.NewFal(o.Options)
	r.net.hosts[falHost] = r.fal
	r.appOK.Store(true)
	r.net.hosts[appHost] = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(req.Body)
		r.app, r.bodys = append(r.app, req), append(r.bodys, body.Bytes())
		if !r.appOK.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	var err error
	if r.st, err = sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{}); err != nil {
		t.Fatal(err)
	}
	api := ""
	if o.listed {
		api = o.URL + "/v1"
	}
	if r.queue, err = fal.NewQueue(fal.QueueOptions{Key: o.Key, URL: o.URL, RunURL: o.URL + standin.RunPath, APIURL: api, Client: client}); err != nil {
		t.Fatal(err)
	}
	r.begin(o)
	t.Cleanup(func() {
		r.stop()
		r.fal.Close()
		if err := r.st.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// begin starts a gateway on the rig's database; the one before must have been stopped.
func (r *rig) begin(o rigOptions) {
	r.t.Helper()
	log := slog.New(slog.DiscardHandler)
	var err error
	if r.Gateway, err = gaff.New(gaff.Options{Store: r.st, Logger: log}); err != nil {
		r.t.Fatal(err)
	}
	var provider jobs.Provider = r.queue
	if o.wrap != nil {
		provider = o.wrap(provider)
	}
	client := &http.Client{Transport: r.net}
	o.jobs.Store, o.jobs.Router, o.jobs.Log, o.jobs.Providers = r.st, r.Gateway, log, []jobs.Provider{provider}
	o.jobs.CallbackClient = client
	if !o.private {
		o.jobs.Address = func(name string) string { return "http://" + gaffHost + gaff.PathPrefix + name }
	}
	if r.Service, err = jobs.NewService(context.Background(), o.jobs); err != nil {
		r.t.Fatal(err)
	}
	r.Service.Attach(r.Gateway)
	src, err := fal.Source(fal.Options{JWKS: verify.NewJWKS("http://"+falHost+standin.JWKSPath, verify.JWKSOptions{Client: client})})
	if err != nil {
		r.t.Fatal(err)
	}
	if !o.unread {
		src.CheckCallbackToken = r.Service.CheckCallbackToken
	}
	r.AddSource(src)
	r.Handle(fal.Name, "*", gaff.Named("effects/fal", jobs.NewHandler(jobs.Options{
		Store: r.st, Router: r.Gateway, Interpreter: fal.Interpreter{}, Service: r.Service,
	})))
	if err := r.Start(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	r.net.mu.Lock()
	r.net.hosts[gaffHost] = r.IngestHandler()
	r.net.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	var once sync.Once
	gw := r.Gateway
	r.stop = func() {
		once.Do(func() {
			cancel()
			<-done
			if err := gw.Stop(context.Background()); err != nil {
				r.t.Error(err)
			}
		})
	}
}

// submit asks for a job with a fault at fal; empty: none.
func (r *rig) submit(fault string, more ...func(*jobs.Submission)) *jobs.Job {
	r.t.Helper()
	s := jobs.Submission{
		Provider: "fal", Model: model, ProjectID: "p", Kind: "image",
		Input: json.RawMessage(fmt.Sprintf(`{"prompt":"dog","standin":{"fault":%q}}`, fault)),
	}
	for _, f := range more {
		f(&s)
	}
	j, created, err := r.Submit(context.Background(), s)
	if err != nil || !created {
		r.t.Fatalf("submit: created %v, %v", created, err)
	}
	return j
}

// job reads a job once all has come to rest.
func (r *rig) job(id string) *jobs.Job {
	r.t.Helper()
	synctest.Wait()
	j, err := r.st.Job(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

// notes is a job's log in one text.
func (r *rig) notes(id string) string {
	r.t.Helper()
	notes, err := r.st.JobLog(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	var b strings.Builder
	for _, n := range notes {
		fmt.Fprintf(&b, "%s: %s\n", n.What, n.Text)
	}
	return b.String()
}

// ends counts how often a job came to its end, and its files.
func (r *rig) ends(id string) (ends, files int) {
	r.t.Helper()
	page, err := r.st.Events(context.Background(), gaff.EventFilter{Source: gaff.InternalSource, Cursor: gaff.Cursor{Limit: 500}})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, ev := range page.Items {
		if status, ok := strings.CutPrefix(ev.Type, "job."); ok && ev.CorrelationID == id && slices.Contains([]string{"completed", "failed", "cancelled"}, status) {
			ends++
		}
	}
	media, err := r.st.Media(context.Background(), jobs.MediaFilter{JobID: id})
	if err != nil {
		r.t.Fatal(err)
	}
	return ends, len(media.Items)
}

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
				// What comes late must change nothing.
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
					t.Errorf("will be asked after at %s", j.NextPollAt)
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

// After an outage of fal, of the network to it, or of the gateway, all is settled without
// anyone doing anything, and gently.
func TestAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{Options: standin.Options{RetryWaits: []time.Duration{time.Second}}})
		var ids []string
		for range 60 {
			ids = append(ids, r.submit("").ID)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.net.cut(gaffHost, true)
		r.net.cut(falHost, true)
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		r.net.cut(falHost, false)
		before, began := r.net.calls(falHost), time.Now()
		for open := true; open && time.Since(began) < 2*time.Hour; {
			time.Sleep(10 * time.Second)
			open = slices.ContainsFunc(ids, func(id string) bool { return !r.job(id).Status.Settled() })
		}
		took := time.Since(began)
		for _, id := range ids {
			j := r.job(id)
			ends, files := r.ends(id)
			if j.Status != jobs.JobCompleted || j.SettledBy != "reconciliation" || ends != 1 || files != 1 {
				t.Errorf("%s by %q, %d ends, %d files\n%s", j.Status, j.SettledBy, ends, files, r.notes(id))
			}
		}
		if calls := r.net.calls(falHost) - before; calls > 3*len(ids) || float64(calls) > 5*took.Seconds()+10 {
			t.Errorf("fal was called %d times in %s for %d jobs", calls, took, len(ids))
		}
	})
}

// Two nodes share the jobs, and the bound.
func TestNodesShareThePace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{Options: standin.Options{Faults: standin.Faults{standin.Lost: 1}}})
		ctx, cancel := context.WithCancel(context.Background())
		other, err := jobs.NewService(ctx, jobs.ServiceOptions{
			Store: r.st, Router: r.Gateway, Log: slog.New(slog.DiscardHandler), Providers: []jobs.Provider{r.queue},
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); other.Run(ctx) }()
		var ids []string
		for range 40 {
			ids = append(ids, r.submit("").ID)
		}
		time.Sleep(90 * time.Second)
		synctest.Wait()
		before := r.net.calls(falHost)
		time.Sleep(time.Minute)
		synctest.Wait()
		calls := r.net.calls(falHost) - before
		if calls == 0 || calls > 60*5+10 {
			t.Errorf("%d calls in a minute, want some and at most 5 a second", calls)
		}
		time.Sleep(5 * time.Minute)
		for _, id := range ids {
			if j := r.job(id); j.Status != jobs.JobCompleted || j.Polls != 1 {
				t.Errorf("%s after %d questions", j.Status, j.Polls)
			}
		}
		cancel()
		<-done
	})
}

// meeting holds fal's answer back until the webhook of the same job is there.
type meeting struct {
	jobs.Provider
	wait func()
}

func (m *meeting) Poll(ctx context.Context, j *jobs.Job) (jobs.Update, error) {
	u, err := m.Provider.Poll(ctx, j)
	m.wait()
	return u, err
}

func TestWebhookAndAnswerAtTheSameMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		r := newRig(t, rigOptions{
			Options: standin.Options{LateBy: 3 * time.Minute},
			wrap:    func(p jobs.Provider) jobs.Provider { return &meeting{p, func() { <-gate }} },
		})
		var ids []string
		for range 20 {
			ids = append(ids, r.submit("late").ID)
		}
		time.AfterFunc(3*time.Minute+2*time.Second, func() { close(gate) })
		time.Sleep(10 * time.Minute)
		by := map[string]int{}
		for _, id := range ids {
			j := r.job(id)
			by[j.SettledBy]++
			if ends, files := r.ends(id); j.Status != jobs.JobCompleted || ends != 1 || files != 1 {
				t.Errorf("%s, %d ends, %d files", j.Status, ends, files)
			}
		}
		if by["webhook"] == 0 {
			t.Errorf("settled by %v", by)
		}
	})
}

// fal signs for all its customers. The first proven delivery shows which of them we are.
func TestOtherUsersAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		proven := r.submit("")
		time.Sleep(10 * time.Second)
		other := r.submit("other-user")
		time.Sleep(10 * time.Second)
		if j := r.job(proven.ID); j.SettledBy != "webhook" {
			t.Fatalf("settled by %q", j.SettledBy)
		}
		status := gaff.StatusError
		page, err := r.st.Events(context.Background(), gaff.EventFilter{Source: "fal", Status: &status})
		if err != nil || len(page.Items) != 1 || !strings.Contains(page.Items[0].Error, "in the name of user user_somebody_else") {
			t.Errorf("events in error: %v, %v", page.Items, err)
		}
		time.Sleep(5 * time.Minute)
		if j := r.job(other.ID); j.SettledBy != "reconciliation" {
			t.Errorf("the other's job was settled by %q", j.SettledBy)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		// Nothing is learned from a request that only the webhook told of.
		r := newRig(t, rigOptions{})
		first := r.submit("other-user,unknown-outcome")
		time.Sleep(10 * time.Second)
		second := r.submit("")
		time.Sleep(10 * time.Second)
		if a, b := r.job(first.ID), r.job(second.ID); a.Status != jobs.JobCompleted || b.SettledBy != "webhook" {
			t.Errorf("%s, and %s by %q", a.Status, b.Status, b.SettledBy)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{jobs: jobs.ServiceOptions{Users: map[string]jobs.Users{"fal": {IDs: []string{"user_standin", "user_somebody_else"}}}}})
		for _, fault := range []string{"", "other-user"} {
			j := r.submit(fault)
			time.Sleep(10 * time.Second)
			if j := r.job(j.ID); j.SettledBy != "webhook" {
				t.Errorf("%s by %q", j.Status, j.SettledBy)
			}
		}
	})
}

// An address that was not given out is refused; one that was names its job, and no other.
func TestHandles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		a, b := r.submit("lost"), r.submit("lost")
		time.Sleep(5 * time.Second)
		a, b = r.job(a.ID), r.job(b.ID)
		handle := a.WebhookURL[strings.LastIndex(a.WebhookURL, "/")+1:]
		key := standinKey(r.fal)
		post := func(handle, requestID string) int {
			t.Helper()
			body := fmt.Sprintf(`{"request_id":%q,"status":"OK","payload":{"images":[{"url":"https://v3.fal.media/x.png"}]}}`, requestID)
			req := &gaff.Request{Body: []byte(body)}
			key(req, requestID)
			hr := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+"fal/"+handle, strings.NewReader(body))
			hr.Header = req.Header
			w := httptest.NewRecorder()
			r.IngestHandler().ServeHTTP(w, hr)
			synctest.Wait()
			return w.Code
		}
		for _, forged := range []string{"x", a.ID, a.ID + ".", a.ID + ".AAAAAAAAAAAAAAAAAAAAAA", b.ID + handle[strings.Index(handle, "."):], "~" + handle} {
			if code := post(forged, a.RequestID); code != http.StatusUnauthorized {
				t.Errorf("%s is answered %d", forged, code)
			}
		}
		if code := post(handle, b.RequestID); code != http.StatusOK {
			t.Errorf("answered %d", code)
		}
		if a, b := r.job(a.ID), r.job(b.ID); a.Status.Settled() || b.Status.Settled() {
			t.Errorf("the request of one job at the address of another: %s, %s", a.Status, b.Status)
		}
		if code := post(handle, a.RequestID); code != http.StatusOK {
			t.Errorf("answered %d", code)
		}
		if a := r.job(a.ID); a.Status != jobs.JobCompleted || a.SettledBy != "webhook" {
			t.Errorf("%s by %q", a.Status, a.SettledBy)
		}
	})
}

// standinKey signs as the stand-in does.
func standinKey(f *standin.Fal) func(r *gaff.Request, requestID string) {
	return func(r *gaff.Request, requestID string) {
		fal.SignFal(r, f.SigningKey(), requestID, standin.UserID, time.Now())
	}
}

// Where a source has no addresses of single jobs, the last part means nothing.
func TestHandlesThatAreNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{unread: true})
		j := r.submit("lost")
		time.Sleep(5 * time.Second)
		j = r.job(j.ID)
		body := fmt.Sprintf(`{"request_id":%q,"status":"OK","payload":{}}`, j.RequestID)
		signed := &gaff.Request{Body: []byte(body)}
		standinKey(r.fal)(signed, j.RequestID)
		req := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+"fal/whatever", strings.NewReader(body))
		req.Header = signed.Header
		w := httptest.NewRecorder()
		r.IngestHandler().ServeHTTP(w, req)
		if j := r.job(j.ID); w.Code != http.StatusOK || j.SettledBy != "webhook" {
			t.Errorf("answered %d, %s by %q", w.Code, j.Status, j.SettledBy)
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
		// The one of unknown outcome was worked on, and its log says so.
		if log := r.notes(unknown.ID); !strings.Contains(log, "came after the job was cancelled") {
			t.Errorf("its log:\n%s", log)
		}
		if _, err := r.Service.Cancel(ctx, "job_none"); !errors.Is(err, gaff.ErrNotFound) {
			t.Errorf("cancel what is not there: %v", err)
		}
	})
}

// An application that submits by itself tells what it has.
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

// Of a job that an application registers and never tells the request of, nobody can be
// asked. It is looked at all the same, and does not stay for ever; once enough is told, it
// is asked after as others.
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

// Without an address that fal can reach, gaff asks from the beginning.
func TestWithoutAPublicAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{private: true})
		j := r.submit("")
		time.Sleep(15 * time.Second)
		if j = r.job(j.ID); j.Status != jobs.JobCompleted || j.SettledBy != "reconciliation" || r.fal.Jobs()[0].Webhook != "" {
			t.Errorf("%s by %q\n%s", j.Status, j.SettledBy, r.notes(j.ID))
		}
		if !strings.Contains(r.notes(j.ID), "without a webhook") {
			t.Errorf("its log does not say why:\n%s", r.notes(j.ID))
		}
	})
}

// How long a model's jobs take decides when one of which nothing is heard is asked after:
// sooner than GAFF_RECONCILE_AFTER if it is quick, and once more when it should be done if
// it is slow.
func TestJobsAreAskedAfterWhenTheyAreOverdue(t *testing.T) {
	t.Parallel()
	lasting := func(model string, seconds int) func(*jobs.Submission) {
		return func(s *jobs.Submission) {
			s.Model = model
			s.Input = json.RawMessage(strings.Replace(string(s.Input), `"standin":{`, fmt.Sprintf(`"standin":{"seconds":%d,`, seconds), 1))
		}
	}
	const quick, slow, usual = "fal-ai/quick/one", "fal-ai/slow/one", "fal-ai/usual/one"
	seconds := map[string]int{quick: 4, slow: 600, usual: 60}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		if takes, at := r.Expected(r.submit("", lasting(usual, 60))); takes != 0 || !at.IsZero() {
			t.Errorf("expected before anything is known: %s, %s", takes, at)
		}
		for range 5 {
			for model, n := range seconds {
				r.submit("", lasting(model, n))
			}
			// What a lost webhook made longer is not the model's doing.
			r.submit("lost", lasting(quick, 4))
			time.Sleep(20 * time.Minute)
		}
		// A gateway that is started anew knows it from the store.
		r.stop()
		r.begin(rigOptions{})
		for model, want := range map[string]struct{ first, last time.Duration }{
			quick: {30 * time.Second, 36 * time.Second},  // a quarter of two minutes, give or take a fifth
			usual: {90 * time.Second, 108 * time.Second}, // half as long again as usual
			// At 2 minutes, about when it should be done, and if it is not yet, 5.12 minutes later, give or take a fifth.
			slow: {12*time.Minute + 30*time.Second, 16*time.Minute + 9*time.Second},
		} {
			time.Sleep(time.Second)
			began := time.Now()
			j := r.submit("lost", lasting(model, seconds[model]))
			j = r.job(j.ID)
			takes, at := r.Expected(j)
			if want := time.Duration(seconds[model]) * time.Second; takes < want || takes > want+2*time.Second || !at.Equal(j.SubmittedAt.Add(takes)) {
				t.Errorf("%s: expected to take %s, until %s; want about %s", model, takes, at, want)
			}
			for !j.Status.Settled() && time.Since(began) < time.Hour {
				time.Sleep(time.Second)
				j = r.job(j.ID)
			}
			if took := time.Since(began); took < want.first*8/10 || took > want.last+2*time.Second {
				t.Errorf("%s: settled after %s, want from %s to %s\n%s", model, took, want.first*8/10, want.last, r.notes(j.ID))
			}
			if asks := strings.Count(r.notes(j.ID), "ask: "); asks > 3 {
				t.Errorf("%s: asked %d times", model, asks)
			}
			if takes, at := r.Expected(j); takes != 0 || !at.IsZero() {
				t.Errorf("%s has ended, and is expected in %s, at %s", model, takes, at)
			}
		}
	})
}

// The webhook is passed on as it came; a job without one gets one made up, which says so.
func TestCallbacks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		r.appOK.Store(false)
		to := func(s *jobs.Submission) { s.Callback = "http://" + appHost + "/hooks?job=7" }
		j := r.submit("", to)
		time.Sleep(5 * time.Second)
		r.appOK.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(r.app) != 2 || r.app[1].URL.RequestURI() != "/hooks?job=7" || r.app[1].Header.Get("X-Gaff-Job-Id") != j.ID {
			t.Fatalf("the application was called %d times", len(r.app))
		}
		keys := verify.NewJWKS("http://"+falHost+standin.JWKSPath, verify.JWKSOptions{Client: &http.Client{Transport: r.net}})
		scheme, _ := sender.Preset("fal")
		v, err := sender.New(scheme, verify.Options{JWKS: keys})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(context.Background(), &gaff.Request{Header: r.app[1].Header, Body: r.bodys[1], ReceivedAt: time.Now()}); err != nil {
			t.Errorf("the application cannot verify what was passed on: %v", err)
		}
		lost := r.submit("lost", to)
		time.Sleep(5 * time.Minute)
		lost = r.job(lost.ID)
		var body struct {
			RequestID string `json:"request_id"`
			Status    string
			Payload   json.RawMessage
		}
		if err := json.Unmarshal(r.bodys[len(r.bodys)-1], &body); err != nil {
			t.Fatal(err)
		}
		last := r.app[len(r.app)-1].Header
		if len(r.app) != 3 || body.RequestID != lost.RequestID || body.Status != "OK" || string(body.Payload) != compact(lost.Result) || last.Get("X-Gaff-Reconciled") != "true" || last.Get("X-Fal-Webhook-Signature") != "" {
			t.Errorf("%d calls, the last with %+v and %v", len(r.app), body, last)
		}
		ids := map[string]bool{}
		for i, req := range r.app {
			at, _ := strconv.ParseInt(req.Header.Get(client.HeaderTimestamp), 10, 64)
			id, err := client.Verify(r.CallbackSecrets(), req.Header, r.bodys[i], time.Unix(at, 0))
			if err != nil {
				t.Errorf("call %d cannot be verified as gaff's: %v", i, err)
			}
			ids[id] = true
		}
		if len(ids) != 2 {
			t.Errorf("two callbacks, one of them repeated, have %d ids", len(ids))
		}
	})
}

// The secret of callbacks is the operator's, else one that outlives the process.
func TestCallbackSecrets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		made := r.CallbackSecrets()
		if len(made) != 1 {
			t.Fatalf("%d secrets", len(made))
		}
		r.stop()
		r.begin(rigOptions{})
		if again := r.CallbackSecrets(); !slices.Equal(again, made) {
			t.Error("the secret is another one after a restart")
		}
		r.stop()
		own := []string{client.NewSecret(), client.NewSecret()}
		r.begin(rigOptions{jobs: jobs.ServiceOptions{CallbackSecrets: own}})
		r.submit("lost", func(s *jobs.Submission) { s.Callback = "http://" + appHost + "/" })
		time.Sleep(5 * time.Minute)
		for _, secret := range own {
			at, _ := strconv.ParseInt(r.app[0].Header.Get(client.HeaderTimestamp), 10, 64)
			if _, err := client.Verify([]string{secret}, r.app[0].Header, r.bodys[0], time.Unix(at, 0)); err != nil {
				t.Errorf("one of two secrets does not sign: %v", err)
			}
		}
		o := jobs.ServiceOptions{Store: r.st, CallbackSecrets: []string{"short"}}
		if _, err := jobs.NewService(context.Background(), o); err == nil {
			t.Error("a secret that is none is taken")
		}
	})
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	_ = json.Compact(&b, raw)
	return b.String()
}
