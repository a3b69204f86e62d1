package ui

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/access"
	"gaff/workflow"
	"gaff/workflow/runs"
)

// Workflows has the workflow definitions; *workflow.Engine implements it.
type Workflows interface {
	Workflows() []*workflow.Compiled
	Workflow(name string) (*workflow.Compiled, error)
	Version(ctx context.Context, run *runs.Run) (*workflow.Compiled, error)
}

// workflowNames returns the names that a filter offers.
func (c *console) workflowNames(q *request) (names []string) {
	if c.o.Workflows == nil || q.who.Scope.Limited() {
		return nil
	}
	for _, w := range c.o.Workflows.Workflows() {
		names = append(names, w.Name)
	}
	return names
}

type workflowRow struct {
	workflowDoc
	Steps  int
	Starts string
}

type workflowsView struct {
	Rows []workflowRow
	// May reports whether the user may write workflows.
	May bool
}

func (c *console) workflows(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Workflows", "workflows", "run"
	var v workflowsView
	if c.o.Workflows == nil {
		return workflowsPage(v), nil
	}
	v.May = q.may(access.Admin)
	var list struct{ Docs []workflowDoc }
	if err := c.ask(q, "/api/v1/workflows", &list); err != nil {
		return nil, err
	}
	for _, doc := range list.Docs {
		row := workflowRow{workflowDoc: doc}
		if w, err := c.o.Workflows.Workflow(doc.Name); err == nil {
			row.Steps, row.Starts = len(w.Steps), starts(w)
		}
		v.Rows = append(v.Rows, row)
	}
	return workflowsPage(v), nil
}

// starts lists the events and schedules that start a workflow.
func starts(w *workflow.Compiled) string {
	var parts []string
	for _, t := range w.On {
		parts = append(parts, t.Event)
	}
	for _, s := range w.Schedule {
		parts = append(parts, s.Cron+" "+cmp.Or(s.Timezone, "UTC"))
	}
	return strings.Join(parts, ", ")
}

// field is an input of the start form.
type field struct {
	workflow.Input
	Value string
	Help  string
}

// lines reports whether each line of the input is an item.
func (f field) lines() bool { return f.Type == "list" && (f.Items == "string") }

type workflowView struct {
	*workflow.Compiled
	Doc    workflowDoc
	Graph  graphView
	Fields []field
	Starts string
	Runs   []runs.Run
	Stats  runStats
	Now    time.Time
	May    bool
	// MayWrite reports whether the user may change the workflow.
	MayWrite bool
}

// runStats are figures of the newest runs of a workflow.
type runStats struct {
	Settled, Completed int
	Median             time.Duration
	// Triggered is when an event or schedule started a run last, as far as the newest runs say.
	Triggered time.Time
}

func (s runStats) rate() string {
	return strconv.Itoa(s.Completed*100/s.Settled) + " % of the last " + strconv.Itoa(s.Settled)
}

func statsOf(list []runs.Run) (s runStats) {
	var took []time.Duration
	for _, r := range list {
		if r.EventID != "" && s.Triggered.IsZero() {
			s.Triggered = r.CreatedAt
		}
		if !r.Status.Settled() {
			continue
		}
		s.Settled++
		if r.Status == runs.Completed {
			s.Completed++
			took = append(took, r.SettledAt.Sub(r.CreatedAt))
		}
	}
	if slices.Sort(took); len(took) > 0 {
		s.Median = took[len(took)/2]
	}
	return s
}

func (c *console) workflow(q *request) (templ.Component, error) {
	if c.o.Workflows == nil {
		return nil, notThere("workflow", q.PathValue("name"))
	}
	var doc workflowDoc
	if err := c.ask(q, "/api/v1/workflows/"+url.PathEscape(q.PathValue("name")), &doc); err != nil {
		return nil, err
	}
	q.title, q.nav = doc.Name, "workflows"
	w, err := c.o.Workflows.Workflow(doc.Name)
	if doc.Fault != "" || err != nil {
		return workflowFaultPage(workflowView{Doc: doc, MayWrite: q.may(access.Admin)}), nil
	}
	v := workflowView{Compiled: w, Doc: doc, MayWrite: q.may(access.Admin), Graph: graph(plan(w), q.now, nil), Starts: starts(w), Now: q.now, May: q.may(access.Operator)}
	for _, in := range w.Inputs {
		f := field{Input: in, Help: in.Description}
		if in.Default != nil {
			if text, ok := in.Default.(string); ok {
				f.Value = text
			} else if raw, err := json.Marshal(in.Default); err == nil {
				f.Value = string(raw)
			}
		}
		switch {
		case f.lines():
			var items []string
			if json.Unmarshal([]byte(f.Value), &items) == nil {
				f.Value = strings.Join(items, "\n")
			}
			f.Help = strings.TrimSpace(f.Help + " (one per line)")
		case in.Type == "list", in.Type == "object", in.Type == "any":
			f.Help = strings.TrimSpace(f.Help + " (JSON)")
		}
		v.Fields = append(v.Fields, f)
	}
	page, err := q.store.Runs(q.Context(), runs.Filter{Workflow: w.Name})
	if err != nil {
		return nil, err
	}
	v.Runs, v.Stats = page.Items[:min(len(page.Items), 10)], statsOf(page.Items)
	return workflowPage(v), nil
}

// formInput reads the start form. Empty fields get their defaults.
func formInput(w *workflow.Workflow, form url.Values) (map[string]any, error) {
	input := map[string]any{}
	for _, in := range w.Inputs {
		text := strings.ReplaceAll(form.Get("input."+in.Name), "\r\n", "\n")
		if strings.TrimSpace(text) == "" {
			continue
		}
		switch {
		case in.Type == "" || in.Type == "string":
			input[in.Name] = text
		case field{Input: in}.lines():
			items := []string{}
			for _, line := range strings.Split(text, "\n") {
				if line = strings.TrimSpace(line); line != "" {
					items = append(items, line)
				}
			}
			input[in.Name] = items
		case !json.Valid([]byte(text)):
			return nil, fmt.Errorf("%s: invalid %s", in.Name, map[bool]string{true: "JSON", false: in.Type}[in.Type == "list" || in.Type == "object" || in.Type == "any"])
		default:
			input[in.Name] = json.RawMessage(text)
		}
	}
	return input, nil
}

func (c *console) startRun(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	back := "/workflows/" + url.PathEscape(name)
	if c.o.Workflows == nil {
		http.NotFound(w, r)
		return
	}
	// Errors of the form name the workflow's inputs, so the caller is checked first.
	who, ok := c.o.Guard.AuthorizeScoped(r)
	switch {
	case !ok:
		c.untrusted(w, r, who.Err)
		return
	case who.Role < access.Operator:
		http.Error(w, notAllowed(access.Operator, who), http.StatusForbidden)
		return
	}
	def, err := c.o.Workflows.Workflow(name)
	if err == nil {
		err = r.ParseForm()
	}
	var input map[string]any
	if err == nil {
		input, err = formInput(def.Workflow, r.PostForm)
	}
	if err != nil {
		setFlash(w, "bad", "Not done: "+visible(err.Error()))
		http.Redirect(w, r, back, http.StatusSeeOther)
		return
	}
	body, _ := json.Marshal(map[string]any{"workflow": name, "projectId": r.PostFormValue("projectId"), "input": input})
	res, err := c.call(r, http.MethodPost, "/api/v1/runs", body)
	if err == nil && res.Status/100 == 2 {
		var made struct{ ID string }
		_ = readJSON(res.Body, &made)
		back = "/runs/" + url.PathEscape(made.ID)
	}
	c.done(w, r, res, err, "The run has started.", back)
}

// choices returns the allowed values as the form shows them.
func (f field) choices() (texts []string) {
	if !f.Required {
		texts = append(texts, "")
	}
	for _, v := range f.Enum {
		if text, ok := v.(string); ok {
			texts = append(texts, text)
		} else if raw, err := json.Marshal(v); err == nil {
			texts = append(texts, string(raw))
		}
	}
	return texts
}
