package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"gaff"
	"gaff/internal/fuzzseed"
)

// FuzzLogQuery reads the parameters of the manage address, Payload's where[…] included.
func FuzzLogQuery(f *testing.F) {
	for _, seed := range []string{
		"source=fal&status=error&type=a&limit=10&page=2&sort=-processedAt", "where[source][equals]=fal", "where%5Bstatus%5D%5Bequals%5D=success",
		"where[and][0][type][in]=a", "where[and][0][type][in]=a,b", "where[or][0][source][equals]=fal", "where[source][not_equals]=fal",
		"where[or][0][and][0][error][like]=x&limit=0&sort=-status,id", "select[source]=true&pagination=false", "where[receivedAt][greater_than]=2026-01-01",
		"page=999999999999999999999", "limit=-1", "sort=-", "sort=--processedAt", "source=a&where[source][equals]=b", "%zz", "depth=0&locale=en", "limit=+5",
	} {
		f.Add(seed)
		for _, other := range fuzzseed.Vary(seed) {
			f.Add(other)
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if checkQuery(logsPath, raw) != nil {
			return
		}
		values, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("checkQuery let %q through", raw)
		}
		if needsSearch(values) {
			q, err := logSearchOf(values)
			if err == nil && (q.Limit < 1 || q.Limit > maxPageSize || q.page < 1 || q.Offset < 0) {
				t.Errorf("%q is read as %+v", raw, q)
			}
			return
		}
		q, page, err := logQuery(values)
		if err != nil {
			return
		}
		if q.Limit < 1 || q.Limit > maxPageSize || page < 1 || q.Offset != (page-1)*q.Limit || q.Offset < 0 {
			t.Errorf("%q is read as %+v, page %d", raw, q, page)
		}
		// A filter that was given must not be lost: it would show more than was asked for.
		for name, value := range values {
			field := strings.Trim(strings.TrimSuffix(strings.TrimSuffix(name, "[equals]"), "[in]"), "]")
			field = field[strings.LastIndexAny(field, "[")+1:]
			if value[0] == "" {
				continue
			}
			switch field {
			case "source":
				if q.Source != value[0] {
					t.Errorf("%q: source is %q", raw, q.Source)
				}
			case "type":
				if q.Type != value[0] {
					t.Errorf("%q: type is %q", raw, q.Type)
				}
			case "status":
				if q.Status == nil || q.Status.String() != value[0] {
					t.Errorf("%q: status is %v", raw, q.Status)
				}
			}
		}
	})
}

func FuzzStreamQuery(f *testing.F) {
	f.Add("kinds=event,job&source=fal&jobId=j&inner=true", "12-3")
	f.Add("kinds=,&lastEventId=1", "")
	for _, text := range fuzzseed.Vary("kinds=event,job&source=fal&jobId=j&inner=true", "12-3") {
		f.Add(text, text)
	}
	f.Add("inner=2&x=y", "\xff")
	f.Fuzz(func(t *testing.T, raw, last string) {
		if checkQuery("/api/v1/events", raw) != nil {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "/api/v1/stream", nil)
		r.URL.RawQuery = raw
		r.Header["Last-Event-Id"] = []string{last}
		wanted, after, err := streamQuery(r)
		if err != nil {
			return
		}
		if last != "" && after != last {
			t.Errorf("%q after %q goes on after %q", raw, last, after)
		}
		for _, kind := range []string{"event", "job", "media", "run"} {
			wanted.wants(gaff.Change{Kind: kind, Source: wanted.source})
		}
	})
}
