package workflow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/workflow/runs"
)

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

func TestStepWaitsForEvent(t *testing.T) {
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

// Events are routed to the engine for current workflows and for versions with open runs, and
// no longer after both are gone.
func TestEventsOfRemovedWorkflowAreNotRouted(t *testing.T) {
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
