package workflow_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/store/sqlite"
	"gaff/workflow"
	"gaff/workflow/runs"
)

// world is an engine over a real database and gateway. Tests settle its jobs.
type world struct {
	t      *testing.T
	path   string
	st     *sqlite.Store
	gw     *gaff.Gateway
	e      *workflow.Engine
	mu     sync.Mutex
	asked  []workflow.Submission // of the process's life
	ended  []string              // jobs that were cancelled
	full   []error               // budgets that had no room, as Refused got them
	client http.RoundTripper
	limits map[string]int
	cs     []*workflow.Compiled
}

type open struct{}

func (open) Verify(context.Context, *gaff.Request) (gaff.Verification, error) {
	return gaff.Verification{Scheme: "none"}, nil
}

// plain reads {"id","type","job"}.
type plain struct{}

func (plain) Parse(r *gaff.Request, _ gaff.Verification) (gaff.Envelope, error) {
	var body struct{ ID, Type, Job string }
	err := json.Unmarshal(r.Body, &body)
	return gaff.Envelope{ID: body.ID, Type: body.Type, CorrelationID: body.Job}, err
}

// Enqueue adds the job's row; tests settle it.
func (w *world) Enqueue(ctx context.Context, tx jobs.Tx, s workflow.Submission) (string, error) {
	if s.Model == "refused" {
		return "", fmt.Errorf("%w: no such model", gaff.ErrInvalid)
	}
	if s.Model == "dear" {
		return "", &jobs.BudgetError{Budget: jobs.Budget{Name: "film", Period: "month", Currency: "USD", Limit: 1}}
	}
	id := "job-" + strings.TrimPrefix(s.IdempotencyKey, s.RunID+"/")
	id = s.RunID + "-" + strings.NewReplacer("/1.", "-", "/", "-").Replace(strings.TrimPrefix(id, "job-"))
	if err := tx.InsertJob(ctx, &jobs.Job{
		ID: id, Provider: s.Provider, Model: s.Model, Kind: s.Kind, ProjectID: s.ProjectID, UserID: s.UserID, Metadata: s.Input,
		RunID: s.RunID, StepID: s.StepID,
	}); err != nil {
		return "", err
	}
	w.mu.Lock()
	w.asked = append(w.asked, s)
	w.mu.Unlock()
	return id, nil
}

func (w *world) Refused(ctx context.Context, tx jobs.Tx, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full = append(w.full, err)
	return nil
}

func (w *world) Cancel(_ context.Context, jobID string) error {
	w.mu.Lock()
	w.ended = append(w.ended, jobID)
	w.mu.Unlock()
	w.settle(jobID, jobs.JobCancelled, "")
	return nil
}

func (w *world) Do(r *http.Request) (*http.Response, error) {
	if w.client == nil {
		return nil, errors.New("nobody listens")
	}
	return w.client.RoundTrip(r)
}

// parse compiles workflows.
func parse(t *testing.T, texts ...string) (cs []*workflow.Compiled) {
	t.Helper()
	for _, text := range texts {
		c, err := workflow.Parse("test.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	return cs
}

func newWorld(t *testing.T, change func(*world), texts ...string) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "gaff.db"), cs: parse(t, texts...)}
	if change != nil {
		change(w)
	}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	var err error
	ctx := context.Background()
	if w.st, err = sqlite.Open(ctx, w.path, sqlite.Options{}); err != nil {
		w.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if w.gw, err = gaff.New(gaff.Options{Store: w.st, Logger: log}); err != nil {
		w.t.Fatal(err)
	}
	w.gw.AddSource(gaff.Source{Name: "shop", Verifier: open{}, Parser: plain{}})
	w.e = workflow.New(workflow.Options{
		Store: w.st, Router: w.gw, Jobs: w, Client: w, Log: log, Limits: w.limits, Secrets: map[string]string{"token": "s3cret"},
	})
	if err := w.e.SetWorkflows(w.cs); err != nil {
		w.t.Fatal(err)
	}
	w.e.Register(w.gw)
	if err := w.gw.Start(ctx); err != nil {
		w.t.Fatal(err)
	}
	if err := w.e.Start(ctx); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stop() {
	w.e.Stop()
	if err := w.gw.Stop(context.Background()); err != nil {
		w.t.Error(err)
	}
	if err := w.st.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) run(name, input string) string {
	w.t.Helper()
	r, created, err := w.e.Run(context.Background(), workflow.StartParams{Workflow: name, ProjectID: "p1", Input: json.RawMessage(input)})
	if err != nil || !created {
		w.t.Fatalf("start %s: %v, created %v", name, err, created)
	}
	return r.ID
}

// settle settles a job in one transaction, as a provider's webhook does.
func (w *world) settle(jobID string, status jobs.JobStatus, result string) {
	w.t.Helper()
	ctx := context.Background()
	err := w.st.Write(ctx, func(tx jobs.Tx) error {
		j, err := tx.Job(ctx, jobID)
		if err != nil {
			return err
		}
		j.Status, j.Result = status, nil
		if status == jobs.JobFailed {
			j.Error = result
		} else if result != "" {
			j.Result, j.Cost = json.RawMessage(result), "0.5"
		}
		if err := tx.SaveJob(ctx, j); err != nil {
			return err
		}
		files, _ := jobs.Files(j.Provider, j.Result, tx.Now())
		for _, m := range files {
			m.JobID, m.ProjectID = j.ID, j.ProjectID
			if len(m.URL) > 4096 {
				_, data, _ := jobs.ReadDataLink(m.URL)
				m.URL = fmt.Sprintf("data:image/png;sha256=%x", sha256.Sum256(data)) // as package jobs does
			}
			if _, err := tx.AddMedia(ctx, &m); err != nil {
				return err
			}
		}
		data, err := json.Marshal(jobs.JobSettled{JobID: j.ID, Provider: j.Provider, Status: status.String(), ProjectID: j.ProjectID, RunID: j.RunID})
		if err != nil {
			return err
		}
		ev := &gaff.Event{Source: gaff.InternalSource, Type: "job." + status.String(), Data: data, ReceivedAt: tx.Now()}
		return tx.Emit(ctx, ev, w.gw.Route(ev))
	})
	if err != nil {
		w.t.Errorf("settle %s: %v", jobID, err)
	}
}

// image returns a result of fal.
func image(name string) string {
	return fmt.Sprintf(`{"images":[{"url":"https://files.example/%s.png","width":8,"content_type":"image/png"}]}`, name)
}

// open returns the ids of the unsettled jobs of a run.
func (w *world) open(runID string) (ids []string) {
	w.t.Helper()
	page, err := w.st.Jobs(context.Background(), jobs.JobFilter{Cursor: gaff.Cursor{Limit: 500}})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, j := range page.Items {
		if !j.Status.Settled() && strings.HasPrefix(j.ID, runID) {
			ids = append(ids, strings.TrimPrefix(j.ID, runID+"-"))
		}
	}
	slices.Sort(ids)
	return ids
}

// await waits until describe returns want.
func (w *world) await(runID, want string) *runs.Run {
	w.t.Helper()
	var got string
	for range 2000 {
		r, err := w.st.Run(context.Background(), runID)
		if err != nil {
			w.t.Fatal(err)
		}
		if got = w.describe(r); got == want {
			return r
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.t.Fatalf("run is\n%s\nwant\n%s", got, want)
	return nil
}

// describe returns a run in one line: "running a=completed b=running[completed,failed] jobs=b-0-1".
func (w *world) describe(r *runs.Run) string {
	w.t.Helper()
	rows, err := w.st.Steps(context.Background(), r.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(r.Status.String())
	v, err := w.e.Version(context.Background(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, def := range v.Steps {
		var items []string
		state := "pending"
		for _, row := range rows {
			if row.Name != def.Name {
				continue
			}
			if row.Item == runs.WholeStep {
				state = row.Status.String()
			} else {
				items = append(items, row.Status.String())
			}
		}
		fmt.Fprintf(&b, " %s=%s", def.Name, state)
		if len(items) > 0 {
			fmt.Fprintf(&b, "[%s]", strings.Join(items, ","))
		}
	}
	if jobs := w.open(r.ID); len(jobs) > 0 {
		fmt.Fprintf(&b, " jobs=%s", strings.Join(jobs, ","))
	}
	return b.String()
}

func (w *world) send(body string) {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.gw.IngestHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/api/v1/webhooks/shop", strings.NewReader(body)))
	if rec.Code != http.StatusOK {
		w.t.Fatalf("webhook answered %d %s", rec.Code, rec.Body)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
