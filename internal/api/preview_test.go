//go:build !slim

package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gaff/destination"
	"gaff/internal/wire"
)

// publish stores events of the type order.paid with these totals, the last one newest.
func (f *forwarder) publish(t *testing.T, totals ...string) {
	t.Helper()
	for _, total := range totals {
		if res := f.call(http.MethodPost, "/api/v1/events", "admin", `{"type":"order.paid","data":{"total":`+total+`}}`); res.status != http.StatusCreated {
			t.Fatalf("publish: %d %s", res.status, res.body)
		}
	}
}

func (f *forwarder) preview(t *testing.T, body string) (doc wire.Previews) {
	t.Helper()
	res := f.call(http.MethodPost, "/api/v1/destinations/preview", "admin", body)
	if res.status != http.StatusOK {
		t.Fatalf("preview %s: %d %s", body, res.status, res.body)
	}
	if err := json.Unmarshal([]byte(res.body), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestPreviewShowsWhatWouldBeSent(t *testing.T) {
	t.Parallel()
	var sent int
	f := newForwarder(t, func(*http.Request) int { sent++; return http.StatusOK }, destination.Spec{
		Name: "app", URL: "https://app.example.com/", Events: []string{"other:*"}, Transform: `{"total": data.total, "kind": type}`,
	})
	f.publish(t, "1", "20", `"none"`)
	type outcome struct {
		Passes, Sent bool
		After        string
	}
	outcomes := func(doc wire.Previews) (all []outcome) {
		for _, e := range doc.Events {
			all = append(all, outcome{e.Passes, e.Sent, string(e.After)})
		}
		return all
	}
	for name, c := range map[string]struct {
		body string
		want []outcome
	}{
		"CEL": {`{"filter":"data.total > 10","transform":"{\"t\": data.total}"}`, []outcome{
			{false, false, `{"t":"none"}`}, {true, true, `{"t":20}`}, {false, false, `{"t":1}`},
		}},
		"JavaScript": {`{"transformJs":"const transform = (e) => e.data.total === 20 ? null : [e.data.total]","limit":2}`, []outcome{
			{true, true, `["none"]`}, {true, false, ""},
		}},
		"a destination":              {`{"destination":"app","events":["published:*"],"limit":1}`, []outcome{{true, true, `{"kind":"order.paid","total":"none"}`}}},
		"its transformation removed": {`{"destination":"app","events":["published:*"],"transformJs":"const transform = () => 'text'","limit":1}`, []outcome{{true, true, "text"}}},
		"events that no pattern has": {`{"destination":"app"}`, nil},
		"no ids":                     {`{"ids":[]}`, nil},
		"another source":             {`{"source":"none"}`, nil},
	} {
		if diff := cmp.Diff(c.want, outcomes(f.preview(t, c.body))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if sent > 0 {
		t.Errorf("a preview sent %d requests", sent)
	}
}

func TestPreviewDescribesFailures(t *testing.T) {
	t.Parallel()
	f := newForwarder(t, func(*http.Request) int { return http.StatusOK })
	f.publish(t, "1")
	doc := f.preview(t, `{"filter":"data.none == 1","transformJs":"function transform(e, out) {\n  console.log('total', e.data.total);\n  out.headers['X-A'] = 'b'; out.headers.authorization = 'hush'; return e.data.none.deeper }"}`)
	if len(doc.Events) != 1 || doc.Failed != 1 {
		t.Fatalf("%d events, %d failed", len(doc.Events), doc.Failed)
	}
	e := doc.Events[0]
	if want := "transform: 3:"; !strings.HasPrefix(string(e.Error), want) || !strings.Contains(string(e.Error), "TypeError") {
		t.Errorf("error %q, want one that begins with %q", e.Error, want)
	}
	if !strings.Contains(string(e.FilterError), "no such key") {
		t.Errorf("error of the filter %q", e.FilterError)
	}
	if !strings.Contains(e.Before, `"total":1`) {
		t.Errorf("before: %s", e.Before)
	}
	doc = f.preview(t, `{"transformJs":"function transform(e, out) { console.log('total', e.data.total); out.headers['X-A'] = 'b'; out.headers.authorization = 'hush'; return {} }"}`)
	e = doc.Events[0]
	if diff := cmp.Diff([]string{"total 1"}, e.Logs); diff != "" {
		t.Error(diff)
	}
	if e.Headers["X-A"] != "b" || strings.Contains(e.Headers["Authorization"], "hush") {
		t.Errorf("headers %v, want X-A, and Authorization masked", e.Headers)
	}
}

// The logs of a script are text: JSON has their markup and control characters as escapes.
func TestPreviewEscapesLogs(t *testing.T) {
	t.Parallel()
	f := newForwarder(t, func(*http.Request) int { return http.StatusOK })
	f.publish(t, "1")
	body := `{"transformJs":"function transform() { for (let i = 0; i < 200; i++) console.log('<b>\\x1b[31m' + 'x'.repeat(2000)); return {} }"}`
	doc := f.preview(t, body)
	if e := doc.Events[0]; len(e.Logs) != 100 || len(e.Logs[0]) != 1000 || !strings.HasPrefix(e.Logs[0], "<b>\x1b[31mx") {
		t.Errorf("%d lines, the first: %.20q", len(e.Logs), e.Logs)
	}
	text, err := json.Marshal(doc)
	if err != nil || strings.ContainsAny(string(text), "<\x1b") {
		t.Errorf("%v, the document has markup or control characters", err)
	}
}

func TestPreviewIsChecked(t *testing.T) {
	t.Parallel()
	f := newForwarder(t, func(*http.Request) int { return http.StatusOK })
	f.publish(t, "1")
	for body, want := range map[string]struct {
		status int
		text   string
	}{
		`{"transformJs":"function transform( {"}`:                {http.StatusBadRequest, "transformJs: 1:"},
		`{"filter":"data."}`:                                     {http.StatusBadRequest, "filter: "},
		`{"transform":"{}","transformJs":"const transform = 1"}`: {http.StatusBadRequest, "transformJs: cannot be set together with transform"},
		`{"destination":"none"}`:                                 {http.StatusNotFound, "none"},
		`{"ids":["evt_none"]}`:                                   {http.StatusNotFound, "evt_none"},
		`{"limit":21}`:                                           {http.StatusBadRequest, "limit"},
		`{"ids":[` + strings.TrimSuffix(strings.Repeat(`"evt_1",`, 21), ",") + `]}`:    {http.StatusBadRequest, "ids"},
		`{"transformJs":"const transform = 1;//` + strings.Repeat("x", 300<<10) + `"}`: {http.StatusRequestEntityTooLarge, ""},
	} {
		res := f.call(http.MethodPost, "/api/v1/destinations/preview", "admin", body)
		if res.status != want.status || !strings.Contains(res.body, want.text) {
			t.Errorf("%.80s: %d %.300s, want %d with %q", body, res.status, res.body, want.status, want.text)
		}
	}
}

// Only administrators run code.
func TestPreviewNeedsAdmin(t *testing.T) {
	t.Parallel()
	f := newForwarder(t, func(*http.Request) int { return http.StatusOK })
	for role, want := range map[string]int{"viewer": http.StatusForbidden, "operator": http.StatusForbidden, "admin": http.StatusOK} {
		if res := f.call(http.MethodPost, "/api/v1/destinations/preview", role, `{}`); res.status != want {
			t.Errorf("%s: %d %.200s, want %d", role, res.status, res.body, want)
		}
	}
}
