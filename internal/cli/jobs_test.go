package cli

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestJobs(t *testing.T) {
	t.Parallel()
	doc := func(status string) string {
		return fmt.Sprintf(`{"id":"job_1","provider":"fal","model":"fal-ai/flux/dev","kind":"image","projectId":"p1","userId":"u","requestId":"r1","status":%q,`+
			`"result":{"images":[1]},"error":null,"errorType":null,"settledBy":null,"createdAt":"2026-01-31T11:00:00Z","submittedAt":null,"settledAt":null}`, status)
	}
	current := "queued"
	base := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/jobs": func(w http.ResponseWriter, r *http.Request) {
			if got := r.URL.RawQuery; got != "limit=50&projectId=p1&status=queued" {
				t.Errorf("query %s", got)
			}
			fmt.Fprintf(w, `{"docs":[%s],"nextCursor":null}`, doc("queued"))
		},
		"GET /api/v1/jobs/job_1": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, doc(current)) },
		"GET /api/v1/jobs/done":  answer(`{"id":"done","status":"failed","error":"nsfw \u001b"}`),
		"GET /api/v1/media":      answer(`{"docs":[{"id":"med_1","mediaType":"generated-image","url":"https://f/a.png","storedUrl":"https://h/b.png"}]}`),
		"GET /api/v1/stream": func(w http.ResponseWriter, _ *http.Request) {
			for i, status := range []string{"queued", "processing", "completed"} {
				fmt.Fprintf(w, "event: job\nid: %d\ndata: %s\n\nevent: job\ndata: {\"id\":\"job_2\",\"status\":\"failed\"}\n\n", i, doc(status))
			}
			w.(http.Flusher).Flush()
		},
	})
	client2(base, "jobs", "list", "--status", "queued", "--project", "p1").run(t, t.Context()).want(t, exitDone, []string{"job_1  fal", "fal-ai/flux/dev"}, nil)
	client2(base, "jobs", "show", "job_1").run(t, t.Context()).want(t, exitDone, []string{"request id  r1", "result:\n{\n  \"images\""}, nil)
	client2(base, "jobs", "show", "job_1", "--json").run(t, t.Context()).want(t, exitDone, []string{`{"id":"job_1",`}, nil)
	res := client2(base, "jobs", "watch", "job_1").run(t, t.Context())
	res.want(t, exitDone, []string{"job_1  queued", "job_1  processing", "job_1  completed", "med_1  generated-image  https://h/b.png\nsee http", "/jobs/job_1\n"}, nil)
	if n := strings.Count(res.stdout, "\n"); n != 5 {
		t.Errorf("%d lines:\n%s", n, res.stdout)
	}
	client2(base, "jobs", "watch", "done").run(t, t.Context()).want(t, exitFailed, []string{`failed     nsfw \x1b`}, nil)
	client2(base, "jobs", "watch", "nobody").run(t, t.Context()).want(t, exitFailed, nil, []string{"404"})
}

func TestMediaAndSources(t *testing.T) {
	t.Parallel()
	const fal = `{"name":"fal","address":"https://h.example/api/v1/webhooks/fal","path":"/api/v1/webhooks/fal","quiet":null,"about":{"note":"two dialects","verifier":"ed25519 \u001b"},
		"handlers":[{"name":"effects","type":"*"}],"maxBodyBytes":1048576,"counts":{"success":3}}`
	base := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/media": func(w http.ResponseWriter, r *http.Request) {
			if got := r.URL.RawQuery; got != "limit=50&mediaType=generated-image&projectId=p1" {
				t.Errorf("query %s", got)
			}
			answer(`{"docs":[{"id":"med_1","jobId":"job_1","projectId":"p1","url":"https://f/a.png","storedUrl":null,"mediaType":"generated-image","size":12,"createdAt":"2026-01-31T11:00:00Z"}],"nextCursor":null}`)(w, r)
		},
		"GET /api/v1/sources": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "" {
				t.Errorf("query %s: the API takes none", r.URL.RawQuery)
			}
			answer(`{"docs":[`+fal+`,{"name":"mute","path":"/api/v1/webhooks/mute","quiet":"no secret","about":{"secret":"the value of providers.mute.webhook_secrets"}}],"nextCursor":null}`)(w, r)
		},
	})
	client2(base, "media", "list", "--project", "p1", "--type", "generated-image").run(t, t.Context()).
		want(t, exitDone, []string{"med_1  generated-image  12", "https://f/a.png"}, nil)
	client2(base, "sources", "list").run(t, t.Context()).
		want(t, exitDone, []string{"fal", "ready", "https://h.example/api/v1/webhooks/fal", `ed25519 \x1b`, "rejects every request"}, nil)
	client2(base, "sources", "show", "fal").run(t, t.Context()).want(t, exitDone, []string{
		"effects for *", "two dialects", "https://queue.fal.run/MODEL?fal_webhook=https%3A%2F%2Fh.example%2Fapi%2Fv1%2Fwebhooks%2Ffal", "FAL_WEBHOOK_SECRET",
	}, nil)
	client2(base, "sources", "show", "mute").run(t, t.Context()).want(t, exitDone, []string{"no secret", "set WEBHOOK_BASE_URL", "  secret   the value of providers.mute.webhook_secrets"}, nil)
	client2(base, "sources", "show", "nobody").run(t, t.Context()).want(t, exitFailed, nil, []string{"no source nobody", "fal, mute"})
}
