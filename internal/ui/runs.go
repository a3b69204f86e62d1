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
	"gaff/jobs"
	"gaff/workflow"
	"gaff/workflow/runs"
)

// Workflows tells of the workflows; a *workflow.Engine is one.
type Workflows interface {
	Workflows() []*workflow.Compiled
	Workflow(name string) (*workflow.Compiled, error)
	Version(ctx context.Context, run *runs.Run) (*workflow.Compiled, error)
}

type runsView struct {
	Status, Workflow, Project string
	Names                     []string
	Runs                      []runs.Run
	Pager                     pagerView
	Now                       time.Time
}

func (v runsView) filtered() bool { return v.Status+v.Workflow+v.Project != "" }

func (c *console) workflowNames() (names []string) {
	if c.o.Workflows == nil {
		return nil
	}
	for _, w := range c.o.Workflows.Workflows() {
		names = append(names, w.Name)
	}
	return names
}

func (c *console) runs(q *request) (templ.Component, error) {
	q.title, q.nav = "Runs", "runs"
	v := runsView{
		Status: q.query("status"), Workflow: q.query("workflow"), Project: q.query("projectId"), Names: c.workflowNames(), Now: q.now,
	}
	f := runs.Filter{Workflow: v.Workflow, ProjectID: v.Project, Cursor: q.cursor()}
	if v.Status != "" {
		status, ok := runs.ParseStatus(v.Status)
		if !ok {
			return nil, &problem{http.StatusBadRequest, "This cannot be shown", "The status " + visible(clip(v.Status, 40)) + " is none."}
		}
		f.Status = &status
	}
	page, err := c.o.Store.Runs(q.Context(), f)
	if err != nil {
		return nil, err
	}
	if v.Runs, v.Pager = page.Items, pagerOf(q, page.Next); q.query("cursor") == "" {
		q.live = "run"
	}
	return runsPage(v), nil
}

// runStep is a step of a run, or of a workflow that is not running.
type runStep struct {
	Name, Kind, About string
	Row               runs.Step
	Items             []runs.Step
	Needs             []string
}

// done tells how many of the items succeeded.
func (s runStep) done() int {
	n := 0
	for _, item := range s.Items {
		if item.Status == runs.StepCompleted {
			n++
		}
	}
	return n
}

// begun tells that there is something to see.
func (s runStep) begun() bool { return s.Row.Status != runs.StepPending }

// took is how long a step or item ran, or runs.
func took(row runs.Step, now time.Time) string {
	switch {
	case row.StartedAt.IsZero():
		return ""
	case !row.SettledAt.IsZero():
		return span(max(row.SettledAt.Sub(row.StartedAt), 0))
	case row.Status.Active():
		return span(max(now.Sub(row.StartedAt), 0)) + " so far"
	}
	return ""
}

// note is what a step says of itself in one line.
func (s runStep) note(now time.Time) string {
	var parts []string
	if len(s.Items) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d", s.done(), len(s.Items)))
	}
	if s.Row.Attempt > 1 {
		parts = append(parts, "try "+strconv.Itoa(s.Row.Attempt))
	}
	if t := took(s.Row, now); t != "" {
		parts = append(parts, t)
	}
	if s.Row.Cost > 0 {
		parts = append(parts, units(s.Row.Cost))
	}
	return strings.Join(parts, " · ")
}

func units(cost float64) string {
	if cost == 0 {
		return ""
	}
	return strconv.FormatFloat(cost, 'g', 6, 64) + " units"
}

// Measures of the graph, in pixels.
const (
	nodeWide, nodeHigh = 172, 58
	gapWide, gapHigh   = 36, 18
	graphEdge          = 6
)

// node is a step in the graph, at a place.
type node struct {
	runStep
	X, Y int
	Path templ.SafeURL // of its details; empty if there are none
	Note string
}

// shareDone is how wide the bar is that tells how many items are done.
func (n node) shareDone() int {
	if len(n.Items) == 0 {
		return 0
	}
	return (nodeWide - 20) * n.done() / len(n.Items)
}

type graphView struct {
	Wide, High int
	Nodes      []node
	Edges      []string // paths
}

// graph lays steps out in columns: each stands right of all that it needs.
func graph(steps []runStep, now time.Time, path func(step string) templ.SafeURL) graphView {
	column := map[string]int{}
	byName := map[string]*runStep{}
	for i := range steps {
		byName[steps[i].Name] = &steps[i]
	}
	var columnOf func(name string, depth int) int
	columnOf = func(name string, depth int) int {
		if n, ok := column[name]; ok || depth > len(steps) {
			return n
		}
		n := 0
		if s := byName[name]; s != nil {
			for _, need := range s.Needs {
				if byName[need] != nil {
					n = max(n, columnOf(need, depth+1)+1)
				}
			}
		}
		column[name] = n
		return n
	}
	var g graphView
	rows := map[int]int{}
	at := map[string]node{}
	for _, s := range steps {
		x := columnOf(s.Name, 0)
		n := node{runStep: s, X: graphEdge + x*(nodeWide+gapWide), Y: graphEdge + rows[x]*(nodeHigh+gapHigh), Note: s.note(now)}
		if path != nil && s.begun() {
			n.Path = path(s.Name)
		}
		rows[x]++
		g.Wide, g.High = max(g.Wide, n.X+nodeWide+graphEdge), max(g.High, n.Y+nodeHigh+graphEdge)
		g.Nodes = append(g.Nodes, n)
		at[s.Name] = n
	}
	for _, n := range g.Nodes {
		for _, need := range n.Needs {
			from, ok := at[need]
			if !ok {
				continue
			}
			x1, y1, x2, y2 := from.X+nodeWide, from.Y+nodeHigh/2, n.X, n.Y+nodeHigh/2
			mid := gapWide / 2
			g.Edges = append(g.Edges, fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+mid, y1, x2-mid, y2, x2, y2))
		}
	}
	return g
}

// stepKind is the class of a status: a colour.
func stepKind(s runs.StepStatus) string {
	switch s {
	case runs.StepCompleted:
		return "ok"
	case runs.StepFailed:
		return "bad"
	case runs.StepRetrying:
		return "warn"
	case runs.StepQueued, runs.StepRunning, runs.StepWaiting:
		return "wait"
	case runs.StepPending, runs.StepSkipped, runs.StepCancelled:
	}
	return "none"
}

func runKind(s runs.Status) string {
	return [...]string{"wait", "ok", "bad", "none"}[min(max(int(s), 0), 3)]
}

// wanted is a decision that a run waits for.
type wanted struct {
	Step    string
	Item    int
	Message string
	DueAt   time.Time
	Media   []jobs.Media
}

func (w wanted) title() string {
	if w.Item >= 0 {
		return fmt.Sprintf("%s, item %d, waits for a decision", w.Step, w.Item)
	}
	return w.Step + " waits for a decision"
}

type runView struct {
	runs.Run
	Steps  []runStep
	Graph  graphView
	Input  shown
	Wanted []wanted
	Media  []jobs.Media
	Now    time.Time
	May    bool
}

func (c *console) runSteps(ctx context.Context, r *runs.Run) ([]runStep, error) {
	rows, err := c.o.Store.Steps(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	var steps []runStep
	index := map[string]int{}
	if c.o.Workflows != nil {
		if w, err := c.o.Workflows.Version(ctx, r); err == nil {
			steps = plan(w)
			for i := range steps {
				index[steps[i].Name] = i
			}
		}
	}
	for _, row := range rows {
		i, ok := index[row.Name]
		if !ok {
			i = len(steps)
			index[row.Name] = i
			steps = append(steps, runStep{Name: row.Name})
		}
		if row.Item == runs.WholeStep {
			steps[i].Row = row
		} else {
			steps[i].Items = append(steps[i].Items, row)
		}
	}
	return steps, nil
}

// plan is a workflow's steps, none of them begun.
func plan(w *workflow.Compiled) []runStep {
	var steps []runStep
	for _, st := range w.Steps {
		steps = append(steps, runStep{Name: st.Name, Kind: st.Kind(), About: st.Description, Needs: w.Needs(st.Name)})
	}
	return steps
}

// shownMedia is how many files a run's page shows.
const shownMedia = 60

func (c *console) run(q *request) (templ.Component, error) {
	r, err := c.o.Store.Run(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q.title, q.nav, q.live = r.Workflow+" "+r.ID, "runs", "run"
	v := runView{Run: *r, Input: show(r.Input, false), Now: q.now, May: q.may(access.Operator)}
	if v.Steps, err = c.runSteps(q.Context(), r); err != nil {
		return nil, err
	}
	v.Graph = graph(v.Steps, q.now, func(step string) templ.SafeURL {
		return templ.SafeURL("/runs/" + url.PathEscape(r.ID) + "/steps/" + url.PathEscape(step))
	})
	media := map[string][]jobs.Media{}
	for _, s := range v.Steps {
		if s.Kind != "submit" || !s.begun() {
			continue
		}
		byItem, err := c.o.Store.StepMedia(q.Context(), r.ID, s.Name)
		if err != nil {
			return nil, err
		}
		items := make([]int, 0, len(byItem))
		for item := range byItem {
			items = append(items, item)
		}
		slices.Sort(items)
		for _, item := range items {
			media[s.Name] = append(media[s.Name], byItem[item]...)
		}
	}
	for i := len(v.Steps) - 1; i >= 0; i-- { // the last made first
		v.Media = append(v.Media, media[v.Steps[i].Name]...)
	}
	v.Media = v.Media[:min(len(v.Media), shownMedia)]
	for _, s := range v.Steps {
		if s.Kind != "approve" || s.Row.Status != runs.StepWaiting {
			continue
		}
		rows, err := c.o.Store.StepValues(q.Context(), r.ID, s.Name)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if row.Status != runs.StepWaiting || row.Item == runs.WholeStep && len(rows) > 1 {
				continue
			}
			var given struct{ Message string }
			_ = json.Unmarshal(row.Input, &given)
			w := wanted{Step: s.Name, Item: row.Item, Message: cmp.Or(given.Message, s.About), DueAt: row.DueAt}
			for _, need := range s.Needs {
				w.Media = append(w.Media, media[need]...)
			}
			w.Media = w.Media[:min(len(w.Media), shownMedia)]
			v.Wanted = append(v.Wanted, w)
		}
	}
	return runPage(v), nil
}

// itemValue is a step or item with what it was given and what came of it.
type itemValue struct {
	runs.Step
	Given, Came shown
	Media       []jobs.Media
}

type stepView struct {
	RunID string
	runStep
	Values []itemValue
	More   int // items that are not shown with their values
	Now    time.Time
	May    bool
}

// shownItems is how many items a step's page shows with their values.
const shownItems = 100

func (c *console) runStepPage(q *request) (templ.Component, error) {
	r, err := c.o.Store.Run(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	steps, err := c.runSteps(q.Context(), r)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(steps, func(s runStep) bool { return s.Name == q.PathValue("step") })
	if i < 0 {
		return nil, notThere("step", q.PathValue("step"))
	}
	q.title, q.nav, q.live = steps[i].Name, "runs", "run"
	v := stepView{RunID: r.ID, runStep: steps[i], Now: q.now, May: q.may(access.Operator)}
	rows, err := c.o.Store.StepValues(q.Context(), r.ID, v.Name)
	if err != nil {
		return nil, err
	}
	media, err := c.o.Store.StepMedia(q.Context(), r.ID, v.Name)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if len(v.Values) == shownItems+1 {
			v.More = len(rows) - len(v.Values)
			break
		}
		v.Values = append(v.Values, itemValue{row, show(row.Input, false), show(row.Result, false), media[row.Item]})
	}
	return runStepDetails(v), nil
}

type workflowRow struct {
	Name, About string
	Steps       int
	Starts      string
	Runs        map[string]int
}

type workflowsView struct{ Rows []workflowRow }

func (c *console) workflows(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Workflows", "workflows", "run"
	var v workflowsView
	if c.o.Workflows == nil {
		return workflowsPage(v), nil
	}
	counts, err := c.o.Store.RunCounts(q.Context())
	if err != nil {
		return nil, err
	}
	for _, w := range c.o.Workflows.Workflows() {
		v.Rows = append(v.Rows, workflowRow{w.Name, w.Description, len(w.Steps), starts(w), counts[w.Name]})
	}
	return workflowsPage(v), nil
}

// starts says what starts a workflow by itself.
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

// field is an input in the start form.
type field struct {
	workflow.Input
	Value string
	Help  string
}

// lines tells that each line is an item.
func (f field) lines() bool { return f.Type == "list" && (f.Items == "string") }

type workflowView struct {
	*workflow.Compiled
	Graph  graphView
	Fields []field
	Starts string
	Runs   []runs.Run
	Now    time.Time
	May    bool
}

func (c *console) workflow(q *request) (templ.Component, error) {
	if c.o.Workflows == nil {
		return nil, notThere("workflow", q.PathValue("name"))
	}
	w, err := c.o.Workflows.Workflow(q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	q.title, q.nav = w.Name, "workflows"
	v := workflowView{Compiled: w, Graph: graph(plan(w), q.now, nil), Starts: starts(w), Now: q.now, May: q.may(access.Operator)}
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
			f.Help = strings.TrimSpace(f.Help + " (one on each line)")
		case in.Type == "list", in.Type == "object", in.Type == "any":
			f.Help = strings.TrimSpace(f.Help + " (JSON)")
		}
		v.Fields = append(v.Fields, f)
	}
	page, err := c.o.Store.Runs(q.Context(), runs.Filter{Workflow: w.Name})
	if err != nil {
		return nil, err
	}
	v.Runs = page.Items[:min(len(page.Items), 10)]
	return workflowPage(v), nil
}

// formInput reads the start form: what is empty is left to the defaults.
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
			return nil, fmt.Errorf("%s is no %s", in.Name, map[bool]string{true: "JSON", false: in.Type}[in.Type == "list" || in.Type == "object" || in.Type == "any"])
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
	// The form's faults name the workflow's inputs, so the caller is checked first.
	who, ok := c.o.Guard.Authorize(r)
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
	c.done(w, r, res, err, "The run is started.", back)
}

// changeRun retries or decides, by a form with step, item and what else there is.
func (c *console) changeRun(what, done string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := map[string]any{}
		if step := r.PostFormValue("step"); step != "" {
			body["step"] = step
		}
		if n, err := strconv.Atoi(r.PostFormValue("item")); err == nil && n >= 0 {
			body["item"] = n
		}
		text := done
		if what == "approve" {
			body["approved"] = r.PostFormValue("decision") == "yes"
			body["comment"] = r.PostFormValue("comment")
			if body["approved"] == false {
				text = "You decided against it."
			}
		}
		raw, _ := json.Marshal(body)
		id := url.PathEscape(r.PathValue("id"))
		res, err := c.call(r, http.MethodPost, "/api/v1/runs/"+id+"/"+what, raw)
		c.done(w, r, res, err, text, "/runs/"+id)
	}
}

// choices are the allowed values as the form writes them.
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
