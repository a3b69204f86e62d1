package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/wire"
	"gaff/workflow"
	"gaff/workflow/runs"
)

type runsInput struct {
	wire.Page
	wire.RunQuery
}

func (s *server) listRuns(ctx context.Context, in *runsInput) (wire.List[wire.Run], error) {
	page, err := s.store(ctx).Runs(ctx, in.Filter(in.After()))
	return wire.NewList(page, wire.NewRun), err
}

type runInput struct {
	ID string `path:"id"`
}

func (s *server) getRun(ctx context.Context, in *runInput) (none wire.RunDetail, err error) {
	r, err := s.store(ctx).Run(ctx, in.ID)
	if err != nil {
		return none, err
	}
	steps, err := s.store(ctx).Steps(ctx, r.ID)
	if err != nil {
		return none, err
	}
	var c *workflow.Compiled
	if s.o.Workflows != nil {
		if c, err = s.o.Workflows.Version(ctx, r); err != nil {
			s.o.Log.Warn("the definition of a run cannot be read", "run", r.ID, "error", err)
			c = nil
		}
	}
	return wire.NewRunDetail(*r, c, steps), nil
}

type stepInput struct {
	ID   string `path:"id"`
	Step string `path:"step"`
}

func (s *server) getStep(ctx context.Context, in *stepInput) (none wire.List[wire.StepDetail], err error) {
	rows, err := s.store(ctx).StepValues(ctx, in.ID, in.Step)
	if err == nil && len(rows) == 0 {
		_, err = s.store(ctx).Run(ctx, in.ID)
	}
	return wire.NewList(gaff.Page[runs.Step]{Items: rows}, wire.NewStepDetail), err
}

type startInput struct{ Body wire.RunStart }

type startOutput struct {
	Status   int
	Replayed string `header:"Idempotency-Replayed" doc:"true if the key was known and the first run is returned."`
	Body     wire.Run
}

func (s *server) startRun(ctx context.Context, in *startInput) (*startOutput, error) {
	ws, err := s.workflows()
	if err != nil {
		return nil, err
	}
	var input json.RawMessage
	if in.Body.Input != nil {
		if input, err = json.Marshal(in.Body.Input); err != nil {
			return nil, huma.Error400BadRequest("input: " + err.Error())
		}
	}
	var key, former string
	if in.Body.IdempotencyKey != "" {
		// The prefix separates them from the keys of events and schedules, and of other callers.
		former = "api:" + in.Body.IdempotencyKey
		key = "api:" + callerOf(ctx) + ":" + in.Body.IdempotencyKey
	}
	project, err := ownProject(ctx, in.Body.ProjectID)
	if err != nil {
		return nil, err
	}
	params := workflow.StartParams{Workflow: in.Body.Workflow, ProjectID: project, UserID: in.Body.UserID, Input: input, Key: key, FormerKey: former}
	run, created, err := ws.Run(ctx, params)
	if errors.Is(err, gaff.ErrNotFound) && s.o.Definitions != nil {
		// Another node may have written it a moment ago.
		if err = s.o.Definitions.Refresh(ctx); err == nil {
			run, created, err = ws.Run(ctx, params)
		}
	}
	if err != nil {
		return nil, err
	}
	remark(ctx, run.ID, map[string]string{"workflow": run.Workflow})
	out := &startOutput{Status: http.StatusAccepted, Body: wire.NewRun(*run)}
	if !created {
		out.Status, out.Replayed = http.StatusOK, "true"
	}
	return out, nil
}

// changeRun calls the engine about a run and makes the run's document.
func (s *server) changeRun(ctx context.Context, id string, change func(Workflows) (*runs.Run, error)) (none wire.Run, err error) {
	ws, err := s.workflows()
	if err != nil {
		return none, err
	}
	if err := reachable(ctx, id, s.store(ctx).Run); err != nil {
		return none, err
	}
	run, err := change(ws)
	if err != nil {
		return none, err
	}
	return wire.NewRun(*run), nil
}

func (s *server) cancelRun(ctx context.Context, in *runInput) (wire.Run, error) {
	return s.changeRun(ctx, in.ID, func(ws Workflows) (*runs.Run, error) { return ws.Cancel(ctx, in.ID, noteOf(ctx).who.String()) })
}

type retryInput struct {
	ID   string `path:"id"`
	Body wire.RunRetry
}

func (s *server) retryRun(ctx context.Context, in *retryInput) (wire.Run, error) {
	return s.changeRun(ctx, in.ID, func(ws Workflows) (*runs.Run, error) {
		if in.Body.Step == "" && in.Body.Item != nil {
			return nil, huma.Error400BadRequest("item: name its step too")
		}
		remark(ctx, in.ID, map[string]any{"step": in.Body.Step, "item": in.Body.Item})
		return ws.Retry(ctx, in.ID, in.Body.Step, itemOf(in.Body.Item))
	})
}

type decisionInput struct {
	ID   string `path:"id"`
	Body wire.Decision
}

func (s *server) decideRun(ctx context.Context, in *decisionInput) (wire.Run, error) {
	return s.changeRun(ctx, in.ID, func(ws Workflows) (*runs.Run, error) {
		b := in.Body
		remark(ctx, in.ID, map[string]any{"step": b.Step, "item": b.Item, "approved": b.Approved})
		return ws.Decide(ctx, in.ID, b.Step, itemOf(b.Item), b.Approved, noteOf(ctx).who.String(), b.Comment)
	})
}

func itemOf(n *int) int {
	if n == nil {
		return runs.WholeStep
	}
	return *n
}
