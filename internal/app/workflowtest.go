package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/jobs"
	"gaff/store/sqlite"
	"gaff/workflow"
	"gaff/workflow/runs"
)

// WorkflowTest says how a workflow is tried.
type WorkflowTest struct {
	Input json.RawMessage // an object
	// Events are given, in order, to the steps that wait for one of their kind.
	Events []TestEvent
	// Reject are the steps whose decision is no; all others' is yes.
	Reject []string
	// Timeout bounds the whole run. Zero means a minute.
	Timeout time.Duration
	// JSON prints the run at its end as JSON, in place of a line for each step.
	JSON bool
}

// TestEvent is an event that a tried workflow waits for.
type TestEvent struct {
	Source, Type string
	Data         json.RawMessage
}

// TestWorkflow runs a workflow once in a folder of its own, with stand-ins for the
// providers in this process, and prints its progress. ok is true if the run completed.
func TestWorkflow(ctx context.Context, cfg *config.Config, c *workflow.Compiled, o WorkflowTest, log *slog.Logger, out io.Writer) (ok bool, err error) {
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("the run did not end within %s; --timeout allows more", o.Timeout))
	defer cancel()
	dir, err := os.MkdirTemp("", "gaff-workflow-")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return false, err
	}
	defer ln.Close()
	cfg.DataDir, cfg.Addr, cfg.BaseURL, cfg.MediaURL = dir, ln.Addr().String(), "http://"+ln.Addr().String(), "off"
	cfg.ReconcileAfter = devReconcile
	if err := devSecrets(cfg); err != nil {
		return false, err
	}
	players, err := startStandins(cfg, DevOptions{Seed: 1, quick: true}, log)
	if err != nil {
		return false, err
	}
	defer players.close()
	if err := players.configure(cfg); err != nil {
		return false, err
	}

	st, err := sqlite.Open(ctx, filepath.Join(dir, DatabaseFile), sqlite.Options{Log: log})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	t := &trial{o: o, c: c, out: out, st: st, offered: map[string]int{}, told: map[string]string{}}
	if err := t.build(ctx, cfg, log); err != nil {
		return false, err
	}
	srv := &http.Server{Handler: t.gw.IngestHandler(), ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) })
	defer serving.Wait()
	defer func() { _ = srv.Close() }()
	if err := t.gw.Start(ctx); err != nil {
		return false, err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), handlerPatience)
		defer cancel()
		err = errors.Join(err, t.gw.Stop(stop))
	}()
	if err := t.e.Start(ctx); err != nil {
		return false, err
	}
	defer t.e.Stop()
	asking, stopAsking := context.WithCancel(ctx)
	var asked sync.WaitGroup
	asked.Go(func() { t.jobs.Run(asking) })
	defer asked.Wait()
	defer stopAsking()
	return t.run(ctx)
}

// trial is one run of a workflow for its author.
type trial struct {
	o       WorkflowTest
	c       *workflow.Compiled
	out     io.Writer
	st      *sqlite.Store
	gw      *gaff.Gateway
	jobs    *jobs.Service
	e       *workflow.Engine
	mu      sync.Mutex
	offered map[string]int // events that were given, by the step that waited
	told    map[string]string
}

func (t *trial) build(ctx context.Context, cfg *config.Config, log *slog.Logger) (err error) {
	if t.gw, err = gaff.New(gaff.Options{Store: t.st, Logger: log, BaseURL: cfg.BaseURL}); err != nil {
		return err
	}
	sources, err := Sources(cfg, log)
	if err != nil {
		return err
	}
	clients, err := newClients(cfg, nil)
	if err != nil {
		return err
	}
	t.jobs, err = jobs.NewService(ctx, jobs.ServiceOptions{
		Store: t.st, Router: t.gw, Log: log, ReconcileAfter: cfg.ReconcileAfter,
		Address:   func(provider string) string { return cfg.BaseURL + gaff.PathPrefix + provider },
		Providers: slices.Collect(maps.Values(clients)),
	})
	if err != nil {
		return err
	}
	t.jobs.Attach(t.gw)
	for _, src := range sources {
		src.CheckCallbackToken = t.jobs.CheckCallbackToken
		t.gw.AddSource(src.Source)
		if src.Interpreter != nil {
			t.gw.Handle(src.Name, "*", gaff.Named("effects/"+src.Name, jobs.NewHandler(jobs.Options{
				Store: t.st, Router: t.gw, Interpreter: src.Interpreter, Service: t.jobs,
			})))
		}
	}
	t.e = workflow.New(workflow.Options{
		Store: t.st, Router: t.gw, Jobs: serviceJobs{t.jobs}, Client: t, Log: log, Secrets: map[string]string{},
	})
	t.e.Register(t.gw)
	return t.e.SetWorkflows([]*workflow.Compiled{t.c})
}

// Do answers the calls of http steps without making them.
func (t *trial) Do(r *http.Request) (*http.Response, error) {
	body := []byte{}
	if r.Body != nil {
		body, _ = io.ReadAll(io.LimitReader(r.Body, workflow.MaxValue))
	}
	t.say("  (not made) %s %s %s", r.Method, r.URL, body)
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Request: r, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader([]byte("{}"))),
	}, nil
}

func (t *trial) say(format string, args ...any) {
	if t.o.JSON {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format+"\n", args...)
}

func (t *trial) run(ctx context.Context) (ok bool, err error) {
	run, _, err := t.e.Run(ctx, workflow.StartParams{Workflow: t.c.Name, ProjectID: "test", UserID: "you", Input: t.o.Input})
	if err != nil {
		return false, err
	}
	for {
		changed := t.st.Changed()
		if run, err = t.st.Run(ctx, run.ID); err != nil {
			return false, err
		}
		rows, err := t.st.Steps(ctx, run.ID)
		if err != nil {
			return false, err
		}
		t.notify(rows)
		if run.Status.Settled() {
			return t.end(ctx, run)
		}
		if err := t.help(ctx, run, rows); err != nil {
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("%w; it waits for: %s", context.Cause(ctx), run.Waiting)
		case <-changed:
		}
	}
}

// notify prints what changed since it was last told.
func (t *trial) notify(rows []runs.Step) {
	for _, def := range t.c.Steps {
		status, done, items := "", 0, 0
		failure := ""
		for _, row := range rows {
			switch {
			case row.Name != def.Name:
			case row.Item == runs.WholeStep:
				status, failure = row.Status.String(), row.Error
			default:
				if items++; row.Status == runs.StepCompleted {
					done++
				}
			}
		}
		if status == "" || status == "pending" {
			continue
		}
		line := status
		if items > 0 {
			line += fmt.Sprintf(", %d of %d done", done, items)
		}
		if failure != "" {
			line += ": " + failure
		}
		if t.told[def.Name] != line {
			t.told[def.Name] = line
			t.say("%-16s %s", def.Name, line)
		}
	}
}

// help decides what a person would, and sends the events that are waited for.
func (t *trial) help(ctx context.Context, run *runs.Run, rows []runs.Step) error {
	kinds := map[string]string{}
	each := map[string]bool{}
	for _, st := range t.c.Steps {
		kinds[st.Name], each[st.Name] = st.Kind(), st.ForEach != ""
	}
	for _, row := range rows {
		if row.Status != runs.StepWaiting || row.Item == runs.WholeStep && each[row.Name] {
			continue
		}
		if kinds[row.Name] == "approve" {
			yes := !slices.Contains(t.o.Reject, row.Name)
			_, err := t.e.Decide(ctx, run.ID, row.Name, row.Item, yes, "gaff workflows test", "")
			if err != nil && !errors.Is(err, gaff.ErrConflict) {
				return err
			}
			continue
		}
		if row.WaitSource == "" || t.offered[waitName(row)] > 0 {
			continue
		}
		for i, ev := range t.o.Events {
			if ev.Source != row.WaitSource || row.WaitType != "*" && ev.Type != row.WaitType || t.offered[fmt.Sprint("#", i)] > 0 {
				continue
			}
			t.offered[waitName(row)]++
			t.offered[fmt.Sprint("#", i)]++
			t.say("  (event) %s:%s %s", ev.Source, ev.Type, ev.Data)
			if _, err := t.gw.Emit(ctx, gaff.Event{
				Source: ev.Source, Type: ev.Type, Data: ev.Data, CorrelationID: row.WaitKey, WebhookID: fmt.Sprint("test-", i),
			}, time.Time{}); err != nil {
				return err
			}
			break
		}
		if t.offered[waitName(row)] == 0 {
			return fmt.Errorf("step %s waits for %s:%s; give it one: --event '%s:%s={…}'", row.Name, row.WaitSource, row.WaitType,
				row.WaitSource, strings.ReplaceAll(row.WaitType, "*", "TYPE"))
		}
	}
	return nil
}

func waitName(row runs.Step) string {
	return fmt.Sprintf("%s/%d/%d", row.Name, row.Item, row.Attempt)
}

// end prints the outcome.
func (t *trial) end(ctx context.Context, run *runs.Run) (ok bool, err error) {
	ok = run.Status == runs.Completed
	type step struct {
		Name   string          `json:"name"`
		Item   *int            `json:"item,omitempty"`
		Status string          `json:"status"`
		Error  string          `json:"error,omitempty"`
		Input  json.RawMessage `json:"input,omitempty"`
		Result json.RawMessage `json:"result,omitempty"`
	}
	var steps []step
	for _, def := range t.c.Steps {
		values, err := t.st.StepValues(ctx, run.ID, def.Name)
		if err != nil {
			return false, err
		}
		for _, row := range values {
			s := step{Name: row.Name, Status: row.Status.String(), Error: row.Error, Input: row.Input, Result: row.Result}
			if row.Item >= 0 {
				s.Item = &row.Item
			}
			steps = append(steps, s)
		}
	}
	if t.o.JSON {
		enc := json.NewEncoder(t.out)
		enc.SetEscapeHTML(false)
		return ok, enc.Encode(map[string]any{"status": run.Status.String(), "error": run.Error, "steps": steps})
	}
	t.say("%s: %s", t.c.Name, strings.TrimSpace(run.Status.String()+" "+run.Error))
	return ok, nil
}
