package wire

import (
	"errors"

	"gaff/internal/definition"
	"gaff/workflow"
)

// Workflow is a workflow of the gateway.
type Workflow struct {
	Name        string         `json:"name"`
	Description Text           `json:"description"`
	Version     string         `json:"version" doc:"The hash of the definition; empty if it cannot be used."`
	Runs        map[string]int `json:"runs" doc:"The number of runs, by status."`
	Origin      string         `json:"origin" enum:"file,api" doc:"file: of the folder of workflows; api: written by API or console."`
	Revision    int64          `json:"revision" doc:"Of the text that was written by the API; 0 without one. It grows with each change."`
	Hidden      bool           `json:"hidden" doc:"The API has a workflow of this name, too, and the file hides it."`
	UpdatedBy   Text           `json:"updatedBy" doc:"Who wrote the revision."`
	UpdatedAt   Time           `json:"updatedAt" doc:"When the revision was written."`
	Fault       Text           `json:"fault" doc:"Why a workflow of the API cannot be used; null if it can."`
}

// Origins of workflows.
const (
	WorkflowOfFile = "file"
	WorkflowOfAPI  = "api"
)

// NewWorkflow makes the document of a workflow; counts are those of all workflows, by status.
func NewWorkflow(w definition.Workflow, counts map[string]map[string]int) Workflow {
	doc := Workflow{Name: w.Name, Runs: counts[w.Name], Origin: WorkflowOfAPI}
	if doc.Runs == nil {
		doc.Runs = map[string]int{}
	}
	if w.Compiled != nil {
		doc.Description, doc.Version = Text(w.Compiled.Description), w.Compiled.Hash
	}
	if w.File {
		doc.Origin = WorkflowOfFile
	} else if w.Fault != nil {
		doc.Fault = Text(w.Fault.Error())
	}
	if r := w.Record; r != nil {
		doc.Revision, doc.Hidden, doc.UpdatedBy, doc.UpdatedAt = r.Number, w.File, Text(r.By), Time{r.At}
	}
	return doc
}

// WorkflowDetail is a workflow with its definition.
type WorkflowDetail struct {
	Workflow
	Definition JSON `json:"definition" doc:"The file's content as JSON; null if it cannot be used."`
	Text       Text `json:"text" doc:"The text that was written by the API, in YAML; null without one."`
}

// NewWorkflowDetail makes the document of a workflow.
func NewWorkflowDetail(w definition.Workflow, counts map[string]map[string]int) WorkflowDetail {
	doc := WorkflowDetail{Workflow: NewWorkflow(w, counts)}
	if w.Compiled != nil {
		doc.Definition = JSON(w.Compiled.Definition)
	}
	if w.Record != nil {
		doc.Text = Text(w.Record.Text)
	}
	return doc
}

// WorkflowText creates a workflow.
type WorkflowText struct {
	Text string `json:"text" minLength:"1" maxLength:"262144" doc:"The workflow in YAML, as in a file."`
}

// WorkflowUpdate replaces the text of a workflow.
type WorkflowUpdate struct {
	WorkflowText
	Revision int64 `json:"revision,omitempty" minimum:"0" doc:"The revision that was read: 409 if another one is stored now. Left out: not compared."`
}

// WorkflowCheck asks for the faults of a text.
type WorkflowCheck struct {
	Text string `json:"text" maxLength:"262144" doc:"The workflow in YAML, as in a file."`
	Name string `json:"name,omitempty" maxLength:"64" doc:"The workflow that the text is for; left out for a new one."`
}

// WorkflowChecked has the faults of a text.
type WorkflowChecked struct {
	Valid  bool            `json:"valid"`
	Name   Text            `json:"name" doc:"Null if the text has faults."`
	Faults []WorkflowFault `json:"faults" nullable:"false" doc:"By line."`
	Steps  []WorkflowStep  `json:"steps" nullable:"false" doc:"What a run does; empty if the text has faults."`
}

// WorkflowFault is a fault of a text.
type WorkflowFault struct {
	Line    int  `json:"line" doc:"From 1; 0 if unknown."`
	Column  int  `json:"column" doc:"From 1; 0 if unknown."`
	Path    Text `json:"path" example:"steps[2].when"`
	Problem Text `json:"problem"`
	Hint    Text `json:"hint" doc:"What to do about it; may be null."`
}

// WorkflowStep is a step of a definition.
type WorkflowStep struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind" enum:"submit,wait_for,http,approve,emit"`
	Description Text     `json:"description"`
	Needs       []string `json:"needs" nullable:"false" doc:"The steps that it lists as needed, and those that its expressions name."`
}

// NewWorkflowChecked makes the document of a check. It returns an error that is not about the text.
func NewWorkflowChecked(c *workflow.Compiled, err error) (doc WorkflowChecked, _ error) {
	doc.Faults, doc.Steps = []WorkflowFault{}, []WorkflowStep{}
	faults, ok := errors.AsType[workflow.Faults](err)
	if err != nil && !ok {
		return doc, err
	}
	for _, f := range faults {
		problem, hint := f.Split()
		doc.Faults = append(doc.Faults, WorkflowFault{f.Line, f.Column, Text(f.Path), Text(problem), Text(hint)})
	}
	if err != nil {
		return doc, nil
	}
	doc.Valid, doc.Name = true, Text(c.Name)
	for _, st := range c.Steps {
		doc.Steps = append(doc.Steps, WorkflowStep{st.Name, st.Kind(), Text(st.Description), c.Needs(st.Name)})
	}
	return doc, nil
}

// WorkflowRevert writes an older revision again.
type WorkflowRevert struct {
	To       int64 `json:"to" minimum:"1" doc:"The revision whose text is written as a new revision."`
	Revision int64 `json:"revision,omitempty" minimum:"0" doc:"The newest revision that was read: 409 if another one is stored now. Left out: not compared."`
}

// WorkflowRevision is a stored text of a workflow.
type WorkflowRevision struct {
	Revision int64  `json:"revision"`
	By       Text   `json:"by" doc:"Who wrote it."`
	At       Time   `json:"at"`
	Text     string `json:"text" doc:"In YAML."`
}

// NewWorkflowRevision makes the document of a revision.
func NewWorkflowRevision(r definition.Revision) WorkflowRevision {
	return WorkflowRevision{r.Number, Text(r.By), Time{r.At}, r.Text}
}
