package api_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"gaff/internal/access"
)

// from calls by GET with a session's cookie, as a page of some origin does.
func (w *world) from(target, cookie string, header ...string) int {
	r := httptest.NewRequest(http.MethodGet, "http://gaff.example"+target, nil)
	r.AddCookie(&http.Cookie{Name: access.CookieName, Value: cookie})
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.guarded.handler.ServeHTTP(rec, r)
	return rec.Code
}

func TestForeignPagesCannotUseASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, cookie, err := w.guard.Login(httptest.NewRequest("POST", "/login", nil), w.key(t, "worker", "operator", "").Key, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		header []string
		want   int
	}{
		"own page":         {[]string{"Sec-Fetch-Site", "same-origin"}, 200},
		"typed address":    {[]string{"Sec-Fetch-Site", "none"}, 200},
		"old browser":      {nil, 200},
		"own origin":       {[]string{"Origin", "http://gaff.example"}, 200},
		"foreign page":     {[]string{"Sec-Fetch-Site", "cross-site"}, 401},
		"neighbour's page": {[]string{"Sec-Fetch-Site", "same-site"}, 401},
		"foreign origin":   {[]string{"Origin", "https://evil.example"}, 401},
		"another port":     {[]string{"Origin", "http://gaff.example:8080"}, 401},
	} {
		if got := w.from("/api/v1/events", cookie, tc.header...); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// A stream of pulled deliveries leases them, so no page may open it with the cookie.
func TestPullStreamTakesNoSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, cookie, err := w.guard.Login(httptest.NewRequest("POST", "/login", nil), w.key(t, "worker", "operator", "").Key, "")
	if err != nil {
		t.Fatal(err)
	}
	for site, want := range map[string]int{"same-origin": 403, "none": 403, "": 403, "cross-site": 401} {
		if got := w.from("/api/v1/pull/stream?destination=worker", cookie, "Sec-Fetch-Site", site); got != want {
			t.Errorf("%q: %d, want %d", site, got, want)
		}
	}
}
