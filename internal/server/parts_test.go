package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gaff/internal/server"
)

// named answers with a name.
func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
}

func parts(part server.Part) http.Handler {
	o := options()
	o.Part, o.Ingest, o.API, o.Console, o.Metrics, o.Media = part, named("ingest"), named("api"), named("console"), named("metrics"), named("media")
	o.MetricsOpen, o.Others, o.Keyed = true, map[string]http.Handler{"/api/fal/": named("fal")}, named("keyed")
	return server.Handler(o)
}

const gone = `404 {"error":"Not found"}`

func TestPartsOfListeners(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]struct{ everything, public, admin string }{
		"/api/v1/webhooks/fal":          {"ingest", "ingest", "404"},
		"/api/v1/webhooks/fal/token":    {"ingest", "ingest", "404"},
		"/api//v1/webhooks/fal":         {"ingest", "ingest", "404"},
		"/api/v1/webhooks/":             {"ingest", "ingest", "404"},
		"/api/v1/webhooks":              {"ingest", "ingest", "404"},
		"/api/v1/webhooks/manage":       {"api", gone, "api"},
		"/api/v1/webhooks/manage/":      {"api", gone, "api"},
		"/api/v1/webhooks/manage/count": {"api", gone, "api"},
		"/api/v1/webhooks/x/../manage":  {"ingest", "ingest", "404"},
		"/api/v1/events":                {"api", gone, "api"},
		"/api/openapi.json":             {"api", gone, "api"},
		"/api/docs":                     {"api", gone, "api"},
		"/api/fal/proxy":                {"fal", "fal", "fal"},
		"/media/med_1/file":             {"media", "media", "media"},
		"/media/med_1/file/cat.png":     {"media", "media", "media"},
		"/media/med_1/thumbnail":        {"media", "media", "media"},
		"/files/abc":                    {"media", "media", "media"},
		"/files/abc/thumbnail":          {"media", "media", "media"},
		"/media/med_1":                  {"console", gone, "console"},
		"/media":                        {"console", gone, "console"},
		"/":                             {"console", gone, "console"},
		"/login":                        {"console", gone, "console"},
		"/static/app.css":               {"console", gone, "console"},
		"/metrics":                      {"metrics", gone, "metrics"},
		"/debug/pprof/":                 {"console", gone, "console"},
		"//":                            {"404 404 page not found", gone, "404 404 page not found"},
		"/api/../api/v1/events":         {"404 404 page not found", gone, "404 404 page not found"},
		"/healthz":                      {`{"status":"ok"}`, `{"status":"ok"}`, `{"status":"ok"}`},
		"/readyz":                       {`{"status":"ready"}`, `{"status":"ready"}`, `{"status":"ready"}`},
	} {
		for part, want := range map[server.Part]string{server.Everything: want.everything, server.Public: want.public, server.Admin: want.admin} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.URL.Path = path
			parts(part).ServeHTTP(w, r)
			got := strings.TrimSpace(w.Body.String())
			if w.Code != http.StatusOK {
				got = fmt.Sprint(w.Code, " ", got)
			}
			if want == "404" { // the reason names the other listener
				want = `404 {"error":"Not found","reason":"webhooks are received on the public address, GAFF_ADDR"}`
			}
			if got != want {
				t.Errorf("part %d, %s: %s, want %s", part, path, got, want)
			}
			if w.Code == http.StatusNotFound && part == server.Public && w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%s: content type %q", path, w.Header().Get("Content-Type"))
			}
		}
	}
}

// A provider's client that only knows a base URL and a key calls any path.
func TestKeyedClientsUseThePublicListener(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"/fal-ai/flux": "keyed", "/api/v1/events": "Not found"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, path, nil)
		r.Header.Set("Authorization", "Key x")
		if parts(server.Public).ServeHTTP(w, r); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s, want %s", path, w.Body, want)
		}
	}
}

func TestPublicListenerAnswersBrowsersOfTheAPI(t *testing.T) {
	t.Parallel()
	o := options()
	o.Part, o.Ingest, o.API = server.Public, named("ingest"), named("api")
	o.PublicAPI = func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer browser" }
	for _, c := range []struct{ path, token, want string }{
		{"/api/v1/jobs", "browser", "api"},
		{"/api/v1/jobs", "other", "Not found"},
		{"/api/v1/webhooks/manage", "browser", "Not found"},
		{"/api/openapi.json", "browser", "Not found"},
		{"/api/docs", "browser", "Not found"},
		{"/metrics", "browser", "Not found"},
		{"/", "browser", "Not found"},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, c.path, nil)
		r.Header.Set("Authorization", "Bearer "+c.token)
		if server.Handler(o).ServeHTTP(w, r); !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s with %s: %s, want %s", c.path, c.token, w.Body, c.want)
		}
	}
}

func TestStrictTransportSecurity(t *testing.T) {
	t.Parallel()
	const year = "max-age=31536000"
	for name, c := range map[string]struct {
		url, proto string
		strict     bool
		want       string
	}{
		"own TLS":                 {"https://hooks.example/healthz", "", true, year},
		"a proxy's TLS":           {"http://hooks.example/healthz", "https", true, year},
		"through several":         {"http://hooks.example/healthz", "https, http", true, year},
		"a receiving path":        {"https://hooks.example/api/v1/webhooks/fal", "", true, year},
		"an unknown path":         {"https://hooks.example/x", "", true, year},
		"no TLS":                  {"http://hooks.example/healthz", "", true, ""},
		"no TLS to the proxy":     {"http://hooks.example/healthz", "http", true, ""},
		"a plain listener beside": {"https://hooks.example/healthz", "", false, ""},
		"this machine":            {"https://localhost:3000/healthz", "", true, ""},
	} {
		o := options()
		o.Part, o.Ingest, o.StrictTransport = server.Public, named("ingest"), c.strict
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, c.url, nil)
		if c.proto != "" {
			r.Header.Set("X-Forwarded-Proto", c.proto)
		}
		server.Handler(o).ServeHTTP(w, r)
		if got := w.Header().Get("Strict-Transport-Security"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
