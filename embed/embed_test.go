package embed_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff"
	"gaff/embed"
	"gaff/gafftest"
	"gaff/jobs"
	"gaff/provider/fal"
	"gaff/workflow"
)

// site is a program with a gateway and a server, whose handler is set by the gateway.
type site struct {
	*httptest.Server
	gw *embed.Gateway
}

// open opens a gateway in a program whose provider is played; add adds to it before the start.
func open(t *testing.T, change func(*embed.Options), add func(*embed.Gateway)) *site {
	t.Helper()
	s := &site{}
	ready := make(chan struct{})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-ready
		s.gw.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	o := embed.Options{
		DataDir: t.TempDir(), BaseURL: s.URL, Settings: gafftest.NewFal(t).Settings(), Logger: slog.New(slog.DiscardHandler),
	}
	o.Settings["GAFF_ADMIN_TOKEN"] = token
	if change != nil {
		change(&o)
	}
	var err error
	if s.gw, err = embed.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.gw.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if add != nil {
		add(s.gw)
	}
	close(ready)
	if err := s.gw.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

const token = "a-token-of-thirty-two-characters!"

func (s *site) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (s *site) submit(t *testing.T) *jobs.Job {
	t.Helper()
	j, _, err := s.gw.Jobs().Submit(t.Context(), jobs.Submission{
		Provider: "fal", Model: "fal-ai/flux/dev", Input: json.RawMessage(`{"prompt":"a dog"}`), ProjectID: "film-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return gafftest.AwaitJob(t, s.gw.Store(), j.ID)
}

func TestGatewayInAProgram(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	note := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, text)
	}
	s := open(t, nil, func(gw *embed.Gateway) {
		gw.Use(func(next gaff.Handler) gaff.Handler {
			return gaff.HandlerFunc(func(ctx context.Context, ev *gaff.Event) error {
				note("before " + ev.Type)
				return next.Handle(ctx, ev)
			})
		})
		gw.Handle("fal", fal.Completed, fal.Handle(func(_ context.Context, r fal.Result) error {
			note("image " + r.Images[0].ContentType)
			return nil
		}))
	})
	if j := s.submit(t); j.Status != jobs.JobCompleted || j.SettledBy != jobs.SettledByWebhook {
		t.Fatalf("job %s by %q: %s", j.Status, j.SettledBy, j.Error)
	}
	mu.Lock()
	if got := strings.Join(seen, ", "); got != "before generation.completed, image image/png" && got != "before generation.completed, image image/jpeg" {
		t.Errorf("the handler and its middleware saw %q", got)
	}
	mu.Unlock()

	for path, want := range map[string]string{
		"/api/v1/jobs": `"film-1"`, "/": "<html", "/metrics": "gaff_", "/healthz": "ok", "/readyz": "ready",
	} {
		if status, body := s.get(t, path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q", path, status, want)
		}
	}
	page, err := s.gw.Store().Media(t.Context(), jobs.MediaFilter{ProjectID: "film-1"})
	if err != nil || len(page.Items) == 0 {
		t.Fatalf("no files: %v", err)
	}
	if link := page.Items[0].Links.StoredURL; !strings.HasPrefix(link, s.URL+"/media/") {
		t.Fatalf("link %q", link)
	} else if status, _ := s.get(t, strings.TrimPrefix(link, s.URL)); status != http.StatusOK {
		t.Errorf("file: %d", status)
	}
}

func TestPartsCanBeMounted(t *testing.T) {
	t.Parallel()
	s := open(t, nil, nil)
	mux := http.NewServeMux()
	mux.Handle("/api/", s.gw.API())
	mux.Handle("/metrics", s.gw.Metrics())
	mux.Handle("/files/", s.gw.Media())
	mux.Handle("/", s.gw.Console())
	for path, want := range map[string]int{"/api/v1/jobs": 401, "/metrics": 401, "/files/unknown": 404, "/login": 200} {
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
	rec := httptest.NewRecorder()
	s.gw.PublicHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/api/v1/jobs", nil))
	if rec.Code != 404 {
		t.Errorf("the public handler serves the API: %d", rec.Code)
	}
}

// The effects of a handler on the program's own table happen once, and not at all if it fails.
func TestEffectsInOwnTables(t *testing.T) {
	t.Parallel()
	attempts := 0
	s := open(t, func(o *embed.Options) {
		o.File = filepath.Join(t.TempDir(), "gaff.yaml")
		if err := os.WriteFile(o.File, []byte("retry: {first: 1ms}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}, func(gw *embed.Gateway) {
		gw.Handle(gaff.InternalSource, "job.completed", gw.Effects(func(ctx context.Context, tx *embed.Tx, ev *gaff.Event) error {
			var job jobs.JobSettled
			if err := json.Unmarshal(ev.Data, &job); err != nil {
				return gaff.Discard(err)
			}
			if _, err := tx.Exec(`insert into picture (job, project) values ($1, $2)`, job.JobID, job.ProjectID); err != nil {
				return err
			}
			if attempts++; attempts == 1 {
				return errors.New("the first attempt fails")
			}
			return tx.Emit(ctx, gaff.Event{Source: "album", Type: "picture.added", Data: json.RawMessage(`{}`)})
		}))
		gw.Handle("album", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return nil }))
	})
	err := s.gw.Write(t.Context(), func(tx *embed.Tx) error {
		_, err := tx.Exec(`create table picture (job text primary key, project text not null)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	j := s.submit(t)
	var rows int
	for deadline := time.Now().Add(time.Minute); rows == 0 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		err := s.gw.Write(t.Context(), func(tx *embed.Tx) error {
			return tx.QueryRow([]any{&rows}, `select count(*) from picture where job = $1 and project = 'film-1'`, j.ID)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	gafftest.WorkUntilIdle(t, s.gw.Store())
	page, err := s.gw.Store().Events(t.Context(), gaff.EventFilter{Source: "album"})
	if err != nil || rows != 1 || len(page.Items) != 1 {
		t.Errorf("%d rows and %d events after two attempts, want 1 each; %v", rows, len(page.Items), err)
	}
}

func TestFunctionIsAStep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	definition := "name: film\ninputs: [{name: title}]\nsteps:\n" +
		"  - {name: shout, http: {url: \"func:shout\", body: {title: \"${input.title}\"}}, retry: {attempts: 3, wait: 1ms}}\n" +
		"  - {name: told, emit: {type: shouted, data: {text: \"${steps.shout.result.body.text}\"}}}\n" +
		"  - {name: missing, needs: [told], http: {url: \"func:nobody\"}}\n"
	if err := os.WriteFile(filepath.Join(dir, "film.yaml"), []byte(definition), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var keys []string
	s := open(t, func(o *embed.Options) { o.Settings["GAFF_WORKFLOWS"] = dir }, func(gw *embed.Gateway) {
		gw.Function("shout", func(ctx context.Context, body json.RawMessage) (any, error) {
			mu.Lock()
			keys = append(keys, workflow.CallKey(ctx))
			n := len(keys)
			mu.Unlock()
			if n == 1 {
				panic("once")
			}
			var in struct{ Title string }
			if err := json.Unmarshal(body, &in); err != nil {
				return nil, gaff.Discard(err)
			}
			return map[string]string{"text": strings.ToUpper(in.Title)}, nil
		})
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/v1/runs", strings.NewReader(`{"workflow":"film","input":{"title":"dogs"}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var run struct {
		ID, Status, Error string
		Steps             []struct{ Name, Status, Error string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&run); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	for deadline := time.Now().Add(time.Minute); run.Status != "failed" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		_, body := s.get(t, "/api/v1/runs/"+run.ID)
		if err := json.Unmarshal([]byte(body), &run); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(run.Error, `no function "nobody"`) {
		t.Errorf("run %s: %q", run.Status, run.Error)
	}
	_, body := s.get(t, "/api/v1/events?source=gaff&type=shouted")
	if !strings.Contains(body, "DOGS") && !strings.Contains(body, `"totalDocs":1`) && !strings.Contains(body, "evt_") {
		t.Errorf("no event of the result: %s", body)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(keys) != 2 || keys[0] == "" || keys[0] != keys[1] {
		t.Errorf("keys of the calls: %q, want one twice", keys)
	}
}

func TestOpenRejectsWrongOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    embed.Options
		want string
	}{
		"no folder":       {embed.Options{}, "DataDir is missing"},
		"unknown setting": {embed.Options{DataDir: t.TempDir(), Settings: map[string]string{"GAFF_RECONCILE_AFTER": "soon"}}, "GAFF_RECONCILE_AFTER"},
		"missing file":    {embed.Options{DataDir: t.TempDir(), File: "none.yaml"}, "none.yaml"},
	} {
		if _, err := embed.Open(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A gateway that was never started leaves nothing behind, and another one can be opened.
func TestStopWithoutStart(t *testing.T) {
	t.Parallel()
	o := embed.Options{DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	for range 2 {
		gw, err := embed.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := gw.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := gw.Start(t.Context()); err == nil {
			t.Error("a stopped gateway starts")
		}
	}
}

func TestRetentionOfOptionsIsChecked(t *testing.T) {
	t.Parallel()
	keep := embed.DefaultRetention()
	if keep.Payloads != 30*24*time.Hour {
		t.Errorf("the default retention of payloads is %s", keep.Payloads)
	}
	keep.Jobs = time.Minute
	if gw, err := embed.Open(t.Context(), embed.Options{DataDir: t.TempDir(), Retention: &keep}); err == nil || !strings.Contains(err.Error(), "at least an hour") {
		t.Errorf("a minute: %v %v", gw, err)
	}
	keep.Jobs = time.Hour
	gw, err := embed.Open(t.Context(), embed.Options{DataDir: t.TempDir(), Retention: &keep})
	if err != nil {
		t.Fatal(err)
	}
	if err := gw.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}
