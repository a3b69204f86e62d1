package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gaff/internal/app"
)

// api is a stand-in for a running gateway.
func api(t *testing.T, routes map[string]http.HandlerFunc) (base string) {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, handler := range routes {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+token {
				problem(w, http.StatusUnauthorized, "no such token")
				return
			}
			handler(w, r)
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}

func answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func client2(base string, args ...string) cmdline {
	return cmdline{args: args, environ: []string{"GAFF_URL=" + base, "GAFF_TOKEN=" + token}}
}

func TestFindGateway(t *testing.T) {
	t.Parallel()
	base := api(t, map[string]http.HandlerFunc{"GET /api/v1/jobs": answer(`{"docs":[],"nextCursor":null}`)})
	elsewhere := api(t, nil)
	none := cmdline{args: []string{"jobs", "list"}}
	none.run(t, t.Context()).want(t, exitFailed, nil, []string{"no gateway found: gaff-data/url does not exist", "GAFF_URL"})

	folder := map[string]string{"gaff-data/url": base + "/\n", "gaff-data/admin-token": token + "\n"}
	cmdline{args: []string{"jobs", "list"}, files: folder}.run(t, t.Context()).want(t, exitDone, nil, []string{"none found"})

	other := map[string]string{"d/url": base, "d/admin-token": token}
	cmdline{args: []string{"jobs", "list", "--data-dir", "d"}, files: other}.run(t, t.Context()).want(t, exitDone, nil, nil)

	// A configuration that only the server would refuse does not stand in the way.
	folder["gaff.yaml"] = "sources: {x: {}}\nnonsense: 1\n"
	cmdline{args: []string{"jobs", "list"}, files: folder}.run(t, t.Context()).want(t, exitDone, nil, nil)
	cmdline{args: []string{"jobs", "list"}, files: folder, environ: []string{"GAFF_URL=ftp://x"}}.run(t, t.Context()).
		want(t, exitFailed, nil, []string{`GAFF_URL="ftp://x"`})

	wrong := client2(base, "jobs", "list", "--token", "wrong")
	wrong.run(t, t.Context()).want(t, exitFailed, nil, []string{"401", "no such token", "Set GAFF_TOKEN"})

	// The token of this machine's gateway is not sent to another host.
	far := cmdline{args: []string{"jobs", "list"}, files: folder, environ: []string{"GAFF_URL=http://far.example.com"}}
	far.run(t, t.Context()).want(t, exitFailed, nil, []string{"no token for http://far.example.com"})

	// A scheme that was left out is http, on this machine.
	client2(base, "jobs", "list", "--url", strings.TrimPrefix(base, "http://")).run(t, t.Context()).want(t, exitDone, nil, []string{"none found"})

	unsent := cmdline{args: []string{"send", "fal"}, environ: []string{"FAL_WEBHOOK_SECRET=x"}, parts: parts{sources: app.Sources}}
	unsent.run(t, t.Context()).want(t, exitFailed, nil, []string{"no gateway found: gaff-data/url does not exist", "set GAFF_URL or --to"})

	secret := client2(base, "jobs", "list")
	secret.environ = []string{"GAFF_URL=" + base, "GAFF_TOKEN_FILE=tok"}
	secret.files = map[string]string{"tok": token + "\n"}
	secret.run(t, t.Context()).want(t, exitDone, nil, nil)

	client2(elsewhere, "jobs", "list").run(t, t.Context()).want(t, exitFailed, nil, []string{"404"})
	missing := api(t, map[string]http.HandlerFunc{"GET /api/v1/jobs/": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"title":"Not Found","detail":"job x: not found"}`)
	}})
	client2(missing, "jobs", "show", "x").run(t, t.Context()).want(t, exitFailed, nil, []string{"gaff: the gateway answered 404: job x: not found. "})
	unknownEvent := api(t, map[string]http.HandlerFunc{"POST /api/v1/replays": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"title":"Not Found","detail":"event evt_1: not found"}`)
	}})
	client2(unknownEvent, "replay", "start", "--destination", "d", "--event", "evt_1").run(t, t.Context()).
		want(t, exitFailed, nil, []string{`event evt_1: not found. "gaff events list" lists the known ones`})
	faults := api(t, map[string]http.HandlerFunc{"POST /api/v1/sources": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"title":"Bad Request","detail":"invalid: 2 faults:\n  sources.a: x\n  sources.b: \u001b[31my"}`)
	}})
	client2(faults, "sources", "create", "a", "--preset", "stripe").run(t, t.Context()).
		want(t, exitFailed, nil, []string{"2 faults:\n  sources.a: x\n  sources.b: \\x1b[31my"})
	client2("http://127.0.0.1:1", "jobs", "list").run(t, t.Context()).want(t, exitFailed, nil, []string{"no response from http://127.0.0.1:1", "Is gaff serve running there?"})

	redirect := api(t, map[string]http.HandlerFunc{"GET /api/v1/jobs": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere, http.StatusFound)
	}})
	client2(redirect, "jobs", "list").run(t, t.Context()).want(t, exitFailed, nil, []string{"302", "It redirects to " + elsewhere})

	page := api(t, map[string]http.HandlerFunc{"GET /api/v1/jobs": answer("<html>")})
	client2(page, "jobs", "list").run(t, t.Context()).want(t, exitFailed, nil, []string{"is not JSON"})
}

// An unset variable of a script must not show, retry or delete more.
func TestEmptyFlagsAreRefused(t *testing.T) {
	t.Parallel()
	base := api(t, map[string]http.HandlerFunc{})
	for _, args := range [][]string{{"events", "list", "--source", ""}, {"jobs", "list", "--project="}, {"bulk", "start", "retry", "--source", "", "--yes"}} {
		client2(base, args...).run(t, t.Context()).want(t, exitUsage, nil, []string{"is empty: give it a value, or leave it out"})
	}
}
