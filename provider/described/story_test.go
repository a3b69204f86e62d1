package described_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml"

	"gaff"
	"gaff/jobs"
	"gaff/provider/custom"
	"gaff/provider/described"
	"gaff/sender"
	"gaff/store/sqlite"
	"gaff/verify"
)

const hookSecret = "0123456789abcdef0123456789abcdef"

// vendor answers as the examples of a provider do, and counts the submits that it accepted.
type vendor struct {
	mu       sync.Mutex
	e        *described.Examples
	busy     int  // submits that are answered 429
	cut      bool // the answers to submits are lost
	running  int  // polls that are answered with running work
	accepted int
}

func (v *vendor) RoundTrip(r *http.Request) (*http.Response, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	switch {
	case r.Method == v.e.Submit.Method && !v.polls(r):
		if v.busy > 0 {
			v.busy--
			return respond(&described.Response{Status: http.StatusTooManyRequests, Text: "{}"}), nil
		}
		v.accepted++
		if v.cut {
			return nil, errors.New("the connection was reset")
		}
		return respond(&v.e.Accepted), nil
	case v.polls(r):
		if v.running > 0 {
			v.running--
			return respond(v.e.Running), nil
		}
		return respond(v.e.Done), nil
	}
	return respond(&described.Response{Status: http.StatusTeapot}), nil
}

func (v *vendor) polls(r *http.Request) bool {
	return v.e.Poll != nil && r.Method == v.e.Poll.Method && r.URL.RequestURI() == v.e.Poll.Path
}

func (v *vendor) submits() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.accepted
}

func respond(r *described.Response) *http.Response {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	if r.Status != 0 {
		w.WriteHeader(r.Status)
	}
	switch {
	case r.Text != "":
		_, _ = w.WriteString(r.Text)
	case r.Body != nil:
		_ = json.NewEncoder(w).Encode(r.Body)
	}
	return w.Result()
}

// world is a gateway with one described provider.
type world struct {
	t    *testing.T
	name string
	d    *described.Description
	e    *described.Examples
	v    *vendor
	st   *sqlite.Store
	gw   *gaff.Gateway
	svc  *jobs.Service
	// sign makes a webhook authentic; nil if the provider signs none.
	sign func(*gaff.Request, time.Time) error
}

func newWorld(t *testing.T, name string) *world {
	t.Helper()
	w := &world{t: t, name: name}
	w.d, _ = described.Find(name)
	var err error
	if w.e, err = described.ExamplesOf(name); err != nil {
		t.Fatal(err)
	}
	w.v = &vendor{e: w.e}
	secrets := map[string]string{}
	for secret := range w.d.Secrets {
		secrets[secret] = secret + "-secret"
	}
	c, err := described.New(w.d, described.Options{Name: name, Secrets: secrets, HTTP: &http.Client{Transport: w.v}})
	if err != nil {
		t.Fatal(err)
	}
	if w.st, err = sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if w.gw, err = gaff.New(gaff.Options{Store: w.st, Logger: log}); err != nil {
		t.Fatal(err)
	}
	w.svc, err = jobs.NewService(context.Background(), jobs.ServiceOptions{
		Store: w.st, Router: w.gw, Log: log, Providers: []jobs.Provider{c},
		SubmitPatience: 5 * time.Minute,
		Address:        func(name string) string { return "https://gaff.test" + gaff.PathPrefix + name },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.svc.Attach(w.gw)
	if w.d.Webhook != nil {
		w.addSource(name, c)
	}
	if err := w.gw.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.svc.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := errors.Join(w.gw.Stop(context.Background()), w.st.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) addSource(name string, c *described.Client) {
	w.t.Helper()
	o := custom.Options{Name: name, Verifier: described.JobURLs{Source: name}}
	if !w.d.Webhook.Unsigned {
		scheme, _ := sender.Preset(w.d.Webhook.Preset)
		secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte(hookSecret))
		v, err := sender.New(scheme, verify.Options{Secrets: []string{secret}})
		if err != nil {
			w.t.Fatal(err)
		}
		o.Scheme, o.Verifier, w.sign = scheme, v, v.Sign
	}
	src, err := custom.Source(o)
	if err != nil {
		w.t.Fatal(err)
	}
	src.CheckCallbackToken = w.svc.CheckCallbackToken
	src.Parser = described.NewInterpreter(c).Parser(src.Parser)
	w.gw.AddSource(src)
	w.gw.Handle(name, "*", gaff.Named("effects/"+name, jobs.NewHandler(jobs.Options{
		Store: w.st, Router: w.gw, Interpreter: described.NewInterpreter(c), Service: w.svc,
	})))
}

func (w *world) submit() *jobs.Job {
	w.t.Helper()
	input, err := json.Marshal(w.e.Input)
	if err != nil {
		w.t.Fatal(err)
	}
	j, _, err := w.svc.Submit(context.Background(), jobs.Submission{ID: "job_play", Provider: w.name, Model: w.e.Model, Input: input})
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// deliver sends the webhook of the examples to the job's URL, and returns the status.
func (w *world) deliver(url string, forged bool) int {
	w.t.Helper()
	body, err := json.Marshal(w.e.Webhook)
	if err != nil {
		w.t.Fatal(err)
	}
	if forged || w.d.Webhook.Account { // an account has one URL
		url, _, _ = strings.Cut(url, "/job_")
	}
	r := &gaff.Request{Method: http.MethodPost, URL: url, Header: http.Header{}, Body: body}
	if w.sign != nil {
		if err := w.sign(r, time.Now()); err != nil {
			w.t.Fatal(err)
		}
	}
	if forged {
		r.Body = append(body, ' ')
	}
	req := httptest.NewRequest(http.MethodPost, url, bytes.NewReader(r.Body))
	req.Header = r.Header
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	w.gw.IngestHandler().ServeHTTP(rec, req)
	return rec.Code
}

// settled returns the job, and fails unless it settled once with its files, and was paid once.
func (w *world) settled(id string, want jobs.JobStatus) *jobs.Job {
	w.t.Helper()
	synctest.Wait()
	j, err := w.st.Job(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	if j.Status != want {
		log, _ := w.st.JobLog(context.Background(), id)
		w.t.Fatalf("the job is %s, want %s: %s\n%+v", j.Status, want, j.Error, log)
	}
	page, err := w.st.Events(context.Background(), gaff.EventFilter{Source: gaff.InternalSource, Cursor: gaff.Cursor{Limit: 500}})
	if err != nil {
		w.t.Fatal(err)
	}
	ends := 0
	for _, ev := range page.Items {
		if ev.CorrelationID == id && ev.Type == "job."+want.String() {
			ends++
		}
	}
	if ends != 1 {
		w.t.Errorf("it settled %d times", ends)
	}
	if n := w.v.submits(); n != 1 {
		w.t.Errorf("the provider accepted %d submits", n)
	}
	if want != jobs.JobCompleted {
		return j
	}
	media, err := w.st.Media(context.Background(), jobs.MediaFilter{JobID: id})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(media.Items) != len(w.e.Expect.Files) {
		w.t.Errorf("%d files, want %d", len(media.Items), len(w.e.Expect.Files))
	}
	return j
}

// each runs a story for every provider of the catalogue, in a bubble.
func each(t *testing.T, story func(t *testing.T, w *world)) {
	t.Helper()
	eachThat(t, func(*described.Description) bool { return true }, story)
}

// sendsWebhooks chooses the providers that send webhooks; signsBodies those whose signature covers the
// body, which Kie's does not.
func sendsWebhooks(d *described.Description) bool { return d.Webhook != nil }
func signsBodies(d *described.Description) bool   { return d.Webhook != nil && d.Webhook.Preset != "kie" }

// eachThat is each for the providers that choose accepts.
func eachThat(t *testing.T, choose func(*described.Description) bool, story func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	for _, name := range described.Catalogue() {
		if d, _ := described.Find(name); !choose(d) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, name)
				story(t, w)
			})
		})
	}
}

func TestJobSettlesOnceWithoutItsWebhook(t *testing.T) {
	each(t, func(_ *testing.T, w *world) {
		w.v.running = 1
		j := w.submit()
		time.Sleep(10 * time.Minute)
		if j = w.settled(j.ID, jobs.JobCompleted); j.Cost != w.e.Expect.Cost {
			w.t.Errorf("the cost is %q, want %q", j.Cost, w.e.Expect.Cost)
		}
	})
}

func TestJobSettlesOnceByDoubledAndLateWebhooks(t *testing.T) {
	eachThat(t, sendsWebhooks, func(t *testing.T, w *world) {
		j := w.submit()
		time.Sleep(time.Second)
		for range 2 {
			if code := w.deliver(j.WebhookURL, false); code != http.StatusOK {
				t.Fatalf("a webhook was answered %d", code)
			}
		}
		time.Sleep(time.Minute)
		w.settled(j.ID, jobs.JobCompleted)
		w.deliver(j.WebhookURL, false)
		time.Sleep(5 * time.Minute)
		w.settled(j.ID, jobs.JobCompleted)
	})
}

func TestForgedWebhookIsRejected(t *testing.T) {
	eachThat(t, signsBodies, func(t *testing.T, w *world) {
		j := w.submit()
		time.Sleep(time.Second)
		if code := w.deliver(j.WebhookURL, true); code != http.StatusUnauthorized {
			t.Errorf("answered %d", code)
		}
	})
}

func TestSubmitIsRepeatedOnlyIfItWasNotAccepted(t *testing.T) {
	each(t, func(_ *testing.T, w *world) {
		w.v.busy = 2
		j := w.submit()
		time.Sleep(6 * time.Minute)
		w.settled(j.ID, jobs.JobCompleted)
	})
}

func TestSubmitOfUnknownOutcomeIsNotRepeated(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.v.cut = true
		j := w.submit()
		time.Sleep(time.Minute)
		if w.d.Webhook != nil && !w.d.Webhook.Account {
			if code := w.deliver(j.WebhookURL, false); code != http.StatusOK {
				t.Fatalf("the webhook was answered %d", code)
			}
			time.Sleep(5 * time.Minute)
			w.settled(j.ID, jobs.JobCompleted)
			return
		}
		time.Sleep(12 * time.Minute)
		if j = w.settled(j.ID, jobs.JobFailed); j.ErrorType != "submit_outcome_unknown" {
			t.Errorf("the error is %q", j.ErrorType)
		}
	})
}

func TestEventsOfTheCatalogueHaveAType(t *testing.T) {
	eachThat(t, sendsWebhooks, func(t *testing.T, w *world) {
		j := w.submit()
		time.Sleep(time.Second)
		w.deliver(j.WebhookURL, false)
		page, err := w.st.Events(t.Context(), gaff.EventFilter{Source: w.name, Cursor: gaff.Cursor{Limit: 10}})
		if err != nil || len(page.Items) != 1 {
			t.Fatalf("%d events, %v", len(page.Items), err)
		}
		if got := page.Items[0].Type; got == custom.UnknownType || w.d.Webhook.Unsigned && got != "job.completed" {
			t.Errorf("the type is %q", got)
		}
	})
}

func TestTypeOfAnEventIsThatOfItsStatus(t *testing.T) {
	t.Parallel()
	description, _ := documented(t)
	parse := func(change, body string) string {
		d := &described.Description{}
		if err := yaml.UnmarshalWithOptions([]byte(strings.Replace(description, "  same: body\n", change, 1)), d, yaml.Strict()); err != nil {
			t.Fatal(err)
		}
		c, err := described.New(d, described.Options{Name: "acme", Secrets: map[string]string{"key": "k"}})
		if err != nil {
			t.Fatal(err)
		}
		scheme, _ := sender.Preset(d.Webhook.Preset)
		src, err := custom.Source(custom.Options{Name: "acme", Scheme: scheme})
		if err != nil {
			t.Fatal(err)
		}
		env, err := described.NewInterpreter(c).Parser(src.Parser).Parse(&gaff.Request{Body: []byte(body)}, gaff.Verification{})
		if err != nil {
			t.Fatal(err)
		}
		return env.Type
	}
	const states = "  status: body.state\n  states: {ok: completed}\n"
	for _, c := range []struct{ change, body, want string }{
		{"  same: body\n", `{"id":"j-1","status":"done"}`, "job.completed"},
		{"  same: body\n", `{"id":"j-1","status":"error"}`, "job.failed"},
		{"  same: body\n", `{"id":"j-1","status":"running"}`, "job.processing"},
		{"  same: body\n", `{"id":"j-1","status":"new"}`, "unknown"},
		{"  same: body\n", `{"id":"j-1","status":"done","type":"image.made"}`, "image.made"}, // as the preset reads it
		{"  same: body\n  type: '\"acme.\" + body.status'\n", `{"id":"j-1","status":"done","type":"image.made"}`, "acme.done"},
		{"  same: body\n  type: body.kind\n", `{"id":"j-1","status":"done"}`, "job.completed"},
		{states, `{"id":"j-1","state":"ok"}`, "job.completed"},
	} {
		if got := parse(c.change, c.body); got != c.want {
			t.Errorf("%s of %q: the type is %q, want %q", c.body, c.change, got, c.want)
		}
	}
}
