package fal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff/internal/standin"
	"gaff/jobs"
)

// After an outage of fal, of the network to it, or of the gateway, all is settled without
// anyone doing anything, and gently.
func TestAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{Options: standin.Options{RetryWaits: []time.Duration{time.Second}}})
		var ids []string
		for range 60 {
			ids = append(ids, r.submit("").ID)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.net.cut(gaffHost, true)
		r.net.cut(falHost, true)
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		r.net.cut(falHost, false)
		before, began := r.net.calls(falHost), time.Now()
		for open := true; open && time.Since(began) < 2*time.Hour; {
			time.Sleep(10 * time.Second)
			open = slices.ContainsFunc(ids, func(id string) bool { return !r.job(id).Status.Settled() })
		}
		took := time.Since(began)
		for _, id := range ids {
			j := r.job(id)
			ends, files := r.ends(id)
			if j.Status != jobs.JobCompleted || j.SettledBy != "reconciliation" || ends != 1 || files != 1 {
				t.Errorf("%s by %q, %d ends, %d files\n%s", j.Status, j.SettledBy, ends, files, r.notes(id))
			}
		}
		if calls := r.net.calls(falHost) - before; calls > 3*len(ids) || float64(calls) > 5*took.Seconds()+10 {
			t.Errorf("fal was called %d times in %s for %d jobs", calls, took, len(ids))
		}
	})
}

// secondNode polls the rig's jobs as another node would, until stop is called.
func (r *rig) secondNode(p jobs.Provider) (stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	node, err := jobs.NewService(ctx, jobs.ServiceOptions{
		Store: r.st, Router: r.Gateway, Log: slog.New(slog.DiscardHandler), Providers: []jobs.Provider{p},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); node.Run(ctx) }()
	return func() {
		cancel()
		<-done
	}
}

// Two nodes share the jobs, and the bound.
func TestNodesShareThePace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{Options: standin.Options{Faults: standin.Faults{standin.Lost: 1}}})
		defer r.secondNode(r.queue)()
		var ids []string
		for range 40 {
			ids = append(ids, r.submit("").ID)
		}
		time.Sleep(90 * time.Second)
		synctest.Wait()
		before := r.net.calls(falHost)
		time.Sleep(time.Minute)
		synctest.Wait()
		calls := r.net.calls(falHost) - before
		if calls == 0 || calls > 60*5+10 {
			t.Errorf("%d calls in a minute, want some and at most 5 a second", calls)
		}
		time.Sleep(5 * time.Minute)
		for _, id := range ids {
			if j := r.job(id); j.Status != jobs.JobCompleted || j.Polls != 1 {
				t.Errorf("%s after %d questions", j.Status, j.Polls)
			}
		}
	})
}

// A poll that takes longer than its lease is not begun by another node meanwhile.
func TestLongPollIsOneNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var polls atomic.Int32
		slow := func(p jobs.Provider) jobs.Provider {
			return &meeting{p, func() {
				polls.Add(1)
				time.Sleep(3 * time.Minute)
			}}
		}
		r := newRig(t, rigOptions{Options: standin.Options{Faults: standin.Faults{standin.Lost: 1}}, wrap: slow})
		defer r.secondNode(slow(r.queue))()
		id := r.submit("").ID
		time.Sleep(10 * time.Minute)
		if n := polls.Load(); n != 1 {
			t.Errorf("the job was polled %d times, want once", n)
		}
		if j := r.job(id); j.Status != jobs.JobCompleted {
			t.Errorf("the job is %s", j.Status)
		}
	})
}

// meeting holds fal's answer back until the webhook of the same job is there.
type meeting struct {
	jobs.Provider
	wait func()
}

func (m *meeting) Poll(ctx context.Context, j *jobs.Job) (jobs.Update, error) {
	u, err := m.Provider.Poll(ctx, j)
	m.wait()
	return u, err
}

func TestWebhookAndAnswerAtTheSameMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		r := newRig(t, rigOptions{
			Options: standin.Options{LateBy: 3 * time.Minute},
			wrap:    func(p jobs.Provider) jobs.Provider { return &meeting{p, func() { <-gate }} },
		})
		var ids []string
		for range 20 {
			ids = append(ids, r.submit("late").ID)
		}
		time.AfterFunc(3*time.Minute+2*time.Second, func() { close(gate) })
		time.Sleep(10 * time.Minute)
		by := map[string]int{}
		for _, id := range ids {
			j := r.job(id)
			by[j.SettledBy]++
			if ends, files := r.ends(id); j.Status != jobs.JobCompleted || ends != 1 || files != 1 {
				t.Errorf("%s, %d ends, %d files", j.Status, ends, files)
			}
		}
		if by["webhook"] == 0 {
			t.Errorf("settled by %v", by)
		}
	})
}

// How long a model's jobs take decides when a job without news is polled:
// sooner than GAFF_RECONCILE_AFTER if it is quick, and once more when it should be done if
// it is slow.
func TestJobsAreAskedAfterWhenTheyAreOverdue(t *testing.T) {
	t.Parallel()
	lasting := func(model string, seconds int) func(*jobs.Submission) {
		return func(s *jobs.Submission) {
			s.Model = model
			s.Input = json.RawMessage(strings.Replace(string(s.Input), `"standin":{`, fmt.Sprintf(`"standin":{"seconds":%d,`, seconds), 1))
		}
	}
	const quick, slow, usual = "fal-ai/quick/one", "fal-ai/slow/one", "fal-ai/usual/one"
	seconds := map[string]int{quick: 4, slow: 600, usual: 60}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		if takes, at := r.Expected(r.submit("", lasting(usual, 60))); takes != 0 || !at.IsZero() {
			t.Errorf("expected before anything is known: %s, %s", takes, at)
		}
		for range 5 {
			for model, n := range seconds {
				r.submit("", lasting(model, n))
			}
			// What a lost webhook made longer is not the model's doing.
			r.submit("lost", lasting(quick, 4))
			time.Sleep(20 * time.Minute)
		}
		// After a restart the gateway reads it from the store.
		r.stop()
		r.begin(rigOptions{})
		for model, want := range map[string]struct{ first, last time.Duration }{
			quick: {30 * time.Second, 36 * time.Second},  // a quarter of two minutes, give or take a fifth
			usual: {90 * time.Second, 108 * time.Second}, // half as long again as usual
			// At 2 minutes, about when it should be done, and if it is not yet, 5.12 minutes later, give or take a fifth.
			slow: {12*time.Minute + 30*time.Second, 16*time.Minute + 9*time.Second},
		} {
			time.Sleep(time.Second)
			began := time.Now()
			j := r.submit("lost", lasting(model, seconds[model]))
			j = r.job(j.ID)
			takes, at := r.Expected(j)
			if want := time.Duration(seconds[model]) * time.Second; takes < want || takes > want+2*time.Second || !at.Equal(j.SubmittedAt.Add(takes)) {
				t.Errorf("%s: expected to take %s, until %s; want about %s", model, takes, at, want)
			}
			for !j.Status.Settled() && time.Since(began) < time.Hour {
				time.Sleep(time.Second)
				j = r.job(j.ID)
			}
			if took := time.Since(began); took < want.first*8/10 || took > want.last+2*time.Second {
				t.Errorf("%s: settled after %s, want from %s to %s\n%s", model, took, want.first*8/10, want.last, r.notes(j.ID))
			}
			if asks := strings.Count(r.notes(j.ID), "ask: "); asks > 3 {
				t.Errorf("%s: asked %d times", model, asks)
			}
			if takes, at := r.Expected(j); takes != 0 || !at.IsZero() {
				t.Errorf("%s has ended, and is expected in %s, at %s", model, takes, at)
			}
		}
	})
}
