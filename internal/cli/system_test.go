package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestStats(t *testing.T) {
	t.Parallel()
	base := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/stats/series": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "range=6h&source=fal" {
				problem(w, 400, r.URL.RawQuery)
				return
			}
			answer(`{"stepSeconds":600,"sources":["fal"],"points":[{"received":{"fal":0}},{"received":{"fal":8},"failed":1},{"received":{"fal":1}}],
				"total":{"received":{"fal":9},"rejected":0,"succeeded":7,"failed":1,"reply":{"p50Ms":1.5,"p95Ms":9,"p99Ms":20},"done":null}}`)(w, r)
		},
		"GET /api/v1/stats":         answer(`{"sources":[{"source":"fal","pending":2,"error":1,"lastReceivedAt":null}],"deliveries":{"waiting":3,"due":2,"dead":1,"oldestDue":null}}`),
		"GET /api/v1/stats/silence": answer(`{"docs":[{"source":"last\u001bframe","forSeconds":7200,"usualSeconds":60}]}`),
	})
	res := client2(base, "stats", "--range", "6h", "--source", "fal").run(t, t.Context())
	res.want(t, exitDone, []string{
		"LAST 6H", "ONE BAR PER 10m\n", "received from fal        9", ".█▁", "attempts that failed     1", ".█.", "p50 1.50 ms, p95 9.00 ms, p99 20.0 ms",
		"Now: 2 deliveries due, 1 scheduled for later, 1 dead.", `last\x1bframe has sent nothing for 2h0m0s; its longest pause was 1m0s.`,
	}, nil)
	many := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/stats/series":  answer(`{"stepSeconds":600,"sources":["fal"],"points":[` + strings.Repeat(`{"received":{"fal":1}},`, 143) + `{"received":{"fal":2}}],"total":{"received":{"fal":145}}}`),
		"GET /api/v1/stats":         answer(`{}`),
		"GET /api/v1/stats/silence": answer(`{}`),
	})
	client2(many, "stats").run(t, t.Context()).want(t, exitDone, []string{"ONE BAR PER 30m\n", "145  " + strings.Repeat("▆", 47) + "█\n"}, nil)
	res = client2(base, "stats", "--range", "6h", "--source", "fal", "--json").run(t, t.Context())
	res.want(t, exitDone, []string{`"now":{"sources"`, `"silent":{"docs"`, `"series":{"stepSeconds":600`}, nil)
	checkTerminalSafe(t, res.stdout)
	client2(base, "stats", "--range", "9y").run(t, t.Context()).want(t, exitFailed, nil, []string{"400"})
}

func TestHealthAndSettings(t *testing.T) {
	t.Parallel()
	well := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/health":   answer(`{"ready":true,"reason":null,"version":"v1","go":"go1","uptimeSeconds":90,"memoryBytes":12000000,"goroutines":9,"quietSources":{"shop":"no secret"}}`),
		"GET /api/v1/settings": answer(`{"docs":[{"name":"GAFF_ADDR","value":":3000","origin":"default"}],"nextCursor":null}`),
	})
	client2(well, "health").run(t, t.Context()).want(t, exitDone, []string{"ready       true", "quiet       shop: no secret", "up          1m30s", "12.0 MB"}, nil)
	client2(well, "settings").run(t, t.Context()).want(t, exitDone, []string{"GAFF_ADDR  :3000  default"}, nil)
	ill := api(t, map[string]http.HandlerFunc{"GET /api/v1/health": answer(`{"ready":false,"reason":"disk full"}`)})
	for _, args := range [][]string{{"health"}, {"health", "--json"}} {
		client2(ill, args...).run(t, t.Context()).want(t, exitFailed, []string{"disk full"}, nil)
	}
}

func TestRejectionsDeliveriesAndSessions(t *testing.T) {
	t.Parallel()
	rejected := `{"id":"rej_1","status":401,"source":"fal","reason":"no \u001b[2J","method":"POST","url":"https://h/","remoteAddr":"1.2.3.4","headers":{"A":["b"]},"body":"{}","rescuable":true,"rescuedAs":null}`
	tried := `{"id":"dlv_1-0","handler":"shop","state":"dead","attempts":2,"maxAttempts":2,"runAt":"2026-01-31T12:00:00Z","finishedAt":"2026-01-31T12:00:00Z","error":"410","tries":[{"number":1,"outcome":"failed","error":"410","changes":null}]}`
	base := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/rejections":              answer(`{"docs":[` + rejected + `],"nextCursor":null}`),
		"GET /api/v1/rejections/rej_1":        answer(rejected),
		"GET /api/v1/rejections/none":         func(w http.ResponseWriter, _ *http.Request) { problem(w, 404, "none") },
		"GET /api/v1/deliveries":              answer(`{"docs":[` + tried + `],"nextCursor":null}`),
		"GET /api/v1/deliveries/dlv_1-0":      answer(tried),
		"POST /api/v1/deliveries/{id}/retry":  answer(`{"deliveries":["dlv_1-0"]}`),
		"POST /api/v1/deliveries/{id}/cancel": func(w http.ResponseWriter, _ *http.Request) { problem(w, 409, "it is done") },
		"GET /api/v1/sessions":                answer(`{"docs":[{"id":"ses_1","name":"Anna","role":"admin","agent":"Firefox"}],"nextCursor":null}`),
		"DELETE /api/v1/sessions/ses_1":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"DELETE /api/v1/sessions/none":        func(w http.ResponseWriter, _ *http.Request) { problem(w, 404, "none") },
		"POST /api/v1/sources/shop/test":      answer(`{"status":200,"response":"{\"success\":true}","eventId":"evt_1"}`),
		"POST /api/v1/sources/deaf/test":      answer(`{"status":401,"response":"no"}`),
	})
	for _, c := range []struct {
		args   string
		code   int
		stdout []string
		stderr []string
	}{
		{"rejections list", exitDone, []string{"rej_1  401", `no \x1b[2J`, "whole"}, nil},
		{"rejections show rej_1", exitDone, []string{`reason    no \x1b[2J`, "POST https://h/", "A: b"}, nil},
		{"rejections show rej_1 --json", exitDone, []string{`"status":401`}, nil},
		{"rejections show none", exitFailed, nil, []string{`"gaff rejections list"`}},
		{"deliveries list --state dead", exitDone, []string{"dlv_1-0  shop     dead   2 of 2    -     410"}, nil},
		{"deliveries show dlv_1-0", exitDone, []string{"delivery dlv_1-0 to shop: dead, 2 of 2 attempts", "failed"}, nil},
		{"deliveries retry dlv_1-0", exitDone, []string{"dlv_1-0: retried"}, nil},
		{"deliveries cancel dlv_1-0", exitFailed, nil, []string{"it is done"}},
		{"sessions list", exitDone, []string{"ses_1  Anna  admin"}, nil},
		{"sessions end ses_1", exitDone, []string{"ses_1: logged out"}, nil},
		{"sessions end none", exitFailed, nil, []string{`"gaff sessions list"`}},
		{"sources test shop", exitDone, []string{`answered 200  {"success":true}`}, nil},
		{"sources test deaf", exitFailed, []string{"answered 401"}, nil},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			client2(base, strings.Fields(c.args)...).run(t, t.Context()).want(t, c.code, c.stdout, c.stderr)
		})
	}
}

func TestBulk(t *testing.T) {
	t.Parallel()
	asked := make(chan map[string]any, 9)
	base := api(t, map[string]http.HandlerFunc{
		"POST /api/v1/bulk": func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			var body map[string]any
			_ = json.Unmarshal(text, &body)
			asked <- body
			switch {
			case body["dryRun"] == true && body["source"] == "none":
				answer(`{"state":"counted","action":"retry","matches":0}`)(w, r)
			case body["dryRun"] == true:
				answer(`{"state":"counted","action":"retry","matches":30,"total":30}`)(w, r)
			default:
				answer(`{"id":"blk_1","state":"running","action":"retry","matches":30,"total":30}`)(w, r)
			}
		},
		"GET /api/v1/bulk/blk_1":    answer(`{"id":"blk_1","state":"done","action":"retry","total":30,"done":28,"skipped":1,"failed":1,"lastError":"b\u001bad"}`),
		"DELETE /api/v1/bulk/blk_1": answer(`{"id":"blk_1","state":"stopped"}`),
	})
	start := func(args ...string) cmdline { return client2(base, append([]string{"bulk", "start"}, args...)...) }
	start("retry", "--source", "fal", "--count").run(t, t.Context()).want(t, exitDone, []string{"30 to retry\n"}, nil)
	if body := <-asked; body["action"] != "retry" || body["source"] != "fal" || body["dryRun"] != true {
		t.Errorf("asked for %v", body)
	}
	start("retry").run(t, t.Context()).want(t, exitUsage, nil, []string{"30 to retry; add --yes"})
	start("retry", "--source", "none").run(t, t.Context()).want(t, exitDone, nil, []string{"nothing matches"})
	asking := start("retry")
	asking.terminal, asking.stdin = true, "n\n"
	asking.run(t, t.Context()).want(t, exitFailed, nil, []string{"go on?", "nothing was done"})
	for len(asked) > 0 {
		if body := <-asked; body["dryRun"] != true {
			t.Errorf("done without a yes: %v", body)
		}
	}
	start("retry", "--yes").run(t, t.Context()).want(t, exitFailed, []string{`blk_1: retry done, 28 of 30 done, 1 skipped, 1 failed, the last with: b\x1bad`}, nil)
	start("retry", "--yes", "--json").run(t, t.Context()).want(t, exitFailed, []string{`"state":"running"`, `"state":"done"`}, nil)
	start("burn").run(t, t.Context()).want(t, exitUsage, nil, []string{"retry, replay or rescue"})
	client2(base, "bulk", "show", "blk_1").run(t, t.Context()).want(t, exitDone, []string{"28 of 30"}, nil)
	client2(base, "bulk", "stop", "blk_1").run(t, t.Context()).want(t, exitDone, []string{"blk_1: stopped"}, nil)
}

func TestDurationsAreReadable(t *testing.T) {
	t.Parallel()
	for ms, want := range map[float64]string{
		0.1234: "0.12 ms", 77.04: "77.0 ms", 999.6: "1000 ms", 1651: "1.65 s", 45_000: "45.0 s", 1_651_000: "27m31s", 1.77e6: "29m30s",
	} {
		if got := duration(ms); got != want {
			t.Errorf("duration(%g) = %q, want %q", ms, got, want)
		}
	}
}
