package workflow_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/store/sqlite"
	"gaff/workflow"
	"gaff/workflow/runs"
)

// world is an engine over a real database and a real gateway, with jobs that end when the
// test says so.
type world struct {
	t      *testing.T
	path   string
	st     *sqlite.Store
	gw     *gaff.Gateway
	e      *workflow.Engine
	mu     sync.Mutex
	asked  []workflow.Submission // of the process's life
	ended  []string              // jobs that were cancelled
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

// parse reads workflows for a world.
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

// settle ends a job as a provider's webhook does, in one transaction.
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
		files, err := jobs.Files(j.Provider, j.Result, tx.Now())
		if err != nil {
			return err
		}
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

// image is a result as fal sends it.
func image(name string) string {
	return fmt.Sprintf(`{"images":[{"url":"https://files.example/%s.png","width":8,"content_type":"image/png"}]}`, name)
}

// open lists the jobs of a run that are not settled, by id.
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

// await waits until a run looks as told.
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

// describe is a run in one line: "running a=completed b=running[completed,failed] jobs=b-0-1".
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

func storyboard() string { return string(workflow.Examples()["storyboard.yaml"]) }

func TestStoryboard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, storyboard(), string(workflow.Examples()["upscale-and-archive.yaml"]))
		run := w.run("storyboard", `{"prompts":["a lighthouse","a harbour"],"upscale":true}`)
		r := w.await(run, "running images=running[running,running] review=pending videos=pending film=pending done=pending jobs=images-0-1,images-1-1")
		if r.Waiting != "images: 2 jobs at fal, 0 of 2 done" {
			t.Errorf("waits for %q", r.Waiting)
		}
		w.settle(run+"-images-1-1", jobs.JobCompleted, image("harbour"))
		w.settle(run+"-images-0-1", jobs.JobCompleted, image("lighthouse"))
		r = w.await(run, "running images=completed[completed,completed] review=waiting videos=pending film=pending done=pending")
		if r.Waiting != "review: 1 decision by a person" {
			t.Errorf("waits for %q", r.Waiting)
		}
		if _, err := w.e.Decide(context.Background(), run, "", runs.WholeStep, true, "ann", "fine"); err != nil {
			t.Fatal(err)
		}
		w.await(run, "running images=completed[completed,completed] review=completed videos=running[running,running] film=pending done=pending jobs=videos-0-1,videos-1-1")
		w.mu.Lock()
		if got := string(w.asked[len(w.asked)-2].Input); got != `{"image_url":"https://files.example/lighthouse.png","prompt":"a lighthouse"}` {
			t.Errorf("the first video is made of %s", got)
		}
		w.mu.Unlock()
		w.settle(run+"-videos-1-1", jobs.JobCompleted, `{"video":{"url":"https://files.example/2.mp4"}}`)
		w.settle(run+"-videos-0-1", jobs.JobCompleted, `{"video":{"url":"https://files.example/1.mp4"}}`)
		w.await(run, "running images=completed[completed,completed] review=completed videos=completed[completed,completed] film=running done=pending jobs=film-1")
		w.mu.Lock()
		last := w.asked[len(w.asked)-1]
		w.mu.Unlock()
		if got := string(last.Input); got != `{"inputs":[{"url":"https://files.example/1.mp4"},{"url":"https://files.example/2.mp4"}]}` || last.Provider != "lastframe" || last.Model != "video-stitch" || last.ProjectID != "p1" {
			t.Errorf("the film is made of %+v %s", last, got)
		}
		w.settle(run+"-film-1", jobs.JobCompleted, `{"output_url":"https://files.example/film.mp4","duration":20}`)
		r = w.await(run, "completed images=completed[completed,completed] review=completed videos=completed[completed,completed] film=completed done=completed")
		if r.Cost != 2.5 {
			t.Errorf("cost %v, want that of five jobs", r.Cost)
		}
		// The event of the last step started the other workflow, in the same project.
		synctest.Wait()
		page, err := w.st.Runs(context.Background(), runs.Filter{Workflow: "upscale-and-archive", ProjectID: "p1"})
		if err != nil || len(page.Items) != 1 {
			t.Fatalf("runs of the other workflow: %+v %v", page.Items, err)
		}
		other := page.Items[0]
		w.await(other.ID, "running upscaled=running[running,running] archive=pending done=pending jobs=upscaled-0-1,upscaled-1-1")
		w.settle(other.ID+"-upscaled-0-1", jobs.JobFailed, "too large")
		time.Sleep(20 * time.Second)
		w.settle(other.ID+"-upscaled-0-2", jobs.JobFailed, "too large")
		time.Sleep(20 * time.Second)
		w.settle(other.ID+"-upscaled-0-3", jobs.JobFailed, "too large")
		w.settle(other.ID+"-upscaled-1-1", jobs.JobCompleted, image("large"))
		w.await(other.ID, "completed upscaled=failed[failed,completed] archive=skipped done=completed")
		p, err := w.st.Project(context.Background(), "p1")
		if err != nil || p.ID != "p1" {
			t.Errorf("project: %+v %v", p, err)
		}
	})
}

// A file that the provider sent inside its result is handed to the next step in full.
func TestDataLinksAreHandedOnInFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `
name: inline
steps:
  - {name: image, submit: {provider: fal, model: fal-ai/flux/dev, input: {prompt: a dog}}}
  - {name: video, needs: [image], submit: {provider: fal, model: fal-ai/veo3.1, input: {image_url: "${steps.image.media[0].url}"}}}
`)
		run := w.run("inline", `{}`)
		w.await(run, "running image=running video=pending jobs=image-1")
		link := "data:image/png;base64," + strings.Repeat("AQID", 2000)
		w.settle(run+"-image-1", jobs.JobCompleted, `{"images":[{"url":"`+link+`"}]}`)
		w.await(run, "running image=completed video=running jobs=video-1")
		w.mu.Lock()
		defer w.mu.Unlock()
		if got, want := string(w.asked[len(w.asked)-1].Input), `{"image_url":"`+link+`"}`; got != want {
			t.Errorf("the video is made of %.200s", got)
		}
	})
}

func TestRetriesTimeoutsAndFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `
name: try
steps:
  - name: a
    submit: {provider: fal, model: m}
    retry: {attempts: 2, wait: 1m}
    timeout: 10m
    on_failure: {run: b}
  - name: b
    submit: {provider: fal, model: cheap}
  - name: c
    submit: {provider: fal, model: refused}
    on_failure: skip
  - name: d
    needs: [c]
    emit: {type: never}
  - name: e
    when: steps.a.error.contains('took longer') && steps.b.status == 'completed'
    emit: {type: done}
`)
		run := w.run("try", `{}`)
		w.await(run, "running a=running b=pending c=failed d=skipped e=pending jobs=a-1")
		w.settle(run+"-a-1", jobs.JobFailed, "no luck")
		r := w.await(run, "running a=retrying b=pending c=failed d=skipped e=pending")
		if !strings.Contains(r.Waiting, "tried again from") {
			t.Errorf("waits for %q", r.Waiting)
		}
		time.Sleep(2 * time.Minute)
		w.await(run, "running a=running b=pending c=failed d=skipped e=pending jobs=a-2")
		time.Sleep(11 * time.Minute)
		// It was cancelled at its provider, and another step is done in its place.
		w.await(run, "running a=failed b=running c=failed d=skipped e=pending jobs=b-1")
		w.settle(run+"-b-1", jobs.JobCompleted, `{}`)
		w.await(run, "completed a=failed b=completed c=failed d=skipped e=completed")
		w.mu.Lock()
		defer w.mu.Unlock()
		if !slices.Equal(w.ended, []string{run + "-a-2"}) {
			t.Errorf("cancelled %v", w.ended)
		}
	})
}

func TestFailureAndRetryOfOneItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `
name: many
inputs: [{name: n, type: list}]
steps:
  - name: a
    for_each: input.n
    submit: {provider: fal, model: m, input: {n: "${item}"}}
  - name: b
    submit: {provider: fal, model: m, input: {all: "${steps.a.result.map(r, r.images[0].url)}"}}
`)
		ctx := context.Background()
		run := w.run("many", `{"n":[1,2,3]}`)
		w.settle(run+"-a-0-1", jobs.JobCompleted, image("1"))
		w.settle(run+"-a-1-1", jobs.JobFailed, "no luck")
		// What was paid for already is waited for.
		w.await(run, "running a=running[completed,failed,running] b=pending jobs=a-2-1")
		w.settle(run+"-a-2-1", jobs.JobCompleted, image("3"))
		r := w.await(run, "failed a=failed[completed,failed,completed] b=pending")
		if r.Error != "step a: 1 of 3 items failed: item 1: no luck" || r.Waiting != "" {
			t.Errorf("error %q, waits for %q", r.Error, r.Waiting)
		}
		if _, err := w.e.Retry(ctx, run, "", runs.WholeStep); err != nil {
			t.Fatal(err)
		}
		w.await(run, "running a=running[completed,running,completed] b=pending jobs=a-1-2")
		if _, err := w.e.Retry(ctx, run, "", runs.WholeStep); !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("retry of a running run: %v", err)
		}
		w.settle(run+"-a-1-2", jobs.JobCompleted, image("2"))
		w.await(run, "running a=completed[completed,completed,completed] b=running jobs=b-1")
		w.settle(run+"-b-1", jobs.JobCompleted, `{}`)
		w.await(run, "completed a=completed[completed,completed,completed] b=completed")

		// One of them is done again, and what comes after it.
		if _, err := w.e.Retry(ctx, run, "a", 2); err != nil {
			t.Fatal(err)
		}
		w.await(run, "running a=running[completed,completed,running] b=pending jobs=a-2-2")
		w.settle(run+"-a-2-2", jobs.JobCompleted, image("better"))
		w.await(run, "running a=completed[completed,completed,completed] b=running jobs=b-2")
		w.mu.Lock()
		if got := string(w.asked[len(w.asked)-1].Input); !strings.Contains(got, "1.png") || !strings.Contains(got, "2.png") || !strings.Contains(got, "better.png") || strings.Contains(got, "3.png") {
			t.Errorf("b was asked with %s", got)
		}
		w.mu.Unlock()

		// Cancelled, also at the provider; and taken up again.
		if _, err := w.e.Cancel(ctx, run, "ann"); err != nil {
			t.Fatal(err)
		}
		w.await(run, "cancelled a=completed[completed,completed,completed] b=cancelled")
		w.mu.Lock()
		if !slices.Equal(w.ended, []string{run + "-b-2"}) {
			t.Errorf("cancelled %v", w.ended)
		}
		w.mu.Unlock()
		if _, err := w.e.Cancel(ctx, run, "ann"); !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("cancel of a cancelled run: %v", err)
		}
		if _, err := w.e.Retry(ctx, run, "", runs.WholeStep); err != nil {
			t.Fatal(err)
		}
		w.await(run, "running a=completed[completed,completed,completed] b=running jobs=b-3")
	})
}

// The items of a step that begins anew are new ones: their jobs are not those of the former.
func TestAStepBegunAnewHasNewJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `
name: anew
steps:
  - name: a
    submit: {provider: fal, model: m}
  - name: b
    needs: [a]
    for_each: "[1, 2]"
    submit: {provider: fal, model: m}
`)
		run := w.run("anew", `{}`)
		w.settle(run+"-a-1", jobs.JobCompleted, `{}`)
		w.await(run, "running a=completed b=running[running,running] jobs=b-0-1,b-1-1")
		w.settle(run+"-b-0-1", jobs.JobCompleted, `{}`)
		w.settle(run+"-b-1-1", jobs.JobFailed, "no luck")
		w.await(run, "failed a=completed b=failed[completed,failed]")
		if _, err := w.e.Retry(context.Background(), run, "a", runs.WholeStep); err != nil {
			t.Fatal(err)
		}
		w.await(run, "running a=running b=pending jobs=a-2")
		w.settle(run+"-a-2", jobs.JobCompleted, `{}`)
		w.await(run, "running a=completed b=running[running,running] jobs=b-0-2.1,b-1-2.1")
	})
}

func TestApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `
name: ask
steps:
  - name: a
    approve: {message: "Well, ${run.projectId}?", deadline: 20m}
  - name: b
    needs: [a]
    emit: {type: yes, data: {by: "${steps.a.result.by}"}}
`, `
name: nod
steps:
  - name: a
    approve: {deadline: 10m, on_deadline: approve}
`)
		ctx := context.Background()
		run := w.run("ask", `{}`)
		if _, err := w.e.Decide(ctx, run, "b", runs.WholeStep, true, "ann", ""); !errors.Is(err, gaff.ErrInvalid) {
			t.Errorf("decide a step that asks nothing: %v", err)
		}
		if _, err := w.e.Decide(ctx, run, "a", runs.WholeStep, false, "ann", "ugly"); err != nil {
			t.Fatal(err)
		}
		r := w.await(run, "failed a=failed b=pending")
		if r.Error != "step a: rejected by ann: ugly" {
			t.Errorf("error %q", r.Error)
		}
		if _, err := w.e.Decide(ctx, run, "a", runs.WholeStep, true, "ann", ""); !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("decide twice: %v", err)
		}
		if _, err := w.e.Retry(ctx, run, "", runs.WholeStep); err != nil {
			t.Fatal(err)
		}
		w.await(run, "running a=waiting b=pending")
		time.Sleep(21 * time.Minute)
		if r = w.await(run, "failed a=failed b=pending"); r.Error != "step a: nobody decided within 20m0s" {
			t.Errorf("error %q", r.Error)
		}
		nod := w.run("nod", `{}`)
		w.await(nod, "running a=waiting")
		time.Sleep(11 * time.Minute)
		w.await(nod, "completed a=completed")
		rows, err := w.st.StepValues(ctx, nod, "a")
		if err != nil || rows[0].Decider != "deadline" {
			t.Errorf("decided by %+v %v", rows, err)
		}
	})
}

func TestWaitForAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `
name: pay
inputs: [{name: order}]
steps:
  - name: ask
    submit: {provider: fal, model: m}
  - name: first
    needs: [ask]
    wait_for: {event: "shop:paid", condition: event.data.order == input.order, deadline: 1h}
  - name: second
    needs: [first]
    wait_for: {event: "shop:paid", condition: event.data.order == input.order}
  - name: third
    needs: [second]
    wait_for: {event: "shop:*", correlation: "${input.order}"}
  - name: done
    emit: {type: paid, data: "${steps.third.result.data.type}"}
`)
		w.send(`{"id":"0","type":"paid","order":"o1"}`) // before the run: not its business
		time.Sleep(time.Second)
		run := w.run("pay", `{"order":"o1"}`)
		other := w.run("pay", `{"order":"o2"}`)
		// Before the wait began, and after the run did.
		w.send(`{"id":"1","type":"paid","order":"o1"}`)
		w.send(`{"id":"2","type":"paid","order":"o3"}`)
		w.send(`{"id":"3","type":"paid"}`) // has no such field
		synctest.Wait()
		w.settle(run+"-ask-1", jobs.JobCompleted, `{}`)
		w.settle(other+"-ask-1", jobs.JobCompleted, `{}`)
		// Each event counts once: the second wait waits on.
		w.await(run, "running ask=completed first=completed second=waiting third=pending done=pending")
		w.await(other, "running ask=completed first=waiting second=pending third=pending done=pending")
		w.send(`{"id":"4","type":"paid","order":"o1"}`)
		w.await(run, "running ask=completed first=completed second=completed third=waiting done=pending")
		w.send(`{"id":"5","type":"shipped","job":"o2"}`)
		w.send(`{"id":"6","type":"shipped","job":"o1"}`)
		w.await(run, "completed ask=completed first=completed second=completed third=completed done=completed")
		time.Sleep(time.Hour + time.Minute)
		if r := w.await(other, "failed ask=completed first=failed second=pending third=pending done=pending"); r.Error != "step first: no such event came within 1h0m0s" {
			t.Errorf("error %q", r.Error)
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(w *world) { w.limits = map[string]int{"fal": 2} }, `
name: many
inputs: [{name: n, type: list}]
steps:
  - name: a
    for_each: input.n
    submit: {provider: fal, model: m}
    retry: {attempts: 2, wait: 1m}
`, `
name: one
concurrency: 1
inputs: [{name: n, type: list}]
steps:
  - name: a
    for_each: input.n
    submit: {provider: lastframe, service: m}
`)
		ctx := context.Background()
		first := w.run("many", `{"n":[1,2,3]}`)
		second := w.run("many", `{"n":[1,2]}`)
		r := w.await(first, "running a=running[running,running,queued] jobs=a-0-1,a-1-1")
		if r.Waiting != "a: 2 jobs at fal, 1 job waits for a free place under the limit of provider/fal, 0 of 3 done" {
			t.Errorf("waits for %q", r.Waiting)
		}
		w.await(second, "running a=running[queued,queued]")
		w.settle(first+"-a-0-1", jobs.JobCompleted, `{}`)
		w.await(first, "running a=running[completed,running,running] jobs=a-1-1,a-2-1")
		// A failed one gives its place to who waits, and waits for one itself later.
		w.settle(first+"-a-1-1", jobs.JobFailed, "no luck")
		w.await(second, "running a=running[running,queued] jobs=a-0-1")
		time.Sleep(2 * time.Minute)
		w.await(first, "running a=running[completed,queued,running] jobs=a-2-1")
		// A run that is cancelled gives its place back.
		if _, err := w.e.Cancel(ctx, second, "ann"); err != nil {
			t.Fatal(err)
		}
		w.await(first, "running a=running[completed,running,running] jobs=a-1-2,a-2-1")
		w.settle(first+"-a-1-2", jobs.JobCompleted, `{}`)
		w.settle(first+"-a-2-1", jobs.JobCompleted, `{}`)
		w.await(first, "completed a=completed[completed,completed,completed]")

		one := w.run("one", `{"n":[1,2]}`)
		two := w.run("one", `{"n":[1]}`)
		w.await(one, "running a=running[running,queued] jobs=a-0-1")
		w.settle(one+"-a-0-1", jobs.JobCompleted, `{}`)
		w.await(one, "running a=running[completed,running] jobs=a-1-1")
		w.await(two, "running a=running[queued]")
		w.settle(one+"-a-1-1", jobs.JobCompleted, `{}`)
		w.await(two, "running a=running[running] jobs=a-0-1")
		w.settle(two+"-a-0-1", jobs.JobCompleted, `{}`)
		w.await(two, "completed a=completed[completed]")
		slots, err := w.st.Slots(ctx)
		if err != nil || len(slots) != 0 {
			t.Errorf("who waits: %+v %v", slots, err)
		}
	})
}

func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var keys []string
		answers := []int{503, 429, 200}
		w := newWorld(t, func(w *world) {
			w.client = roundTrip(func(r *http.Request) (*http.Response, error) {
				body, _ := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				keys = append(keys, r.Header.Get("Idempotency-Key"))
				status := answers[0]
				if len(answers) > 1 {
					answers = answers[1:]
				}
				if r.Header.Get("Authorization") != "Bearer s3cret" || string(body) != `{"n":7}` || r.Method != "PUT" {
					status = 400
				}
				return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Body: io.NopCloser(strings.NewReader(`{"ok":12345678901234567}`))}, nil
			})
		}, `
name: call
inputs: [{name: url}]
steps:
  - name: a
    http:
      method: PUT
      url: ${input.url}
      headers: {Authorization: "Bearer ${secrets.token}"}
      body: {n: "${3 + 4}"}
    retry: {attempts: 3, wait: 1s}
  - name: b
    when: steps.a.result.status == 200 && steps.a.result.body.ok == 12345678901234567
    emit: {type: called}
`)
		run := w.run("call", `{"url":"https://app.example/x"}`)
		w.await(run, "running a=retrying b=pending")
		time.Sleep(10 * time.Second)
		w.await(run, "completed a=completed b=completed")
		mu.Lock()
		// One key for all tries.
		if len(keys) != 3 || keys[0] != run+"/a/1" || keys[1] != keys[0] || keys[2] != keys[0] {
			t.Errorf("keys %q", keys)
		}
		answers = []int{404}
		mu.Unlock()
		// A refusal is not tried again by itself.
		run = w.run("call", `{"url":"https://app.example/x"}`)
		if r := w.await(run, "failed a=failed b=pending"); !strings.HasPrefix(r.Error, "step a: answered 404") {
			t.Errorf("error %q", r.Error)
		}
		rows, err := w.st.StepValues(context.Background(), run, "a")
		if err != nil || strings.Contains(string(rows[0].Input), "s3cret") {
			t.Errorf("stored: %s %v", rows[0].Input, err)
		}
		run = w.run("call", `{"url":"gopher://x"}`)
		w.await(run, "failed a=failed b=pending")
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestStartByEventOnceAndNoLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `
name: echo
inputs: [{name: n, type: integer}]
on:
  - {event: "gaff:ping", input: {n: "${event.data.n + 1}"}}
  - {event: "shop:start", filter: event.data.id != "no", project: "${event.data.project}", input: {n: 0}}
steps:
  - name: a
    emit: {type: ping, data: {n: "${input.n}"}}
`)
		ctx := context.Background()
		w.send(`{"id":"no","type":"start","project":"p7"}`)
		w.send(`{"id":"x","type":"start","project":"p7"}`)
		time.Sleep(time.Minute)
		synctest.Wait()
		page, err := w.st.Runs(ctx, runs.Filter{Workflow: "echo", Cursor: gaff.Cursor{Limit: 100}})
		if err != nil || len(page.Items) != gaff.MaxHops/2 {
			t.Fatalf("%d runs, %v: want %d, and an end", len(page.Items), err, gaff.MaxHops/2)
		}
		first := page.Items[len(page.Items)-1]
		if first.ProjectID != "p7" {
			t.Errorf("project %q", first.ProjectID)
		}
		if _, err := w.st.Project(ctx, "p7"); err != nil {
			t.Error(err)
		}
		status := gaff.StatusError
		logs, err := w.st.Events(ctx, gaff.EventFilter{Source: gaff.InternalSource, Status: &status})
		if err != nil || len(logs.Items) != 1 || !strings.Contains(logs.Items[0].Error, "is there a loop?") {
			t.Errorf("failed events: %+v %v", logs.Items, err)
		}
		// The same event again starts nothing.
		w.send(`{"id":"x","type":"start","project":"p7"}`)
		synctest.Wait()
		page, err = w.st.Runs(ctx, runs.Filter{Workflow: "echo", Cursor: gaff.Cursor{Limit: 100}})
		if err != nil || len(page.Items) != gaff.MaxHops/2 {
			t.Errorf("%d runs, %v", len(page.Items), err)
		}
		a, created, err := w.e.Run(ctx, workflow.StartParams{Workflow: "echo", Key: "k"})
		b, again, err2 := w.e.Run(ctx, workflow.StartParams{Workflow: "echo", Key: "k"})
		if err != nil || err2 != nil || !created || again || a.ID != b.ID {
			t.Errorf("started twice by one key: %v %v %v %v", created, again, err, err2)
		}
	})
}

func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const text = `
name: often
inputs: [{name: day}]
schedule:
  - {cron: "*/10 * * * *", timezone: Asia/Kathmandu, project: p, input: {day: "${string(scheduled)}"}}
steps:
  - name: a
    emit: {type: morning}
`
		w := newWorld(t, nil, text)
		// Another node over the same database, or a reload, changes nothing.
		if err := w.e.Reload(context.Background(), w.cs); err != nil {
			t.Fatal(err)
		}
		time.Sleep(33 * time.Minute)
		runs := func() []runs.Run {
			page, err := w.st.Runs(context.Background(), runs.Filter{Workflow: "often"})
			if err != nil {
				t.Fatal(err)
			}
			return page.Items
		}
		if got := runs(); len(got) != 3 || !strings.Contains(string(got[0].Input), "T00:25:00Z") || got[0].ProjectID != "p" {
			t.Fatalf("%d runs: %+v", len(got), got)
		}
		// What was missed while nobody ran is made up for once.
		w.stop()
		time.Sleep(40 * time.Minute)
		w.start()
		time.Sleep(time.Minute)
		if got := runs(); len(got) != 4 {
			t.Errorf("%d runs after the pause, want 4", len(got))
		}
		time.Sleep(10 * time.Minute)
		if got := runs(); len(got) != 5 {
			t.Errorf("%d runs after the next time, want 5", len(got))
		}
	})
}

func TestOldRunsKeepTheirVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `
name: v
steps:
  - name: a
    submit: {provider: fal, model: m}
  - name: b
    needs: [a]
    wait_for: {event: "shop:old"}
`)
		old := w.run("v", `{}`)
		w.stop()
		w.cs = parse(t, `
name: v
steps:
  - name: z
    submit: {provider: fal, model: m}
`)
		w.start()
		fresh := w.run("v", `{}`)
		w.await(fresh, "running z=running jobs=z-1")
		w.settle(old+"-a-1", jobs.JobCompleted, `{}`)
		w.await(old, "running a=completed b=waiting")
		// The gateway still knows what the old one waits for.
		w.send(`{"id":"1","type":"old"}`)
		w.await(old, "completed a=completed b=completed")
	})
}

func TestTimeoutOfTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `
name: slow
timeout: 20m
steps:
  - name: a
    submit: {provider: fal, model: m}
`)
		run := w.run("slow", `{}`)
		time.Sleep(21 * time.Minute)
		if r := w.await(run, "failed a=cancelled"); r.Error != "took longer than 20m0s" {
			t.Errorf("error %q", r.Error)
		}
		w.mu.Lock()
		if len(w.ended) != 1 {
			t.Errorf("cancelled %v", w.ended)
		}
		w.mu.Unlock()
		// One that is taken up again has its time again.
		if _, err := w.e.Retry(context.Background(), run, "", runs.WholeStep); err != nil {
			t.Fatal(err)
		}
		w.await(run, "running a=running jobs=a-2")
		time.Sleep(21 * time.Minute)
		w.await(run, "failed a=cancelled")
	})
}

// Two engines over one database, as on two nodes: whoever comes second reads anew, and no
// movement is lost.
func TestTwoNodesMoveOneRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, `
name: many
inputs: [{name: n, type: list}]
steps:
  - name: a
    for_each: input.n
    approve: {}
  - name: b
    needs: [a]
    emit: {type: done}
`)
	other := workflow.New(workflow.Options{Store: w.st, Router: w.gw, Jobs: w, Log: slog.New(slog.DiscardHandler)})
	run := w.run("many", `{"n":[1,2,3,4,5,6,7,8,9,10,11,12]}`)
	var deciding sync.WaitGroup
	for item := range 12 {
		e := w.e
		if item%2 == 1 {
			e = other
		}
		deciding.Go(func() {
			if _, err := e.Decide(context.Background(), run, "a", item, true, fmt.Sprint("node ", item%2), ""); err != nil {
				t.Errorf("item %d: %v", item, err)
			}
		})
	}
	deciding.Wait()
	w.await(run, "completed a=completed["+strings.Repeat("completed,", 11)+"completed] b=completed")
	// Its end was told once.
	logs, err := w.st.Events(context.Background(), gaff.EventFilter{Source: gaff.InternalSource, Type: "done"})
	if err != nil || len(logs.Items) != 1 {
		t.Errorf("%d events of the last step, %v", len(logs.Items), err)
	}
}

// Events are routed to the engine for current workflows and for versions with open runs, and
// no longer after both have gone.
func TestEventsOfRemovedWorkflowsAreNotRouted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `
name: begun
on: [{event: "shop:begin"}]
steps:
  - name: wait
    wait_for: {event: "shop:end"}
`)
		routed := func(eventType string) bool {
			return len(w.gw.Route(&gaff.Event{Source: "shop", Type: eventType, Data: []byte(`{}`)})) > 0
		}
		want := func(when, eventType string, want bool) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := routed(eventType); got != want {
				t.Errorf("%s: shop:%s is routed: %v, want %v", when, eventType, got, want)
			}
		}
		run := w.run("begun", `{}`)
		want("with a run", "begin", true)
		if err := w.e.SetWorkflows(nil); err != nil {
			t.Fatal(err)
		}
		want("removed, with an open run", "end", true)
		if _, err := w.e.Cancel(context.Background(), run, "test"); err != nil {
			t.Fatal(err)
		}
		want("removed, and the run has ended", "end", false)
		want("removed, and the run has ended", "begin", false)
		if err := w.e.SetWorkflows(w.cs); err != nil {
			t.Fatal(err)
		}
		want("there again", "begin", true)
		w.e.Stop() // and once more at the test's end
	})
}
