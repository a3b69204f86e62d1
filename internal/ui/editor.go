package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/access"
	"gaff/internal/diff"
	"gaff/workflow"
)

// maxWorkflowForm bounds a form with the text of a workflow, in bytes: each of its bytes can be three
// in the form.
const maxWorkflowForm = 3*workflow.MaxFile + maxForm

// formLimit returns how many bytes the form that is posted to a path may have.
func formLimit(path string) int64 {
	if path == "/workflows" || strings.HasPrefix(path, "/workflows/") {
		return maxWorkflowForm
	}
	return maxForm
}

// workflowDoc is a workflow as the API describes it.
type workflowDoc struct {
	Name, Description, Version, Origin, UpdatedBy, Fault, Text string
	Revision                                                   int64
	Hidden                                                     bool
	UpdatedAt                                                  time.Time
	Runs                                                       map[string]int
}

// ofFile reports whether a file defines the workflow.
func (w workflowDoc) ofFile() bool { return w.Origin == "file" }

// workflowFault is a fault of a text, with the line that has it.
type workflowFault struct {
	Line, Column               int
	Path, Problem, Hint, Where string
}

// checkedView is the outcome of a check.
type checkedView struct {
	Faults []workflowFault
	Steps  []runStep
	Graph  graphView
	// Stored reports whether there is a stored revision to compare with; Diff is empty if the text
	// is the same, TooLong if the texts are over the bound of a comparison.
	Stored, TooLong bool
	Diff            []diff.Line
}

type editorView struct {
	// Name is empty for a new workflow. Revision is the one that the text was read from.
	Name     string
	Revision int64
	Text     string
	Checked  *checkedView
	// Problem says why the text was not stored.
	Problem  string
	Examples []string
	Script   string
}

// action is the path that the form is posted to.
func (v editorView) action() string {
	if v.Name == "" {
		return "/workflows"
	}
	return "/workflows/" + url.PathEscape(v.Name) + "/edit"
}

// firstText is the text of a new workflow.
const firstText = `name: my-workflow
description: A person's approval, then an event.
inputs:
  - {name: picture, required: true}
steps:
  - name: look
    approve: {message: "Is this the one? ${input.picture}", deadline: 2d}
  - name: publish
    needs: [look]
    emit: {type: picture.approved, data: {url: "${input.picture}"}}
`

func (c *console) editor(v editorView) templ.Component {
	v.Script = c.assets.url("editor.js")
	if v.Name == "" {
		for _, file := range slices.Sorted(maps.Keys(workflow.Examples())) {
			v.Examples = append(v.Examples, strings.TrimSuffix(file, ".yaml"))
		}
	}
	return editorPage(v)
}

func (c *console) addWorkflow(q *request) (templ.Component, error) {
	q.title, q.nav = "New workflow", "workflows"
	v := editorView{Text: firstText}
	if name := q.query("example"); name != "" {
		text, ok := workflow.Examples()[name+".yaml"]
		if !ok {
			return nil, notThere("example", name)
		}
		v.Text = string(text)
	}
	return c.editor(v), nil
}

func (c *console) editWorkflow(q *request) (templ.Component, error) {
	w, err := c.writtenWorkflow(q)
	if err != nil {
		return nil, err
	}
	q.title, q.nav = "Edit "+w.Name, "workflows"
	return c.editor(editorView{Name: w.Name, Revision: w.Revision, Text: w.Text}), nil
}

// writtenWorkflow returns the workflow of the page if it was written by API or console.
func (c *console) writtenWorkflow(q *request) (w workflowDoc, err error) {
	if err := c.ask(q, "/api/v1/workflows/"+url.PathEscape(q.PathValue("name")), &w); err != nil {
		return w, err
	}
	if w.ofFile() {
		return w, &problem{http.StatusConflict, "Defined by a file", "A file in the folder of workflows defines " + w.Name + ": change it there."}
	}
	return w, nil
}

// checkText asks the API about a text for the workflow of a name, empty for a new one.
func (c *console) checkText(r *http.Request, name, text string) (v checkedView, res answer, err error) {
	body, _ := json.Marshal(map[string]string{"text": text, "name": name})
	if res, err = c.call(r, http.MethodPost, "/api/v1/workflows/check", body); err != nil || res.Status != http.StatusOK {
		return v, res, err
	}
	var doc struct {
		Faults []workflowFault
		Steps  []struct {
			Name, Kind, Description string
			Needs                   []string
		}
	}
	if err := readJSON(res.Body, &doc); err != nil {
		return v, res, err
	}
	lines := strings.Split(text, "\n")
	for _, f := range doc.Faults {
		if f.Line > 0 && f.Line <= len(lines) {
			f.Where = lines[f.Line-1]
		}
		v.Faults = append(v.Faults, f)
	}
	for _, s := range doc.Steps {
		v.Steps = append(v.Steps, runStep{Name: s.Name, Kind: s.Kind, About: s.Description, Needs: s.Needs})
	}
	v.Graph = graph(v.Steps, c.o.Now(), nil)
	if name == "" {
		return v, res, nil
	}
	got, err := c.call(r, http.MethodGet, "/api/v1/workflows/"+url.PathEscape(name), nil)
	var stored workflowDoc
	if err != nil || got.Status != http.StatusOK || readJSON(got.Body, &stored) != nil {
		return v, res, err // it was deleted meanwhile; saving says so
	}
	v.Stored = true
	v.Diff, v.TooLong = compared(stored.Text, text)
	return v, res, nil
}

// compared returns the differences between two texts, or tooLong.
func compared(a, b string) (lines []diff.Line, tooLong bool) {
	lines, ok := diff.Lines(strings.TrimRight(a, "\n"), strings.TrimRight(b, "\n"))
	return lines, !ok
}

// checkWorkflow answers the script of the editor with the outcome of a check, as a fragment.
func (c *console) checkWorkflow(w http.ResponseWriter, r *http.Request) {
	text, err := postedText(r)
	var v checkedView
	var res answer
	if err == nil {
		v, res, err = c.checkText(r, r.PostFormValue("name"), text)
	}
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
	case res.Status != http.StatusOK:
		http.Error(w, res.problem(), res.Status)
	default:
		var b bytes.Buffer
		if err := checkedPart(v).Render(r.Context(), &b); err != nil {
			http.Error(w, "internal error; see the gateway's log", http.StatusInternalServerError)
			return
		}
		c.html(w, r, http.StatusOK, b.Bytes())
	}
}

// postedText returns the text of the editor.
func postedText(r *http.Request) (string, error) {
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return "", fmt.Errorf("the text is longer than %d KiB, the maximum of a workflow", workflow.MaxFile>>10)
		}
		return "", err
	}
	return strings.ReplaceAll(r.PostForm.Get("text"), "\r\n", "\n"), nil
}

// saveWorkflow checks the text of the editor, or stores it. If it is not stored, the editor is shown
// again with the text.
func (c *console) saveWorkflow(w http.ResponseWriter, r *http.Request) {
	v := editorView{Name: r.PathValue("name")}
	text, err := postedText(r)
	v.Text, v.Revision = text, posted(r, "revision")
	var res answer
	save := r.PostFormValue("do") != "check"
	if err == nil && save {
		method, path, body := http.MethodPost, "/api/v1/workflows", map[string]any{"text": text}
		if v.Name != "" {
			method, path = http.MethodPut, path+"/"+url.PathEscape(v.Name)
			body["revision"] = v.Revision
		}
		raw, _ := json.Marshal(body)
		res, err = c.call(r, method, path, raw)
		if err == nil && (res.Status/100 == 2 || res.Status == http.StatusUnauthorized) {
			var made workflowDoc
			_ = readJSON(res.Body, &made)
			c.done(w, r, res, nil, "Saved. New runs use it.", "/workflows/"+url.PathEscape(made.Name))
			return
		}
		if err == nil {
			v.Problem = "Not saved: " + res.problem()
		}
	}
	c.page(page{path: "/workflows", role: access.Admin, make: func(q *request) (templ.Component, error) {
		q.title, q.nav = "Workflow", "workflows"
		if err != nil {
			q.status, v.Problem = http.StatusRequestEntityTooLarge, "Not saved: "+err.Error()
			return c.editor(v), nil
		}
		checked, answered, err := c.checkText(r, v.Name, text)
		if err != nil {
			return nil, err
		}
		if answered.Status == http.StatusOK {
			v.Checked = &checked
		}
		if save && res.Status == http.StatusConflict && v.Name != "" {
			var stored workflowDoc
			if c.ask(q, "/api/v1/workflows/"+url.PathEscape(v.Name), &stored) == nil && stored.Revision != v.Revision {
				v.Problem += ". The differences below are to revision " + strconv.FormatInt(stored.Revision, 10) + "; saving again replaces it."
				v.Revision = stored.Revision
			}
		}
		if save {
			q.status = res.Status
		}
		return c.editor(v), nil
	}})(w, r)
}

// posted returns a number of the form; 0 if it has none.
func posted(r *http.Request, name string) int64 {
	n, _ := strconv.ParseInt(r.PostFormValue(name), 10, 64)
	return n
}

// workflowRevision is a stored text of a workflow.
type workflowRevision struct {
	Revision int64
	By, Text string
	At       time.Time
}

type revisionsView struct {
	Name string
	Rows []workflowRevision
	// Chosen is the revision that is shown; Diff is what has changed from it to the newest one.
	Chosen  *workflowRevision
	Diff    []diff.Line
	TooLong bool
	Now     time.Time
	May     bool
}

// newest is the number of the newest revision.
func (v revisionsView) newest() int64 { return v.Rows[0].Revision }

func (c *console) workflowRevisions(q *request) (templ.Component, error) {
	name := q.PathValue("name")
	var list struct{ Docs []workflowRevision }
	if err := c.ask(q, "/api/v1/workflows/"+url.PathEscape(name)+"/revisions", &list); err != nil {
		return nil, err
	}
	if len(list.Docs) == 0 {
		return nil, &problem{http.StatusNotFound, "No revisions", "A file defines " + visible(name) + ": its revisions are where the file is versioned."}
	}
	q.title, q.nav = "Revisions of "+name, "workflows"
	v := revisionsView{Name: name, Rows: list.Docs, Now: q.now, May: q.may(access.Admin)}
	if n := q.query("show"); n != "" {
		for i := range v.Rows {
			if strconv.FormatInt(v.Rows[i].Revision, 10) == n {
				v.Chosen = &v.Rows[i]
			}
		}
		if v.Chosen == nil {
			return nil, notThere("revision", n)
		}
		v.Diff, v.TooLong = compared(v.Chosen.Text, v.Rows[0].Text)
	}
	return revisionsPage(v), nil
}

func (c *console) revertWorkflow(w http.ResponseWriter, r *http.Request) {
	path := "/workflows/" + url.PathEscape(r.PathValue("name"))
	to := posted(r, "to")
	body, _ := json.Marshal(map[string]int64{"to": to, "revision": posted(r, "revision")})
	res, err := c.call(r, http.MethodPost, "/api/v1"+path+"/revert", body)
	c.done(w, r, res, err, "Revision "+strconv.FormatInt(to, 10)+" is the text again.", path+"/revisions")
}
