package ui_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gaff/internal/access"
)

// The forms start, approve and retry a run without JavaScript.
func TestRunByForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	for path, want := range map[string]string{
		"/workflows": "Asks, then reports", "/workflows/ask": `name="input.names"`, "/runs": "No run yet",
	} {
		if got := fetch(t, c, "GET", w.url+path, nil); got.status != 200 || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d, and no %q", path, got.status, want)
		}
	}
	if got := fetch(t, c, "POST", w.url+"/workflows/ask/start", url.Values{"projectId": {"p"}}); !strings.Contains(got.body, "input text: is required") {
		t.Errorf("without a required input: %d %s", got.status, got.url)
	}
	evil := "<script>alert(1)</script>\u202egpj"
	started := fetch(t, c, "POST", w.url+"/workflows/ask/start", url.Values{
		"projectId": {"p"}, "input.text": {evil}, "input.names": {" one \r\n\r\ntwo"}, "input.size": {"large"},
	})
	if !strings.HasPrefix(started.url, "/runs/run_") {
		t.Fatalf("started: %s", started.url)
	}
	for _, want := range []string{"look, item 0", "look, item 1", "needs approval", "one, &lt;script&gt;", "2 decisions by a person", `<svg width=`, "0 of 2"} {
		if !strings.Contains(strings.Join(strings.Fields(started.body), " "), want) {
			t.Errorf("the run's page lacks %q", want)
		}
	}
	run := started.url
	decide := func(item, decision string) reply {
		return fetch(t, c, "POST", w.url+run+"/approve", url.Values{"step": {"look"}, "item": {item}, "decision": {decision}, "comment": {"well"}})
	}
	if got := decide("0", "yes"); got.url != run || !strings.Contains(got.body, "Approved. The run continues.") {
		t.Errorf("approved: %s", got.url)
	}
	if got := decide("0", "yes"); !strings.Contains(got.body, "Not done: ") {
		t.Error("a second decision was taken")
	}
	if got := decide("1", "no"); !strings.Contains(got.body, "rejected by admin (as Anna): well") || !strings.Contains(got.body, "Retry failed steps") {
		t.Errorf("the rejection does not show: %s", got.body)
	}
	fetch(t, c, "POST", w.url+run+"/retry", nil)
	if got := decide("1", "yes"); !strings.Contains(got.body, "nobody paints here") {
		t.Error("a rejected job is not shown")
	}
	for _, path := range []string{run, run + "/steps/look", "/runs?status=failed&workflow=ask", "/workflows", "/workflows/ask"} {
		got := fetch(t, c, "GET", w.url+path, nil)
		if got.status != 200 || strings.Contains(got.body, "<script>alert") || strings.Contains(got.body, "\u202e") {
			t.Errorf("%s: %d, or untrusted text as markup", path, got.status)
		}
	}
	for path, want := range map[string]int{"/runs/none": 404, run + "/steps/none": 404, "/workflows/none": 404, "/runs?status=odd": 400} {
		if got := fetch(t, c, "GET", w.url+path, nil); got.status != want {
			t.Errorf("%s: %d, want %d", path, got.status, want)
		}
	}
}

func TestStartRunChecksTheCallerFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, viewer, err := w.guard.CreateKey(t.Context(), access.Identity{Name: "admin"}, access.KeyParams{Name: "looker", Role: access.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for token, want := range map[string]int{"": http.StatusUnauthorized, viewer: http.StatusForbidden} {
		for _, name := range []string{"ask", "none"} {
			var header []string
			if token != "" {
				header = []string{"Authorization", "Bearer " + token}
			}
			got := fetch(t, stay, "POST", w.url+"/workflows/"+name+"/start", url.Values{"input.size": {"huge"}}, header...)
			if got.status != want || got.header.Get("Set-Cookie") != "" || strings.Contains(got.body, "ask") {
				t.Errorf("%s: %d %q, cookie %q", name, got.status, got.body, got.header.Get("Set-Cookie"))
			}
		}
	}
}
