package workflow_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/workflow"
	"gaff/workflow/runs"
)

func storyboard() string { return string(workflow.Examples()["storyboard.yaml"]) }

func TestRunOfStoryboard(t *testing.T) {
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

// A file that the provider sent inside its result reaches the next step in full.
func TestNextStepGetsWholeDataLink(t *testing.T) {
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

func TestLimitsQueueSteps(t *testing.T) {
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
			t.Errorf("queued slots: %+v %v", slots, err)
		}
	})
}

// Two engines over one database, as on two nodes: the second one to write loads the run again,
// and no change is lost.
func TestTwoNodesAdvanceOneRun(t *testing.T) {
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
	// Its end was announced once.
	logs, err := w.st.Events(context.Background(), gaff.EventFilter{Source: gaff.InternalSource, Type: "done"})
	if err != nil || len(logs.Items) != 1 {
		t.Errorf("%d events of the last step, %v", len(logs.Items), err)
	}
}

func TestRunTimesOut(t *testing.T) {
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
