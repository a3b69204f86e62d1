package fal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/standin"
	"gaff/jobs"
	"gaff/provider/fal"
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
	app   []*http.Request // requests to the application's URL
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
	more    []jobs.Provider // beside fal
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
	o.jobs.Store, o.jobs.Router, o.jobs.Log, o.jobs.Providers = r.st, r.Gateway, log, append([]jobs.Provider{provider}, o.more...)
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

// standinKey signs as the stand-in does.
func standinKey(f *standin.Fal) func(r *gaff.Request, requestID string) {
	return func(r *gaff.Request, requestID string) {
		fal.SignFal(r, f.SigningKey(), requestID, standin.UserID, time.Now())
	}
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	_ = json.Compact(&b, raw)
	return b.String()
}
