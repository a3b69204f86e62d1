package ui

import (
	"cmp"
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

type runsView struct {
	Status, Workflow, Project string
	// Waiting chooses runs that wait for an approval.
	Waiting bool
	Names   []string
	Runs    []runs.Run
	Pager   pagerView
	Now     time.Time
}

func (v runsView) filtered() bool { return v.Waiting || v.Status+v.Workflow+v.Project != "" }

func (c *console) runs(q *request) (templ.Component, error) {
	q.title, q.nav = "Runs", "runs"
	v := runsView{
		Status: q.query("status"), Workflow: q.query("workflow"), Project: q.query("projectId"), Names: c.workflowNames(q), Now: q.now,
	}
	f := runs.Filter{Workflow: v.Workflow, ProjectID: v.Project, Cursor: q.cursor()}
	if v.Status != "" {
		status, ok := runs.ParseStatus(v.Status)
		if !ok {
			return nil, &problem{http.StatusBadRequest, "Invalid request", "Unknown status " + visible(clip(v.Status, 40)) + ": want running, completed, failed or cancelled."}
		}
		f.Status = &status
	}
	if q.query("cursor") == "" {
		q.live = "run"
	}
	if v.Waiting = q.query("waiting") == "true" && !q.who.Scope.Limited(); v.Waiting {
		ids, err := c.waitingRuns(q)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if r, err := q.store.Run(q.Context(), id); err == nil && (v.Workflow == "" || r.Workflow == v.Workflow) && (v.Project == "" || r.ProjectID == v.Project) {
				v.Runs = append(v.Runs, *r)
			}
		}
		return runsPage(v), nil
	}
	page, err := q.store.Runs(q.Context(), f)
	if err != nil {
		return nil, err
	}
	v.Runs, v.Pager = page.Items, pagerOf(q, page.Next)
	return runsPage(v), nil
}

// maxWaiting bounds the approvals that are listed.
const maxWaiting = 200

// waitingRuns returns the ids of the runs that wait for an approval, the longest waiting first.
func (c *console) waitingRuns(q *request) (ids []string, err error) {
	refs, err := q.store.WaitingApprovals(q.Context(), maxWaiting)
	for _, ref := range refs {
		if !slices.Contains(ids, ref.RunID) {
			ids = append(ids, ref.RunID)
		}
	}
	return ids, err
}

// runStep is a step of a run, or of a workflow definition.
type runStep struct {
	Name, Kind, About string
	Row               runs.Step
	Items             []runs.Step
	Needs             []string
}

// done returns the number of completed items.
func (s runStep) done() int {
	n := 0
	for _, item := range s.Items {
		if item.Status == runs.StepCompleted {
			n++
		}
	}
	return n
}

// begun reports whether the step has started.
func (s runStep) begun() bool { return s.Row.Status != runs.StepPending }

// took returns how long a step or item ran, or has been running.
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

// note summarizes a step in one line.
func (s runStep) note(now time.Time) string {
	var parts []string
	if len(s.Items) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d", s.done(), len(s.Items)))
	}
	if s.Row.Attempt > 1 {
		parts = append(parts, "attempt "+strconv.Itoa(s.Row.Attempt))
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
	if cost == 1 {
		return "1 unit"
	}
	return strconv.FormatFloat(cost, 'g', 6, 64) + " units"
}

// wanted is a pending approval of a run.
type wanted struct {
	Step    string
	Item    int
	Message string
	DueAt   time.Time
	Media   []jobs.Media
}

func (w wanted) title() string {
	if w.Item >= 0 {
		return fmt.Sprintf("%s, item %d, needs approval", w.Step, w.Item)
	}
	return w.Step + " needs approval"
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

func (c *console) runSteps(q *request, r *runs.Run) ([]runStep, error) {
	rows, err := q.store.Steps(q.Context(), r.ID)
	if err != nil {
		return nil, err
	}
	var steps []runStep
	index := map[string]int{}
	if c.o.Workflows != nil {
		if w, err := c.o.Workflows.Version(q.Context(), r); err == nil {
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

// plan returns a workflow's steps before any has started.
func plan(w *workflow.Compiled) []runStep {
	var steps []runStep
	for _, st := range w.Steps {
		steps = append(steps, runStep{Name: st.Name, Kind: st.Kind(), About: st.Description, Needs: w.Needs(st.Name)})
	}
	return steps
}

// shownMedia bounds the files on a run's page.
const shownMedia = 60

func (c *console) run(q *request) (templ.Component, error) {
	r, err := q.store.Run(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q.title, q.nav, q.live = r.Workflow+" "+r.ID, "runs", "run"
	v := runView{Run: *r, Input: show(r.Input, false), Now: q.now, May: q.may(access.Operator)}
	if v.Steps, err = c.runSteps(q, r); err != nil {
		return nil, err
	}
	v.Graph = graph(v.Steps, q.now, func(step string) templ.SafeURL {
		return templ.SafeURL("/runs/" + url.PathEscape(r.ID) + "/steps/" + url.PathEscape(step))
	})
	media, err := c.stepFiles(q, r, v.Steps)
	if err != nil {
		return nil, err
	}
	for i := len(v.Steps) - 1; i >= 0; i-- { // newest first
		v.Media = append(v.Media, media[v.Steps[i].Name]...)
	}
	v.Media = v.Media[:min(len(v.Media), shownMedia)]
	if v.Wanted, err = c.wantedOf(q, r, v.Steps, media); err != nil {
		return nil, err
	}
	return runPage(v), nil
}

// stepFiles returns the files of a run's jobs, by step.
func (c *console) stepFiles(q *request, r *runs.Run, steps []runStep) (map[string][]jobs.Media, error) {
	media := map[string][]jobs.Media{}
	for _, s := range steps {
		if s.Kind != "submit" || !s.begun() {
			continue
		}
		byItem, err := q.store.StepMedia(q.Context(), r.ID, s.Name)
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
	return media, nil
}

// wantedOf returns the pending approvals of a run. media has its files by step.
func (c *console) wantedOf(q *request, r *runs.Run, steps []runStep, media map[string][]jobs.Media) (all []wanted, err error) {
	for _, s := range steps {
		if s.Kind != "approve" || s.Row.Status != runs.StepWaiting {
			continue
		}
		rows, err := q.store.StepValues(q.Context(), r.ID, s.Name)
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
			all = append(all, w)
		}
	}
	return all, nil
}

// itemValue is a step or item with its input, result and files.
type itemValue struct {
	runs.Step
	Given, Came shown
	Media       []jobs.Media
}

type stepView struct {
	RunID string
	runStep
	Values []itemValue
	More   int // number of items that are not shown
	Now    time.Time
	May    bool
}

// shownItems bounds the items on a step's page.
const shownItems = 100

func (c *console) runStepPage(q *request) (templ.Component, error) {
	r, err := q.store.Run(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	steps, err := c.runSteps(q, r)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(steps, func(s runStep) bool { return s.Name == q.PathValue("step") })
	if i < 0 {
		return nil, notThere("step", q.PathValue("step"))
	}
	q.title, q.nav, q.live = steps[i].Name, "runs", "run"
	v := stepView{RunID: r.ID, runStep: steps[i], Now: q.now, May: q.may(access.Operator)}
	rows, err := q.store.StepValues(q.Context(), r.ID, v.Name)
	if err != nil {
		return nil, err
	}
	media, err := q.store.StepMedia(q.Context(), r.ID, v.Name)
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

// changeRun retries or approves a step or item named by the form.
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
				text = "Rejected."
			}
		}
		raw, _ := json.Marshal(body)
		id := url.PathEscape(r.PathValue("id"))
		res, err := c.call(r, http.MethodPost, "/api/v1/runs/"+id+"/"+what, raw)
		c.done(w, r, res, err, text, "/runs/"+id)
	}
}
