package api_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// found returns the webhook ids that a query of the collection finds, in order.
func (w *world) found(t *testing.T, query string) []string {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	res := w.call(http.MethodGet, "/api/v1/webhooks/manage?"+values.Encode(), "viewer", "")
	if res.status != http.StatusOK {
		t.Errorf("%s: %d %s", query, res.status, res.body)
		return nil
	}
	var page struct {
		Docs      []struct{ WebhookID string }
		TotalDocs int
	}
	if err := json.Unmarshal([]byte(res.body), &page); err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, d := range page.Docs {
		ids = append(ids, d.WebhookID)
	}
	return ids
}

// The operators are those of Payload CMS, on three logs: w1 (fal, success), w2 (custom, error) and
// w3 (custom, success).
func TestWebhookLogsAreFoundByPayloadsConditions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(t, "fal", `{"request_id":"w1","status":"failed","metadata":{"job_id":"j1"}}`, nil)
	w.send(t, "custom", `{"type":"flaky","id":"w2"}`, nil)
	w.send(t, "custom", `{"type":"steady","id":"w3"}`, nil)
	one := w.found(t, "where[type][equals]=flaky")
	if len(one) != 1 {
		t.Fatalf("the flaky one: %v", one)
	}
	fal := w.found(t, "where[source][equals]=fal")[0]
	for query, want := range map[string][]string{
		"where[source][not_equals]=fal&sort=receivedAt,id":                                             {"w2", "w3"},
		"where[source][in]=fal,custom&sort=receivedAt,id":                                              {fal, "w2", "w3"},
		"where[source][in][0]=fal&where[source][in][1]=custom&sort=receivedAt,id":                      {fal, "w2", "w3"},
		"where[source][not_in]=fal,other&sort=-receivedAt,-id":                                         {"w3", "w2"},
		"where[or][0][source][equals]=fal&where[or][1][type][equals]=steady&sort=receivedAt,id":        {fal, "w3"},
		"where[or][0][and][0][source][equals]=custom&where[or][0][and][1][status][equals]=error":       {"w2"},
		"where[and][0][or][0][type][equals]=flaky&where[and][0][or][1][type][equals]=steady&sort=type": {"w2", "w3"},
		"where[error][exists]=true":                            {"w2"},
		"where[error][exists]=false&sort=source,receivedAt,id": {"w3", fal},
		"where[error][like]=GONE album":                        {"w2"},
		"where[error][like]=gone film":                         {},
		"where[error][contains]=album is gone":                 {"w2"},
		"where[error][contains]=100%25":                        {},
		"where[error][equals]=null&sort=source,receivedAt":     {"w3", fal},
		"where[type][like]=stead":                              {"w3"},
		"where[retryCount][greater_than_equal]=1":              {},
		"where[retryCount][less_than]=1&sort=-source,id":       {fal, "w2", "w3"},
		"where[receivedAt][greater_than]=2001-01-01&where[receivedAt][less_than_equal]=2999-01-01T00:00:00Z&where[status][not_equals]=success": {"w2"},
		"where[createdAt][less_than]=2001-01-01":                                      {},
		"where[status][in]=error,pending":                                             {"w2"},
		"where[unhandled][equals]=true":                                               {"w3"},
		"where[webhookId][equals]=w3":                                                 {"w3"},
		"where[id][equals]=evt_none":                                                  {},
		"where[source][equals]=&sort=-status":                                         {},
		"where[status][equals]=&sort=-status":                                         {},
		"where[status][in]=,error":                                                    {"w2"},
		"where[error][like]=":                                                         {},
		"source=custom&where[type][not_equals]=flaky":                                 {"w3"},
		"source=&status=&where[type][not_equals]=flaky&where[source][not_equals]=fal": {"w3"},
		"sort=-status,source&limit=1":                                                 {"w2"},
		"sort=receivedAt,id&limit=2&page=2":                                           {"w3"},
		"pagination=false&limit=1&sort=receivedAt":                                    {fal},
		"pagination=false&sort=receivedAt":                                            {fal, "w2", "w3"},
		"limit=0&sort=receivedAt":                                                     {fal, "w2", "w3"},
		"where[and][0][source][equals]=fal&where[and][1][source][not_equals]=fal":     {},
	} {
		if got := w.found(t, query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

func TestPayloadsOtherAddressesOfWebhookLogs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.send(t, "custom", `{"type":"steady","id":"w1"}`, nil)
	for name, c := range map[string]struct {
		url    string
		status int
		want   string
	}{
		"by id":              {"/" + id, 200, `"webhookId":"w1"`},
		"members of a log":   {"/" + id + "?select[source]=true&depth=0", 200, `{"id":"` + id + `","source":"custom"}`},
		"unknown parameter":  {"/" + id + "?where[source][equals]=fal", 400, "is not known"},
		"by an unknown id":   {"/evt_none", 404, `"errors":[{"message":"Not Found"}]`},
		"count":              {"/count", 200, `{"totalDocs":1}`},
		"count of none":      {"/count?where[source][equals]=fal", 200, `{"totalDocs":0}`},
		"count of a mistake": {"/count?where[source][is]=fal", 400, `"errors":[{"message":"where[source]: unknown operator`},
		"selected":           {"?select[source]=true", 200, `"docs":[{"id":"` + id + `","source":"custom"}]`},
		"all but":            {"?select[data]=false", 200, `"unhandled":true,"error":null`},
		"all on one page":    {"?limit=0", 200, `"limit":0,"totalPages":1`},
	} {
		if res := w.call(http.MethodGet, "/api/v1/webhooks/manage"+c.url, "viewer", ""); res.status != c.status || !strings.Contains(res.body, c.want) {
			t.Errorf("%s: %d %s, want %d and %s", name, res.status, res.body, c.status, c.want)
		}
	}
}

func TestConditionsThatCannotBeReadAreRejected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	deep := "where" + strings.Repeat("[and][0]", 5) + "[source][equals]"
	for query, want := range map[string]string{
		"where[project][equals]=x":                       "unknown field",
		"where[source][near]=x":                          "unknown operator",
		"where[source]=fal":                              "no operator",
		"where=x":                                        "not a condition",
		"where[or][x][source][equals]=fal":               "is not a number",
		"where[receivedAt][greater_than]=yesterday":      "a time is wanted",
		"where[retryCount][equals]=one":                  "a whole number",
		"where[status][equals]=done&sort=-status":        "pending, success or error",
		"where[status][greater_than]=error":              "cannot be compared",
		"where[error][exists]=":                          "true or false",
		"where[source][equals][0]=fal":                   "takes one value",
		"sort=color":                                     "sort is",
		"select[source]=true&select[type]=false":         "not by both",
		"pagination=no":                                  "true or false",
		"where[type][like]=a&page=0":                     "page is",
		"where[type][like]=a&unknown=1":                  "is not known",
		deep + "=fal":                                    "nested deeper",
		"where[source][in]=" + strings.Repeat("a,", 300): "more than 200 values",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		res := w.call(http.MethodGet, "/api/v1/webhooks/manage?"+values.Encode(), "viewer", "")
		if res.status != http.StatusBadRequest || !strings.Contains(res.body, want) {
			t.Errorf("%s: %d %s, want 400 with %q", query, res.status, res.body, want)
		}
	}
}
