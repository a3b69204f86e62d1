package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/jobs"
	"gaff/workflow"
	"gaff/workflow/runs"
)

// Workflows starts runs and changes them; a *workflow.Engine is one.
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

type projectDoc struct {
	ID        string  `json:"id"`
	Name      *string `json:"name"`
	Owner     *string `json:"owner"`
	Metadata  rawJSON `json:"metadata"`
	CreatedAt *string `json:"createdAt" format:"date-time"`
	UpdatedAt *string `json:"updatedAt" format:"date-time"`
}

func newProjectDoc(p jobs.Project) projectDoc {
	return projectDoc{p.ID, orNull(p.Name), orNull(p.Owner), rawJSON(p.Metadata), stamp(p.CreatedAt), stamp(p.UpdatedAt)}
}

type projectBody struct {
	Body struct {
		ID       string         `json:"id" minLength:"1" maxLength:"256"`
		Name     string         `json:"name,omitempty" maxLength:"256"`
		Owner    string         `json:"owner,omitempty" maxLength:"256"`
		Metadata map[string]any `json:"metadata,omitempty"`
	}
}

type runDoc struct {
	ID        string  `json:"id"`
	Workflow  string  `json:"workflow"`
	Version   string  `json:"version" doc:"The hash of the definition that the run began with and keeps."`
	ProjectID *string `json:"projectId"`
	UserID    *string `json:"userId"`
	Status    string  `json:"status" enum:"running,completed,failed,cancelled"`
	Input     rawJSON `json:"input"`
	Error     *string `json:"error"`
	Waiting   *string `json:"waiting" doc:"What the run waits for, in words."`
	Cost      float64 `json:"cost" doc:"What providers reported for its jobs, in their units."`
	EventID   *string `json:"eventId" doc:"The event that started it."`
	DueAt     *string `json:"dueAt" format:"date-time" doc:"When the whole run times out."`
	CreatedAt *string `json:"createdAt" format:"date-time"`
	UpdatedAt *string `json:"updatedAt" format:"date-time"`
	SettledAt *string `json:"settledAt" format:"date-time"`
}

func newRunDoc(r runs.Run) runDoc {
	return runDoc{
		r.ID, r.Workflow, r.Version, orNull(r.ProjectID), orNull(r.UserID), r.Status.String(), rawJSON(r.Input), orNull(r.Error),
		orNull(r.Waiting), r.Cost, orNull(r.EventID), stamp(r.DueAt), stamp(r.CreatedAt), stamp(r.UpdatedAt), stamp(r.SettledAt),
	}
}

type stepRowDoc struct {
	Item      *int    `json:"item" doc:"From 0; null for the step itself."`
	Status    string  `json:"status" enum:"pending,queued,running,waiting,retrying,completed,failed,skipped,cancelled"`
	Attempt   int     `json:"attempt"`
	JobID     *string `json:"jobId"`
	Error     *string `json:"error"`
	Decider   *string `json:"decider" doc:"Who decided an approval."`
	EventID   *string `json:"eventId" doc:"The event that ended the wait."`
	Cost      float64 `json:"cost"`
	DueAt     *string `json:"dueAt" format:"date-time" doc:"The deadline, or the time of the next try."`
	StartedAt *string `json:"startedAt" format:"date-time"`
	SettledAt *string `json:"settledAt" format:"date-time"`
}

func newStepRowDoc(s runs.Step) stepRowDoc {
	doc := stepRowDoc{
		nil, s.Status.String(), s.Attempt, orNull(s.JobID), orNull(s.Error), orNull(s.Decider), orNull(s.EventID), s.Cost,
		stamp(s.DueAt), stamp(s.StartedAt), stamp(s.SettledAt),
	}
	if s.Item >= 0 {
		doc.Item = &s.Item
	}
	return doc
}

type stepDoc struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind" enum:"submit,wait_for,http,approve,emit"`
	Description *string  `json:"description"`
	Needs       []string `json:"needs" nullable:"false" doc:"Those listed and those that its expressions speak of."`
	stepRowDoc
	Items []stepRowDoc `json:"items" nullable:"false" doc:"Of a step with for_each."`
}

type runDetail struct {
	runDoc
	Steps []stepDoc `json:"steps" nullable:"false"`
}

type stepValueDoc struct {
	stepRowDoc
	Input  rawJSON `json:"input" doc:"What it was given."`
	Result rawJSON `json:"result"`
}

type workflowDoc struct {
	Name        string         `json:"name"`
	Description *string        `json:"description"`
	Version     string         `json:"version"`
	Runs        map[string]int `json:"runs" nullable:"false" doc:"How many there are, by status."`
}

type workflowDetail struct {
	workflowDoc
	Definition rawJSON `json:"definition" doc:"As the file has it, in JSON."`
}

type startInput struct {
	Body struct {
		Workflow       string         `json:"workflow" minLength:"1"`
		ProjectID      string         `json:"projectId,omitempty" maxLength:"256"`
		UserID         string         `json:"userId,omitempty" maxLength:"256"`
		Input          map[string]any `json:"input,omitempty" doc:"The workflow's inputs by name."`
		IdempotencyKey string         `json:"idempotencyKey,omitempty" maxLength:"400" doc:"A second start with it, with the same token, returns the first run."`
	}
}

type runsInput struct {
	Paging
	Workflow  string `query:"workflow"`
	ProjectID string `query:"projectId"`
	Status    string `query:"status" enum:"running,completed,failed,cancelled"`
}

type stepInput struct {
	ID   string `path:"id"`
	Step string `path:"step"`
}

type retryInput struct {
	ID   string `path:"id"`
	Body struct {
		Step string `json:"step,omitempty" doc:"Where to begin; empty: at what failed."`
		Item *int   `json:"item,omitempty" minimum:"0" doc:"Only this item of the step, and what comes after."`
	}
}

type decisionInput struct {
	ID   string `path:"id"`
	Body struct {
		Step     string `json:"step,omitempty" doc:"May be left out where one decision is wanted."`
		Item     *int   `json:"item,omitempty" minimum:"0" doc:"Of a step with for_each."`
		Approved bool   `json:"approved"`
		Comment  string `json:"comment,omitempty" maxLength:"2000"`
	}
}

type runIDInput struct {
	ID string `path:"id"`
}

type startOutput struct {
	Status   int
	Replayed string `header:"Idempotency-Replayed" doc:"true if the key was known, and the first run is returned."`
	Body     runDoc
}

type projectIDInput struct {
	ID string `path:"id" maxLength:"1024"`
}

func itemOf(n *int) int {
	if n == nil {
		return runs.WholeStep
	}
	return *n
}

// workflows returns the engine, or says that there is none.
func (s *server) workflows() (Workflows, error) {
	if s.o.Workflows == nil {
		return nil, huma.Error404NotFound("this gateway runs no workflows")
	}
	return s.o.Workflows, nil
}

func (s *server) describeWorkflows(api huma.API) {
	s.describeProjects(api)
	s.describeRuns(api)
	huma.Register(api, operation(http.MethodGet, "/api/v1/workflows", "list-workflows", "List the workflows, by name; all on one page", Viewer),
		func(ctx context.Context, _ *struct{ Paging }) (*output[list[workflowDoc]], error) {
			out := &output[list[workflowDoc]]{Body: list[workflowDoc]{Docs: []workflowDoc{}}}
			if s.o.Workflows == nil {
				return out, nil
			}
			counts, err := s.o.Store.RunCounts(ctx)
			if err != nil {
				return nil, s.failure(err)
			}
			for _, c := range s.o.Workflows.Workflows() {
				out.Body.Docs = append(out.Body.Docs, newWorkflowDoc(c, counts))
			}
			return out, nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/workflows/{name}", "get-workflow", "One workflow with its definition", Viewer),
		func(ctx context.Context, in *struct {
			Name string `path:"name"`
		}) (*output[workflowDetail], error) {
			ws, err := s.workflows()
			if err != nil {
				return nil, err
			}
			c, err := ws.Workflow(in.Name)
			if err != nil {
				return nil, s.failure(err)
			}
			counts, err := s.o.Store.RunCounts(ctx)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[workflowDetail]{workflowDetail{newWorkflowDoc(c, counts), rawJSON(c.Definition)}}, nil
		})
}

func newWorkflowDoc(c *workflow.Compiled, counts map[string]map[string]int) workflowDoc {
	byStatus := counts[c.Name]
	if byStatus == nil {
		byStatus = map[string]int{}
	}
	return workflowDoc{c.Name, orNull(c.Description), c.Hash, byStatus}
}

func (s *server) describeProjects(api huma.API) {
	huma.Register(api, operation(http.MethodGet, "/api/v1/projects", "list-projects", "List projects, newest first", Viewer),
		func(ctx context.Context, in *struct{ Paging }) (*output[list[projectDoc]], error) {
			page, err := s.o.Store.Projects(ctx, in.page())
			if err != nil {
				return nil, s.failure(err)
			}
			return listOf(page, newProjectDoc), nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/projects/{id}", "get-project",
		"One project; its jobs, media and runs are found by projectId", Viewer),
		func(ctx context.Context, in *projectIDInput) (*output[projectDoc], error) {
			p, err := s.o.Store.Project(ctx, in.ID)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[projectDoc]{newProjectDoc(*p)}, nil
		})
	huma.Register(api, operation(http.MethodPost, "/api/v1/projects", "save-project",
		"Make a project, or set the name, owner and metadata of one", Operator),
		func(ctx context.Context, in *projectBody) (*output[projectDoc], error) {
			ws, err := s.workflows()
			if err != nil {
				return nil, err
			}
			p := &jobs.Project{ID: in.Body.ID, Name: in.Body.Name, Owner: in.Body.Owner}
			if in.Body.Metadata != nil {
				if p.Metadata, err = json.Marshal(in.Body.Metadata); err != nil {
					return nil, huma.Error400BadRequest("metadata: " + err.Error())
				}
			}
			remark(ctx, p.ID, nil)
			if err := ws.SaveProject(ctx, p); err != nil {
				return nil, s.failure(err)
			}
			saved, err := s.o.Store.Project(ctx, p.ID)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[projectDoc]{newProjectDoc(*saved)}, nil
		})
}

func (s *server) describeRuns(api huma.API) {
	huma.Register(api, operation(http.MethodGet, "/api/v1/runs", "list-runs", "List runs of workflows, newest first", Viewer),
		func(ctx context.Context, in *runsInput) (*output[list[runDoc]], error) {
			f := runs.Filter{Workflow: in.Workflow, ProjectID: in.ProjectID, Cursor: in.page()}
			if status, ok := runs.ParseStatus(in.Status); ok {
				f.Status = &status
			}
			page, err := s.o.Store.Runs(ctx, f)
			if err != nil {
				return nil, s.failure(err)
			}
			return listOf(page, newRunDoc), nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/runs/{id}", "get-run", "One run with its steps", Viewer),
		func(ctx context.Context, in *runIDInput) (*output[runDetail], error) {
			r, err := s.o.Store.Run(ctx, in.ID)
			if err != nil {
				return nil, s.failure(err)
			}
			detail, err := s.runDetail(ctx, r)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[runDetail]{detail}, nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/runs/{id}/steps/{step}", "get-run-step",
		"A step of a run, and its items, with what each was given and what came of it", Viewer),
		func(ctx context.Context, in *stepInput) (*output[list[stepValueDoc]], error) {
			rows, err := s.o.Store.StepValues(ctx, in.ID, in.Step)
			if err == nil && len(rows) == 0 {
				_, err = s.o.Store.Run(ctx, in.ID)
			}
			if err != nil {
				return nil, s.failure(err)
			}
			return listOf(gaff.Page[runs.Step]{Items: rows}, func(row runs.Step) stepValueDoc {
				return stepValueDoc{newStepRowDoc(row), rawJSON(row.Input), rawJSON(row.Result)}
			}), nil
		})
	start := operation(http.MethodPost, "/api/v1/runs", "start-run", "Start a run of a workflow", Operator)
	start.DefaultStatus, start.MaxBodyBytes, start.BodyReadTimeout = http.StatusAccepted, takes(2*workflow.MaxInput), 30*time.Second
	start.Description += " 200 where the idempotencyKey was used before."
	huma.Register(api, start, func(ctx context.Context, in *startInput) (*startOutput, error) {
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
			// Apart from those of events and schedules, and of other callers.
			former = "api:" + in.Body.IdempotencyKey
			key = "api:" + callerOf(ctx) + ":" + in.Body.IdempotencyKey
		}
		run, created, err := ws.Run(ctx, workflow.StartParams{
			Workflow: in.Body.Workflow, ProjectID: in.Body.ProjectID, UserID: in.Body.UserID, Input: input, Key: key, FormerKey: former,
		})
		if err != nil {
			return nil, s.failure(err)
		}
		remark(ctx, run.ID, map[string]string{"workflow": run.Workflow})
		out := &startOutput{Status: http.StatusAccepted, Body: newRunDoc(*run)}
		if !created {
			out.Status, out.Replayed = http.StatusOK, "true"
		}
		return out, nil
	})
	change := func(id, path, summary string) huma.Operation {
		return operation(http.MethodPost, "/api/v1/runs/{id}/"+path, id, summary, Operator)
	}
	huma.Register(api, change("cancel-run", "cancel", "End a run, and its jobs at their providers"),
		func(ctx context.Context, in *runIDInput) (*output[runDoc], error) {
			ws, err := s.workflows()
			if err != nil {
				return nil, err
			}
			run, err := ws.Cancel(ctx, in.ID, noteOf(ctx).who.String())
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[runDoc]{newRunDoc(*run)}, nil
		})
	huma.Register(api, change("retry-run", "retry", "Let a run that failed go on, or begin again at a step, or with one item of it"),
		func(ctx context.Context, in *retryInput) (*output[runDoc], error) {
			ws, err := s.workflows()
			if err != nil {
				return nil, err
			}
			if in.Body.Step == "" && in.Body.Item != nil {
				return nil, huma.Error400BadRequest("item: name its step too")
			}
			remark(ctx, in.ID, map[string]any{"step": in.Body.Step, "item": in.Body.Item})
			run, err := ws.Retry(ctx, in.ID, in.Body.Step, itemOf(in.Body.Item))
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[runDoc]{newRunDoc(*run)}, nil
		})
	huma.Register(api, change("decide-run", "approve", "Answer an approval that a run waits for"),
		func(ctx context.Context, in *decisionInput) (*output[runDoc], error) {
			ws, err := s.workflows()
			if err != nil {
				return nil, err
			}
			remark(ctx, in.ID, map[string]any{"step": in.Body.Step, "item": in.Body.Item, "approved": in.Body.Approved})
			run, err := ws.Decide(ctx, in.ID, in.Body.Step, itemOf(in.Body.Item), in.Body.Approved, noteOf(ctx).who.String(), in.Body.Comment)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[runDoc]{newRunDoc(*run)}, nil
		})
}

// runDetail adds the steps, in the order of the definition. A version that this program
// cannot read shows its rows alone.
func (s *server) runDetail(ctx context.Context, r *runs.Run) (runDetail, error) {
	d := runDetail{runDoc: newRunDoc(*r), Steps: []stepDoc{}}
	rows, err := s.o.Store.Steps(ctx, r.ID)
	if err != nil {
		return d, err
	}
	index := map[string]int{}
	if s.o.Workflows != nil {
		c, err := s.o.Workflows.Version(ctx, r)
		if err != nil {
			s.o.Log.Warn("a run's version cannot be read", "run", r.ID, "error", err)
		} else {
			for _, st := range c.Steps {
				index[st.Name] = len(d.Steps)
				d.Steps = append(d.Steps, stepDoc{
					Name: st.Name, Kind: st.Kind(), Description: orNull(st.Description), Needs: c.Needs(st.Name),
					stepRowDoc: newStepRowDoc(runs.Step{Item: runs.WholeStep}), Items: []stepRowDoc{},
				})
			}
		}
	}
	for _, row := range rows {
		i, ok := index[row.Name]
		if !ok {
			i = len(d.Steps)
			index[row.Name] = i
			d.Steps = append(d.Steps, stepDoc{Name: row.Name, Needs: []string{}, Items: []stepRowDoc{}})
		}
		if row.Item == runs.WholeStep {
			d.Steps[i].stepRowDoc = newStepRowDoc(row)
		} else {
			d.Steps[i].Items = append(d.Steps[i].Items, newStepRowDoc(row))
		}
	}
	return d, nil
}
