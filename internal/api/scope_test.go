package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"gaff/internal/access"
	"gaff/internal/api"
	"gaff/internal/wire"
	"gaff/jobs"
	"gaff/workflow"
)

// The marker is in each text of the rows that a limited credential must not see.
const marker = "SECRET-OF-OTHERS"

// shared is a world with the same rows for two projects: "film", and others whose ids and texts
// contain the marker.
type shared struct {
	*world
	// ids are the ids of the other project's rows, by the name of the path's resource.
	ids map[string]string
	// own are those of the project "film", or of the source custom.
	own map[string]string
}

func newShared(t *testing.T) *shared {
	t.Helper()
	s := &shared{world: newWorld(t), ids: map[string]string{}, own: map[string]string{}}
	for _, c := range []struct {
		project, job, request, user string
		ids                         map[string]string
	}{
		{"film", "own-job", "r-own", "anna", s.own},
		{marker + "-project", marker + "-job", marker + "-request", marker, s.ids},
	} {
		meta := map[string]string{"job_id": c.job, "project_id": c.project, "user_id": c.user, "generation_type": "image"}
		body, err := json.Marshal(map[string]any{
			"request_id": c.request, "status": "completed", "metadata": meta,
			"result": map[string]any{"images": []map[string]any{{"url": "https://files.example/" + c.user + ".png"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.ids["events"] = s.send(t, "fal", string(body), nil)
		c.ids["jobs"], c.ids["projects"] = c.job, c.project
		page, err := s.store.Media(t.Context(), jobs.MediaFilter{JobID: c.job})
		if err != nil || len(page.Items) != 1 {
			t.Fatalf("media of %s: %v %v", c.job, page.Items, err)
		}
		c.ids["media"] = page.Items[0].ID
		run, _, err := s.engine.Run(t.Context(), workflow.StartParams{
			Workflow: "ask", ProjectID: c.project, UserID: c.user, Input: json.RawMessage(`{"text":"` + c.user + `"}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		c.ids["runs"] = run.ID
	}
	s.own["events"] = s.send(t, "custom", `{"type":"flaky","id":"own"}`, nil)
	s.addNamed(t)
	for _, ids := range []map[string]string{s.own, s.ids} {
		d, err := s.store.Event(t.Context(), ids["events"])
		if err != nil || len(d.Deliveries) == 0 {
			t.Fatalf("deliveries: %v", err)
		}
		ids["deliveries"] = d.Deliveries[0].ID
	}
	return s
}

// addNamed adds rows that are found by a name, and events of both projects for later.
func (s *shared) addNamed(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		project, name string
		ids           map[string]string
	}{{"film", "own-row", s.own}, {marker + "-project", markedName, s.ids}} {
		admin := func(method, path string, body any, want int) answered {
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			res := s.guarded.call(method, path, adminToken, string(text))
			if res.status != want {
				t.Fatalf("%s %s: %d %s", method, path, res.status, res.body)
			}
			return res
		}
		event := admin(http.MethodPost, "/api/v1/events", map[string]any{"type": "later", "delay": "7d", "projectId": c.project, "data": c.name}, http.StatusCreated)
		c.ids["scheduled-events"] = decodeInto[wire.Published](t, event.body).ID
		admin(http.MethodPut, "/api/v1/budgets/"+c.name, map[string]any{"projectId": c.project, "limit": "5", "period": "month"}, http.StatusOK)
		admin(http.MethodPost, "/api/v1/destinations", map[string]any{"name": c.name, "kind": "pull", "events": []string{"custom:*"}}, http.StatusCreated)
		c.ids["budgets"], c.ids["destinations"], c.ids["sources"] = c.name, c.name, "fal"
	}
	s.own["sources"] = "custom"
}

// markedName is the marker in the form of a name.
var markedName = strings.ToLower(marker)

func (s *shared) scoped(t *testing.T, role, scope string) string {
	t.Helper()
	res := s.guarded.call(http.MethodPost, "/api/v1/keys", adminToken, `{"name":"limited","role":"`+role+`","scope":`+scope+`}`)
	var k madeKey
	if err := json.Unmarshal([]byte(res.body), &k); err != nil || res.status != http.StatusCreated {
		t.Fatalf("create key: %d %s", res.status, res.body)
	}
	return k.Key
}

func (s *shared) browserToken(t *testing.T, bearer, body string) string {
	t.Helper()
	res := s.guarded.call(http.MethodPost, "/api/v1/tokens", bearer, body)
	var token struct{ Token string }
	if err := json.Unmarshal([]byte(res.body), &token); err != nil || res.status != http.StatusCreated {
		t.Fatalf("create token: %d %s", res.status, res.body)
	}
	return token.Token
}

// operations returns all operations of the OpenAPI document, as "METHOD path".
func operations(t *testing.T) (all []string) {
	t.Helper()
	w := httptest.NewRecorder()
	api.New(api.Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/openapi.json", nil))
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			if strings.HasPrefix(path, "/api/v1/") {
				all = append(all, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(all)
	return all
}

// target fills the parameters of a path with the ids of rows; an id that is missing there is
// "unknown".
func target(path string, ids map[string]string) string {
	resource, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/v1/"), "/")
	id := ids[resource]
	if id == "" {
		id = "unknown"
	}
	return strings.NewReplacer("{id}", id, "{name}", id, "{step}", "look").Replace(path)
}

// Every operation is called for the rows of others by every kind of limited credential.
func TestLimitedCredentialsReachNothingOfOthers(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	tokens := map[string]string{
		"viewer of a project":    s.scoped(t, "viewer", `{"projectId":"film"}`),
		"operator of a project":  s.scoped(t, "operator", `{"projectId":"film"}`),
		"admin of a project":     s.scoped(t, "admin", `{"projectId":"film"}`),
		"admin of a source":      s.scoped(t, "admin", `{"source":"custom"}`),
		"admin of a destination": s.scoped(t, "admin", `{"destination":"own-row"}`),
		"browser, project":       s.browserToken(t, adminToken, `{"projectId":"film"}`),
		"browser, job":           s.browserToken(t, adminToken, `{"jobId":"own-job"}`),
		"browser, run":           s.browserToken(t, adminToken, `{"runId":"`+s.own["runs"]+`"}`),
		"session of a project":   s.session(t, s.scoped(t, "admin", `{"projectId":"film"}`)),
		"session of a source":    s.session(t, s.scoped(t, "operator", `{"source":"custom"}`)),
	}
	for name, token := range tokens {
		for _, op := range operations(t) {
			method, path, _ := strings.Cut(op, " ")
			for _, query := range []string{"", "?projectId=" + marker + "-project", "?source=fal", "?jobId=" + marker + "-job", "?q=" + marker, "?userId=" + marker, "?destination=" + markedName, "?by=project"} {
				if query != "" && method != http.MethodGet {
					continue
				}
				url := target(path, s.ids) + query
				status, body := s.brief(t, method, url, token, bodyFor(path))
				if strings.Contains(strings.ToLower(strings.ReplaceAll(body, url, "")), markedName) && status < 300 {
					t.Errorf("%s: %s %s: %d %.300s", name, method, url, status, body)
				}
				if status < 300 && (method != http.MethodGet || strings.Contains(path, "{")) && !allowedFor(name, op) {
					t.Errorf("%s may %s %s: %d %.200s", name, method, url, status, body)
				}
			}
		}
	}
}

// allowedFor reports whether a credential may call an operation although the path has the id of
// another's row, or none: it creates something of its own.
func allowedFor(name, op string) bool {
	switch op {
	case "POST /api/v1/tokens":
		return name == "admin of a project" || name == "operator of a project" || name == "viewer of a project"
	case "POST /api/v1/runs", "POST /api/v1/jobs":
		return name == "admin of a project" || name == "operator of a project" || name == "session of a project"
	}
	return false
}

// session logs in to the console and returns the cookie, as brief takes it.
func (s *shared) session(t *testing.T, token string) string {
	t.Helper()
	_, secret, err := s.guard.Login(httptest.NewRequest(http.MethodPost, "/login", nil), token, "")
	if err != nil {
		t.Fatal(err)
	}
	return cookiePrefix + secret
}

// cookiePrefix marks a session's cookie among tokens.
const cookiePrefix = "cookie "

func bodyFor(path string) string {
	switch path {
	case "/api/v1/tokens":
		return `{"projectId":"film"}`
	case "/api/v1/runs":
		return `{"workflow":"ask","input":{"text":"x"}}`
	case "/api/v1/webhooks/manage":
		return `{"webhookLogId":"` + marker + `"}`
	case "/api/v1/jobs":
		return `{"provider":"studio","model":"m","input":{}}`
	case "/api/v1/jobs/{id}":
		return `{"provider":"studio"}`
	case "/api/v1/events":
		return `{"type":"a","projectId":"` + marker + `-project"}`
	case "/api/v1/scheduled-events/{id}":
		return `{"delay":"1s"}`
	case "/api/v1/pull":
		return `{"destination":"` + markedName + `"}`
	case "/api/v1/bulk":
		return `{"action":"retry","dryRun":true}`
	}
	return `{}`
}

// brief makes a request and cancels it after a moment, for streams do not end by themselves.
func (s *shared) brief(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	ctx := t.Context()
	if strings.Contains(url, "/stream") {
		limited, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		ctx = limited
		if strings.Contains(url, "?") {
			url += "&lastEventId=0-0"
		} else {
			url += "?lastEventId=0-0"
		}
	}
	r := httptest.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if secret, ok := strings.CutPrefix(token, cookiePrefix); ok {
		r.AddCookie(&http.Cookie{Name: access.CookieName, Value: secret})
	} else {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.guarded.handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestLimitedCredentialsHaveNoPriority(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	for priority, want := range map[string]string{"0": "", "1": "may use at most 0"} {
		body := `{"provider":"fal","model":"x","input":{"prompt":"a"},"priority":` + priority + `}`
		res := s.guarded.call(http.MethodPost, "/api/v1/jobs", s.scoped(t, "admin", `{"projectId":"film"}`), body)
		if (res.status == http.StatusForbidden) != (want != "") || !strings.Contains(res.body, want) {
			t.Errorf("priority %s: %d %s, want %q", priority, res.status, res.body, want)
		}
	}
}

func TestLimitedCredentialsReachTheirOwn(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	project, source := s.scoped(t, "operator", `{"projectId":"film"}`), s.scoped(t, "operator", `{"source":"custom"}`)
	job, run := s.browserToken(t, project, `{"jobId":"own-job"}`), s.browserToken(t, project, `{"runId":"`+s.own["runs"]+`"}`)
	only := s.scoped(t, "viewer", `{"operations":["list-jobs"]}`)
	for _, c := range []struct {
		token, method, url string
		want               int
		contains           string
	}{
		{project, "GET", "/api/v1/jobs", 200, "own-job"},
		{project, "GET", "/api/v1/jobs/own-job", 200, "own-job"},
		{project, "GET", "/api/v1/media", 200, s.own["media"]},
		{project, "GET", "/api/v1/media/" + s.own["media"], 200, s.own["media"]},
		{project, "GET", "/api/v1/runs", 200, s.own["runs"]},
		{project, "GET", "/api/v1/runs/" + s.own["runs"], 200, "film"},
		{project, "GET", "/api/v1/runs/" + s.own["runs"] + "/steps/look", 200, "a, anna?"},
		{project, "POST", "/api/v1/runs/" + s.own["runs"] + "/cancel", 200, s.own["runs"]},
		{project, "GET", "/api/v1/me", 200, `"projectId":"film"`},
		{project, "GET", "/api/v1/events", 403, "project film"},
		{source, "GET", "/api/v1/events", 200, s.own["events"]},
		{source, "GET", "/api/v1/events/" + s.own["events"] + "/body", 200, "flaky"},
		{source, "GET", "/api/v1/deliveries", 200, s.own["deliveries"]},
		{source, "POST", "/api/v1/deliveries/" + s.own["deliveries"] + "/retry", 200, s.own["deliveries"]},
		{source, "GET", "/api/v1/webhooks/manage", 200, s.own["events"]},
		{source, "GET", "/api/v1/sources/custom", 200, "custom"},
		{source, "GET", "/api/v1/jobs", 403, "source custom"},
		{job, "GET", "/api/v1/jobs/own-job", 200, "own-job"},
		{job, "GET", "/api/v1/media", 200, s.own["media"]},
		{job, "GET", "/api/v1/jobs", 403, "job own-job"},
		{job, "POST", "/api/v1/jobs/own-job/cancel", 403, "operator"},
		{run, "GET", "/api/v1/runs/" + s.own["runs"], 200, s.own["runs"]},
		{run, "GET", "/api/v1/runs", 403, "run "},
		{only, "GET", "/api/v1/jobs", 200, marker},
		{only, "GET", "/api/v1/media", 403, "operations list-jobs"},
	} {
		res := s.guarded.call(c.method, c.url, c.token, "")
		if res.status != c.want || !strings.Contains(res.body, c.contains) {
			t.Errorf("%s %s: %d %s, want %d and %q", c.method, c.url, res.status, res.body, c.want, c.contains)
		}
	}
}

func TestLimitedKeysGiveOnNoMoreThanTheyHave(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	admin := s.scoped(t, "admin", `{"projectId":"film"}`)
	browser := s.browserToken(t, admin, `{"projectId":"film"}`)
	for name, c := range map[string]struct {
		token, url, body string
		want             int
	}{
		"a key of everything":            {admin, "/api/v1/keys", `{"name":"x","role":"viewer"}`, 403},
		"a token of another project":     {admin, "/api/v1/tokens", `{"projectId":"` + marker + `-project"}`, 404},
		"a token of another's job":       {admin, "/api/v1/tokens", `{"jobId":"` + marker + `-job"}`, 404},
		"a token of two":                 {adminToken, "/api/v1/tokens", `{"projectId":"film","jobId":"own-job"}`, 400},
		"a token of everything":          {adminToken, "/api/v1/tokens", `{}`, 400},
		"a token that lasts for long":    {adminToken, "/api/v1/tokens", `{"projectId":"film","expiresIn":"25h"}`, 400},
		"a token by a token":             {browser, "/api/v1/tokens", `{"projectId":"film"}`, 400},
		"a login link":                   {admin, "/api/v1/login-links", ``, 403},
		"an unknown operation":           {adminToken, "/api/v1/keys", `{"name":"x","role":"viewer","scope":{"operations":["list-jbos"]}}`, 400},
		"an unknown source":              {adminToken, "/api/v1/keys", `{"name":"x","role":"viewer","scope":{"source":"fall"}}`, 400},
		"a job in another project":       {admin, "/api/v1/runs", `{"workflow":"ask","projectId":"` + marker + `-project","input":{"text":"x"}}`, 403},
		"a scope with an unknown member": {adminToken, "/api/v1/keys", `{"name":"x","role":"viewer","scope":{"project":"film"}}`, 400},
	} {
		if res := s.guarded.call(http.MethodPost, c.url, c.token, c.body); res.status != c.want {
			t.Errorf("%s: %d %s, want %d", name, res.status, res.body, c.want)
		}
	}
	if _, _, err := s.guard.Login(httptest.NewRequest("POST", "/login", nil), s.scoped(t, "viewer", `{"operations":["list-jobs"]}`), ""); err == nil {
		t.Error("a key of single operations opened the console")
	}
}

func TestSessionsHaveTheScopeOfTheirKey(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	cookie := s.session(t, s.scoped(t, "viewer", `{"projectId":"film"}`))
	for url, want := range map[string]int{"/api/v1/jobs/own-job": 200, "/api/v1/jobs/" + s.ids["jobs"]: 404, "/api/v1/events": 403} {
		if status, body := s.brief(t, http.MethodGet, url, cookie, ""); status != want {
			t.Errorf("%s: %d %s, want %d", url, status, body, want)
		}
	}
}

func TestKeysOverTheirRateAreAnswered429(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	res := s.guarded.call(http.MethodPost, "/api/v1/keys", adminToken, `{"name":"slow","role":"viewer","rate":2}`)
	var k madeKey
	if err := json.Unmarshal([]byte(res.body), &k); err != nil || res.status != http.StatusCreated {
		t.Fatalf("create key: %d %s", res.status, res.body)
	}
	browser := s.browserToken(t, k.Key, `{"projectId":"film"}`)
	var limited int
	for _, token := range []string{k.Key, browser, k.Key, browser, k.Key, browser} {
		res := s.guarded.call(http.MethodGet, "/api/v1/jobs", token, "")
		if res.status == http.StatusTooManyRequests {
			limited++
			if res.header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After: %v", res.header)
			}
		}
	}
	if limited == 0 {
		t.Error("a key and its browser token made 7 requests in a moment, with a rate of 2 a second")
	}
	if res := s.guarded.call(http.MethodGet, "/api/v1/jobs", adminToken, ""); res.status != 200 {
		t.Errorf("another credential: %d", res.status)
	}
	if res := s.guarded.call(http.MethodPost, "/api/v1/keys", adminToken, `{"name":"x","role":"viewer","rate":-1}`); res.status != 400 {
		t.Errorf("a negative rate: %d %s", res.status, res.body)
	}
}

func TestBrowserTokensCallWhatTheirKeyMayCall(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	token := s.browserToken(t, s.scoped(t, "viewer", `{"operations":["create-token","get-job"]}`), `{"projectId":"film"}`)
	for url, want := range map[string]int{"/api/v1/jobs/own-job": 200, "/api/v1/jobs": 403, "/api/v1/media": 403} {
		if res := s.guarded.call(http.MethodGet, url, token, ""); res.status != want {
			t.Errorf("%s: %d %s, want %d", url, res.status, res.body, want)
		}
	}
}

// The answer must not show whether the row of another exists.
func TestRowsOfOthersAreAnsweredLikeMissingOnes(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	project, source := s.scoped(t, "viewer", `{"projectId":"film"}`), s.scoped(t, "viewer", `{"source":"custom"}`)
	long := strings.Repeat("x", 90)
	s.send(t, "fal", `{"request_id":"r-long","status":"completed","metadata":{"job_id":"`+long+`","project_id":"`+marker+`","user_id":"u","generation_type":"image"},"result":{}}`, nil)
	for path, c := range map[string]struct{ token, hidden, missing string }{
		"/api/v1/jobs/":       {project, s.ids["jobs"], "no-such-job"},
		"/api/v1/jobs/long/":  {project, long, strings.Repeat("y", 90)},
		"/api/v1/media/":      {project, s.ids["media"], "med_none"},
		"/api/v1/runs/":       {project, s.ids["runs"], "run_none"},
		"/api/v1/projects/":   {project, s.ids["projects"], "no-such-project"},
		"/api/v1/events/":     {source, s.ids["events"], "evt_none"},
		"/api/v1/deliveries/": {source, s.ids["deliveries"], "dlv_none"},
	} {
		path = strings.TrimSuffix(path, "long/")
		a := s.guarded.call(http.MethodGet, path+c.hidden, c.token, "")
		b := s.guarded.call(http.MethodGet, path+c.missing, c.token, "")
		cut := func(text, id string) string {
			return strings.ReplaceAll(strings.ReplaceAll(text, id, "ID"), id[:min(len(id), 60)], "ID")
		}
		if a.status != b.status || cut(a.body, c.hidden) != cut(b.body, c.missing) {
			t.Errorf("%s: %d %s, but a missing one is %d %s", path, a.status, a.body, b.status, b.body)
		}
	}
}

func TestBrowserTokensEndWithTheirKey(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	key := s.key(t, "app", "viewer", "")
	token := s.browserToken(t, key.Key, `{"projectId":"film","expiresIn":"1h"}`)
	if res := s.guarded.call("GET", "/api/v1/jobs", token, ""); res.status != 200 {
		t.Fatalf("before: %d %s", res.status, res.body)
	}
	if res := s.guarded.call("GET", "/api/v1/jobs", token+"x", ""); res.status != 401 {
		t.Errorf("another signature: %d %s", res.status, res.body)
	}
	if res := s.guarded.call("DELETE", "/api/v1/keys/"+key.ID, adminToken, ""); res.status != 204 {
		t.Fatalf("revoke: %d %s", res.status, res.body)
	}
	if res := s.guarded.call("GET", "/api/v1/jobs", token, ""); res.status != 401 {
		t.Errorf("after: %d %s", res.status, res.body)
	}
}

func TestStreamOfALimitedCredentialHasItsOwnChangesOnly(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	server := httptest.NewServer(s.guarded.handler)
	defer server.Close()
	for name, c := range map[string]struct{ token, ends string }{
		"project": {s.scoped(t, "viewer", `{"projectId":"film"}`), s.own["runs"]},
		"job":     {s.browserToken(t, adminToken, `{"jobId":"own-job"}`), s.own["media"]},
		"source":  {s.scoped(t, "viewer", `{"source":"custom"}`), s.own["events"]},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/stream?lastEventId=0-0", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+c.token)
		res, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		// All was written before the stream began, so nothing of others can come after the last own one.
		lines, found := bufio.NewScanner(res.Body), false
		for !found && lines.Scan() {
			if strings.Contains(lines.Text(), marker) {
				t.Errorf("%s: the stream shows %s", name, lines.Text())
			}
			found = strings.HasPrefix(lines.Text(), "data: ") && strings.Contains(lines.Text(), c.ends)
		}
		if !found {
			t.Errorf("%s: the stream ended without %s: %v", name, c.ends, lines.Err())
		}
		_ = res.Body.Close()
	}
}

func TestPagesOfOtherOriginsReadWithATokenOnly(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	h := api.New(api.Options{Store: s.store, Authorizer: tokens{}, Log: slog.New(slog.DiscardHandler), Origins: []string{"https://app.example"}})
	call := func(method, origin, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/api/v1/jobs", nil)
		r.Header.Set("Origin", origin)
		if method == http.MethodOptions {
			r.Header.Set("Access-Control-Request-Method", "GET")
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	if w := call("OPTIONS", "https://app.example", ""); w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("preflight: %d %v", w.Code, w.Header())
	}
	if w := call("GET", "https://app.example", "viewer"); w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("with a token: %d %v", w.Code, w.Header())
	}
	if w := call("GET", "https://app.example", ""); w.Code != 401 || w.Header().Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("without a token: %d %v", w.Code, w.Header())
	}
	for _, method := range []string{"OPTIONS", "GET"} {
		if w := call(method, "https://evil.example", "viewer"); w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s of another origin: %v", method, w.Header())
		}
	}
}

// Each operation of the OpenAPI document is called with every role below the one that it names, and
// without a token.
func TestEveryOperationNeedsItsRole(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	w := httptest.NewRecorder()
	api.New(api.Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/openapi.json", nil))
	var doc struct {
		Paths map[string]map[string]struct{ Description string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	roles := []string{"viewer", "operator", "admin"}
	tokens := map[string]string{"viewer": s.key(t, "v", "viewer", "").Key, "operator": s.key(t, "o", "operator", "").Key}
	checked := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if !strings.HasPrefix(path, "/api/v1/") {
				continue
			}
			_, rest, _ := strings.Cut(op.Description, "Needs the role ")
			role, _, _ := strings.Cut(rest, ".")
			if !slices.Contains(roles, role) {
				t.Errorf("%s %s names no role: %q", method, path, op.Description)
				continue
			}
			url := target(path, s.own)
			if status, body := s.brief(t, strings.ToUpper(method), url, "gaff_unknown", bodyFor(path)); status != http.StatusUnauthorized {
				t.Errorf("%s %s with an unknown token: %d %s", method, url, status, body)
			}
			for _, lower := range roles[:slices.Index(roles, role)] {
				if status, body := s.brief(t, strings.ToUpper(method), url, tokens[lower], bodyFor(path)); status != http.StatusForbidden {
					t.Errorf("%s %s needs %s; a %s gets %d %s", method, url, role, lower, status, body)
				}
				checked++
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d calls were checked", checked)
	}
}

// Two projects call every operation for each other's rows.
func TestTwoProjectsReachNothingOfEachOther(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	other := marker + "-project"
	sides := []struct {
		token    string
		theirs   map[string]string
		notShown []string
	}{
		{s.scoped(t, "admin", `{"projectId":"film"}`), s.ids, []string{marker, markedName}},
		{s.scoped(t, "admin", `{"projectId":"`+other+`"}`), s.own, []string{"own-job", "own-row", `"film"`, s.own["runs"], s.own["media"], s.own["scheduled-events"]}},
	}
	for _, side := range sides {
		for _, op := range operations(t) {
			method, path, _ := strings.Cut(op, " ")
			if path == "/api/v1/tokens" || path == "/api/v1/runs" && method == http.MethodPost {
				continue // they create something of one's own; see TestLimitedKeysGiveOnNoMoreThanTheyHave
			}
			url := target(path, side.theirs)
			status, body := s.brief(t, method, url, side.token, bodyFor(path))
			if status >= 300 {
				continue
			}
			for _, secret := range side.notShown {
				if strings.Contains(body, secret) {
					t.Errorf("%s %s: %d %.300s", method, url, status, body)
				}
			}
		}
	}
	if r, err := s.store.Run(t.Context(), s.own["runs"]); err != nil || r.Status.String() != "running" {
		t.Errorf("a run was changed by the other project: %+v %v", r, err)
	}
}
