package workflow_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/workflow"
	"gaff/workflow/runs"
)

func TestEventStartsOneRunAndNoLoop(t *testing.T) {
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

func TestScheduleStartsRuns(t *testing.T) {
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
		// A time missed while the process was stopped is made up for once.
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

func TestRunKeepsItsVersion(t *testing.T) {
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
