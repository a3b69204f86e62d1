package wire

import (
	"gaff"
	"gaff/jobs"
	"gaff/workflow"
	"gaff/workflow/runs"
)

// Project groups jobs, media and runs.
type Project struct {
	ID        string `json:"id"`
	Name      Text   `json:"name"`
	Owner     Text   `json:"owner"`
	Metadata  JSON   `json:"metadata"`
	CreatedAt Time   `json:"createdAt"`
	UpdatedAt Time   `json:"updatedAt"`

	PublicMedia bool `json:"publicMedia" doc:"Each file of the project gets a permanent link (linkUrl) when its copy is stored."`
}

// NewProject makes the document of a project.
func NewProject(p jobs.Project) Project {
	return Project{p.ID, Text(p.Name), Text(p.Owner), JSON(p.Metadata), Time{p.CreatedAt}, Time{p.UpdatedAt}, p.PublicMedia}
}

// ProjectUpdate creates a project or changes it.
type ProjectUpdate struct {
	ID       string         `json:"id" minLength:"1" maxLength:"256"`
	Name     string         `json:"name,omitempty" maxLength:"256"`
	Owner    string         `json:"owner,omitempty" maxLength:"256"`
	Metadata map[string]any `json:"metadata,omitempty"`

	PublicMedia bool `json:"publicMedia,omitempty" doc:"Give each file a permanent link, which needs no token, when its copy is stored. Links that files have already stay until they are revoked."`
}

// Run is a run of a workflow, without its steps.
type Run struct {
	ID        string  `json:"id" example:"run_01KAVJ0Z6M3Q8R5T7W9XYZABCD"`
	Workflow  string  `json:"workflow"`
	Version   string  `json:"version" doc:"The hash of the definition that the run started with and keeps."`
	ProjectID Text    `json:"projectId"`
	UserID    Text    `json:"userId"`
	Status    string  `json:"status" enum:"running,completed,failed,cancelled"`
	Input     JSON    `json:"input"`
	Error     Text    `json:"error"`
	Waiting   Text    `json:"waiting" doc:"What the run waits for, for people."`
	Cost      float64 `json:"cost" doc:"The sum of what providers billed for its jobs, in their units."`
	EventID   Text    `json:"eventId" doc:"The event that started it."`
	DueAt     Time    `json:"dueAt" doc:"When the whole run times out."`
	CreatedAt Time    `json:"createdAt"`
	UpdatedAt Time    `json:"updatedAt"`
	SettledAt Time    `json:"settledAt"`
}

// NewRun makes the document of a run.
func NewRun(r runs.Run) Run {
	return Run{
		r.ID, r.Workflow, r.Version, Text(r.ProjectID), Text(r.UserID), r.Status.String(), JSON(r.Input), Text(r.Error),
		Text(r.Waiting), r.Cost, Text(r.EventID), Time{r.DueAt}, Time{r.CreatedAt}, Time{r.UpdatedAt}, Time{r.SettledAt},
	}
}

// RunDetail is a run with its steps.
type RunDetail struct {
	Run
	Steps []Step `json:"steps" nullable:"false"`
}

// NewRunDetail makes the document of a run from its rows, in the order of the definition c. If c
// is nil, for a version that this program cannot read, the rows alone are shown.
func NewRunDetail(r runs.Run, c *workflow.Compiled, rows []runs.Step) RunDetail {
	d := RunDetail{Run: NewRun(r), Steps: []Step{}}
	index := map[string]int{}
	if c != nil {
		for _, st := range c.Steps {
			index[st.Name] = len(d.Steps)
			d.Steps = append(d.Steps, Step{
				Name: st.Name, Kind: st.Kind(), Description: Text(st.Description), Needs: c.Needs(st.Name),
				StepState: NewStepState(runs.Step{Item: runs.WholeStep}), Items: []StepState{},
			})
		}
	}
	for _, row := range rows {
		i, ok := index[row.Name]
		if !ok {
			i = len(d.Steps)
			index[row.Name] = i
			d.Steps = append(d.Steps, Step{Name: row.Name, Needs: []string{}, Items: []StepState{}})
		}
		if row.Item == runs.WholeStep {
			d.Steps[i].StepState = NewStepState(row)
		} else {
			d.Steps[i].Items = append(d.Steps[i].Items, NewStepState(row))
		}
	}
	return d
}

// Step is a step of a run.
type Step struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind" enum:"submit,wait_for,http,approve,emit," doc:"Empty if the definition cannot be read."`
	Description Text     `json:"description"`
	Needs       []string `json:"needs" nullable:"false" doc:"The steps that it lists as needed, and those that its expressions name."`
	StepState
	Items []StepState `json:"items" nullable:"false" doc:"The items of a step with for_each."`
}

// StepState is the state of a step, or of one item of it.
type StepState struct {
	Item      *int    `json:"item" doc:"From 0; null for the step itself."`
	Status    string  `json:"status" enum:"pending,queued,running,waiting,retrying,completed,failed,skipped,cancelled,"`
	Attempt   int     `json:"attempt"`
	JobID     Text    `json:"jobId"`
	Error     Text    `json:"error"`
	Decider   Text    `json:"decider" doc:"Who decided an approval."`
	EventID   Text    `json:"eventId" doc:"The event that ended the wait."`
	Cost      float64 `json:"cost"`
	DueAt     Time    `json:"dueAt" doc:"The deadline, or the time of the next attempt."`
	StartedAt Time    `json:"startedAt"`
	SettledAt Time    `json:"settledAt"`
}

// NewStepState makes the document of a row.
func NewStepState(s runs.Step) StepState {
	doc := StepState{
		nil, s.Status.String(), s.Attempt, Text(s.JobID), Text(s.Error), Text(s.Decider), Text(s.EventID), s.Cost,
		Time{s.DueAt}, Time{s.StartedAt}, Time{s.SettledAt},
	}
	if s.Item >= 0 {
		doc.Item = &s.Item
	}
	return doc
}

// StepDetail is the state of a step or item with its input and result.
type StepDetail struct {
	StepState
	Input  JSON `json:"input" doc:"The input of the step."`
	Result JSON `json:"result"`
}

// NewStepDetail makes the document of a row with its values.
func NewStepDetail(s runs.Step) StepDetail {
	return StepDetail{NewStepState(s), JSON(s.Input), JSON(s.Result)}
}

// RunStart starts a run.
type RunStart struct {
	Workflow       string         `json:"workflow" minLength:"1"`
	ProjectID      string         `json:"projectId,omitempty" maxLength:"256"`
	UserID         string         `json:"userId,omitempty" maxLength:"256"`
	Input          map[string]any `json:"input,omitempty" doc:"The workflow's inputs by name."`
	IdempotencyKey string         `json:"idempotencyKey,omitempty" maxLength:"400" doc:"A second request with the same key and token returns the first run."`
}

// RunRetry says where a run continues.
type RunRetry struct {
	Step string `json:"step,omitempty" doc:"The step to start at; empty for the steps that failed."`
	Item *int   `json:"item,omitempty" minimum:"0" doc:"Only this item of the step, and the steps after it."`
}

// Decision approves or rejects a waiting step.
type Decision struct {
	Step     string `json:"step,omitempty" doc:"May be left out if one step waits for a decision."`
	Item     *int   `json:"item,omitempty" minimum:"0" doc:"The item of a step with for_each."`
	Approved bool   `json:"approved"`
	Comment  string `json:"comment,omitempty" maxLength:"2000"`
}

// RunQuery chooses runs.
type RunQuery struct {
	Workflow  string `query:"workflow" flag:"workflow" doc:"Only of this workflow."`
	ProjectID string `query:"projectId" flag:"project" doc:"Only of this project."`
	Status    string `query:"status" flag:"status" enum:"running,completed,failed,cancelled" doc:"Only with this status: running, completed, failed or cancelled."`
}

// Filter returns the query as stores take it.
func (q RunQuery) Filter(c gaff.Cursor) runs.Filter {
	f := runs.Filter{Workflow: q.Workflow, ProjectID: q.ProjectID, Cursor: c}
	if status, ok := runs.ParseStatus(q.Status); ok {
		f.Status = &status
	}
	return f
}
