package api_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/api"
	"gaff/provider/custom"
	"gaff/provider/fal"
)

// scenario is one request and the wanted answer.
type scenario struct {
	name string
	// request is "METHOD /target"; the words below stand for what the world knows.
	request string
	// role asks; empty: a viewer, "none": no credential.
	role, body string
	status     int
	// has and hasNot are texts, has also headers as "Name: value".
	has, hasNot []string
}

func (sc scenario) run(t *testing.T, c caller, words *strings.Replacer) {
	t.Helper()
	method, target, _ := strings.Cut(words.Replace(sc.request), " ")
	role := sc.role
	switch role {
	case "":
		role = "viewer"
	case "none":
		role = ""
	}
	res := c.call(method, target, role, words.Replace(sc.body))
	if res.status != sc.status {
		t.Errorf("%s %s: status %d, want %d: %.500s", method, target, res.status, sc.status, res.body)
	}
	var text strings.Builder
	_ = res.header.Write(&text)
	text.WriteString(res.body)
	for _, want := range sc.has {
		if want = words.Replace(want); !strings.Contains(text.String(), want) {
			t.Errorf("%s %s: no %q in\n%.3000s", method, target, want, text.String())
		}
	}
	for _, bad := range sc.hasNot {
		if bad = words.Replace(bad); strings.Contains(text.String(), bad) {
			t.Errorf("%s %s: %q in\n%.3000s", method, target, bad, text.String())
		}
	}
	if cache, sniff := res.header.Get("Cache-Control"), res.header.Get("X-Content-Type-Options"); cache != "no-store" || sniff != "nosniff" {
		t.Errorf("%s %s: Cache-Control %q, X-Content-Type-Options %q", method, target, cache, sniff)
	}
}

const falBody = `{"request_id":"req-1","status":"completed",` +
	`"result":{"seed":12345678901234567890,"images":[{"url":"https://files.example.com/a.png","width":64,"height":32},{"url":"https://files.example.com/b.png"}]},` +
	`"metadata":{"job_id":"job/of ours","project_id":"p1","user_id":"u1","generation_type":"image"}}`

// hostile is a body with what readers trip over: markup, numbers beyond a double, a
// repeated name, a broken escape.
const hostile = `{ "id": "<script>alert(1)</script>", "type":"flaky", "n": 1234567890.12345678901234567890, "n":1e400, "t":"` + "a\xffb" + `" }`

func TestResources(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	falID := w.send(t, fal.Name, falBody, nil)
	failedID := w.send(t, custom.DefaultName, hostile, http.Header{
		"Authorization": {"Basic c2VjcmV0"}, "Cookie": {"session=open"}, "X-Api-Key": {"k1"}, "X-Signing-Key": {"k2"},
		"Idempotency-Key": {"i1"}, "X-Harmless": {"<b>"},
	})
	unhandledID := w.send(t, custom.DefaultName, `{"type":"nobody","id":"n1"}`, nil)
	refused := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+custom.DefaultName+"?token=t0psecret&x=1", strings.NewReader(`{"type":"x"}`))
	w.ingest.ServeHTTP(httptest.NewRecorder(), refused)
	var rejections struct {
		Docs []struct{ ID string }
	}
	w.get(t, "/api/v1/rejections", &rejections)
	var media struct{ Docs []struct{ ID string } }
	w.get(t, "/api/v1/media", &media)
	words := strings.NewReplacer(
		"FAL_EVENT", falID, "FAILED_EVENT", failedID, "UNHANDLED_EVENT", unhandledID, "JOB", "job%2Fof%20ours",
		"FAL_DELIVERY", "dlv_"+falID[4:]+"-1", "FAILED_DELIVERY", "dlv_"+failedID[4:]+"-1",
		"REJECTION", rejections.Docs[0].ID, "MEDIA", media.Docs[0].ID,
	)
	for _, sc := range []scenario{
		{
			name: "events, newest first", request: "GET /api/v1/events", status: 200,
			has: []string{`"docs":[{"id":"UNHANDLED_EVENT"`, `"nextCursor":null`, `"unhandled":true`, "Content-Type: application/json"},
			// gaff's own, and bodies, are not in the list
			hasNot: []string{`"source":"gaff"`, `"data"`, "null,null"},
		},
		{
			name: "a filter by status", request: "GET /api/v1/events?status=error", status: 200,
			has: []string{"FAILED_EVENT", `"error":"the album is gone\nnot found"`}, hasNot: []string{"FAL_EVENT"},
		},
		{name: "a search", request: "GET /api/v1/events?q=job/of+ours", status: 200, has: []string{"FAL_EVENT"}, hasNot: []string{"FAILED_EVENT"}},
		{name: "a wildcard is a letter", request: "GET /api/v1/events?q=%25", status: 200, has: []string{`"docs":[]`}},
		{name: "since a duration", request: "GET /api/v1/events?since=7d&until=2999-01-01T00:00:00Z", status: 200, has: []string{"FAL_EVENT"}},
		{name: "until before", request: "GET /api/v1/events?until=1h", status: 200, has: []string{`{"docs":[],"nextCursor":null}`}},
		{name: "inner events", request: "GET /api/v1/events?inner=true&source=gaff", status: 200, has: []string{`"type":"job.completed"`, `"parentId":"FAL_EVENT"`}},
		{
			name: "an event in full", request: "GET /api/v1/events/FAL_EVENT", status: 200,
			has: []string{
				`"webhookId":"req-1"`, `"status":"success"`, `"seed":12345678901234567890`, `"scheme":"`, `"state":"succeeded"`,
				`"handler":"effects/fal"`, `"outcome":"succeeded"`, `"remoteAddr":"192.0.2.7"`, `"method":"POST"`, `"bodyBase64":null`,
				`"url":"https://hooks.example.com/api/v1/webhooks/fal"`, `"children":["evt_`, `"copies":[]`,
			},
		},
		{
			name: "a hostile event in full", request: "GET /api/v1/events/FAILED_EVENT", status: 200,
			has: []string{
				`<script>`, `"n":1234567890.12345678901234567890,"n":1e400`, `"t":"a` + "\uFFFD" + `b"`, `"X-Harmless":["<b>"]`, `"Idempotency-Key":["i1"]`,
				`"body":null,"bodyBase64":"` + base64.StdEncoding.EncodeToString([]byte(hostile)), `"Authorization":["[masked]"]`,
				`"state":"dead"`, `"tries":[{"number":1,"outcome":"failed"`,
			},
			hasNot: []string{"c2VjcmV0", "session=open", "k1", "k2", secret},
		},
		{name: "an event nobody handles", request: "GET /api/v1/events/UNHANDLED_EVENT", status: 200, has: []string{`"deliveries":[]`, `"status":"success"`}},
		{
			name: "exact bytes", request: "GET /api/v1/events/FAILED_EVENT/body", status: 200,
			has: []string{hostile, "Content-Disposition: attachment;", "Content-Type: application/octet-stream"},
		},
		{name: "no test of no event", request: "GET /api/v1/events/evt_0/test", status: 404, has: []string{"application/problem+json", "evt_0"}},
		{name: "a test in another language", request: "GET /api/v1/events/FAL_EVENT/test?lang=cobol", status: 400, has: []string{"lang: want go, ts or curl"}},
		{name: "a test", request: "GET /api/v1/events/FAL_EVENT/test?lang=ts", status: 200, has: []string{"Content-Type: text/plain", "attachment; filename=", ".test.ts", `\"request_id\":\"req-1\"`}},
		{name: "no such body", request: "GET /api/v1/events/evt_0/body", status: 404, has: []string{"application/problem+json", "evt_0"}},
		{name: "no such event", request: "GET /api/v1/events/evt_0", status: 404, has: []string{"application/problem+json", `"detail"`}},
		{name: "markup for an id", request: "GET /api/v1/events/%3Cscript%3E%00", status: 404},
		{name: "an endless id", request: "GET /api/v1/events/" + strings.Repeat("e", 200), status: 400, has: []string{"id: "}},
		{name: "deliveries", request: "GET /api/v1/deliveries?state=dead", status: 200, has: []string{"FAILED_DELIVERY", `"eventId":"FAILED_EVENT"`, `"type":"flaky"`}, hasNot: []string{"FAL_DELIVERY", `"tries"`}},
		{name: "a delivery", request: "GET /api/v1/deliveries/FAL_DELIVERY", status: 200, has: []string{`"tries":[{"number":1`, `"durationMs":`, `"changes":null`}},
		{name: "no such delivery", request: "GET /api/v1/deliveries/dlv_0-1", status: 404},
		{
			name: "rejections", request: "GET /api/v1/rejections?source=custom", status: 200,
			has: []string{"REJECTION", `"status":401`, "?token=[masked]&x=1", `"bodySize":12`}, hasNot: []string{"t0psecret"},
		},
		{name: "a rejection", request: "GET /api/v1/rejections/REJECTION", status: 200, has: []string{`"reason":"`}, hasNot: []string{"t0psecret"}},
		{name: "jobs", request: "GET /api/v1/jobs?status=completed&projectId=p1&userId=u1&provider=fal&requestId=req-1", status: 200, has: []string{`"id":"job/of ours"`, `"settledBy":"webhook"`}},
		{
			name: "a job whose id is its asker's", request: "GET /api/v1/jobs/JOB", status: 200,
			has: []string{`"model":null`, `"kind":"image"`, `"seed":12345678901234567890`, `"error":null`, `"errorType":null`, `"submittedAt":null`},
		},
		{name: "no such job", request: "GET /api/v1/jobs/job_0", status: 404},
		{name: "media of a project", request: "GET /api/v1/media?projectId=p1&limit=1", status: 200, has: []string{`"url":"https://files.example.com/b.png"`, `"nextCursor":"`}, hasNot: []string{"a.png"}},
		{name: "media of another", request: "GET /api/v1/media?projectId=p2", status: 200, has: []string{`"docs":[]`}},
		{name: "a media row", request: "GET /api/v1/media/MEDIA", status: 200, has: []string{`"mediaType":"generated-image"`, `"storedUrl":null`, `"size":null`}},
		{name: "sources", request: "GET /api/v1/sources", status: 200, has: []string{`"name":"custom"`, `"path":"/api/v1/webhooks/fal"`, `"handlers":[{"name":"effects/fal","source":"fal","type":"*"}]`, `"rejected":1`}},
		{name: "a source", request: "GET /api/v1/sources/fal", status: 200, has: []string{`"address":"/api/v1/webhooks/fal"`, `"maxBodyBytes":1048576`, `"quiet":null`}},
		{name: "no such source", request: "GET /api/v1/sources/nope", status: 404, has: []string{"GET /api/v1/sources lists them"}},
		{name: "stats", request: "GET /api/v1/stats?since=24h", status: 200, has: []string{`"deliveries":{"waiting":0,"due":0,"dead":1,"oldestDue":null}`, `"error":1`}},
		{name: "health", request: "GET /api/v1/health", status: 200, has: []string{`"ready":true`, `"quietSources":{`, `"memoryBytes":`}},

		{name: "a limit of none", request: "GET /api/v1/events?limit=0", status: 400, has: []string{"limit: ", "application/problem+json"}},
		{name: "a limit of too many", request: "GET /api/v1/media?limit=501", status: 400, has: []string{"limit: ", "500"}},
		{name: "an empty project", request: "GET /api/v1/media?projectId=", status: 400, has: []string{"projectId", "is empty"}},
		{name: "an empty source", request: "GET /api/v1/events?source=", status: 400, has: []string{"source", "is empty"}},
		{name: "an empty user", request: "GET /api/v1/jobs?userId=&projectId=p1", status: 400, has: []string{"userId", "is empty"}},
		{name: "an empty filter of statistics", request: "GET /api/v1/stats/series?source=", status: 400, has: []string{"source", "is empty"}},
		{name: "an empty filter of the stream", request: "GET /api/v1/stream?jobId=", status: 400, has: []string{"jobId", "is empty"}},
		{name: "an empty cursor", request: "GET /api/v1/jobs?cursor=", status: 200, has: []string{`"docs":[`}},
		{name: "an empty filter of a bulk action", request: "POST /api/v1/bulk", role: "operator", body: `{"action":"retry","source":"","dryRun":true}`, status: 400},
		{name: "an empty where", request: "GET /api/v1/webhooks/manage?where[source][equals]=", status: 200, has: []string{`"docs":[],"totalDocs":0`}},
		{name: "an empty where in and", request: "GET /api/v1/webhooks/manage?where[and][0][status][equals]=", status: 200, has: []string{`"docs":[],"totalDocs":0`}},
		{name: "an unknown where that is empty", request: "GET /api/v1/webhooks/manage?where[error][exists]=", status: 400, has: []string{"where[error][exists]"}},
		{name: "the user's own empty source", request: "GET /api/v1/webhooks/manage?source=", status: 200, has: []string{`"id":"evt_`}},
		{name: "a limit in words", request: "GET /api/v1/jobs?limit=many", status: 400, has: []string{"limit: "}},
		{name: "a foreign cursor", request: "GET /api/v1/events?cursor=../../etc", status: 400, has: []string{"nextCursor"}},
		{name: "search finds an event by its sender's id", request: "GET /api/v1/search?q=req-1", status: 200, has: []string{`"kind":"event"`, `"id":"FAL_EVENT"`}},
		{name: "search finds a source by a part of its name", request: "GET /api/v1/search?q=FA", status: 200, has: []string{`"kind":"source"`, `"id":"fal"`}},
		{name: "search for nothing", request: "GET /api/v1/search?q=", status: 400, has: []string{"q"}},
		{name: "an unknown status", request: "GET /api/v1/events?status=failed", status: 400, has: []string{"status: ", "pending"}},
		{name: "an unknown state", request: "GET /api/v1/deliveries?state=cancelled", status: 400, has: []string{"state: "}},
		{name: "a misspelled filter", request: "GET /api/v1/events?sorce=fal", status: 400, has: []string{"sorce"}},
		{name: "a filter given twice", request: "GET /api/v1/events?source=fal&source=custom", status: 400, has: []string{"source", "once"}},
		{name: "a broken escape", request: "GET /api/v1/events?source=%zz", status: 400, has: []string{"escaped"}},
		{name: "a semicolon", request: "GET /api/v1/events?source=fal;status=error", status: 400},
		{name: "an unreadable time", request: "GET /api/v1/events?since=yesterday", status: 400, has: []string{"2026-01-31T12:00:00Z"}},
		{name: "a time to come", request: "GET /api/v1/stats?since=-1h", status: 400},
		{name: "an endless time", request: "GET /api/v1/stats?since=99999999d", status: 400},
		{name: "an unreadable boolean", request: "GET /api/v1/events?inner=perhaps", status: 400},

		{name: "no such address", request: "GET /api/v2/events", status: 404, has: []string{"application/problem+json", "/api/docs"}},
		{name: "no such method", request: "DELETE /api/v1/events", status: 405, has: []string{"Allow: GET, HEAD", "application/problem+json"}},
		{name: "GET of an action", request: "GET /api/v1/events/FAL_EVENT/retry", status: 405, has: []string{"Allow: POST"}},
		{name: "no credential", request: "GET /api/v1/events/FAL_EVENT", role: "none", status: 401, has: []string{"Www-Authenticate: Bearer", "application/problem+json"}, hasNot: []string{"req-1"}},
		{name: "a wrong token", request: "GET /api/v1/jobs", role: "root", status: 401},
		{name: "HEAD", request: "HEAD /api/v1/events", status: 200, has: []string{"Content-Type: application/json"}},

		{name: "a viewer retries", request: "POST /api/v1/events/FAILED_EVENT/retry", status: 403, has: []string{"operator"}},
		{name: "nothing to retry", request: "POST /api/v1/events/FAL_EVENT/retry", role: "operator", status: 409, has: []string{"application/problem+json", "no delivery"}},
		{name: "retry of a delivery as an event", request: "POST /api/v1/events/FAILED_DELIVERY/retry", role: "operator", status: 404},
		{name: "retry of an event as a delivery", request: "POST /api/v1/deliveries/FAILED_EVENT/retry", role: "operator", status: 404},
		{name: "cancel a finished delivery", request: "POST /api/v1/deliveries/FAL_DELIVERY/cancel", role: "operator", status: 409},
		{name: "replay", request: "POST /api/v1/events/FAL_EVENT/replay", role: "operator", status: 200, has: []string{`{"deliveries":["dlv_`}},
		{name: "replay to nobody", request: "POST /api/v1/events/UNHANDLED_EVENT/replay", role: "operator", status: 409, has: []string{"no handler is registered"}},
	} {
		t.Run(sc.name, func(t *testing.T) { sc.run(t, w.caller, words) })
	}

	w.settled(t, falID)
	var again struct{ Docs []any }
	if w.get(t, "/api/v1/media", &again); len(again.Docs) != 2 {
		t.Errorf("a replay made media of its own: %d rows", len(again.Docs))
	}
	w.healed.Store(true)
	scenario{request: "POST /api/v1/deliveries/FAILED_DELIVERY/retry", role: "operator", status: 200, has: []string{`["FAILED_DELIVERY"]`}}.run(t, w.caller, words)
	w.settled(t, failedID)
	scenario{request: "GET /api/v1/events/FAILED_EVENT", status: 200, has: []string{`"status":"success"`, `"retryCount":1`, `"number":2`}}.run(t, w.caller, words)
}

// Every page follows on the one before it while more arrive.
func TestPaging(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 7 {
		w.send(t, custom.DefaultName, fmt.Sprintf(`{"type":"nobody","id":"n%d"}`, i), nil)
	}
	var seen []string
	target := "/api/v1/events?limit=3"
	for pages := 0; ; pages++ {
		var page struct {
			Docs       []struct{ WebhookID string }
			NextCursor *string
		}
		w.get(t, target, &page)
		for _, doc := range page.Docs {
			seen = append(seen, doc.WebhookID)
		}
		w.send(t, custom.DefaultName, fmt.Sprintf(`{"type":"nobody","id":"late%d"}`, pages), nil)
		if page.NextCursor == nil || pages > 5 {
			break
		}
		target = "/api/v1/events?limit=3&cursor=" + url.QueryEscape(*page.NextCursor)
	}
	if got := strings.Join(seen, " "); got != "n6 n5 n4 n3 n2 n1 n0" {
		t.Errorf("pages hold %s", got)
	}
}

func TestStoreFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		err    error
		status int
	}{
		{"not there", fmt.Errorf("event: %w", gaff.ErrNotFound), 404},
		{"no good", fmt.Errorf("events: %w: cursor", gaff.ErrInvalid), 400},
		{"not in a state for it", gaff.ErrConflict, 409},
		{"database gone", gaff.ErrUnavailable, 503},
		{"stopped", gaff.ErrStopped, 503},
		{"anything else", errors.New("a driver's own words"), 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.store.event = func(string) (*gaff.EventDetail, error) { return nil, c.err }
			for _, target := range []string{"/api/v1/events/evt_1", "/api/v1/events/evt_1/body"} {
				res := f.call(http.MethodGet, target, "viewer", "")
				if res.status != c.status || res.header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s: %d %s", target, res.status, res.body)
				}
				if strings.Contains(res.body, "driver") {
					t.Errorf("%s shows text of the log: %s", target, res.body)
				}
			}
		})
	}
}

// A handler that panics is answered, and told in the log; what has begun is cut off.
func TestPanics(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.store.event = func(string) (*gaff.EventDetail, error) { panic("broken invariant") }
	res := f.call(http.MethodGet, "/api/v1/events/evt_1", "viewer", "")
	if res.status != http.StatusInternalServerError || strings.Contains(res.body, "invariant") || strings.Contains(f.log.String(), "invariant") || !strings.Contains(f.log.String(), "TestPanics.func1") {
		t.Errorf("%d %s, log %s", res.status, res.body, f.log)
	}
	f.store.event = func(string) (*gaff.EventDetail, error) {
		return &gaff.EventDetail{Log: gaff.Log{Event: gaff.Event{ID: "evt_1", Data: []byte(`{"half":`)}}}, nil
	}
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("recovered %v; half an answer was passed off as a whole one", p)
		}
	}()
	f.call(http.MethodGet, "/api/v1/events/evt_1", "viewer", "")
}

func TestStaticToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		token, header string
		ok            bool
	}{
		{"s3cret", "Bearer s3cret", true},
		{"s3cret", "bearer s3cret", true},
		{"s3cret", "Bearer  s3cret ", true},
		{"s3cret", "Bearer s3cre", false},
		{"s3cret", "Bearer s3crets", false},
		{"s3cret", "Bearer s3cret s3cret", false},
		{"s3cret", "Basic s3cret", false},
		{"s3cret", "s3cret", false},
		{"s3cret", "", false},
		{"", "Bearer ", false},
		{"", "", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", c.header)
		id, ok := api.StaticToken(c.token).Authorize(r)
		if ok != c.ok || ok && id.Role != api.Admin {
			t.Errorf("token %q, header %q: %v %v", c.token, c.header, id, ok)
		}
	}
}

// Times are as JavaScript writes them.
func TestTimes(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	zone := time.FixedZone("east", 5*3600)
	f.store.events = func(gaff.EventFilter) (gaff.Page[gaff.Log], error) {
		return gaff.Page[gaff.Log]{Items: []gaff.Log{{Event: gaff.Event{
			ID: "evt_1", ReceivedAt: time.Date(2026, 1, 31, 4, 5, 6, 7_999_000, zone), OccurredAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		}}}}, nil
	}
	res := f.call(http.MethodGet, "/api/v1/events", "viewer", "")
	for _, want := range []string{`"receivedAt":"2026-01-30T23:05:06.007Z"`, `"occurredAt":"2026-01-01T00:00:00.000Z"`, `"processedAt":null`} {
		if !strings.Contains(res.body, want) {
			t.Errorf("no %s in %s", want, res.body)
		}
	}
}

func TestSinceIsThatLongAgo(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "90m": 90 * time.Minute, "0s": 0} {
		f := newFake(t)
		var since time.Time
		f.store.events = func(filter gaff.EventFilter) (gaff.Page[gaff.Log], error) {
			since = filter.Since
			return gaff.Page[gaff.Log]{}, nil
		}
		f.call(http.MethodGet, "/api/v1/events?since="+text, "viewer", "")
		if ago := time.Since(since); ago < want || ago > want+time.Minute {
			t.Errorf("since=%s is %s ago", text, ago)
		}
	}
}

// A sender's secret is shown nowhere, under any name.
func TestMasking(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.store.event = func(string) (*gaff.EventDetail, error) {
		return &gaff.EventDetail{Log: gaff.Log{Event: gaff.Event{ID: "evt_1", Data: []byte(`{}`), Request: &gaff.Request{
			URL: "https://x.example/api/v1/webhooks/custom?a=1&TOKEN=hush1&api%5Fkey=hush2&%zz=hush3&flag&b=2",
			Header: http.Header{
				"X-Gitlab-Token": {"hush4", "hush5"}, "Proxy-Authorization": {"hush6"}, "X-My-Password": {"hush7"}, "X-Key": {"hush8"},
				"X-Hub-Signature-256": {"sha256=shown"}, "Webhook-Key-Id": {"shown"},
			},
		}}}}, nil
	}
	res := f.call(http.MethodGet, "/api/v1/events/evt_1", "viewer", "")
	if leak := regexp.MustCompile(`hush\d`).FindString(res.body); leak != "" || res.status != http.StatusOK {
		t.Errorf("%s in %s", leak, res.body)
	}
	for _, want := range []string{"?a=1&TOKEN=[masked]&", "&flag&b=2", `"Webhook-Key-Id":["shown"]`, `["sha256=shown"]`} {
		if !strings.Contains(res.body, want) {
			t.Errorf("no %q in %s", want, res.body)
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for role, want := range map[api.Role]string{api.NoRole: "none", api.Viewer: "viewer", api.Operator: "operator", api.Admin: "admin", -1: "unknown", 99: "unknown"} {
		if role.String() != want {
			t.Errorf("role %d is %q", int(role), role)
		}
	}
}
