package ui_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"gaff/internal/access"
	"gaff/workflow"
)

// film is a workflow with one approval.
func film(message string) string {
	return "name: film\r\nsteps:\r\n  - name: look\r\n    approve: {message: " + message + "}\r\n"
}

// A workflow is written, changed, taken back and deleted by forms, without JavaScript.
func TestWorkflowByForms(t *testing.T) {
	t.Parallel()
	onBoth(t, workflowByForms)
}

func workflowByForms(t *testing.T, w *world) {
	c := w.browser(t)
	post := func(path string, form url.Values) reply {
		return fetch(t, c, "POST", w.url+path, form, "Origin", w.url, "Referer", w.url+"/workflows")
	}
	has := func(what string, got reply, status int, texts ...string) {
		t.Helper()
		if got.status != status {
			t.Errorf("%s: %d at %s, want %d", what, got.status, got.url, status)
		}
		for _, text := range texts {
			if !strings.Contains(got.body, text) {
				t.Errorf("%s: no %q in %s", what, text, got.body)
			}
		}
	}
	has("the form", fetch(t, c, "GET", w.url+"/new-workflow", nil), 200, "name: my-workflow", "/new-workflow?example=storyboard")
	has("an example", fetch(t, c, "GET", w.url+"/new-workflow?example=storyboard", nil), 200, "name: storyboard")
	has("an unknown example", fetch(t, c, "GET", w.url+"/new-workflow?example=../schema", nil), 404)
	has("checked", post("/workflows", url.Values{"text": {film("'${steps.lok.result}'")}, "do": {"check"}}), 200, "1 fault", "Line 4", "steps.lok.result")
	has("checked and valid", post("/workflows", url.Values{"text": {film("good?")}, "do": {"check"}}), 200, "valid", "1 step.", "<svg")
	has("a fault is not saved", post("/workflows", url.Values{"text": {"name: film\r\n<b>: 1\r\n"}, "do": {"save"}}), 400, "Not saved: ", "&lt;b&gt;: 1")
	has("too long", post("/workflows", url.Values{"text": {strings.Repeat("x", 2<<20)}, "do": {"save"}}), 413, "longer than 256 KiB")
	if saved := post("/workflows", url.Values{"text": {film("good?")}, "do": {"save"}}); saved.url != "/workflows/film" || !strings.Contains(saved.body, "Start run") || !strings.Contains(saved.body, "Written by") {
		t.Errorf("saved: %d %s", saved.status, saved.url)
	}
	has("the list", fetch(t, c, "GET", w.url+"/workflows", nil), 200, "revision 1", "/workflows/ask")
	has("the form to edit", fetch(t, c, "GET", w.url+"/workflows/film/edit", nil), 200, "approve: {message: good?}", `name="revision" value="1"`)
	has("a file is not edited", fetch(t, c, "GET", w.url+"/workflows/ask/edit", nil), 409, "change it there")
	has("checked against the stored one", post("/workflows/film/edit", url.Values{"text": {film("better?")}, "revision": {"1"}, "do": {"check"}}), 200, "-     approve: {message: good?}", "+     approve: {message: better?}")
	has("changed", post("/workflows/film/edit", url.Values{"text": {film("better?")}, "revision": {"1"}}), 200, "Saved.")
	has("changed by another meanwhile", post("/workflows/film/edit", url.Values{"text": {film("best?")}, "revision": {"1"}}), 409, "saving again replaces it", `name="revision" value="2"`, "+     approve: {message: best?}")
	has("revisions", fetch(t, c, "GET", w.url+"/workflows/film/revisions?show=1", nil), 200, "-     approve: {message: good?}", "current", "Revert")
	has("reverted", post("/workflows/film/revert", url.Values{"to": {"1"}, "revision": {"2"}}), 200, "Revision 1 is the text again.", ">3</a>")
	has("deleted", post("/workflows/film/delete", url.Values{}), 200, "were deleted")
	has("after the deletion", fetch(t, c, "GET", w.url+"/workflows/film", nil), 404)
}

// Only administrators write workflows; others can read revisions, and operators can check.
func TestWorkflowEditorNeedsAdmin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	fetch(t, c, "POST", w.url+"/workflows", url.Values{"text": {film("good?")}}, "Origin", w.url)
	for role, checks := range map[access.Role]int{access.Viewer: 403, access.Operator: 200} {
		_, key, err := w.guard.CreateKey(t.Context(), access.Identity{Name: "admin"}, access.KeyParams{Name: role.String(), Role: role})
		if err != nil {
			t.Fatal(err)
		}
		form := url.Values{"text": {film("mine")}, "name": {"film"}, "revision": {"1"}, "to": {"1"}}
		for request, want := range map[string]int{
			"GET /new-workflow": 403, "GET /workflows/film/edit": 403, "GET /workflows/film/revisions": 200, "GET /workflows/film": 200,
			"POST /workflows": 403, "POST /workflows/film/edit": 403, "POST /workflows/check": checks,
		} {
			method, path, _ := strings.Cut(request, " ")
			got := fetch(t, http.DefaultClient, method, w.url+path, form, "Authorization", "Bearer "+key)
			if got.status != want {
				t.Errorf("%s, %s: %d, want %d", role, request, got.status, want)
			}
			if strings.Contains(got.body, "/workflows/film/edit") || strings.Contains(got.body, "/workflows/film/delete") {
				t.Errorf("%s, %s: shows buttons that the role may not use", role, request)
			}
		}
		for _, path := range []string{"/workflows/film/revert", "/workflows/film/delete"} {
			fetch(t, http.DefaultClient, "POST", w.url+path, form, "Authorization", "Bearer "+key)
		}
	}
	if got := fetch(t, c, "GET", w.url+"/workflows/film/edit", nil); !strings.Contains(got.body, "good?") || !strings.Contains(got.body, `value="1"`) {
		t.Errorf("others changed the workflow: %d %s", got.status, got.body)
	}
	if got := fetch(t, http.DefaultClient, "POST", w.url+"/workflows/check", url.Values{"text": {"x"}}); got.status != http.StatusUnauthorized {
		t.Errorf("a check without a session: %d", got.status)
	}
}

// Faults are shown beside their lines while one types, and the saved workflow starts a run.
func TestBrowserWritesWorkflow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		win := w.open(t, 1280, 860, false)
		win.login()
		win.goTo("/new-workflow")
		win.eventually("the first text is checked", `document.querySelector('#check svg') && document.querySelectorAll('.gutter span').length > 8`)
		win.run(evaluate(`document.querySelector('#text').value = ''`), chromedp.SendKeys(chromedp.CSS("#text"), "name: film\nstepps: []\n"))
		win.eventually("the fault is beside its line", `document.querySelectorAll('.gutter span.bad').length === 1 && document.querySelector('.gutter span.bad').textContent === '2'`)
		win.run(evaluate(`document.querySelector('.faults button').click()`))
		if got := result[string](win, `(t => t.value.slice(t.selectionStart, t.selectionEnd))(document.querySelector('#text'))`); got != "stepps: []" {
			t.Errorf("the fault selects %q", got)
		}
		win.run(chromedp.SendKeys(chromedp.CSS("#text"), "steps:\n  - name: look\n    approve: {message: good}"))
		win.eventually("the mended text is valid", `!document.querySelector('.gutter .bad') && [...document.querySelectorAll('#check svg text')].some(e => e.textContent === 'look')`)
		win.run(evaluate(`document.querySelector('[value=save]').click()`))
		win.eventually("it was saved", `location.pathname === '/workflows/film' && !!document.querySelector('form.start')`)
		win.run(evaluate(`document.querySelector('form.start button').click()`))
		win.eventually("its run waits for the approval", `location.pathname.startsWith('/runs/') && !!document.querySelector('form[action$="/approve"]')`)
	})
}

// The text of each page survives a check as it was typed.
func TestWorkflowEditorKeepsText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	text := "\r\n\r\nname: film # </textarea><script>alert(1)</script>\r\n" + strings.Repeat("#é\r\n", workflow.MaxFile/8)
	got := fetch(t, c, "POST", w.url+"/workflows", url.Values{"text": {text}, "do": {"check"}}, "Origin", w.url)
	if got.status != 200 || strings.Contains(got.body, "<script>alert") {
		t.Errorf("%d", got.status)
	}
	// A browser drops one line break after the tag.
	if !strings.Contains(got.body, ">\n\n\nname: film # &lt;/textarea&gt;") {
		t.Error("the first lines are lost")
	}
}
