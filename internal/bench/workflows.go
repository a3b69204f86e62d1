package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/store/sqlite"
	"gaff/workflow"
	"gaff/workflow/runs"
)

// threeSteps is the measured workflow: three jobs, each with the result of the one before.
const threeSteps = `
name: three
inputs: [{name: prompt}]
steps:
  - name: a
    submit: {provider: fal, model: m, input: {prompt: "${input.prompt}"}}
  - name: b
    submit: {provider: fal, model: m, input: {image: "${steps.a.result.url}"}}
  - name: c
    submit: {provider: fal, model: m, input: {image: "${steps.b.result.url}"}}
`

// counting is a store that counts the engine's transactions.
type counting struct {
	*sqlite.Store
	engine atomic.Int64
}

func (c *counting) WriteRuns(ctx context.Context, fn func(runs.Tx) error) error {
	c.engine.Add(1)
	return c.Store.WriteRuns(ctx, fn)
}

func (c *counting) ApplyRuns(ctx context.Context, l gaff.Lease, fn func(runs.Tx) error) error {
	c.engine.Add(1)
	return c.Store.ApplyRuns(ctx, l, fn)
}

// instant is a provider that completes jobs immediately. Each completion is a transaction of
// its own, like the effects of a webhook.
type instant struct {
	gw *gaff.Gateway
	st *sqlite.Store
	n  atomic.Int64
	// writes counts the transactions that complete jobs.
	writes atomic.Int64
}

const doneEvent = "bench.done"

func (p *instant) Enqueue(ctx context.Context, tx jobs.Tx, s workflow.Submission) (string, error) {
	id := fmt.Sprintf("job-%d", p.n.Add(1))
	err := tx.InsertJob(ctx, &jobs.Job{ID: id, Provider: s.Provider, Model: s.Model, ProjectID: s.ProjectID, RunID: s.RunID, StepID: s.StepID})
	if err != nil {
		return "", err
	}
	ev := &gaff.Event{Source: gaff.InternalSource, Type: doneEvent, CorrelationID: id, Data: json.RawMessage(`{}`), ReceivedAt: tx.Now()}
	return id, tx.Emit(ctx, ev, p.gw.Route(ev))
}

func (p *instant) Cancel(context.Context, string) error { return nil }

func (p *instant) Handle(ctx context.Context, ev *gaff.Event) error {
	lease, _ := gaff.LeaseFrom(ctx)
	p.writes.Add(1)
	err := p.st.Apply(ctx, lease, func(tx jobs.Tx) error {
		j, err := tx.Job(ctx, ev.CorrelationID)
		if err != nil {
			return err
		}
		j.Status, j.Result = jobs.JobCompleted, json.RawMessage(`{"url":"https://files.example/`+j.ID+`.png","width":1024,"height":768}`)
		if err := tx.SaveJob(ctx, j); err != nil {
			return err
		}
		data, err := json.Marshal(jobs.JobSettled{JobID: j.ID, Provider: j.Provider, Status: j.Status.String(), RunID: j.RunID, StepID: j.StepID})
		if err != nil {
			return err
		}
		out := &gaff.Event{Source: gaff.InternalSource, Type: "job.completed", Data: data, ReceivedAt: tx.Now()}
		return tx.Emit(ctx, out, p.gw.Route(out))
	})
	if err != nil {
		return err
	}
	return gaff.Finished
}

// measureWorkflows runs a workflow of three steps total times on a new SQLite database.
func measureWorkflows(total int) (err error) {
	describeMachine()
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "gaff-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log := slog.New(slog.DiscardHandler)
	st, err := sqlite.Open(ctx, filepath.Join(dir, "gaff.db"), sqlite.Options{Log: log})
	if err != nil {
		return err
	}
	defer st.Close()
	gw, err := gaff.New(gaff.Options{Store: st, Logger: log})
	if err != nil {
		return err
	}
	provider := &instant{gw: gw, st: st}
	gw.HandleWith(gaff.InternalSource, doneEvent, provider, gaff.HandleOptions{Name: doneEvent, Workers: 64})
	count := &counting{Store: st}
	e := workflow.New(workflow.Options{Store: count, Router: gw, Jobs: provider, Log: log})
	c, err := workflow.Parse("three.yaml", []byte(threeSteps))
	if err != nil {
		return err
	}
	e.Register(gw)
	if err := errors.Join(e.SetWorkflows([]*workflow.Compiled{c}), gw.Start(ctx), e.Start(ctx)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gw.Stop(ctx)) }()
	defer e.Stop()

	cpu, began := processorTime(), time.Now()
	var starting sync.WaitGroup
	var next atomic.Int64
	failures := make(chan error, 32)
	for range 32 {
		starting.Go(func() {
			for next.Add(1) <= int64(total) {
				if _, _, err := e.Run(ctx, workflow.StartParams{Workflow: "three", Input: json.RawMessage(`{"prompt":"a lighthouse"}`)}); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	starting.Wait()
	select {
	case err := <-failures:
		return err
	default:
	}
	started := time.Since(began)
	for {
		counts, err := st.RunCounts(ctx)
		if err != nil {
			return err
		}
		if counts["three"]["completed"] == total {
			break
		}
		if time.Since(began) > 10*time.Minute {
			return fmt.Errorf("not done after ten minutes: %v", counts)
		}
		time.Sleep(20 * time.Millisecond)
	}
	took, used := time.Since(began), processorTime()-cpu
	steps := float64(3 * total)
	fmt.Printf("workflows: %d runs of three jobs, each with the former's result; the provider answers at once\n", total)
	fmt.Printf("  started in %.1f s, all done after %.1f s: %.0f runs/s, %.0f steps/s\n", started.Seconds(), took.Seconds(), float64(total)/took.Seconds(), steps/took.Seconds())
	fmt.Printf("  a step: %.2f transactions of the engine and %.2f of its job; %.0f µs, of which CPU %.0f µs (with the job's row, its end and all events)\n",
		float64(count.engine.Load())/steps, float64(provider.writes.Load())/steps, float64(took.Microseconds())/steps, float64(used.Microseconds())/steps)
	return nil
}

// processorTime returns the CPU time of this process.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
