package api

import (
	"context"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/definition"
	"gaff/internal/wire"
	"gaff/jobs"
	"gaff/workflow"
	"gaff/workflow/runs"
)

// maxWorkflowBody bounds a request with the text of a workflow, in bytes: JSON can double its length.
const maxWorkflowBody = 2*workflow.MaxFile + maxBody

// Workflows has the operations on workflows and runs; a *workflow.Engine implements it.
type Workflows interface {
	Workflow(name string) (*workflow.Compiled, error)
	Workflows() []*workflow.Compiled
	Version(ctx context.Context, run *runs.Run) (*workflow.Compiled, error)
	Run(ctx context.Context, p workflow.StartParams) (run *runs.Run, created bool, err error)
	Cancel(ctx context.Context, runID, by string) (*runs.Run, error)
	Retry(ctx context.Context, runID, step string, item int) (*runs.Run, error)
	Decide(ctx context.Context, runID, step string, item int, approved bool, by, comment string) (*runs.Run, error)
	SaveProject(ctx context.Context, p *jobs.Project) error
}

// Definitions has the workflows of files and those that users write; a *definition.Service
// implements it.
type Definitions interface {
	Refresh(ctx context.Context) error
	List(ctx context.Context) ([]definition.Workflow, error)
	Get(ctx context.Context, name string) (definition.Workflow, error)
	Check(name, text string) (*workflow.Compiled, error)
	Create(ctx context.Context, text, by string) (definition.Workflow, error)
	Update(ctx context.Context, name, text string, revision int64, by string) (definition.Workflow, error)
	Delete(ctx context.Context, name string) error
	Revisions(ctx context.Context, name string) ([]definition.Revision, error)
}

// workflows returns the engine, or an error without one.
func (s *server) workflows() (Workflows, error) {
	if s.o.Workflows == nil {
		return nil, huma.Error404NotFound("this gateway runs no workflows")
	}
	return s.o.Workflows, nil
}

// definitions returns the workflows of files and users, or an error without them.
func (s *server) definitions() (Definitions, error) {
	if s.o.Definitions == nil {
		return nil, huma.Error404NotFound("this gateway runs no workflows")
	}
	return s.o.Definitions, nil
}

func (s *server) listWorkflows(ctx context.Context, _ *struct{ wire.Page }) (wire.List[wire.Workflow], error) {
	out := wire.List[wire.Workflow]{Docs: []wire.Workflow{}}
	if s.o.Definitions == nil {
		return out, nil
	}
	counts, err := s.o.Store.RunCounts(ctx)
	if err != nil {
		return out, err
	}
	all, err := s.o.Definitions.List(ctx)
	for _, w := range all {
		out.Docs = append(out.Docs, wire.NewWorkflow(w, counts))
	}
	return out, err
}

// workflowInput has the name of a workflow; that of a missing one may be longer than 64.
type workflowInput struct {
	Name string `path:"name"`
}

func (s *server) getWorkflow(ctx context.Context, in *workflowInput) (wire.WorkflowDetail, error) {
	return s.changeWorkflow(ctx, func(d Definitions) (definition.Workflow, error) { return d.Get(ctx, in.Name) })
}

// changeWorkflow calls the definitions and makes the workflow's document.
func (s *server) changeWorkflow(ctx context.Context, change func(Definitions) (definition.Workflow, error)) (none wire.WorkflowDetail, err error) {
	d, err := s.definitions()
	if err != nil {
		return none, err
	}
	w, err := change(d)
	if err != nil {
		return none, err
	}
	counts, err := s.o.Store.RunCounts(ctx)
	return wire.NewWorkflowDetail(w, counts), err
}

type workflowTextInput struct{ Body wire.WorkflowText }

func (s *server) createWorkflow(ctx context.Context, in *workflowTextInput) (wire.WorkflowDetail, error) {
	return s.changeWorkflow(ctx, func(d Definitions) (definition.Workflow, error) {
		w, err := d.Create(ctx, in.Body.Text, noteOf(ctx).who.String())
		if err == nil {
			remarkWorkflow(ctx, w)
		}
		return w, err
	})
}

type workflowUpdateInput struct {
	Name string `path:"name" maxLength:"64"`
	Body wire.WorkflowUpdate
}

func (s *server) updateWorkflow(ctx context.Context, in *workflowUpdateInput) (wire.WorkflowDetail, error) {
	return s.changeWorkflow(ctx, func(d Definitions) (definition.Workflow, error) {
		w, err := d.Update(ctx, in.Name, in.Body.Text, in.Body.Revision, noteOf(ctx).who.String())
		if err == nil {
			remarkWorkflow(ctx, w)
		}
		return w, err
	})
}

// remarkWorkflow notes the revision that was written in the audit log.
func remarkWorkflow(ctx context.Context, w definition.Workflow) {
	if w.Record != nil && w.Compiled != nil {
		remark(ctx, w.Name, map[string]any{"revision": w.Record.Number, "version": w.Compiled.Hash})
	}
}

func (s *server) deleteWorkflow(ctx context.Context, in *nameInput) error {
	d, err := s.definitions()
	if err != nil {
		return err
	}
	return d.Delete(ctx, in.Name)
}

type workflowCheckInput struct{ Body wire.WorkflowCheck }

func (s *server) checkWorkflow(ctx context.Context, in *workflowCheckInput) (none wire.WorkflowChecked, err error) {
	unaudited(ctx)
	d, err := s.definitions()
	if err != nil {
		return none, err
	}
	return wire.NewWorkflowChecked(d.Check(in.Body.Name, in.Body.Text))
}

func (s *server) listWorkflowRevisions(ctx context.Context, in *nameInput) (wire.List[wire.WorkflowRevision], error) {
	out := wire.List[wire.WorkflowRevision]{Docs: []wire.WorkflowRevision{}}
	d, err := s.definitions()
	if err != nil {
		return out, err
	}
	all, err := d.Revisions(ctx, in.Name)
	for _, r := range all {
		out.Docs = append(out.Docs, wire.NewWorkflowRevision(r))
	}
	return out, err
}

type workflowRevertInput struct {
	Name string `path:"name" maxLength:"64"`
	Body wire.WorkflowRevert
}

// revertWorkflow writes the text of an older revision as a new one.
func (s *server) revertWorkflow(ctx context.Context, in *workflowRevertInput) (wire.WorkflowDetail, error) {
	return s.changeWorkflow(ctx, func(d Definitions) (none definition.Workflow, err error) {
		all, err := d.Revisions(ctx, in.Name)
		if err != nil {
			return none, err
		}
		for _, r := range all {
			if r.Number == in.Body.To {
				w, err := d.Update(ctx, in.Name, r.Text, in.Body.Revision, noteOf(ctx).who.String())
				if err == nil {
					remarkWorkflow(ctx, w)
				}
				return w, err
			}
		}
		return none, fmt.Errorf("revision %d of workflow %s: %w", in.Body.To, in.Name, gaff.ErrNotFound)
	})
}

// savedWorkflows adapts the workflows that users write to package manifest.
type savedWorkflows struct{ d Definitions }

func (w savedWorkflows) Texts(ctx context.Context) (written map[string]string, files map[string]bool, err error) {
	all, err := w.d.List(ctx)
	written, files = map[string]string{}, map[string]bool{}
	for _, one := range all {
		files[one.Name] = one.File
		if one.Record != nil {
			written[one.Name] = one.Record.Text
		}
	}
	return written, files, err
}

func (w savedWorkflows) Check(name, text string) error {
	_, err := w.d.Check(name, text)
	return err
}

func (w savedWorkflows) Put(ctx context.Context, name, text string, exists bool) (err error) {
	if exists {
		_, err = w.d.Update(ctx, name, text, 0, noteOf(ctx).who.String())
	} else {
		_, err = w.d.Create(ctx, text, noteOf(ctx).who.String())
	}
	return err
}

func (w savedWorkflows) Delete(ctx context.Context, name string) error { return w.d.Delete(ctx, name) }
