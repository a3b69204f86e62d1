package ui_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gaff"
	"gaff/gafftest"
	"gaff/internal/access"
	"gaff/internal/eventually"
	"gaff/jobs"
	"gaff/provider/custom"
)

// reply is what a page answered.
type reply struct {
	status int
	url    string
	header http.Header
	body   string
}

func fetch(t *testing.T, c *http.Client, method, address string, form url.Values, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Request.URL.RequestURI(), res.Header, string(body)}
}

// pagesOf lists an address of every page.
func pagesOf(failed, completed, conflict string) []string {
	return []string{
		"/", "/events", "/events?status=error&source=custom&q=album&since=7d", "/events/" + failed, "/events/" + completed, "/events/" + completed + "?body=raw",
		"/events/" + conflict + "/diff/1", "/rejections", "/issues", "/issues?state=open", "/jobs", "/jobs?status=completed", "/jobs?q=flux", "/search", "/search?q=shot-03-video", "/search?q=nothing+has+it", "/jobs/shot-03-video", "/media", "/media?mediaType=generated-video",
		"/projects", "/projects/harbour-film", "/sources", "/sources/fal", "/destinations", "/runs", "/workflows", "/workflows/ask", "/new-workflow", "/workflows/written", "/workflows/written/edit", "/workflows/written/revisions?show=1", "/bulk?action=retry", "/bulk?action=replay&source=fal", "/replays", "/scheduled", "/keys", "/audit", "/settings", "/health",
	}
}

func TestPagesRender(t *testing.T) {
	t.Parallel()
	onBoth(t, everyPage)
}

func everyPage(t *testing.T, w *world) {
	c := w.browser(t)
	for _, path := range []string{"/", "/events", "/jobs", "/media", "/projects", "/rejections", "/issues", "/keys", "/audit"} {
		if got := fetch(t, c, "GET", w.url+path, nil); got.status != 200 {
			t.Errorf("empty %s: %d", path, got.status)
		}
	}
	failed, completed, conflict := w.furnish(t)
	leftover := regexp.MustCompile(`@(txt|when|clock|chip|icon|post)\(|%!|<nil>|&lt;nil`)
	inline := regexp.MustCompile(`<script[^>]*>[^<]|\sstyle="|\son[a-z]+="|javascript:`)
	for _, path := range pagesOf(failed, completed, conflict) {
		got := fetch(t, c, "GET", w.url+path, nil)
		policy := got.header.Get("Content-Security-Policy")
		if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
		if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: policy %q", path, policy)
		}
		if m := leftover.FindString(got.body); m != "" {
			t.Errorf("%s: %q is left over from the markup", path, m)
		}
		if m := inline.FindString(got.body); m != "" {
			t.Errorf("%s: %q: the policy forbids it", path, m)
		}
		if !strings.Contains(got.body, `aria-current="page"`) || strings.Count(got.body, "<h1") != 1 {
			t.Errorf("%s: the navigation does not tell where one is, or the page has not one name", path)
		}
	}
	for path, want := range map[string]string{"/health": "Ready to store webhooks", "/settings": "https://hooks.example.com"} {
		if got := fetch(t, c, "GET", w.url+path, nil); !strings.Contains(got.body, want) {
			t.Errorf("%s: the API's answer is not shown: no %q", path, want)
		}
	}
	for path, want := range map[string]int{
		"/nowhere": 404, "/events/evt_none": 404, "/jobs/none": 404, "/media/none": 404, "/projects/none": 404, "/sources/none": 404, "/rejections/none": 404, "/issues/none": 404, "/issues?state=odd": 400,
		"/events?status=odd": 400, "/search?q=" + strings.Repeat("x", 300): 400, "/events?since=then": 400, "/events?cursor=%21": 400, "/bulk?action=burn": 400, "/events/" + conflict + "/diff/9": 404, "/bulk/none": 404, "/replays/none": 404,
	} {
		got := fetch(t, c, "GET", w.url+path, nil)
		if got.status != want || !strings.Contains(got.body, "</html>") {
			t.Errorf("%s: %d, want %d", path, got.status, want)
		}
	}
}

// What a page costs to load, without media: 150 KB compressed.
func TestPageWeight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	failed, completed, conflict := w.furnish(t)
	weigh := func(path string) (int, string) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", w.url+path, nil)
		req.Header.Set("Accept-Encoding", "gzip")
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		packed, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(strings.NewReader(string(packed)))
		if err != nil {
			t.Fatalf("%s is not packed: %v", path, err)
		}
		body, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		return len(packed), string(body)
	}
	asset := regexp.MustCompile(`(?:href|src)="(/static/[^"]+)"`)
	heaviest, name := 0, ""
	for _, path := range pagesOf(failed, completed, conflict) {
		total, body := weigh(path)
		seen := map[string]bool{}
		for _, m := range asset.FindAllStringSubmatch(body, -1) {
			if !seen[m[1]] {
				seen[m[1]] = true
				n, _ := weigh(m[1])
				total += n
			}
		}
		if len(seen) < 4 {
			t.Errorf("%s: only %d files are linked: is the expression still right?", path, len(seen))
		}
		if total > heaviest {
			heaviest, name = total, path
		}
	}
	if heaviest > 150_000 {
		t.Errorf("%s weighs %d bytes", name, heaviest)
	}
	t.Logf("the heaviest page is %s with %d bytes", name, heaviest)
}

func TestUnauthenticatedClientsGetLoginOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failed, completed, conflict := w.furnish(t)
	stranger := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, path := range append(pagesOf(failed, completed, conflict), "/nowhere", "/bulk/x") {
		got := fetch(t, stranger, "GET", w.url+path, nil)
		if got.status != 303 || !strings.HasPrefix(got.header.Get("Location"), "/login") || strings.Contains(got.body, "album-1") {
			t.Errorf("GET %s: %d %s", path, got.status, got.body)
		}
		got = fetch(t, stranger, "GET", w.url+path, nil, "HX-Request", "true")
		if got.status != 401 || got.body != "" {
			t.Errorf("fragment of %s: %d %s", path, got.status, got.body)
		}
	}
	for _, path := range []string{"/events/" + failed + "/retry", "/events/" + failed + "/replay", "/keys", "/bulk", "/sources/fal/test", "/keys/x/revoke", "/sessions/x/end"} {
		got := fetch(t, stranger, "POST", w.url+path, url.Values{"name": {"x"}, "role": {"admin"}, "action": {"replay"}})
		if got.status/100 == 2 || got.status == 303 && !strings.HasPrefix(got.header.Get("Location"), "/login") {
			t.Errorf("POST %s: %d to %s", path, got.status, got.header.Get("Location"))
		}
	}
	if got := fetch(t, stranger, "POST", w.url+"/login", url.Values{"token": {"guess"}}); got.status != 401 || got.header.Get("Set-Cookie") != "" || !strings.Contains(got.body, "not known") {
		t.Errorf("login with a guess: %d %v", got.status, got.header)
	}
	if d, err := w.store.Event(t.Context(), failed); err != nil || d.RetryCount != 0 {
		t.Errorf("an unauthenticated client changed something: %+v %v", d, err)
	}
}

// The receiving handler is what a tunnel publishes: nothing of the console is in it.
func TestWebhookURLsServeNoConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/", "/login", "/events", "/static/app.css", "/api/v1/events"} {
		rec := httptest.NewRecorder()
		w.gw.IngestHandler().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code < 400 || strings.Contains(rec.Body.String(), "<") {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
}

func TestFormsWorkWithoutJavaScript(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	id := w.sent(t, "custom", `{"type":"flaky","id":"one"}`)
	page := fetch(t, c, "GET", w.url+"/events/"+id, nil)
	for _, want := range []string{"Why it failed", errAlbum.Error(), `action="/events/` + id + `/retry"`, `action="/events/` + id + `/replay"`} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the event's page lacks %q", want)
		}
	}
	fetch(t, c, "POST", w.url+"/events/"+id+"/retry", url.Values{})
	w.settled(t, id)
	if page := fetch(t, c, "GET", w.url+"/events/"+id, nil); !strings.Contains(page.body, "Same as attempt 1.") {
		t.Error("the second attempt is not shown as equal to the first")
	}
	w.healed.Store(true)
	got := fetch(t, c, "POST", w.url+"/events/"+id+"/retry", url.Values{})
	if got.status != 200 || got.url != "/events/"+id || !strings.Contains(got.body, "being retried") {
		t.Errorf("retry: %d %s", got.status, got.url)
	}
	w.settled(t, id)
	if got := fetch(t, c, "POST", w.url+"/events/"+id+"/retry", url.Values{}); !strings.Contains(got.body, "Not done:") {
		t.Error("a retry of what succeeded is not told of")
	}
	if got := fetch(t, c, "GET", w.url+"/events/"+id, nil); strings.Contains(got.body, "Not done:") || strings.Contains(got.body, "Why it failed") {
		t.Error("the message stays, or the failure does")
	}

	// Nothing is done for a page of another site.
	for _, site := range []string{"cross-site", "same-site"} {
		if got := fetch(t, c, "POST", w.url+"/events/"+id+"/replay", url.Values{}, "Sec-Fetch-Site", site); got.status != 403 {
			t.Errorf("%s: %d", site, got.status)
		}
	}
	if got := fetch(t, c, "POST", w.url+"/logout", url.Values{}, "Origin", "https://evil.example"); got.status != 403 {
		t.Errorf("logout from elsewhere: %d", got.status)
	}

	got = fetch(t, c, "POST", w.url+"/keys", url.Values{"name": {"render <b>worker</b>"}, "role": {"viewer"}, "expires": {"90d"}})
	secretText := regexp.MustCompile(`data-copy="(gaff_[A-Z2-7]+)"`).FindStringSubmatch(got.body)
	if got.status != 200 || secretText == nil || strings.Contains(got.body, "<b>worker") {
		t.Fatalf("new key: %d %s", got.status, got.body)
	}
	if list := fetch(t, c, "GET", w.url+"/keys", nil); strings.Contains(list.body, secretText[1]) || !strings.Contains(list.body, "render &lt;b&gt;worker") {
		t.Error("the list shows the secret, or not the name")
	}

	got = fetch(t, c, "POST", w.url+"/sources/custom/test", url.Values{"type": {"test"}})
	if got.status != 200 || !strings.HasPrefix(got.url, "/events/evt_") || !strings.Contains(got.body, "signed sample") {
		t.Errorf("test of a source: %d %s", got.status, got.url)
	}

	if got := fetch(t, c, "POST", w.url+"/theme", url.Values{}, "Referer", w.url+"/jobs"); got.url != "/jobs" || !strings.Contains(got.body, `data-theme="light"`) {
		t.Errorf("theme: %s", got.url)
	}
	audit := fetch(t, c, "GET", w.url+"/audit", nil)
	for _, want := range []string{"retry-event", "create-key", "test-source", "login", "Anna"} {
		if !strings.Contains(audit.body, want) {
			t.Errorf("the audit log lacks %s", want)
		}
	}
	if got := fetch(t, c, "POST", w.url+"/logout", url.Values{}); got.url != "/login" {
		t.Errorf("logout: %s", got.url)
	}
	if got := fetch(t, c, "GET", w.url+"/events?status=error", nil); got.url != "/login?next=%2Fevents%3Fstatus%3Derror" {
		t.Errorf("after the logout: %s", got.url)
	}
	got = fetch(t, c, "POST", w.url+"/login", url.Values{"token": {adminToken}, "next": {"/events?status=error"}})
	if got.url != "/events?status=error" {
		t.Errorf("login leads to %s", got.url)
	}
	for _, evil := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "/login", "javascript:alert(1)"} {
		if got := fetch(t, c, "POST", w.url+"/login", url.Values{"token": {adminToken}, "next": {evil}}); got.url != "/" {
			t.Errorf("login with next=%s leads to %s", evil, got.url)
		}
	}
}

func TestBulkRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	for i := range 30 {
		w.sent(t, "custom", fmt.Sprintf(`{"type":"flaky","id":"n-%d"}`, i))
	}
	count := fetch(t, c, "GET", w.url+"/bulk?action=retry&source=custom", nil)
	if !strings.Contains(count.body, "Retry 30") {
		t.Fatalf("the count is not told: %s", count.body)
	}
	// A count from the totals is the one that a walk finds.
	w.sent(t, "fal", `{"request_id":"r1","status":"completed","result":{},"metadata":{"job_id":"j1","project_id":"p","user_id":"u","generation_type":"image"}}`)
	for filter, want := range map[string]int{`"action":"retry"`: 30, `"action":"replay"`: 31, `"action":"replay","status":"success"`: 1, `"action":"replay","source":"fal"`: 1, `"action":"replay","status":"pending"`: 0} {
		for _, walk := range []string{"", `,"since":"9d"`} {
			var got struct{ Matches int }
			answer := fetchJSON(t, c, "POST", w.url+"/api/v1/bulk", `{"dryRun":true,`+filter+walk+`}`)
			if err := json.Unmarshal([]byte(answer.body), &got); err != nil || got.Matches != want {
				t.Errorf("%s%s: %d match, want %d: %s", filter, walk, got.Matches, want, answer.body)
			}
		}
	}
	w.healed.Store(true)
	if run := w.bulkEnd(t, c, url.Values{"action": {"retry"}, "source": {"custom"}, "status": {"error"}}); !strings.Contains(run, "Retried") || !strings.Contains(run, "30 of 30") {
		t.Errorf("the end: %s", run)
	}
	if got := fetch(t, c, "GET", w.url+"/bulk?action=retry&source=custom", nil); !strings.Contains(got.body, "Nothing to do") {
		t.Error("there is something left")
	}
}

// bulkEnd starts a bulk action and returns its page after the end.
func (w *world) bulkEnd(t *testing.T, c *http.Client, form url.Values) string {
	t.Helper()
	run := fetch(t, c, "POST", w.url+"/bulk", form)
	if !strings.HasPrefix(run.url, "/bulk/blk_") {
		t.Fatalf("started: %d %s", run.status, run.url)
	}
	for range 2000 {
		if got := fetch(t, c, "GET", w.url+run.url, nil).body; !strings.Contains(got, ">Refresh<") {
			return got
		}
	}
	t.Fatal("it does not end")
	return ""
}

func TestPagesShowOnlyPermittedActions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.sent(t, "custom", `{"type":"flaky","id":"one"}`)
	_, key, err := w.guard.CreateKey(t.Context(), access.Identity{Name: "admin"}, access.KeyParams{Name: "looker", Role: access.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	get := func(method, path string) reply {
		return fetch(t, http.DefaultClient, method, w.url+path, nil, "Authorization", "Bearer "+key)
	}
	if page := get("GET", "/events/"+id); page.status != 200 || strings.Contains(page.body, "/retry") || strings.Contains(page.body, "/replay\"") {
		t.Errorf("a viewer is shown what he may not do: %d", page.status)
	}
	for path, want := range map[string]int{"/keys": 403, "/bulk?action=retry": 403, "/audit": 200, "/settings": 200} {
		if got := get("GET", path); got.status != want {
			t.Errorf("%s: %d, want %d", path, got.status, want)
		}
	}
	get("POST", "/events/"+id+"/retry")
	if d, err := w.store.Event(t.Context(), id); err != nil || d.RetryCount != 0 {
		t.Errorf("a viewer retried: %+v %v", d.Log, err)
	}
}

func TestLoginLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	code, err := w.guard.OwnerLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	// Mail scanners and browsers that look ahead do not use it up.
	for range 2 {
		got := fetch(t, stay, "GET", w.url+"/login/"+code, nil)
		if got.status != 200 || got.header.Get("Set-Cookie") != "" || !strings.Contains(got.body, `action="/login/`+code+`"`) || !strings.Contains(got.body, "admin") {
			t.Errorf("opened: %d, cookie %q", got.status, got.header.Get("Set-Cookie"))
		}
	}
	if got := fetch(t, stay, "POST", w.url+"/login/"+code, nil, "Sec-Fetch-Site", "cross-site"); got.status != 403 || got.header.Get("Set-Cookie") != "" {
		t.Errorf("posted by a page of another site: %d", got.status)
	}
	got := fetch(t, stay, "POST", w.url+"/login/"+code, nil, "Sec-Fetch-Site", "same-origin")
	cookie := got.header.Get("Set-Cookie")
	if got.status != 303 || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") || strings.Contains(cookie, "Secure") {
		t.Errorf("%d %q", got.status, cookie)
	}
	for _, method := range []string{"GET", "POST"} {
		if got := fetch(t, stay, method, w.url+"/login/"+code, nil); got.status != 401 || !strings.Contains(got.body, "used before") {
			t.Errorf("%s a second time: %d", method, got.status)
		}
	}
	if got := fetch(t, stay, "POST", w.url+"/login", url.Values{"token": {adminToken}}, "X-Forwarded-Proto", "https"); !strings.Contains(got.header.Get("Set-Cookie"), "Secure") {
		t.Error("behind https the cookie goes over http too")
	}
}

func TestHostileContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	evil := `<script>alert(1)</script><img src=x onerror=alert(1)>" onmouseover="alert(1)\u202egpj.exe`
	body, _ := json.Marshal(map[string]any{
		"type": "flaky", "id": `"><script>alert(2)</script>`, "text": evil, "link": "javascript:alert(3)", `<b>key</b>`: "</pre></html>", "null": "\u0000",
	})
	id := w.sent(t, "custom", string(body))
	media, _ := json.Marshal(map[string]any{
		"request_id": "evil", "status": "completed",
		"result": map[string]any{
			"images": []any{map[string]any{"url": "https://evil.example/x.svg?\"><script>", "width": 1}, map[string]any{"url": "data:image/svg+xml,<svg onload=alert(4)>"}},
			"video":  map[string]any{"url": "https://evil.example/\u202e4pm.exe"},
		},
		"metadata": map[string]any{"job_id": "../../<script>", "project_id": "\u202e<i>p</i>", "user_id": "x", "generation_type": "image"},
	})
	fal := w.sent(t, "fal", string(media))
	var paths []string
	jobs := fetch(t, c, "GET", w.url+"/jobs", nil)
	for _, m := range regexp.MustCompile(`href="(/(?:jobs|projects|media|events)/[^"]+)"`).FindAllStringSubmatch(jobs.body+fetch(t, c, "GET", w.url+"/media", nil).body, -1) {
		paths = append(paths, strings.ReplaceAll(m[1], "&amp;", "&"))
	}
	paths = append(paths, "/", "/events", "/jobs", "/media", "/projects", "/events/"+id, "/events/"+id+"?body=raw", "/events/"+fal, "/events?q="+url.QueryEscape(evil), "/nowhere"+url.PathEscape(evil))
	copied := regexp.MustCompile(`data-copy="[^"]*"`) // what a button copies is exact, and not shown
	for _, path := range paths {
		got := fetch(t, c, "GET", w.url+path, nil)
		got.body = copied.ReplaceAllString(got.body, "")
		for _, bad := range []string{"<script>alert", "<img src=x", "onerror=alert(1)>", "<i>p</i>", "<b>key", "<svg onload", "\u202e", `href="javascript`, `src="data:`, `src="https`, `" onmouseover="`} {
			if strings.Contains(got.body, bad) {
				i := strings.Index(got.body, bad)
				t.Errorf("%s holds %q: %q", path, bad, got.body[max(0, i-200):min(len(got.body), i+40)])
			}
		}
	}
	if len(paths) < 12 {
		t.Errorf("only %d pages were looked at", len(paths))
	}
	page := fetch(t, c, "GET", w.url+"/events/"+id, nil).body
	for _, want := range []string{`\u202e`, "javascript:alert(3)", "&lt;script&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("the event's page does not show %q as text", want)
		}
	}
}

// large is 5 MB of JSON, with a needle at its end.
func large() string {
	return `{"type":"flaky","id":"large","frames":[` + strings.Repeat(`{"at":1.25,"name":"frame"},`, 192_000) + `{"name":"the last frame"}]}`
}

// A body of megabytes is shown in part, and costs a page no more than others.
func TestLargeBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	id := w.sent(t, "custom", large())
	for _, path := range []string{"/events/" + id, "/events/" + id + "?body=raw", "/events?q=the+last+frame", "/events?q=large"} {
		got := fetch(t, c, "GET", w.url+path, nil)
		if len(got.body) > 1<<20 {
			t.Errorf("%s has %d bytes", path, len(got.body))
		}
		if strings.HasPrefix(path, "/events?") {
			if !strings.Contains(got.body, id) {
				t.Errorf("%s does not find it", path)
			}
		} else if !strings.Contains(got.body, "are not shown") || !strings.Contains(got.body, "Download the exact") {
			t.Errorf("%s does not tell that it is cut", path)
		}
	}
	if got := fetch(t, c, "GET", w.url+"/api/v1/events/"+id+"/body", nil); got.body != large() {
		t.Errorf("the download has %d bytes", len(got.body))
	}
}

func TestDestinationPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	var well atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			rw.WriteHeader(http.StatusGone)
		}
	}))
	t.Cleanup(receiver.Close)
	made := fetchJSON(t, c, "POST", w.url+"/api/v1/destinations", `{"name":"shop","url":"`+receiver.URL+`/hook","events":["custom:*"],"maxAttempts":1,"final":[410]}`)
	if made.status != http.StatusCreated {
		t.Fatalf("%d %s", made.status, made.body)
	}
	id := w.sent(t, "custom", `{"type":"test","id":"to-shop"}`)
	page := fetch(t, c, "GET", w.url+"/destinations/shop", nil)
	letter := regexp.MustCompile(`action="(/deliveries/[^"]+/retry)"`).FindStringSubmatch(page.body)
	if letter == nil || !strings.Contains(page.body, "Dead letters") || !strings.Contains(page.body, id) || !strings.Contains(page.body, receiver.URL) {
		t.Fatalf("the page of a destination with a dead letter: %s", page.body)
	}
	post := func(path string) reply {
		return fetch(t, c, "POST", w.url+path, url.Values{}, "Referer", w.url+"/destinations/shop")
	}
	if got := post("/destinations/shop/test"); !strings.Contains(got.body, "Failed: ") {
		t.Error("a rejected test event is shown as a success")
	}
	well.Store(true)
	if got := post("/destinations/shop/test"); !strings.Contains(got.body, "accepted the test event") {
		t.Error("a test that was taken is not told")
	}
	if got := post("/destinations/shop/pause"); !strings.Contains(got.body, "paused") || !strings.Contains(got.body, "/destinations/shop/resume") {
		t.Error("it is not paused")
	}
	if got := post("/destinations/shop/resume"); !strings.Contains(got.body, "/destinations/shop/pause") {
		t.Error("it is not resumed")
	}
	post(letter[1])
	if w.settled(t, id) != gaff.StatusSuccess {
		t.Error("the letter was not sent again")
	}
	tries := fetch(t, c, "GET", w.url+"/events/"+id, nil).body
	for _, want := range []string{"Differences from attempt 1", "response status", "<del>410</del>", "<ins>200</ins>"} {
		if !strings.Contains(tries, want) {
			t.Errorf("the second attempt is not compared with the first: no %q", want)
		}
	}
	if got := fetch(t, c, "GET", w.url+"/destinations/none", nil); got.status != 404 {
		t.Errorf("an unknown destination: %d", got.status)
	}
}

func fetchJSON(t *testing.T, c *http.Client, method, address, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, "", res.Header, string(text)}
}

func TestRescueRejectedWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	const other = "the sender's new secret"
	r, err := gafftest.SignedRequest(t.Context(), w.url+gaff.PathPrefix+"custom", "custom", other, []byte(`{"type":"test","id":"lost"}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	list := fetch(t, c, "GET", w.url+"/rejections", nil)
	path := regexp.MustCompile(`href="(/rejections/rej_[^"]+)"`).FindStringSubmatch(list.body)
	if path == nil {
		t.Fatal("it is not in the list")
	}
	if page := fetch(t, c, "GET", w.url+path[1], nil); !strings.Contains(page.body, path[1]+"/rescue") {
		t.Fatalf("it cannot be rescued: %s", page.body)
	}
	if got := fetch(t, c, "POST", w.url+path[1]+"/rescue", url.Values{}); !strings.Contains(got.body, "Not done:") {
		t.Error("a rescue without a mended configuration")
	}
	mended, err := custom.Default([]string{secret, other})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.gw.UpdateSource(mended); err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, c, "POST", w.url+path[1]+"/rescue", url.Values{}); !strings.Contains(got.body, "Rescued as") || !strings.Contains(got.body, "/events/evt_") {
		t.Errorf("it is not rescued: %s", got.body)
	}
	if list := fetch(t, c, "GET", w.url+"/rejections", nil); strings.Contains(list.body, "Rescue these") {
		t.Error("the list offers to rescue a rescued request")
	}

	// In bulk: authentic requests become events, and the reason of the other one is shown.
	const later = "and a newer one"
	for i, key := range []string{later, later, "nobody's"} {
		r, err := gafftest.SignedRequest(t.Context(), w.url+gaff.PathPrefix+"custom", "custom", key, fmt.Appendf(nil, `{"type":"test","id":"lost-%d"}`, i))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	if mended, err = custom.Default([]string{secret, later}); err != nil {
		t.Fatal(err)
	}
	if err := w.gw.UpdateSource(mended); err != nil {
		t.Fatal(err)
	}
	// Rejections are stored after their answers.
	eventually.True(t, "the list offers to rescue the three", func() bool {
		list := fetch(t, c, "GET", w.url+"/rejections?source=custom", nil)
		count := fetch(t, c, "GET", w.url+"/bulk?action=rescue&source=custom", nil)
		return strings.Contains(list.body, `href="/bulk?action=rescue&amp;source=custom"`) && strings.Contains(count.body, "Rescue 3")
	})
	run := w.bulkEnd(t, c, url.Values{"action": {"rescue"}, "source": {"custom"}})
	if !strings.Contains(run, "Rescued") || !strings.Contains(run, "is refused still") || !strings.Contains(run, "<dt>Done</dt><dd>2</dd>") {
		t.Errorf("the rescue of many: %s", run)
	}
}

func TestJobShowsExpectedEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	for _, project := range []string{"slow", "late"} {
		w.sent(t, "fal", fmt.Sprintf(`{"request_id":"r-%[1]s","status":"in_progress","metadata":{"job_id":"%[1]s","project_id":"%[1]s","user_id":"waits","generation_type":"image"}}`, project))
	}
	due := func(path string) string {
		page := fetch(t, c, "GET", w.url+path, nil).body
		_, text, _ := strings.Cut(page, `<span class="due`)
		text, _, _ = strings.Cut(text, "</span>")
		return strings.Join(strings.Fields(regexp.MustCompile(`^[^>]*>|<[^>]*>`).ReplaceAllString(text, "")), " ")
	}
	for project, want := range map[string]string{"slow": "expected in 39 min", "late": "late, expected 2 min ago"} {
		for _, path := range []string{"/jobs?projectId=" + project, "/jobs/" + project, "/projects/" + project} {
			if got := due(path); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	}
	w.sent(t, "fal", `{"request_id":"r-slow","status":"completed","result":{},"metadata":{"job_id":"slow","project_id":"slow","user_id":"waits","generation_type":"image"}}`)
	if got := due("/jobs/slow"); got != "" {
		t.Errorf("a job that is over: %q", got)
	}
}

func TestJobButtonsEscapeID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	w.sent(t, "fal", `{"request_id":"r","status":"in_progress","metadata":{"job_id":"a/b c","project_id":"p","user_id":"u","generation_type":"image"}}`)
	page := fetch(t, c, "GET", w.url+"/jobs/a%2Fb%20c", nil)
	for _, button := range []string{"/jobs/a%2Fb%20c/ask", "/jobs/a%2Fb%20c/cancel"} {
		if !strings.Contains(page.body, button) {
			t.Errorf("%d: no button for %s", page.status, button)
		}
		// This world has no ledger: the API says so, and the page passes it on.
		if got := fetch(t, c, "POST", w.url+button, url.Values{}); !strings.Contains(got.body, "submits no jobs") {
			t.Errorf("%s: %d %s", button, got.status, got.url)
		}
	}
}

func TestSourcePageShowsWhereToSubmit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	const begins = "https://queue.example/MODEL?hook="
	if page := fetch(t, c, "GET", w.url+"/sources/fal", nil); !strings.Contains(page.body, begins) {
		t.Errorf("the page of fal has no %s", begins)
	}
	if page := fetch(t, c, "GET", w.url+"/sources/custom", nil); strings.Contains(page.body, begins) {
		t.Errorf("the page of custom has %s", begins)
	}
}

func TestSearchFindsJobByPromptAndEventBySendersID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	if err := w.store.Write(t.Context(), func(tx jobs.Tx) error {
		if err := tx.InsertJob(t.Context(), &jobs.Job{ID: "job_fox", Provider: "fal", Model: "fal-ai/flux/dev", RequestID: "r-fox", CreatedAt: time.Now()}); err != nil {
			return err
		}
		return tx.SaveInput(t.Context(), "job_fox", json.RawMessage(`{"prompt":"a fox <b>in</b> the snow"}`))
	}); err != nil {
		t.Fatal(err)
	}
	page := fetch(t, c, "GET", w.url+"/search?q=FOX+%3Cb%3Ein", nil).body
	for _, want := range []string{`href="/jobs/job_fox"`, "a fox &lt;b&gt;in&lt;/b&gt; the snow"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
	if page := fetch(t, c, "GET", w.url+"/search?q=r-fox", nil).body; !strings.Contains(page, `href="/jobs/job_fox"`) {
		t.Errorf("not found by the provider's id:\n%s", page)
	}
}

// A parameter that a page does not know is named, and not ignored in silence. Links of the console
// have none.
func TestUnknownParametersAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failed, completed, conflict := w.furnish(t)
	c := w.browser(t)
	const notice = "is not known on this page"
	for _, path := range []string{"/jobs?project=film", "/events?foo=1", "/runs?x=1&y=2", "/deliveries?dest=1", "/sources/fal?x=1"} {
		if got := fetch(t, c, "GET", w.url+path, nil); got.status != 200 || strings.Count(got.body, notice) != strings.Count(path, "=") {
			t.Errorf("%s: %d, notices: %d", path, got.status, strings.Count(got.body, notice))
		}
	}
	hrefs := regexp.MustCompile(`href="(/[a-z-]+(?:/[^"?]*)?\?[^"]+)"`)
	seen := map[string]bool{}
	for _, path := range pagesOf(failed, completed, conflict) {
		got := fetch(t, c, "GET", w.url+path, nil)
		if strings.Contains(got.body, notice) {
			t.Errorf("%s has an unknown parameter", path)
		}
		for _, m := range hrefs.FindAllStringSubmatch(got.body, -1) {
			target := html.UnescapeString(m[1])
			shape := regexp.MustCompile(`=[^&]*`).ReplaceAllString(target, "=")
			if seen[shape] || strings.HasPrefix(target, "/api/") || strings.HasPrefix(target, "/erase") { // this world erases nothing
				continue
			}
			seen[shape] = true
			if linked := fetch(t, c, "GET", w.url+target, nil); strings.Contains(linked.body, notice) || linked.status >= 400 {
				t.Errorf("%s links to %s: %d", path, target, linked.status)
			}
		}
	}
}
