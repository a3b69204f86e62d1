package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestWorkflows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	words := strings.NewReplacer()
	for _, sc := range []scenario{
		{request: "GET /api/v1/workflows", status: 200, has: []string{`"name":"ask"`, `"runs":{}`}},
		{request: "GET /api/v1/workflows/ask", status: 200, has: []string{`"definition":{"name":"ask"`}},
		{request: "GET /api/v1/workflows/none", status: 404},
		{request: "GET /api/v1/runs?status=odd", status: 400},
		{request: "GET /api/v1/runs/none", status: 404},
		{request: "GET /api/v1/runs/none/steps/look", status: 404},
		{request: "POST /api/v1/runs", body: `{"workflow":"ask","input":{"text":"x"}}`, status: 403},
		{request: "POST /api/v1/runs", role: "operator", body: `{"workflow":"none"}`, status: 404, has: []string{"there are ask"}},
		{request: "POST /api/v1/runs", role: "operator", body: `{"workflow":"ask","input":{"txt":"x"}}`, status: 400,
			has: []string{"input text: is required", "input txt: workflow ask has no such input"}},
		{request: "POST /api/v1/runs", role: "operator", body: `{"workflow":"ask","color":1}`, status: 400},
		{request: "POST /api/v1/runs/none/cancel", role: "operator", status: 404},
		{request: "POST /api/v1/projects", body: `{"id":"p"}`, status: 403},
		{request: "POST /api/v1/projects", role: "operator", body: `{"id":"p","name":"Film","metadata":{"a":1}}`, status: 200, has: []string{`"name":"Film"`, `"metadata":{"a":1}`}},
		{request: "GET /api/v1/projects", status: 200, has: []string{`"id":"p"`}},
		{request: "GET /api/v1/projects/none", status: 404},
	} {
		sc.run(t, w.caller, words)
	}
	startAs := func(token, body string, status int) (id string) {
		res := w.call(http.MethodPost, "/api/v1/runs", token, body)
		var run struct{ ID string }
		if err := json.Unmarshal([]byte(res.body), &run); err != nil || res.status != status {
			t.Fatalf("start: %d %s", res.status, res.body)
		}
		return run.ID
	}
	start := func(body string, status int) string { return startAs("operator", body, status) }
	id := start(`{"workflow":"ask","projectId":"q","input":{"text":"good","names":["a","b"]},"idempotencyKey":"k"}`, 202)
	if again := start(`{"workflow":"ask","projectId":"q","input":{"text":"good"},"idempotencyKey":"k"}`, 200); again != id {
		t.Errorf("the same key started %s and %s", id, again)
	}
	words = strings.NewReplacer("RUN", id)
	for _, sc := range []scenario{
		{request: "GET /api/v1/projects/q", status: 200},
		{request: "GET /api/v1/runs?projectId=q", status: 200, has: []string{"RUN", `"waiting":"look: 2 decisions by a person, 0 of 2 done"`}},
		{request: "GET /api/v1/runs/RUN", status: 200, has: []string{`"kind":"approve"`, `"needs":["look"]`, `"status":"waiting"`}},
		{request: "GET /api/v1/runs/RUN/steps/look", status: 200, has: []string{`"input":{"message":"b, good?"}`}},
		{request: "POST /api/v1/runs/RUN/approve", role: "operator", body: `{"approved":true}`, status: 409, has: []string{"2 steps wait for approval"}},
		{request: "POST /api/v1/runs/RUN/approve", role: "operator", body: `{"approved":true,"step":"look","item":9}`, status: 404},
		{request: "POST /api/v1/runs/RUN/approve", role: "operator", body: `{"approved":true,"step":"tell"}`, status: 400},
		{request: "POST /api/v1/runs/RUN/approve", role: "operator", body: `{"approved":true,"step":"look","item":0}`, status: 200},
		{request: "POST /api/v1/runs/RUN/approve", role: "operator", body: `{"approved":true}`, status: 200, has: []string{`"status":"completed"`}},
		{request: "POST /api/v1/runs/RUN/cancel", role: "operator", status: 409},
		{request: "POST /api/v1/runs/RUN/retry", role: "operator", body: `{"item":1}`, status: 400},
		{request: "POST /api/v1/runs/RUN/retry", role: "operator", body: `{}`, status: 409},
		{request: "POST /api/v1/runs/RUN/retry", role: "operator", body: `{"step":"look","item":1}`, status: 200, has: []string{`"status":"running"`}},
		{request: "POST /api/v1/runs/RUN/cancel", role: "operator", status: 200, has: []string{`"status":"cancelled"`}},
		{request: "GET /api/v1/workflows", status: 200, has: []string{`"runs":{"cancelled":1}`}},
	} {
		sc.run(t, w.caller, words)
	}
	if other := startAs("admin", `{"workflow":"ask","projectId":"of-another-caller","input":{"text":"good","names":["a"]},"idempotencyKey":"k"}`, 202); other == id {
		t.Errorf("two callers share run %s by their key", id)
	}
}
