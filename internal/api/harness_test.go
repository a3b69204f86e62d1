package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/gafftest"
	"gaff/internal/access"
	"gaff/internal/api"
	"gaff/internal/apitest"
	"gaff/internal/definition"
	"gaff/internal/erase"
	"gaff/jobs"
	"gaff/provider/custom"
	"gaff/provider/fal"
	"gaff/store/sqlite"
	"gaff/workflow"
)

// tokens is an Authorizer: the token is the role's name.
type tokens struct{}

func (tokens) Authorize(r *http.Request) (api.Identity, bool) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	for _, role := range []api.Role{api.Viewer, api.Operator, api.Admin} {
		if token == role.String() {
			return api.Identity{Name: "someone", Role: role, Via: access.ViaKey, ID: "apk_" + token}, true
		}
	}
	return api.Identity{}, false
}

// caller calls a handler as a client with a role does, and checks that the OpenAPI document
// describes every answer.
type caller struct {
	handler http.Handler
	t       *testing.T
}

// document is the OpenAPI document, read once for all tests.
var document = sync.OnceValues(func() (*apitest.Document, error) {
	w := httptest.NewRecorder()
	api.New(api.Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/openapi.json", nil))
	return apitest.Parse(w.Body.Bytes())
})

type answered struct {
	status int
	header http.Header
	body   string
}

// call makes a request; token is a role, or empty for none.
func (c caller) call(method, target, token, body string) answered {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	doc, err := document()
	if err == nil {
		err = doc.Check(method, target, w.Code, w.Header(), w.Body.Bytes())
	}
	if err != nil && c.t != nil {
		c.t.Error(err)
	}
	return answered{w.Code, w.Header(), w.Body.String()}
}

// get reads JSON as an admin.
func (c caller) get(t *testing.T, target string, to any) {
	t.Helper()
	res := c.call(http.MethodGet, target, "admin", "")
	if res.status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", target, res.status, res.body)
	}
	if err := json.Unmarshal([]byte(res.body), to); err != nil {
		t.Fatalf("GET %s: %v in %s", target, err, res.body)
	}
}

// fake is the API over a store and a gateway that are set up by a test. What a test does
// not set up panics, which the API answers with 500.
type fake struct {
	caller
	store   *fakeStore
	gateway *fakeGateway
	log     *strings.Builder
	ready   func(context.Context) error
	work    context.Context // of what runs beside requests
	running sync.WaitGroup
}

func (f *fake) background(fn func(context.Context)) { f.running.Go(func() { fn(f.work) }) }

type fakeStore struct {
	api.Store
	event   func(id string) (*gaff.EventDetail, error)
	events  func(f gaff.EventFilter) (gaff.Page[gaff.Log], error)
	logs    func(q gaff.LogQuery) ([]gaff.Log, int, error)
	counts  func() (gaff.Counts, error)
	job     func(id string) (*jobs.Job, error)
	media   func(id string) (*jobs.Media, error)
	changes func(after string, limit int) ([]gaff.Change, string, bool, error)
	changed func() <-chan struct{}
}

func (s *fakeStore) Event(_ context.Context, id string) (*gaff.EventDetail, error) {
	return s.event(id)
}

func (s *fakeStore) Events(_ context.Context, f gaff.EventFilter) (gaff.Page[gaff.Log], error) {
	return s.events(f)
}

func (s *fakeStore) Logs(_ context.Context, q gaff.LogQuery) ([]gaff.Log, int, error) {
	return s.logs(q)
}

func (s *fakeStore) Counts(context.Context, time.Time) (gaff.Counts, error) { return s.counts() }

func (s *fakeStore) Job(_ context.Context, id string) (*jobs.Job, error) { return s.job(id) }

func (s *fakeStore) MediaByID(_ context.Context, id string) (*jobs.Media, error) {
	return s.media(id)
}

func (s *fakeStore) Changes(_ context.Context, after string, limit int) ([]gaff.Change, string, bool, error) {
	return s.changes(after, limit)
}

func (s *fakeStore) Changed() <-chan struct{} { return s.changed() }

// fakeGateway answers everything with err.
type fakeGateway struct {
	err     error
	asked   []string
	sources []gaff.SourceInfo
	retry   func(context.Context) error // nil: err
}

func (g *fakeGateway) RetryNow(_ context.Context, id string) error {
	g.asked = append(g.asked, "retry now "+id)
	return g.err
}

func (g *fakeGateway) Retry(ctx context.Context, id string) ([]string, error) {
	if g.retry != nil {
		return nil, g.retry(ctx)
	}
	g.asked = append(g.asked, "retry "+id)
	return []string{"dlv_1"}, g.err
}

func (g *fakeGateway) Replay(_ context.Context, id string) ([]string, error) {
	g.asked = append(g.asked, "replay "+id)
	return nil, g.err
}

func (g *fakeGateway) Cancel(_ context.Context, id string) error {
	g.asked = append(g.asked, "cancel "+id)
	return g.err
}

func (g *fakeGateway) Publish(_ context.Context, ps []gaff.Publication) ([]gaff.Publication, error) {
	return ps, g.err
}

func (g *fakeGateway) ChangeScheduled(context.Context, string, func(*gaff.Publication) error) (*gaff.Publication, error) {
	return &gaff.Publication{}, g.err
}

func (g *fakeGateway) Sources() []gaff.SourceInfo { return g.sources }

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{
		caller: caller{t: t},
		store:  &fakeStore{}, gateway: &fakeGateway{}, log: &strings.Builder{}, work: context.Background(),
		ready: func(context.Context) error { return nil },
	}
	f.handler = api.New(api.Options{
		Store: f.store, Gateway: f.gateway, Authorizer: tokens{}, Log: slog.New(slog.NewTextHandler(f.log, nil)),
		Ready: func(ctx context.Context) error { return f.ready(ctx) }, Background: f.background,
	})
	return f
}

// asking is a workflow with a decision, and a job that nobody takes.
const asking = `
name: ask
description: Asks, then reports
inputs:
  - {name: text, required: true}
  - {name: names, type: list, items: string, default: [a]}
  - {name: size, enum: [small, large], default: small}
steps:
  - name: look
    for_each: input.names
    approve: {message: "${item}, ${input.text}?", deadline: 1h}
  - name: tell
    needs: [look]
    emit: {type: told, data: "${input.text}"}
  - name: paint
    needs: [tell]
    when: input.size == "large"
    submit: {provider: fal, model: m, input: {prompt: "${input.text}"}}
`

type noJobs struct{}

func (noJobs) Enqueue(context.Context, jobs.Tx, workflow.Submission) (string, error) {
	return "", fmt.Errorf("%w: nobody paints here", gaff.ErrInvalid)
}

func (noJobs) Cancel(context.Context, string) error { return nil }

// world is the API over a running gateway on SQLite, with the sources fal, whose events
// move jobs, and custom, whose handler fails until the world is healed.
type world struct {
	caller
	store       *sqlite.Store
	ingest      http.Handler
	healed      atomic.Bool
	engine      *workflow.Engine
	definitions *definition.Service
	// guarded is the same API behind keys and sessions, with the admin token [adminToken].
	guarded caller
	guard   *access.Guard
}

const adminToken = "the admin token of tests"

const secret = "a shared secret of tests"

func newWorld(t *testing.T) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	gw, err := gaff.New(gaff.Options{
		Store: st, Logger: log, BaseURL: "https://hooks.example.com", Retry: gaff.RetryPolicy{MaxAttempts: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{caller: caller{t: t}, guarded: caller{t: t}, store: st, ingest: gw.IngestHandler()}
	falSource, err := fal.Source(fal.Options{Secrets: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	customSource, err := custom.Default([]string{secret})
	if err != nil {
		t.Fatal(err)
	}
	gw.AddSource(falSource)
	gw.AddSource(customSource)
	gw.Handle(fal.Name, "*", gaff.Named("effects/fal", jobs.NewHandler(jobs.Options{
		Store: st, Router: gw, Interpreter: fal.Interpreter{},
	})))
	gw.Handle(custom.DefaultName, "flaky", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
		if w.healed.Load() {
			return nil
		}
		return errFlaky
	}))
	w.engine = workflow.New(workflow.Options{Store: st, Router: gw, Jobs: noJobs{}, Log: log})
	w.engine.Register(gw)
	w.definitions = definition.New(definition.Options{
		Store: st, Engine: w.engine, Log: log,
		Files: func() ([]*workflow.Compiled, error) {
			c, err := workflow.Parse("ask.yaml", []byte(asking))
			return []*workflow.Compiled{c}, err
		},
		Parse: func(file string, text []byte) (*workflow.Compiled, error) {
			return workflow.Parse(file, text, "studio")
		},
	})
	if err := w.definitions.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := gw.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gw.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.guard = access.NewGuard(access.GuardOptions{Store: st, AdminToken: adminToken, Log: log, BrowserKey: []byte("thirty-two bytes of a test key !!")})
	eraser := erase.New(erase.Options{Store: st, CancelRun: w.engine.Cancel, Log: log})
	fwd := destination.NewManager(destination.ManagerOptions{Store: st, Gateway: gw, Log: log, Client: destination.NewClient(nil), Lookup: destination.NewLookup(st)})
	if err := fwd.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := api.Options{Eraser: eraser, Store: st, Gateway: gw, Authorizer: tokens{}, Log: log, Guard: w.guard, Workflows: w.engine, Definitions: w.definitions, Forwarding: fwd}
	w.handler = api.New(o)
	o.Authorizer = access.Scoped{Guard: w.guard}
	o.Jobs, err = jobs.NewService(t.Context(), jobs.ServiceOptions{Store: st, Router: gw, Log: log, Providers: []jobs.Provider{studio{}}})
	if err != nil {
		t.Fatal(err)
	}
	w.guarded.handler = api.New(o)
	return w
}

// errFlaky is a handler's own "not found": no reason to think that the event is unknown.
var errFlaky = errors.Join(errors.New("the album is gone"), gaff.ErrNotFound)

// send posts a signed webhook and returns the event's id once it was processed.
func (w *world) send(t *testing.T, source, body string, header http.Header) string {
	t.Helper()
	r, err := gafftest.SignedRequest(t.Context(), "https://hooks.example.com"+gaff.PathPrefix+source, source, secret, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	r.RemoteAddr = "192.0.2.7:40000"
	rec := httptest.NewRecorder()
	w.ingest.ServeHTTP(rec, r)
	var reply struct{ ID string }
	if err := json.Unmarshal(rec.Body.Bytes(), &reply); err != nil || rec.Code != http.StatusOK {
		t.Fatalf("send %s: %d %s", source, rec.Code, rec.Body)
	}
	w.settled(t, reply.ID)
	return reply.ID
}

// settled waits until no delivery of an event is open.
func (w *world) settled(t *testing.T, eventID string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		changed := w.store.Changed()
		d, err := w.store.Event(ctx, eventID)
		if err != nil {
			t.Fatal(err)
		}
		if d.Status != gaff.StatusPending {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("the event was not processed")
		}
	}
}
