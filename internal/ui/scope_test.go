package ui_test

import (
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gaff/internal/access"
	"gaff/internal/ui"
	"gaff/jobs"
	"gaff/workflow"
)

// marker is in each text of the rows that a limited session must not see.
const marker = "SECRET-OF-OTHERS"

// tenants is a world with the same rows for the project "film" and for another one, and with events
// of the sources custom and fal.
type tenants struct {
	*world
	own, others map[string]string // ids by the first part of the path
}

func newTenants(t *testing.T) *tenants {
	t.Helper()
	w := &tenants{world: newWorld(t), own: map[string]string{}, others: map[string]string{}}
	for _, c := range []struct {
		project, job, user string
		ids                map[string]string
	}{{"film", "own-job", "anna", w.own}, {marker + "-project", marker + "-job", marker, w.others}} {
		body, err := json.Marshal(map[string]any{
			"request_id": "r-" + c.job, "status": "completed",
			"metadata": map[string]string{"job_id": c.job, "project_id": c.project, "user_id": c.user, "generation_type": "image"},
			"result":   map[string]any{"images": []map[string]any{{"url": "https://files.example/" + c.user + ".png"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.ids["events"] = w.sent(t, "fal", string(body))
		c.ids["jobs"], c.ids["projects"], c.ids["sources"], c.ids["workflows"] = c.job, c.project, "fal", "ask"
		page, err := w.store.Media(t.Context(), jobs.MediaFilter{JobID: c.job})
		if err != nil || len(page.Items) != 1 {
			t.Fatalf("media: %v %v", page.Items, err)
		}
		c.ids["media"] = page.Items[0].ID
		run, _, err := w.engine.Run(t.Context(), workflow.StartParams{Workflow: "ask", ProjectID: c.project, UserID: c.user, Input: json.RawMessage(`{"text":"` + c.user + `"}`)})
		if err != nil {
			t.Fatal(err)
		}
		c.ids["runs"] = run.ID
		err = w.store.Write(t.Context(), func(tx jobs.Tx) error {
			return tx.SaveBudget(t.Context(), &jobs.Budget{Name: "budget-of-" + strings.ToLower(c.user), ProjectID: c.project, UserID: c.user, Period: "month", Limit: 5})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.own["events"], w.own["sources"] = w.sent(t, "custom", `{"type":"flaky","id":"own-event"}`), "custom"
	return w
}

// session opens the console with a key of a scope.
func (w *tenants) session(t *testing.T, role access.Role, scope access.Scope) *http.Client {
	t.Helper()
	_, secret, err := w.guard.CreateKey(t.Context(), access.Identity{Name: "admin", Role: access.Admin, Via: access.ViaToken}, access.KeyParams{Name: "limited", Role: role, Scope: scope})
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	if got := fetch(t, c, "POST", w.url+"/login", url.Values{"token": {secret}}); strings.HasPrefix(got.url, "/login") {
		t.Fatalf("login: %d %s", got.status, got.body)
	}
	return c
}

// addresses returns every page and button of the console's route table, filled with ids.
func addresses(ids map[string]string) (all [][2]string) {
	for _, pattern := range ui.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		if strings.HasPrefix(path, "/login") || path == "/logout" || path == "/theme" || strings.HasPrefix(path, "/static") {
			continue
		}
		resource, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		id := ids[resource]
		if id == "" {
			id = "unknown"
		}
		path = strings.NewReplacer("{$}", "", "{id}", url.PathEscape(id), "{name}", url.PathEscape(id), "{step}", "look", "{n}", "1").Replace(path)
		all = append(all, [2]string{method, path})
	}
	return all
}

func TestLimitedSessionsSeeNothingOfOthers(t *testing.T) {
	t.Parallel()
	w := newTenants(t)
	for name, scope := range map[string]access.Scope{
		"project": {Project: "film"}, "source": {Source: "custom"}, "destination": {Destination: "none"}, "project and source": {Project: "film", Source: "custom"},
	} {
		for _, role := range []access.Role{access.Viewer, access.Operator, access.Admin} {
			c := w.session(t, role, scope)
			for _, a := range addresses(w.others) {
				queries := []string{""}
				if a[0] == "GET" {
					queries = append(queries, "?projectId="+marker+"-project", "?source=fal", "?q="+marker)
				}
				for _, query := range queries {
					got := fetch(t, c, a[0], w.url+a[1]+query, url.Values{})
					shown := strings.ReplaceAll(got.body, a[1], "")
					for _, echo := range []string{marker + "-project", marker} { // of the request itself
						shown = strings.ReplaceAll(shown, `value="`+echo+`"`, "")
					}
					if got.status == 404 || got.status == 403 {
						shown = strings.ReplaceAll(shown, w.others["jobs"], "")
						shown = strings.ReplaceAll(shown, w.others["projects"], "")
					}
					shown = strings.ReplaceAll(shown, url.QueryEscape(strings.TrimPrefix(query, "?")), "")
					shown = strings.ReplaceAll(shown, a[1]+query, "")
					if query != "" {
						_, value, _ := strings.Cut(query, "=")
						shown = strings.ReplaceAll(shown, value, "")
					}
					if strings.Contains(shown, marker) {
						at := strings.Index(shown, marker)
						t.Errorf("%s, %s: %s %s%s: %d …%s…", role, name, a[0], a[1], query, got.status, shown[max(0, at-200):at+40])
					}
				}
			}
		}
	}
	// Nothing was changed by all the buttons.
	if j, err := w.store.Job(t.Context(), w.others["jobs"]); err != nil || j.Status != jobs.JobCompleted {
		t.Errorf("the other project's job: %+v %v", j, err)
	}
	if r, err := w.store.Run(t.Context(), w.others["runs"]); err != nil || r.Status.String() != "running" {
		t.Errorf("the other project's run: %+v %v", r, err)
	}
}

func TestLimitedSessionsSeeTheirOwn(t *testing.T) {
	t.Parallel()
	w := newTenants(t)
	project, source := w.session(t, access.Operator, access.Scope{Project: "film"}), w.session(t, access.Viewer, access.Scope{Source: "custom"})
	for _, c := range []struct {
		client   *http.Client
		path     string
		status   int
		contains string
	}{
		{project, "/", 200, "own-job"},
		{project, "/jobs", 200, "own-job"},
		{project, "/jobs/own-job", 200, "own-job"},
		{project, "/media", 200, w.own["media"]},
		{project, "/media/" + w.own["media"], 200, w.own["media"]},
		{project, "/projects", 200, "film"},
		{project, "/runs", 200, w.own["runs"]},
		{project, "/runs/" + w.own["runs"], 200, "needs approval"},
		{project, "/runs/" + w.own["runs"] + "/steps/look", 200, "anna?"},
		{project, "/events", 403, "You are limited to project film"},
		{project, "/keys", 403, "admin"},
		{project, "/settings", 403, "You are limited to project film"},
		{source, "/", 200, w.own["events"]},
		{source, "/events/" + w.own["events"], 200, "flaky"},
		{source, "/events/" + w.others["events"], 404, "Not found"},
		{source, "/rejections", 200, "Rejections"},
		{source, "/sources/custom", 200, "custom"},
		{source, "/sources/fal", 404, "no source"},
		{source, "/jobs", 403, "You are limited to source custom"},
	} {
		if got := fetch(t, c.client, "GET", w.url+c.path, nil); got.status != c.status || !strings.Contains(got.body, c.contains) {
			t.Errorf("%s: %d, want %d and %q: %.600s", c.path, got.status, c.status, c.contains, got.body)
		}
	}
	body := fetch(t, project, "GET", w.url+"/jobs", nil).body
	for _, hidden := range []string{`href="/audit"`, `href="/events"`, `href="/settings"`} {
		if strings.Contains(body, hidden) {
			t.Errorf("the navigation has %s, which is refused", hidden)
		}
	}
	if got := fetch(t, project, "POST", w.url+"/runs/"+w.own["runs"]+"/cancel", url.Values{}); got.status != 200 || !strings.Contains(got.body, "cancelled") {
		t.Errorf("cancel an own run: %d", got.status)
	}
}

// Each page says which limited credentials reach it, so that a new one is closed unless it says so.
func TestEveryPageDeclaresItsReach(t *testing.T) {
	t.Parallel()
	open := map[string]bool{}
	for _, path := range ui.OpenPages() {
		open[path] = true
	}
	for _, closed := range []string{"/keys", "/audit", "/settings", "/health", "/issues", "/issues/{id}", "/bulk", "/bulk/{id}", "/replays", "/replays/{id}", "/workflows", "/workflows/{name}", "/sources", "/destinations"} {
		if open[closed] {
			t.Errorf("%s shows rows of everybody, and is open to limited sessions", closed)
		}
	}
}

func TestKeyIsLimitedByTheForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	fields := url.Values{
		"name": {"worker"}, "role": {"operator"}, "expires": {"90d"}, "project": {" film "}, "source": {"custom"},
		"operations": {"list-jobs, get-job\nlist-media"}, "rate": {"7"},
	}
	if got := fetch(t, c, "POST", w.url+"/keys", fields); got.status != 200 || !strings.Contains(got.body, "Copy the key now") {
		t.Fatalf("create: %d %s", got.status, got.body)
	}
	keys, err := w.guard.Keys(t.Context())
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys: %v %v", keys, err)
	}
	want := access.Scope{Project: "film", Source: "custom", Operations: []string{"list-jobs", "get-job", "list-media"}}
	if diff := cmp.Diff(want, keys[0].Scope); diff != "" || keys[0].Rate != 7 {
		t.Errorf("rate %d, scope (-want +got): %s", keys[0].Rate, diff)
	}
	for field, bad := range map[string]string{"operations": "list-job", "rate": "fast", "destination": "nowhere", "source": "unknown"} {
		fields := url.Values{"name": {"worker"}, "role": {"viewer"}, field: {bad}}
		if got := fetch(t, c, "POST", w.url+"/keys", fields); got.url != "/keys" || !strings.Contains(got.body, "Not done: ") || !strings.Contains(got.body, field) {
			t.Errorf("%s %q: %d %s", field, bad, got.status, got.url)
		}
	}
	if keys, err := w.guard.Keys(t.Context()); err != nil || len(keys) != 1 {
		t.Errorf("keys after forms with faults: %d %v", len(keys), err)
	}
}
