package workflow_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/workflow/runs"
)

func TestStepRetriesTimesOutAndFallsBack(t *testing.T) {
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

func TestOneItemFailsAndIsRetried(t *testing.T) {
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
		// The run waits for jobs that are already paid for.
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

		// Retrying one item repeats it and the dependent steps.
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

// A reset step has new items, and so new jobs.
func TestResetStepHasNewJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `
name: reset
steps:
  - name: a
    submit: {provider: fal, model: m}
  - name: b
    needs: [a]
    for_each: "[1, 2]"
    submit: {provider: fal, model: m}
`)
		run := w.run("reset", `{}`)
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
