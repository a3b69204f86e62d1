package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeAPI answers by method and path, and records the bodies that it gets.
func fakeAPI(t *testing.T, answers map[string]string) (environ []string, got map[string]string) {
	t.Helper()
	got = map[string]string{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Method + " " + r.URL.Path
		var body json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&body)
		got[name] = string(body)
		answer, ok := answers[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(srv.Close)
	return []string{"GAFF_URL=" + srv.URL, "GAFF_TOKEN=" + token}, got
}

func statusAnswers(health string) map[string]string {
	return map[string]string{
		"GET /api/v1/health":        health,
		"GET /api/v1/stats":         `{"sources":[{"source":"fal","pending":2,"error":1}],"deliveries":{"waiting":5,"due":3,"dead":4,"oldestDue":"2026-01-31T11:58:00Z"}}`,
		"GET /api/v1/stats/jobs":    `{"jobs":7,"byStatus":{"completed":5,"failed":1,"processing":1},"p50Ms":1500,"p95Ms":90000}`,
		"GET /api/v1/stats/silence": `{"docs":[{"source":"stripe","forSeconds":7200,"usualSeconds":60}]}`,
		"GET /api/v1/issues":        `{"docs":[{"id":"iss_1","title":"app answers 500","count":7,"lastAt":"2026-01-31T11:00:00Z"}]}`,
		"GET /api/v1/destinations":  `{"docs":[{"name":"app","health":{"state":"paused","circuit":"closed"},"backlog":{"waiting":9,"dead":0}},{"name":"fine","health":{"state":"active","circuit":"closed"}}]}`,
	}
}

func TestStatusIsOneScreen(t *testing.T) {
	t.Parallel()
	environ, _ := fakeAPI(t, statusAnswers(`{"ready":true,"version":"v1","uptimeSeconds":3600,"quietSources":{"custom":"WEBHOOK_SECRET is not set"}}`))
	res := cmdline{args: []string{"status"}, environ: environ}.run(t, t.Context())
	_, rows, _ := strings.Cut(res.stdout, "\n")
	want := `queue        3 deliveries due, 2 scheduled for later, the oldest 2m ago
dead         4 deliveries; "gaff deliveries list --state dead"
last 24 h    2 events pending, 1 in error
jobs, 24 h   7 submitted, 5 completed, 1 failed, 1 unfinished; time to result p50 1.50 s, p95 1m30s
issues       app answers 500, 7×, 1h ago
silent       stripe has sent nothing for 2h0m0s
quiet        custom rejects every request: WEBHOOK_SECRET is not set
destination  app is paused, 9 waiting, 0 dead
`
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	res.want(t, exitDone, []string{"ready at http://127.0.0.1", "up 1h0m0s, version v1"}, nil)
}

func TestStatusOfAGatewayThatCannotStore(t *testing.T) {
	t.Parallel()
	environ, _ := fakeAPI(t, statusAnswers(`{"ready":false,"reason":"the disk is full"}`))
	res := cmdline{args: []string{"status"}, environ: environ}.run(t, t.Context())
	res.want(t, exitFailed, []string{"NOT READY: the disk is full"}, nil)
}

func TestOpen(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"POST /api/v1/login-links": `{"path":"/login/gaff_X"}`,
		"GET /api/v1/search":       `{"docs":[{"kind":"project","id":"film 1"},{"kind":"destination","id":"other"}]}`,
	}
	for args, want := range map[string]string{
		"":           "/login/gaff_X?next=%2F\n",
		"evt_1":      "/login/gaff_X?next=%2Fevents%2Fevt_1\n",
		"film 1":     "/login/gaff_X?next=%2Fprojects%2Ffilm%25201\n",
		"lighthouse": "/login/gaff_X?next=%2Fsearch%3Fq%3Dlighthouse\n",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			environ, _ := fakeAPI(t, answers)
			opened := ""
			line := cmdline{args: []string{"open"}, environ: environ}
			if args != "" {
				line.args = append(line.args, args)
			}
			line.parts.browse = func(_ context.Context, address string) error { opened = address; return nil }
			res := line.run(t, t.Context())
			if !strings.HasSuffix(res.stdout, want) || opened != strings.TrimSpace(res.stdout) {
				t.Errorf("printed %q and opened %q, want both with %q (%s)", res.stdout, opened, want, res.stderr)
			}
		})
	}
}

func TestSubmitNeedsAnInput(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags []string
		code  int
		input string
	}{
		"none":              {nil, exitUsage, ""},
		"prompt":            {[]string{"--prompt", "a dog"}, exitDone, `{"prompt":"a dog"}`},
		"input":             {[]string{"--input", "{}"}, exitDone, `{}`},
		"both":              {[]string{"--input", `{"seed":1}`, "--prompt", "a dog"}, exitDone, `{"prompt":"a dog","seed":1}`},
		"prompt twice":      {[]string{"--input", `{"prompt":"a cat"}`, "--prompt", "a dog"}, exitUsage, ""},
		"prompt and a list": {[]string{"--input", `[1]`, "--prompt", "a dog"}, exitUsage, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environ, got := fakeAPI(t, map[string]string{"POST /api/v1/jobs": `{"id":"job_1"}`})
			res := cmdline{args: append([]string{"jobs", "submit", "fal-ai/flux/dev"}, c.flags...), environ: environ}.run(t, t.Context())
			var body struct{ Input json.RawMessage }
			_ = json.Unmarshal([]byte(got["POST /api/v1/jobs"]), &body)
			if res.code != c.code || string(body.Input) != c.input {
				t.Errorf("exit code %d with input %s, want %d with %s (%s)", res.code, body.Input, c.code, c.input, res.stderr)
			}
		})
	}
}
