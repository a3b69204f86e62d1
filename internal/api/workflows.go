package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/wire"
	"gaff/jobs"
	"gaff/workflow"
	"gaff/workflow/runs"
)

// Workflows has the operations on workflows and runs; a *workflow.Engine implements it.
type Workflows interface {
	Workflows() []*workflow.Compiled
	Workflow(name string) (*workflow.Compiled, error)
	Version(ctx context.Context, run *runs.Run) (*workflow.Compiled, error)
	Run(ctx context.Context, p workflow.StartParams) (run *runs.Run, created bool, err error)
	Cancel(ctx context.Context, runID, by string) (*runs.Run, error)
	Retry(ctx context.Context, runID, step string, item int) (*runs.Run, error)
	Decide(ctx context.Context, runID, step string, item int, approved bool, by, comment string) (*runs.Run, error)
	SaveProject(ctx context.Context, p *jobs.Project) error
}

// workflows returns the engine, or an error without one.
func (s *server) workflows() (Workflows, error) {
	if s.o.Workflows == nil {
		return nil, huma.Error404NotFound("this gateway runs no workflows")
	}
	return s.o.Workflows, nil
}

func (s *server) listWorkflows(ctx context.Context, _ *struct{ wire.Page }) (wire.List[wire.Workflow], error) {
	out := wire.List[wire.Workflow]{Docs: []wire.Workflow{}}
	if s.o.Workflows == nil {
		return out, nil
	}
	counts, err := s.o.Store.RunCounts(ctx)
	if err != nil {
		return out, err
	}
	for _, c := range s.o.Workflows.Workflows() {
		out.Docs = append(out.Docs, wire.NewWorkflow(c, counts))
	}
	return out, nil
}

type workflowInput struct {
	Name string `path:"name"`
}

func (s *server) getWorkflow(ctx context.Context, in *workflowInput) (none wire.WorkflowDetail, err error) {
	ws, err := s.workflows()
	if err != nil {
		return none, err
	}
	c, err := ws.Workflow(in.Name)
	if err != nil {
		return none, err
	}
	counts, err := s.o.Store.RunCounts(ctx)
	return wire.WorkflowDetail{Workflow: wire.NewWorkflow(c, counts), Definition: wire.JSON(c.Definition)}, err
}
