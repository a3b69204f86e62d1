package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/internal/access"
	"gaff/internal/api"
	"gaff/internal/replay"
	"gaff/store/sqlite"
)

// forwarder is the API over a gateway that forwards, with receivers that are a function.
type forwarder struct {
	caller
	gw *gaff.Gateway
	// guarded is the same API behind keys, with the admin token [adminToken].
	guarded caller
}

type answers func(*http.Request) int

func (f answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: f(r), Header: http.Header{}, Body: io.NopCloser(strings.NewReader("thanks"))}, nil
}

func newForwarder(t *testing.T, answer answers, configured ...destination.Spec) *forwarder {
	t.Helper()
	st, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	gw, err := gaff.New(gaff.Options{Store: st, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	m := destination.NewManager(destination.ManagerOptions{
		Store: st, Gateway: gw, Log: log, Client: &http.Client{Transport: answer}, Lookup: destination.NewLookup(st), Configured: configured,
	})
	if err := m.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := gw.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gw.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	rs := replay.New(replay.Options{Store: st, Gateway: gw, Destinations: m, Log: log})
	if err := rs.Attach(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { rs.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	guard := access.NewGuard(access.GuardOptions{Store: st, AdminToken: adminToken, Log: log, BrowserKey: []byte("thirty-two bytes of a test key !!")})
	return &forwarder{
		caller{api.New(api.Options{Store: st, Gateway: gw, Authorizer: tokens{}, Log: log, Forwarding: m, Replays: rs}), t}, gw,
		caller{api.New(api.Options{Store: st, Gateway: gw, Authorizer: access.Scoped{Guard: guard}, Guard: guard, Log: log, Forwarding: m, Replays: rs}), t},
	}
}

func (f *forwarder) post(method, target, token, body string) answered {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return answered{w.Code, w.Header(), w.Body.String()}
}

func (f *forwarder) emit(t *testing.T, kind string) string {
	t.Helper()
	id, err := f.gw.Emit(context.Background(), gaff.Event{Source: "shop", Type: kind, WebhookID: kind, Data: json.RawMessage(`{}`)}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestDestinations(t *testing.T) {
	t.Parallel()
	f := newForwarder(t, func(*http.Request) int { return 200 }, destination.Spec{
		Name: "fixed", URL: "https://user.example.com/in?token=hunter2", Headers: map[string]string{"Authorization": "Bearer hunter2"},
		Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
	})
	for _, c := range []struct {
		method, path, token, body string
		status                    int
		want                      []string
		not                       []string
	}{
		{"GET", "", "viewer", "", 200, []string{`"name":"fixed"`, `"origin":"config"`, `"secrets":["…LaSw"]`, `"Authorization":"[masked]"`}, []string{"hunter2", "MfKQ9"}},
		{"POST", "", "operator", `{"name":"app","url":"https://app.example.com"}`, 403, nil, nil},
		{"POST", "", "admin", `{"name":"app","url":"https://app.example.com","events":["gaff:*"]}`, 201, []string{`"secret":"whsec_`, `"events":["gaff:*"]`}, nil},
		{"POST", "", "admin", `{"name":"app","url":"https://app.example.com"}`, 409, []string{"already"}, nil},
		{"POST", "", "admin", `{"name":"b","url":"x","filter":"=="}`, 400, []string{"url: must be a whole URL", "filter: 1:1: Syntax error"}, nil},
		{"POST", "", "admin", `{"name":"b","url":"https://b.example.com","evnts":[]}`, 400, []string{"evnts"}, nil},
		{"POST", "", "admin", `{"name":"c","url":"https://c.example.com","format":"original"}`, 201, []string{`"secret":null`, `"secrets":[]`}, nil},
		{"GET", "/app", "viewer", "", 200, []string{`"circuit":"closed"`, `"waiting":0`}, []string{`"secret":`}},
		{"GET", "/nobody", "viewer", "", 404, []string{"not found"}, nil},
		{"PATCH", "/app", "operator", `{"rate":5}`, 403, nil, nil},
		{"PATCH", "/app", "admin", `{"rate":5,"timeout":"3s","events":["shop:*"]}`, 200, []string{`"rate":5`, `"timeout":"3s"`, `"url":"https://app.example.com"`}, nil},
		{"PATCH", "/app", "admin", `{"rate":null}`, 200, []string{`"rate":0`}, nil},
		{"PATCH", "/app", "admin", `{"nope":5}`, 400, []string{"nope"}, nil},
		{"PATCH", "/app", "admin", `{"timeout":5}`, 400, nil, nil},
		{"PATCH", "/fixed", "admin", `{"rate":5}`, 409, []string{"defined in the configuration"}, nil},
		{"POST", "/app/pause", "viewer", ``, 403, nil, nil},
		{"POST", "/app/pause", "operator", `{"reason":"deploy"}`, 200, []string{`"state":"paused"`, `"reason":"deploy"`}, nil},
		{"POST", "/fixed/pause", "operator", ``, 200, []string{`"state":"paused"`}, nil},
		{"POST", "/app/test", "operator", ``, 200, []string{`"ok":true`, `"status":200`, `"body":"thanks"`}, nil},
		{"POST", "/app/resume", "operator", ``, 200, []string{`"state":"active"`, `"reason":null`}, nil},
		{"POST", "/app/rotate", "admin", ``, 200, []string{`"secret":"whsec_`, `","…`}, nil},
		{"POST", "/app/rotate", "admin", `{"drop":true}`, 200, []string{`"secret":"whsec_`}, []string{`","…`}},
		{"DELETE", "/app", "operator", ``, 403, nil, nil},
		{"DELETE", "/app", "admin", ``, 204, nil, nil},
		{"DELETE", "/app", "admin", ``, 404, nil, nil},
		{"DELETE", "/fixed", "admin", ``, 409, []string{"take it out there"}, nil},
		{"PUT", "/app", "admin", ``, 405, []string{"PATCH"}, nil},
	} {
		res := f.post(c.method, "/api/v1/destinations"+c.path, c.token, c.body)
		if res.status != c.status {
			t.Errorf("%s %s %s: %d %s, want %d", c.method, c.path, c.body, res.status, res.body, c.status)
		}
		for _, want := range c.want {
			if !strings.Contains(res.body, want) {
				t.Errorf("%s %s %s: %s lacks %s", c.method, c.path, c.body, res.body, want)
			}
		}
		for _, not := range c.not {
			if strings.Contains(res.body, not) {
				t.Errorf("%s %s %s: %s shows %s", c.method, c.path, c.body, res.body, not)
			}
		}
	}
}

func TestPullByHTTP(t *testing.T) {
	t.Parallel()
	f := newForwarder(t, nil)
	if res := f.post("POST", "/api/v1/destinations", "admin", `{"name":"worker","kind":"pull","lease":"1h"}`); res.status != 201 {
		t.Fatal(res)
	}
	ids := []string{f.emit(t, "a"), f.emit(t, "b"), f.emit(t, "c"), f.emit(t, "d")}
	var pulled struct {
		Deliveries []struct {
			Lease, DeliveryID, EventID, Type string
			Attempt                          int
			Envelope                         struct{ ID string }
		}
	}
	pull := func(body string) {
		t.Helper()
		res := f.post("POST", "/api/v1/pull", "operator", body)
		if res.status != 200 {
			t.Fatal(res)
		}
		pulled.Deliveries = nil
		if err := json.Unmarshal([]byte(res.body), &pulled); err != nil {
			t.Fatal(err)
		}
	}
	pull(`{"destination":"worker","max":3}`)
	if len(pulled.Deliveries) != 3 || pulled.Deliveries[0].EventID != ids[0] || pulled.Deliveries[0].Envelope.ID != ids[0] || pulled.Deliveries[0].Attempt != 1 {
		t.Fatalf("pulled %+v", pulled)
	}
	end := func(what, lease, more, want string) {
		t.Helper()
		res := f.post("POST", "/api/v1/pull/"+what, "operator", fmt.Sprintf(`{"leases":[%q]%s}`, lease, more))
		if res.status != 200 || !strings.Contains(res.body, want) {
			t.Errorf("%s: %d %s", what, res.status, res.body)
		}
	}
	end("ack", pulled.Deliveries[0].Lease, "", `"ok":true`)
	end("ack", pulled.Deliveries[0].Lease, "", `"ok":false`)
	end("extend", pulled.Deliveries[1].Lease, `,"lease":"2h"`, `"until":"`)
	end("fail", pulled.Deliveries[1].Lease, `,"error":"no luck","delay":"1h"`, `"ok":true`)
	end("release", pulled.Deliveries[2].Lease, "", `"ok":true`)
	pull(`{"destination":"worker","wait":"1s"}`)
	if len(pulled.Deliveries) != 2 || pulled.Deliveries[0].EventID != ids[2] {
		t.Errorf("then %+v", pulled)
	}
	for _, c := range []struct {
		target, token, body string
		status              int
	}{
		{"/api/v1/pull", "viewer", `{"destination":"worker"}`, 403},
		{"/api/v1/pull", "operator", `{"destination":"nobody"}`, 404},
		{"/api/v1/pull", "operator", `{"destination":"worker","max":1000}`, 400},
		{"/api/v1/pull", "operator", `{"destination":"worker","wait":"1h"}`, 400},
		{"/api/v1/pull", "operator", `{"destination":"worker","wait":"soon"}`, 400},
		{"/api/v1/pull/ack", "operator", `{"leases":[]}`, 400},
		{"/api/v1/pull/extend", "operator", `{"leases":["x"],"lease":"99h"}`, 400},
	} {
		if res := f.post("POST", c.target, c.token, c.body); res.status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.target, c.body, res.status, res.body, c.status)
		}
	}
}

func TestPullStream(t *testing.T) {
	t.Parallel()
	f := newForwarder(t, nil)
	if res := f.post("POST", "/api/v1/destinations", "admin", `{"name":"worker","kind":"pull","lease":"1h","format":"original"}`); res.status != 201 {
		t.Fatal(res)
	}
	srv := httptest.NewServer(f.handler)
	defer srv.Close()
	open := func() (*bufio.Scanner, func()) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/api/v1/pull/stream?destination=worker&max=2", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer operator")
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		return bufio.NewScanner(res.Body), func() { res.Body.Close() }
	}
	lines, end := open()
	defer end()
	next := func() (lease string) {
		t.Helper()
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var d struct{ Lease string }
				if err := json.Unmarshal([]byte(text), &d); err != nil {
					t.Fatal(err)
				}
				return d.Lease
			}
		}
		t.Fatal("the stream ended")
		return ""
	}
	f.emit(t, "a")
	first := next()
	f.emit(t, "b")
	next()
	f.emit(t, "c")
	// Two are handed out at once: the third follows an acknowledgement.
	if res := f.post("POST", "/api/v1/pull/ack", "operator", fmt.Sprintf(`{"leases":[%q]}`, first)); res.status != 200 {
		t.Fatal(res)
	}
	next()
	for target, want := range map[string]int{"?destination=nobody": 404, "?destination=worker&max=x": 400, "?destination=worker&nope=1": 400} {
		if res := f.call("GET", "/api/v1/pull/stream"+target, "operator", ""); res.status != want {
			t.Errorf("%s: %d", target, res.status)
		}
	}
}

func TestSubscriptionsByHTTP(t *testing.T) {
	t.Parallel()
	f := newForwarder(t, nil)
	if res := f.post("POST", "/api/v1/subscriptions", "operator", `{"name":"me","events":["shop:*"]}`); res.status != 200 || !strings.Contains(res.body, `"created":true`) {
		t.Fatal(res)
	}
	id := f.emit(t, "a")
	res := f.call("GET", "/api/v1/subscriptions/me/events?wait=1s", "operator", "")
	if res.status != 200 || !strings.Contains(res.body, `"cursor":"`+id) || !strings.Contains(res.body, `"request":null`) {
		t.Errorf("heard %d %s", res.status, res.body)
	}
	if res := f.post("POST", "/api/v1/subscriptions/me/ack", "operator", `{"cursor":"`+id+`"}`); res.status != 200 {
		t.Error(res)
	}
	if res := f.call("GET", "/api/v1/subscriptions/me/events", "operator", ""); !strings.Contains(res.body, `"events":[]`) {
		t.Errorf("heard again: %s", res.body)
	}
	if res := f.call("GET", "/api/v1/subscriptions", "viewer", ""); !strings.Contains(res.body, id) {
		t.Error(res)
	}
	if res := f.call("GET", "/api/v1/subscriptions/me/events", "viewer", ""); res.status != 403 {
		t.Error("a viewer read headers as they were received")
	}
	if res := f.call("DELETE", "/api/v1/subscriptions/me", "operator", ""); res.status != 204 {
		t.Error(res)
	}
	if res := f.call("GET", "/api/v1/subscriptions/me/events", "operator", ""); res.status != 404 {
		t.Error(res)
	}
}

func TestDestinationKeysReachTheirDestinationOnly(t *testing.T) {
	t.Parallel()
	f := newForwarder(t, nil)
	for _, name := range []string{"mine", "other"} {
		if res := f.guarded.call("POST", "/api/v1/destinations", adminToken, `{"name":"`+name+`","kind":"pull","lease":"1h"}`); res.status != 201 {
			t.Fatal(res)
		}
	}
	res := f.guarded.call("POST", "/api/v1/keys", adminToken, `{"name":"worker","role":"admin","scope":{"destination":"mine"}}`)
	var k madeKey
	if err := json.Unmarshal([]byte(res.body), &k); err != nil || res.status != 201 {
		t.Fatalf("create key: %d %s", res.status, res.body)
	}
	f.emit(t, "a")
	lease := func(token, name string) string {
		t.Helper()
		res := f.guarded.call("POST", "/api/v1/pull", token, `{"destination":"`+name+`","wait":"1s"}`)
		var pulled struct{ Deliveries []struct{ Lease string } }
		if err := json.Unmarshal([]byte(res.body), &pulled); err != nil || len(pulled.Deliveries) != 1 {
			t.Fatalf("pull %s: %d %s", name, res.status, res.body)
		}
		return pulled.Deliveries[0].Lease
	}
	mine, others := lease(k.Key, "mine"), lease(adminToken, "other")
	for _, c := range []struct {
		method, target, body string
		want                 int
	}{
		{"GET", "/api/v1/destinations/mine", "", 200},
		{"GET", "/api/v1/destinations/other", "", 404},
		{"GET", "/api/v1/destinations", "", 403},
		{"PATCH", "/api/v1/destinations/mine", `{"events":["*"]}`, 403},
		{"POST", "/api/v1/destinations/other/pause", "", 404},
		{"POST", "/api/v1/destinations/other/resume", "", 404},
		{"POST", "/api/v1/destinations/other/test", "", 404},
		{"POST", "/api/v1/pull", `{"destination":"other"}`, 404},
		{"GET", "/api/v1/pull/stream?destination=other", "", 404},
		{"POST", "/api/v1/pull/ack", `{"leases":["` + mine + `","` + others + `"]}`, 404},
		{"POST", "/api/v1/pull/release", `{"leases":["` + others + `"]}`, 404},
		{"POST", "/api/v1/pull/fail", `{"leases":["` + others + `"],"dead":true}`, 404},
		{"POST", "/api/v1/pull/extend", `{"leases":["` + others + `"],"lease":"2h"}`, 404},
		{"POST", "/api/v1/pull/ack", `{"leases":["` + mine + `"]}`, 200},
		{"GET", "/api/v1/events", "", 403},
		{"GET", "/api/v1/deliveries", "", 403},
		{"GET", "/api/v1/subscriptions", "", 403},
	} {
		if res := f.guarded.call(c.method, c.target, k.Key, c.body); res.status != c.want {
			t.Errorf("%s %s %s: %d %s, want %d", c.method, c.target, c.body, res.status, res.body, c.want)
		}
	}
	if res := f.guarded.call("POST", "/api/v1/keys", adminToken, `{"name":"x","role":"viewer","scope":{"destination":"none"}}`); res.status != 400 {
		t.Errorf("a key of an unknown destination: %d %s", res.status, res.body)
	}
}
