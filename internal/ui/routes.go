package ui

import (
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"gaff/internal/access"
)

// entry is a line of the navigation. Pages name it by Key in their nav.
type entry struct{ Key, Name, Path, Icon string }

// goKeys are the keys that, after g, go to a page of the navigation.
var goKeys = map[string]string{
	"overview": "o", "events": "e", "deliveries": "y", "rejections": "x", "issues": "i", "jobs": "j", "media": "m", "projects": "p", "costs": "c",
	"workflows": "w", "runs": "r", "destinations": "d", "replays": "l", "scheduled": "u", "sources": "s", "keys": "k", "audit": "a", "erase": "z", "settings": "t", "health": "h",
}

// navigationOf returns the entries whose pages are open to a user.
func (c *console) navigationOf(who access.Identity) []group {
	open := map[string]bool{}
	for _, p := range c.pages() {
		own := !who.Scope.Limited() || p.path != "/{$}" && who.Scope.Reach()&p.reach != 0
		open[strings.TrimSuffix(p.path, "{$}")] = own && who.Role >= p.role
	}
	var groups []group
	for _, g := range navigation {
		own := group{Name: g.Name}
		for _, e := range g.Entries {
			if open[e.Path] {
				own.Entries = append(own.Entries, e)
			}
		}
		if len(own.Entries) > 0 {
			groups = append(groups, own)
		}
	}
	return groups
}

// home returns the page that a limited credential begins at.
func home(scope access.Scope) string {
	switch {
	case scope.Project != "":
		return "/jobs"
	case scope.Source != "":
		return "/events"
	}
	return "/destinations/" + url.PathEscape(scope.Destination)
}

type group struct {
	Name    string
	Entries []entry
}

var navigation = []group{
	{"", []entry{{"overview", "Overview", "/", "home"}}},
	{"Inbox", []entry{
		{"events", "Events", "/events", "inbox"},
		{"deliveries", "Deliveries", "/deliveries", "send"},
		{"rejections", "Rejections", "/rejections", "ban"},
		{"issues", "Issues", "/issues", "pulse"},
	}},
	{"Work", []entry{
		{"jobs", "Jobs", "/jobs", "bolt"},
		{"media", "Media", "/media", "image"},
		{"projects", "Projects", "/projects", "folder"},
		{"costs", "Costs", "/costs", "list"},
		{"workflows", "Workflows", "/workflows", "flow"},
		{"runs", "Runs", "/runs", "again"},
	}},
	{"Forwarding", []entry{
		{"destinations", "Destinations", "/destinations", "send"},
		{"replays", "Replays", "/replays", "flow"},
		{"scheduled", "Scheduled", "/scheduled", "again"},
	}},
	{"Setup", []entry{
		{"sources", "Sources", "/sources", "plug"},
		{"keys", "Keys and logins", "/keys", "key"},
		{"audit", "Audit log", "/audit", "list"},
		{"erase", "Erase data", "/erase", "ban"},
		{"settings", "Settings", "/settings", "gear"},
		{"health", "Health", "/health", "pulse"},
	}},
}

// router is a mux, or a test's list of patterns.
type router interface {
	Handle(pattern string, h http.Handler)
	HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request))
}

// reachAll opens a page to every credential that has a part of the gateway.
const reachAll = access.ReachProject | access.ReachSource | access.ReachDestination

// page is an address of the console: the role that it needs, the limited credentials that it is open
// to, and the function that renders it. An open page reads through request.store, which has only
// the rows that the credential reaches, or asks the API.
type page struct {
	path  string
	role  access.Role
	reach access.Reach
	make  func(*request) (templ.Component, error)
}

// payloads are the pages that show payloads, with the operations of the API that show the same. The
// audit log has who read them.
var payloads = map[string]string{
	"/events/{id}": "get-event", "/events/{id}/diff/{n}": "get-event", "/rejections/{id}": "get-rejection", "/jobs/{id}": "get-job", "/jobs/{id}/again": "get-job",
	"/scheduled/{id}": "get-scheduled-event", "/runs/{id}": "get-run", "/runs/{id}/steps/{step}": "get-run-step",
}

func (c *console) pages() []page {
	return []page{
		{"/{$}", access.Viewer, reachAll, c.overview},
		{"/search", access.Viewer, 0, c.search},
		{"/events", access.Viewer, access.ReachSource, c.events},
		{"/events/{id}", access.Viewer, access.ReachSource, c.event},
		{"/events/{id}/diff/{n}", access.Viewer, access.ReachSource, c.eventDiff},
		{"/rejections", access.Viewer, access.ReachSource, c.rejections},
		{"/rejections/{id}", access.Viewer, access.ReachSource, c.rejection},
		{"/deliveries", access.Viewer, access.ReachSource, c.deliveries},
		{"/issues", access.Viewer, 0, c.issues},
		{"/issues/{id}", access.Viewer, 0, c.issue},
		{"/costs", access.Viewer, 0, c.costs},
		{"/jobs", access.Viewer, access.ReachProject, c.jobs},
		{"/jobs/{id}", access.Viewer, access.ReachProject, c.job},
		{"/jobs/{id}/again", access.Operator, access.ReachProject, c.again},
		{"/media", access.Viewer, access.ReachProject, c.media},
		{"/media/compare", access.Viewer, access.ReachProject, c.compareMedia},
		{"/media/links", access.Viewer, access.ReachProject, c.mediaLinks},
		{"/media/{id}", access.Viewer, access.ReachProject, c.mediaRow},
		{"/projects", access.Viewer, access.ReachProject, c.projects},
		{"/projects/{id}", access.Viewer, access.ReachProject, c.project},
		{"/runs", access.Viewer, access.ReachProject, c.runs},
		{"/runs/{id}", access.Viewer, access.ReachProject, c.run},
		{"/runs/{id}/steps/{step}", access.Viewer, access.ReachProject, c.runStepPage},
		{"/workflows", access.Viewer, 0, c.workflows},
		{"/workflows/{name}", access.Viewer, 0, c.workflow},
		{"/workflows/{name}/revisions", access.Viewer, 0, c.workflowRevisions},
		{"/workflows/{name}/edit", access.Admin, 0, c.editWorkflow},
		{"/new-workflow", access.Admin, 0, c.addWorkflow},
		{"/sources", access.Viewer, 0, c.sources},
		{"/sources/{name}", access.Viewer, access.ReachSource, c.source},
		{"/destinations", access.Viewer, 0, c.destinations},
		{"/destinations/{name}", access.Viewer, access.ReachDestination, c.destination},
		{"/replays", access.Viewer, 0, c.replays},
		{"/replays/{id}", access.Viewer, 0, c.replay},
		{"/scheduled", access.Viewer, 0, c.scheduled},
		{"/scheduled/{id}", access.Viewer, 0, c.scheduledEvent},
		{"/new-source", access.Admin, 0, c.addSource},
		{"/new-destination", access.Admin, 0, c.addDestination},
		{"/destinations/{name}/edit", access.Admin, 0, c.editDestination},
		{"/bulk", access.Operator, 0, c.bulk},
		{"/bulk/{id}", access.Operator, 0, c.bulkRun},
		{"/keys", access.Admin, 0, c.keys},
		{"/audit", access.Viewer, 0, c.audit},
		{"/erase", access.Admin, 0, c.erase},
		{"/settings", access.Viewer, 0, c.settings},
		{"/health", access.Viewer, 0, c.health},
		{"/", access.Viewer, reachAll, c.nowhere},
	}
}

// actions are the buttons that call one operation of the API.
func actions() []action {
	return []action{
		{path: "/events/{id}/retry", api: "/api/v1/events/{id}/retry", done: "The failed deliveries are being retried.", back: "/events/{id}"},
		{path: "/events/{id}/replay", api: "/api/v1/events/{id}/replay", done: "The event is being processed again.", back: "/events/{id}"},
		{path: "/deliveries/{id}/retry", api: "/api/v1/deliveries/{id}/retry", done: "The delivery is being retried."},
		{path: "/deliveries/{id}/cancel", api: "/api/v1/deliveries/{id}/cancel", undo: "/deliveries/{id}/retry", done: "The delivery was canceled."},
		{path: "/jobs/{id}/cancel", api: "/api/v1/jobs/{id}/cancel", done: "The job is being cancelled.", back: "/jobs/{id}"},
		{path: "/jobs/{id}/approve", api: "/api/v1/jobs/{id}/approve", done: "Approved. The job is being submitted.", back: "/jobs/{id}"},
		{path: "/jobs/{id}/reject", api: "/api/v1/jobs/{id}/reject", done: "Rejected. The job has failed.", back: "/jobs/{id}"},
		{path: "/jobs/{id}/ask", api: "/api/v1/jobs/{id}/ask", done: "The provider was polled.", back: "/jobs/{id}"},
		{path: "/rejections/{id}/rescue", api: "/api/v1/rejections/{id}/rescue", done: "Verified and stored as an event.", back: "/rejections/{id}"},
		{path: "/issues/{id}/acknowledge", api: "/api/v1/issues/{id}/acknowledge", undo: "/issues/{id}/reopen", done: "Acknowledged: its alert is not repeated.", back: "/issues/{id}"},
		{path: "/issues/{id}/resolve", api: "/api/v1/issues/{id}/resolve", undo: "/issues/{id}/reopen", done: "Resolved. The next failure opens it again.", back: "/issues/{id}"},
		{path: "/issues/{id}/ignore", api: "/api/v1/issues/{id}/ignore", undo: "/issues/{id}/reopen", done: "Ignored.", back: "/issues/{id}"},
		{path: "/issues/{id}/reopen", api: "/api/v1/issues/{id}/reopen", done: "Open again.", back: "/issues/{id}"},
		{path: "/issues/{id}/retry", api: "/api/v1/issues/{id}/retry", done: "All of them are being retried.", back: "/issues/{id}"},
		{path: "/alerts/test", api: "/api/v1/alerts/test", done: "All channels took the test message.", back: "/issues", failed: testedFailed},
		{path: "/sources/{name}/pause", api: "/api/v1/sources/{name}/pause", undo: "/sources/{name}/resume", done: "Paused. Senders are answered 503, so that they come again.", back: "/sources/{name}"},
		{path: "/sources/{name}/resume", api: "/api/v1/sources/{name}/resume", done: "Resumed.", back: "/sources/{name}"},
		{path: "/sources/{name}/delete", api: "/api/v1/sources/{name}", method: http.MethodDelete, done: "The source was deleted. Its events stay.", back: "/sources"},
		{path: "/destinations/{name}/pause", api: "/api/v1/destinations/{name}/pause", undo: "/destinations/{name}/resume", done: "Paused. Deliveries stay pending until you resume.", back: "/destinations/{name}"},
		{path: "/destinations/{name}/delete", api: "/api/v1/destinations/{name}", method: http.MethodDelete, done: "The destination was deleted.", back: "/destinations"},
		{path: "/destinations/{name}/resume", api: "/api/v1/destinations/{name}/resume", done: "Resumed.", back: "/destinations/{name}"},
		{path: "/destinations/{name}/test", api: "/api/v1/destinations/{name}/test", done: "The destination accepted the test event.", back: "/destinations/{name}", failed: testFailed},
		{path: "/keys/{id}/revoke", method: http.MethodDelete, api: "/api/v1/keys/{id}", done: "The key is revoked, and its sessions have ended.", back: "/keys"},
		{path: "/keys/{id}/revoke-made", method: http.MethodDelete, api: "/api/v1/keys/{id}?made=true", done: "The key and all keys created with it are revoked.", back: "/keys"},
		{path: "/sessions/{id}/end", method: http.MethodDelete, api: "/api/v1/sessions/{id}", done: "The session has ended.", back: "/keys"},
		{path: "/runs/{id}/cancel", api: "/api/v1/runs/{id}/cancel", done: "The run and its jobs are cancelled.", back: "/runs/{id}"},
		{path: "/workflows/{name}/delete", api: "/api/v1/workflows/{name}", method: http.MethodDelete, done: "The workflow and its revisions were deleted. Its runs go on.", back: "/workflows"},
		{path: "/replays/{id}/cancel", method: http.MethodDelete, api: "/api/v1/replays/{id}", done: "Canceled. Deliveries that are queued stay.", back: "/replays/{id}"},
		{path: "/bulk/{id}/stop", method: http.MethodDelete, api: "/api/v1/bulk/{id}", done: "Stopped. Completed work is kept.", back: "/bulk/{id}"},
	}
}

func (c *console) routes(mux router) {
	for _, p := range c.pages() {
		mux.HandleFunc("GET "+p.path, c.page(p))
	}
	for _, a := range actions() {
		mux.HandleFunc("POST "+a.path, c.act(a))
	}
	mux.HandleFunc("POST /sources/{name}/test", c.testSource)
	mux.HandleFunc("POST /sources", c.createSource)
	mux.HandleFunc("POST /scheduled/{id}", c.changeScheduled)
	mux.HandleFunc("POST /scheduled/{id}/cancel", c.cancelScheduled)
	mux.HandleFunc("POST "+restorePath, c.restoreScheduled)
	mux.HandleFunc("POST /signing-keys/{name}/rotate", c.rotateSigningKey(`{}`, "A new key signs within a minute, on all nodes. Former keys are still accepted."))
	mux.HandleFunc("POST /signing-keys/{name}/drop", c.rotateSigningKey(`{"drop":true}`, "A new key signs within a minute. Keys before the former one are no longer accepted."))
	mux.HandleFunc("POST /sources/{name}/rotate", c.rotateSource)
	mux.HandleFunc("POST /sources/{name}/schemas", c.setSchema)
	mux.HandleFunc("POST /destinations", c.createDestination)
	mux.HandleFunc("POST /new-destination", c.previewDestination)
	mux.HandleFunc("POST /destinations/{name}/edit", c.changeDestination)
	mux.HandleFunc("POST /destinations/{name}/rotate", c.rotateDestination)
	mux.HandleFunc("POST /jobs/selected", c.jobsSelected)
	mux.HandleFunc("POST /media/selected", c.mediaSelected)
	mux.HandleFunc("POST /deliveries/selected", c.deliveriesSelected)
	mux.HandleFunc("POST /jobs/{id}/again", c.runAgain)
	mux.HandleFunc("POST /bulk", c.startBulk)
	mux.HandleFunc("POST /replays", c.startReplay)
	mux.HandleFunc("POST /keys", c.createKey)
	mux.HandleFunc("POST /erase", c.postErase)
	mux.HandleFunc("POST /workflows", c.saveWorkflow)
	mux.HandleFunc("POST /workflows/check", c.checkWorkflow)
	mux.HandleFunc("POST /workflows/{name}/edit", c.saveWorkflow)
	mux.HandleFunc("POST /workflows/{name}/revert", c.revertWorkflow)
	mux.HandleFunc("POST /workflows/{name}/start", c.startRun)
	mux.HandleFunc("POST /runs/{id}/retry", c.changeRun("retry", "The step is being run again."))
	mux.HandleFunc("POST /runs/{id}/approve", c.changeRun("approve", "Approved. The run continues."))

	mux.HandleFunc("GET /login", c.loginPage)
	mux.HandleFunc("POST /login", c.login)
	mux.HandleFunc("GET /login/oidc", c.beginSSO)
	mux.HandleFunc("GET /login/oidc/callback", c.finishSSO)
	mux.HandleFunc("GET /login/{code}", c.linkPage)
	mux.HandleFunc("POST /login/{code}", c.loginByLink)
	mux.HandleFunc("POST /logout", c.logout)
	mux.HandleFunc("POST /theme", c.theme)
	mux.Handle("GET /static/", c.assets)
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, c.assets.url("icon.svg"), http.StatusFound)
	})
	mux.HandleFunc("GET /robots.txt", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("User-agent: *\nDisallow: /\n"))
	})
}

func (c *console) nowhere(q *request) (templ.Component, error) {
	return nil, &problem{http.StatusNotFound, "Not found", "There is no page " + visible(clip(q.URL.Path, 200)) + "."}
}

// action is a button: a form that is posted to path.
type action struct {
	path string
	// method and api are the operation; "{id}" is filled in from the path. An empty method means
	// POST.
	method, api string
	// done is the message after success. The browser is sent to back; if back is empty, to the
	// page of the button.
	done, back string
	// undo is the path of the button that reverses the act; empty if nothing does. The message has it.
	undo string
	// failed returns why an operation failed although it was answered 200, or "" if it did not
	// fail. nil means that 200 is success.
	failed func(answer) string
}

// testFailed returns why the test of a destination failed, or "".
func testFailed(res answer) string {
	var ex struct {
		OK       bool
		Error    string
		Response struct{ Status int }
	}
	if err := readJSON(res.Body, &ex); err != nil || ex.OK {
		return ""
	}
	if ex.Error == "" {
		return "the destination answered " + strconv.Itoa(ex.Response.Status) + "."
	}
	return ex.Error
}

func (c *console) act(a action) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fill := func(pattern string) string {
			for _, name := range [...]string{"id", "name"} {
				pattern = strings.ReplaceAll(pattern, "{"+name+"}", url.PathEscape(r.PathValue(name)))
			}
			return pattern
		}
		method := a.method
		if method == "" {
			method = http.MethodPost
		}
		back := fill(a.back)
		if back == "" {
			back = backTo(r)
		}
		res, err := c.call(r, method, fill(a.api), nil)
		if err == nil && res.Status/100 == 2 && a.failed != nil {
			if why := a.failed(res); why != "" {
				setFlash(w, "bad", "Failed: "+why)
				http.Redirect(w, r, back, http.StatusSeeOther)
				return
			}
		}
		c.finish(w, r, res, err, flash{Text: a.done, Undo: fill(a.undo)}, back)
	}
}

// undoes reports whether a path is that of a button that undoes.
func undoes(to string) bool {
	patterns := []string{restorePath}
	for _, a := range actions() {
		patterns = append(patterns, a.undo)
	}
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(variable.ReplaceAllString(pattern, "?*"), to)
		return pattern != "" && ok && err == nil
	})
}

// variable is a part of a path: an id or name.
var variable = regexp.MustCompile(`{[a-z]+}`)

// done redirects the browser to back, with text, or the error.
func (c *console) done(w http.ResponseWriter, r *http.Request, res answer, err error, text, back string) {
	c.finish(w, r, res, err, flash{Text: text}, back)
}

// finish is done with a message that can have a button.
func (c *console) finish(w http.ResponseWriter, r *http.Request, res answer, err error, success flash, back string) {
	switch {
	case err != nil:
		c.o.Log.Error("console action", "path", r.URL.Path, "error", err)
		setFlash(w, "bad", "Internal error; see the gateway's log.")
	case res.Status == http.StatusUnauthorized:
		back = "/login?next=" + url.QueryEscape(back)
	case res.Status/100 != 2:
		setFlash(w, "bad", "Not done: "+res.problem())
	default:
		success.Kind = "ok"
		setFlashed(w, success)
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// backTo returns the page of the posted form.
func backTo(r *http.Request) string {
	if u, err := url.Parse(r.Referer()); err == nil && u.Host == r.Host {
		return localPath(u.RequestURI())
	}
	return "/"
}

// localPath returns path if it is a page of the console, else "/".
func localPath(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.ContainsAny(path, "\\\r\n\t") ||
		strings.HasPrefix(u.Path, "/login") || strings.HasPrefix(u.Path, "/api/") {
		return "/"
	}
	return u.RequestURI()
}
