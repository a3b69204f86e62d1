package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gaff/internal/access"
	"gaff/internal/api"
)

type madeKey struct{ ID, Key, Role string }

func (w *world) key(t *testing.T, name, role, expires string) madeKey {
	t.Helper()
	res := w.guarded.call(http.MethodPost, "/api/v1/keys", adminToken, `{"name":"`+name+`","role":"`+role+`","expiresAt":"`+expires+`"}`)
	var k madeKey
	if err := json.Unmarshal([]byte(res.body), &k); err != nil || res.status != http.StatusCreated || !strings.HasPrefix(k.Key, "gaff_") {
		t.Fatalf("create key: %d %s", res.status, res.body)
	}
	return k
}

func TestKeysOpenWhatTheirRoleAllows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	viewer, operator, admin := w.key(t, "dashboard", "viewer", ""), w.key(t, "worker", "operator", "90d"), w.key(t, "anna", "admin", "")
	event := w.send(t, "custom", `{"type":"flaky","id":"1"}`, nil)
	for _, c := range []struct {
		token, method, target string
		want                  int
	}{
		{viewer.Key, "GET", "/api/v1/events", 200},
		{viewer.Key, "GET", "/api/v1/audit", 200},
		{viewer.Key, "POST", "/api/v1/events/" + event + "/retry", 403},
		{viewer.Key, "GET", "/api/v1/keys", 403},
		{operator.Key, "POST", "/api/v1/events/" + event + "/replay", 200},
		{operator.Key, "POST", "/api/v1/keys", 403},
		{operator.Key, "DELETE", "/api/v1/keys/" + viewer.ID, 403},
		{admin.Key, "GET", "/api/v1/keys", 200},
		{admin.Key, "DELETE", "/api/v1/keys/apk_none", 404},
		{admin.Key, "DELETE", "/api/v1/keys/" + viewer.ID, 204},
		{admin.Key, "DELETE", "/api/v1/keys/" + viewer.ID, 409},
		{viewer.Key, "GET", "/api/v1/events", 401},
		{adminToken + "x", "GET", "/api/v1/events", 401},
	} {
		if res := w.guarded.call(c.method, c.target, c.token, ""); res.status != c.want {
			t.Errorf("%s %s: %d, want %d: %s", c.method, c.target, res.status, c.want, res.body)
		}
	}
	if res := w.guarded.call("GET", "/api/v1/keys", adminToken, ""); strings.Contains(res.body, operator.Key) ||
		!strings.Contains(res.body, operator.Key[len(operator.Key)-4:]) {
		t.Errorf("the list shows a secret, or not its end: %s", res.body)
	}
	for _, bad := range []string{`{"name":"","role":"viewer"}`, `{"name":"x","role":"king"}`, `{"name":"x\u202e","role":"viewer"}`, `{"name":"x","role":"viewer","expiresAt":"yesterday"}`, `{"name":"x","role":"viewer","expiresAt":"2001-01-01T00:00:00Z"}`} {
		if res := w.guarded.call("POST", "/api/v1/keys", adminToken, bad); res.status != 400 {
			t.Errorf("%s: %d %s", bad, res.status, res.body)
		}
	}
}

func TestEveryChangeIsInTheAuditLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	operator := w.key(t, "worker", "operator", "")
	event := w.send(t, "custom", `{"type":"flaky","id":"1"}`, nil)
	w.guarded.call("POST", "/api/v1/events/"+event+"/retry", operator.Key, "")
	w.settled(t, event)
	w.guarded.call("POST", "/api/v1/webhooks/manage", operator.Key, `{"webhookLogId":"`+event+`"}`)
	w.guarded.call("POST", "/api/v1/keys", operator.Key, `{"name":"more","role":"admin"}`)
	w.guarded.call("GET", "/api/v1/events", operator.Key, "")
	w.guarded.call("POST", "/api/v1/events/"+event+"/retry", "an unknown caller's", "")
	res := w.guarded.call("GET", "/api/v1/audit", operator.Key, "")
	var list struct {
		Docs []struct {
			Actor, Role, Via, ViaID, Address, Action, Target string
			Status                                           int
		}
	}
	if err := json.Unmarshal([]byte(res.body), &list); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list.Docs {
		if e.Address == "" {
			t.Errorf("no address: %+v", e)
		}
		got = append(got, strings.Join([]string{e.Actor, e.Via, e.Action, strings.Replace(e.Target, event, "EVENT", 1), http.StatusText(e.Status)}, " "))
	}
	want := []string{
		"worker key create-key  Forbidden",
		"worker key retry-webhook-log EVENT Internal Server Error",
		"worker key retry-event EVENT OK",
		"admin token create-key " + operator.ID + " Created",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("audit log:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// browser calls with a cookie, as pages of an origin do.
func (c caller) browser(method, target, cookie, site string) int {
	r := httptest.NewRequest(method, target, nil)
	r.AddCookie(&http.Cookie{Name: access.CookieName, Value: cookie})
	r.Header.Set("Sec-Fetch-Site", site)
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w.Code
}

func TestSessionsAreForTheConsoleAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.key(t, "worker", "operator", "")
	event := w.send(t, "custom", `{"type":"flaky","id":"1"}`, nil)
	retry := "/api/v1/events/" + event + "/replay"
	login := httptest.NewRequest("POST", "/login", nil)
	session, cookie, err := w.guard.Login(login, key.Key, "Anna")
	if err != nil {
		t.Fatal(err)
	}
	if session.Role != access.Operator || session.Name != "worker" || session.As != "Anna" {
		t.Errorf("%+v", session)
	}
	for _, c := range []struct {
		what, method, target, cookie, site string
		want                               int
	}{
		{"read", "GET", "/api/v1/events", cookie, "same-origin", 200},
		{"change", "POST", retry, cookie, "same-origin", 200},
		{"change from a foreign page", "POST", retry, cookie, "cross-site", 401},
		{"change from a page of a neighbour", "POST", retry, cookie, "same-site", 401},
		{"more than its role", "GET", "/api/v1/keys", cookie, "same-origin", 403},
		{"guessed", "GET", "/api/v1/events", "gaff_guess", "same-origin", 401},
		{"a token is not a cookie", "GET", "/api/v1/events", key.Key, "same-origin", 401},
	} {
		if got := w.guarded.browser(c.method, c.target, c.cookie, c.site); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	if res := w.guarded.call("DELETE", "/api/v1/sessions/"+session.ID, adminToken, ""); res.status != 204 {
		t.Errorf("end the session: %d %s", res.status, res.body)
	}
	if got := w.guarded.browser("GET", "/api/v1/events", cookie, "same-origin"); got != 401 {
		t.Errorf("after its end: %d", got)
	}

	_, cookie, err = w.guard.Login(login, key.Key, "")
	if err != nil {
		t.Fatal(err)
	}
	w.guarded.call("DELETE", "/api/v1/keys/"+key.ID, adminToken, "")
	if got := w.guarded.browser("GET", "/api/v1/events", cookie, "same-origin"); got != 401 {
		t.Errorf("after its key was revoked: %d", got)
	}
	if _, _, err := w.guard.Login(login, key.Key, ""); err == nil {
		t.Error("login with a revoked key")
	}

	// Another admin token ends the sessions that the former one opened.
	_, cookie, err = w.guard.Login(login, adminToken, "")
	if err != nil || w.guarded.browser("GET", "/api/v1/keys", cookie, "same-origin") != 200 {
		t.Fatalf("login with the admin token: %v", err)
	}
	other := access.NewGuard(access.GuardOptions{Store: w.store, AdminToken: "another"})
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: access.CookieName, Value: cookie})
	if _, ok := other.Authorize(r); ok {
		t.Error("the session outlives its token")
	}
}

func TestLoginLinkWorksOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.key(t, "worker", "operator", "")
	res := w.guarded.call("POST", "/api/v1/login-links", key.Key, "")
	var link struct{ Path string }
	if err := json.Unmarshal([]byte(res.body), &link); err != nil || res.status != 201 {
		t.Fatalf("%d %s", res.status, res.body)
	}
	code := strings.TrimPrefix(link.Path, "/login/")
	login := httptest.NewRequest("POST", link.Path, nil)
	session, cookie, err := w.guard.LoginByLink(login, code)
	if err != nil || session.Role != access.Operator || w.guarded.browser("GET", "/api/v1/events", cookie, "same-origin") != 200 {
		t.Errorf("%+v %v", session, err)
	}
	if _, _, err := w.guard.LoginByLink(login, code); err == nil {
		t.Error("it was accepted twice")
	}
	for range 30 {
		if _, _, err = w.guard.LoginByLink(login, "guess"); err != access.ErrDenied {
			t.Fatalf("guessing: %v", err)
		}
	}
	if _, _, err := w.guard.Login(login, adminToken, ""); err != nil {
		t.Errorf("wrong links keep a login out: %v", err)
	}
}

func TestAuditNamesTheCredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.key(t, "intern", "operator", "")
	event := w.send(t, "custom", `{"type":"flaky","id":"1"}`, nil)
	_, cookie, err := w.guard.Login(httptest.NewRequest("POST", "/login", nil), key.Key, "Alice (CFO)")
	if err != nil {
		t.Fatal(err)
	}
	if got := w.guarded.browser("POST", "/api/v1/events/"+event+"/replay", cookie, "same-origin"); got != 200 {
		t.Fatalf("replay: %d", got)
	}
	res := w.guarded.call("GET", "/api/v1/audit?action=replay-event", adminToken, "")
	for _, want := range []string{`"actor":"intern"`, `"keyId":"` + key.ID + `"`, `"as":"Alice (CFO)"`, `"times":1`} {
		if !strings.Contains(res.body, want) {
			t.Errorf("the audit log lacks %s: %s", want, res.body)
		}
	}
	res = w.guarded.call("GET", "/api/v1/sessions", adminToken, "")
	for _, want := range []string{`"name":"intern"`, `"keyId":"` + key.ID + `"`, `"as":"Alice (CFO)"`} {
		if !strings.Contains(res.body, want) {
			t.Errorf("the sessions lack %s: %s", want, res.body)
		}
	}
}

func TestRevokeKeysThatAKeyMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stolen := w.key(t, "stolen", "admin", "")
	make := func(by, name string) madeKey {
		var k madeKey
		if err := json.Unmarshal([]byte(w.guarded.call("POST", "/api/v1/keys", by, `{"name":"`+name+`","role":"admin"}`).body), &k); err != nil {
			t.Fatal(err)
		}
		return k
	}
	child := make(stolen.Key, "child")
	grandchild, other := make(child.Key, "grandchild"), w.key(t, "other", "admin", "")
	if res := w.guarded.call("GET", "/api/v1/keys", adminToken, ""); !strings.Contains(res.body, `"createdById":"`+stolen.ID+`"`) {
		t.Errorf("the list does not show what made a key: %s", res.body)
	}
	works := func(k madeKey) bool { return w.guarded.call("GET", "/api/v1/keys", k.Key, "").status == 200 }
	if res := w.guarded.call("DELETE", "/api/v1/keys/"+stolen.ID, adminToken, ""); res.status != 204 || works(stolen) || !works(child) {
		t.Errorf("revoked alone: %d", res.status)
	}
	if res := w.guarded.call("DELETE", "/api/v1/keys/"+stolen.ID+"?made=true", adminToken, ""); res.status != 204 || works(child) || works(grandchild) || !works(other) {
		t.Errorf("with what it made: %d, child %v, grandchild %v, another's %v", res.status, works(child), works(grandchild), works(other))
	}
	if res := w.guarded.call("DELETE", "/api/v1/keys/apk_none?made=true", adminToken, ""); res.status != 404 {
		t.Errorf("unknown key: %d", res.status)
	}
}

func TestWrongTokensAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if res := w.guarded.call("GET", "/api/v1/me", adminToken, ""); res.status != 200 {
		t.Fatalf("before: %d", res.status)
	}
	var res answered
	for range 400 {
		res = w.guarded.call("GET", "/api/v1/me", "guess", "")
	}
	if res.status != http.StatusTooManyRequests || res.header.Get("Retry-After") == "" {
		t.Errorf("400 wrong tokens: %d", res.status)
	}
	if res := w.guarded.call("GET", "/api/v1/me", adminToken, ""); res.status != 200 {
		t.Errorf("the token that was right before: %d", res.status)
	}
}

func TestAuditLogHasReadsOfPayloads(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	viewer := s.key(t, "reader", "viewer", "")
	for range 5 {
		s.guarded.call("GET", "/api/v1/events/"+s.own["events"], viewer.Key, "")
		s.guarded.call("GET", "/api/v1/sources", viewer.Key, "")
	}
	s.guard.Flush()
	res := s.guarded.call("GET", "/api/v1/audit/export?actor=reader", adminToken, "")
	lines := strings.Split(strings.TrimSpace(res.body), "\n")
	if res.status != 200 || res.header.Get("Content-Type") != "application/jsonl" || len(lines) != 2 {
		t.Fatalf("%d %v %s", res.status, res.header, res.body)
	}
	var rest, first struct {
		Action, Target, KeyID string
		Times                 int
	}
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &rest), json.Unmarshal([]byte(lines[1]), &first)); err != nil {
		t.Fatal(err)
	}
	if first.Action != "get-event" || first.Target != s.own["events"] || first.KeyID != viewer.ID || first.Times != 1 || rest.Times != 4 {
		t.Errorf("first %+v, rest %+v", first, rest)
	}
	for query, want := range map[string]int{"?since=1h": 200, "?since=soon": 400, "?nope=1": 400} {
		if res := s.guarded.call("GET", "/api/v1/audit/export"+query, adminToken, ""); res.status != want {
			t.Errorf("%s: %d %s", query, res.status, res.body)
		}
	}
}

// Each operation whose answer has a payload or a secret is read with a line in the audit log.
func TestSensitiveOperationsExist(t *testing.T) {
	t.Parallel()
	all := strings.Join(api.OperationIDs(), " ") + " "
	for _, op := range api.Sensitive() {
		if !strings.Contains(all, op+" ") {
			t.Errorf("there is no operation %s", op)
		}
	}
}
