package ui_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
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
	"gaff/internal/definition"
	"gaff/internal/eventually"
	"gaff/internal/pgtest"
	"gaff/internal/replay"
	"gaff/internal/schema"
	"gaff/internal/server"
	"gaff/internal/sqlstore"
	"gaff/internal/ui"
	"gaff/internal/wire"
	"gaff/jobs"
	"gaff/provider/custom"
	"gaff/provider/fal"
	"gaff/provider/lastframe"
	"gaff/store/postgres"
	"gaff/store/sqlite"
	"gaff/workflow"
)

const (
	adminToken = "the admin token of tests"
	secret     = "a shared secret of tests"
)

// asking is a workflow with a decision, and a job that nobody takes.
const asking = `
name: ask
description: Asks, then reports
inputs:
  - {name: text, required: true, description: The question}
  - {name: names, type: list, items: string, default: [a]}
  - {name: size, enum: [small, large], default: small}
  - {name: loud, type: boolean}
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

// world is a gateway with its console, served on a port of this machine. The handler of
// custom:flaky fails until the world is healed.
type world struct {
	url    string
	store  *sqlstore.Store
	gw     *gaff.Gateway
	guard  *access.Guard
	healed atomic.Bool
	engine *workflow.Engine
	// definitions has the workflow ask, of a file.
	definitions *definition.Service
	// evilFiles has everything below /files/ be a hostile picture.
	evilFiles atomic.Bool
	records   sourceRecords
	// handlers are those of the health.
	handlers []wire.HandlerHealth
	// rotated is how often the key of links was rotated, and ten for each time with drop.
	rotated atomic.Int64
}

// sourceRecords has the schemas of one source that was created by the API, if its name is set.
type sourceRecords struct {
	api.SourceRecords
	name string
	spec wire.SourceSpec
}

func (r *sourceRecords) State(name string) wire.SourceState {
	if name != r.name {
		return wire.SourceState{}
	}
	return wire.SourceState{Spec: &r.spec}
}

func (r *sourceRecords) Update(_ context.Context, _ string, patch []byte) error {
	var next wire.SourceSpec
	if err := json.Unmarshal(patch, &next); err != nil {
		return err
	}
	for _, text := range next.Schemas {
		if _, err := schema.New(text); text != nil && err != nil {
			return fmt.Errorf("%w: schemas: is not a JSON Schema: %w", gaff.ErrInvalid, err)
		}
	}
	r.spec.Schemas, r.spec.OnViolation = next.Schemas, next.OnViolation
	maps.DeleteFunc(r.spec.Schemas, func(_ string, text wire.JSON) bool { return text == nil })
	return nil
}

var errAlbum = errors.New("the album service answered 503: it is being moved")

func newWorld(t *testing.T) *world {
	t.Helper()
	return stores["sqlite"](t)
}

// stores make worlds on each of the databases.
var stores = map[string]func(*testing.T) *world{
	"sqlite": func(t *testing.T) *world {
		st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
		return newWorldOn(t, st, err)
	},
	"postgres": func(t *testing.T) *world {
		st, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{})
		return newWorldOn(t, st, err)
	},
}

// onBoth runs a test on both databases.
func onBoth(t *testing.T, story func(t *testing.T, w *world)) {
	t.Helper()
	for name, make := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, make(t))
		})
	}
}

// newWorldOn takes what opening the store returned.
func newWorldOn(t *testing.T, st *sqlstore.Store, err error) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{records: sourceRecords{name: "custom", spec: wire.SourceSpec{Name: "custom", Schemas: map[string]wire.JSON{"album": wire.JSON(`{"required": ["id"]}`)}}}, store: st, url: "http://" + ln.Addr().String()}
	w.gw, err = gaff.New(gaff.Options{Store: st, Logger: log, BaseURL: w.url, Retry: gaff.RetryPolicy{MaxAttempts: 1}})
	if err != nil {
		t.Fatal(err)
	}
	falSource, err := fal.Source(fal.Options{Secrets: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	lastFrame, err := lastframe.Source(lastframe.Options{Secrets: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	customSource, err := custom.Default([]string{secret})
	if err != nil {
		t.Fatal(err)
	}
	customSource.MaxBodyBytes = 8 << 20
	w.gw.AddSource(falSource)
	w.gw.AddSource(lastFrame)
	w.gw.AddSource(customSource)
	effects := func(i jobs.Interpreter) gaff.Handler {
		return jobs.NewHandler(jobs.Options{Store: st, Router: w.gw, Interpreter: i})
	}
	w.gw.Handle(fal.Name, "*", gaff.Named("effects/fal", effects(fal.Interpreter{})))
	w.gw.Handle(lastframe.Name, "*", gaff.Named("effects/lastframe", effects(lastframe.Interpreter{})))
	w.gw.Handle(custom.DefaultName, "flaky", gaff.Named("album", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
		if w.healed.Load() {
			return nil
		}
		return errAlbum
	})))
	w.engine = workflow.New(workflow.Options{Store: st, Router: w.gw, Jobs: noJobs{}, Log: log})
	w.engine.Register(w.gw)
	w.definitions = definition.New(definition.Options{
		Store: st, Engine: w.engine, Log: log,
		Files: func() ([]*workflow.Compiled, error) {
			c, err := workflow.Parse("ask.yaml", []byte(asking))
			return []*workflow.Compiled{c}, err
		},
		Parse: func(file string, text []byte) (*workflow.Compiled, error) { return workflow.Parse(file, text, "fal") },
	})
	if err := w.definitions.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.gw.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.gw.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.guard = access.NewGuard(access.GuardOptions{Store: st, AdminToken: adminToken, Log: log})
	address := func(name string) string { return w.url + gaff.PathPrefix + name }
	sample := func(ctx context.Context, source, _ string) (wire.SampleSent, error) {
		id, err := w.send(ctx, source, `{"type":"test","id":"sample"}`)
		return wire.SampleSent{Status: http.StatusOK, EventID: id}, err
	}
	fwd := destination.NewManager(destination.ManagerOptions{
		Store: st, Gateway: w.gw, Log: log, Client: destination.NewClient([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}), Lookup: destination.NewLookup(st),
	})
	if err := fwd.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	replays := replay.New(replay.Options{Store: st, Gateway: w.gw, Destinations: fwd, Log: log})
	if err := replays.Attach(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { replays.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	apiHandler := api.New(api.Options{
		Replays: replays,
		Store:   st, Gateway: w.gw, Authorizer: access.Scoped{Guard: w.guard}, Guard: w.guard, Forwarding: fwd, Log: log, Address: address, TestSource: sample, Workflows: w.engine, Definitions: w.definitions,
		Ready:         st.Ready,
		SourceRecords: &w.records,
		Handlers:      func(context.Context) ([]wire.HandlerHealth, error) { return w.handlers, nil },
		Secrets: api.Secrets{
			SigningKeys: func() []wire.SigningKey { return []wire.SigningKey{{Name: "links", Accepted: 2}} },
			RotateSigningKey: func(_ context.Context, name string, drop bool) (wire.SigningKey, error) {
				w.rotated.Add(1)
				if drop {
					w.rotated.Add(9)
				}
				return wire.SigningKey{Name: name, Accepted: 2}, nil
			},
		},
		Settings: []wire.Setting{
			{Name: "GAFF_ADDR", Value: ":3000", Origin: "default", Help: "listen address"},
			{Name: "FAL_WEBHOOK_SECRET", Value: "[redacted]", Origin: "environment", Help: "secrets of the source fal (its HMAC form), separated by commas; the first signs"},
			{Name: "WEBHOOK_BASE_URL", Value: "https://hooks.example.com", Origin: ".env", Help: "public base of this gateway, from which the addresses for providers are built"},
		},
	})
	console := ui.New(ui.Options{
		Store: st, Guard: w.guard, API: apiHandler, Sources: w.gw.Sources, Address: address, Log: log,
		SampleTypes: func(string) []string { return []string{"test"} }, Workflows: w.engine,
		SubmitURL: func(source, webhookURL string) string {
			if source != "fal" {
				return ""
			}
			return "https://queue.example/MODEL?hook=" + webhookURL
		},
		Expected: func(j *jobs.Job) (time.Duration, time.Time) {
			if j.Status.Settled() || j.UserID != "waits" {
				return 0, time.Time{}
			}
			takes := map[string]time.Duration{"slow": 40 * time.Minute, "late": -2 * time.Minute}[j.ProjectID]
			return takes, j.CreatedAt.Add(takes)
		},
	})
	front := server.Handler(server.Options{
		Ingest: w.gw.IngestHandler(), API: apiHandler, Console: console, Ready: st.Ready, Log: log,
		Authorized: func(*http.Request) bool { return false },
	})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/files/") {
			w.serveFiles(rw, r)
			return
		}
		front.ServeHTTP(rw, r)
	}))
	srv.Listener.Close()
	srv.Listener = ln
	srv.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	return w
}

// send posts a signed webhook and returns the event's id.
func (w *world) send(ctx context.Context, source, body string) (string, error) {
	r, err := gafftest.SignedRequest(ctx, w.url+gaff.PathPrefix+source, source, secret, []byte(body))
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var reply struct{ ID, Error string }
	if err := json.NewDecoder(res.Body).Decode(&reply); err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("send %s: %s %s", source, res.Status, reply.Error)
	}
	return reply.ID, nil
}

// sent is send for tests: it waits until the event was processed.
func (w *world) sent(t *testing.T, source, body string) string {
	t.Helper()
	id, err := w.send(t.Context(), source, body)
	if err != nil {
		t.Fatal(err)
	}
	w.settled(t, id)
	return id
}

func (w *world) settled(t *testing.T, eventID string) gaff.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), eventually.Limit)
	defer cancel()
	for {
		changed := w.store.Changed()
		d, err := w.store.Event(ctx, eventID)
		if err != nil {
			t.Fatal(err)
		}
		if d.Status != gaff.StatusPending {
			return d.Status
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("the event was not processed")
		}
	}
}

// browser is a client with cookies, without JavaScript.
func (w *world) browser(t *testing.T) *http.Client {
	t.Helper()
	return browserOf(t, w.url, adminToken)
}

// browserOf is a browser without JavaScript that is logged in at a gateway.
func browserOf(t *testing.T, gateway, token string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	res, err := c.PostForm(gateway+"/login", url.Values{"token": {token}, "name": {"Anna"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Request.URL.Path != "/" {
		t.Fatalf("login: %s %s", res.Status, res.Request.URL)
	}
	return c
}
