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

// A workflow is checked, written, changed, taken back and deleted; runs keep their revision.
func TestWrittenWorkflows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := func(members string, message string) string {
		return `{"text":"name: film\nsteps:\n  - name: look\n    approve: {message: ` + message + `}\n"` + members + `}`
	}
	for _, sc := range []scenario{
		{request: "POST /api/v1/workflows/check", body: body("", "a"), status: 403},
		{request: "POST /api/v1/workflows/check", role: "operator", body: body("", "a"), status: 200,
			has: []string{`"valid":true`, `"name":"film"`, `"steps":[{"name":"look","kind":"approve","description":null,"needs":[]}]`}},
		{request: "POST /api/v1/workflows/check", role: "operator", body: body(`,"name":"movie"`, "a"), status: 200, has: []string{`"valid":false`, `"line":1`, `"path":"name"`}},
		{request: "POST /api/v1/workflows/check", role: "operator", body: body("", "'${steps.lok.result}'"), status: 200,
			has: []string{`"valid":false`, `"line":4`, `"path":"steps[0].approve.message"`}},
		{request: "POST /api/v1/workflows/check", role: "operator", body: `{"text":"name: film\nstepps: []\n"}`, status: 200, has: []string{`"line":2,"column":1`, `"hint":"\"gaff workflows schema\" lists the keys"`}},
		{request: "GET /api/v1/workflows/film", status: 404},
		{request: "POST /api/v1/workflows", role: "operator", body: body("", "a"), status: 403},
		{request: "POST /api/v1/workflows", role: "admin", body: `{"text":"name: film\n"}`, status: 400, has: []string{"a workflow needs at least one step"}},
		{request: "POST /api/v1/workflows", role: "admin", body: body("", "a"), status: 201, has: []string{`"origin":"api"`, `"revision":1`, `"updatedBy":"`}},
		{request: "POST /api/v1/workflows", role: "admin", body: body("", "a"), status: 409},
		{request: "PUT /api/v1/workflows/film", role: "operator", body: body("", "b"), status: 403},
		{request: "PUT /api/v1/workflows/film", role: "admin", body: body(`,"revision":9`, "b"), status: 409, has: []string{"has revision 1 now, not 9"}},
		{request: "POST /api/v1/runs", role: "operator", body: `{"workflow":"film"}`, status: 202, has: []string{`"workflow":"film"`}},
		{request: "PUT /api/v1/workflows/film", role: "admin", body: body(`,"revision":1`, "b"), status: 200, has: []string{`message: b`}},
		{request: "PUT /api/v1/workflows/ask", role: "admin", body: body("", "b"), status: 409, has: []string{"a file in the folder"}},
		{request: "PUT /api/v1/workflows/none", role: "admin", body: body("", "b"), status: 404},
		{request: "GET /api/v1/workflows", status: 200, has: []string{`"origin":"file"`, `"origin":"api"`}},
		{request: "GET /api/v1/workflows/film/revisions", status: 200, has: []string{`message: a`, `message: b`}},
		{request: "GET /api/v1/workflows/ask/revisions", status: 200, has: []string{`"docs":[]`}},
		{request: "GET /api/v1/workflows/none/revisions", status: 404},
		{request: "POST /api/v1/workflows/film/revert", role: "operator", body: `{"to":1}`, status: 403},
		{request: "POST /api/v1/workflows/film/revert", role: "admin", body: `{"to":7}`, status: 404},
		{request: "POST /api/v1/workflows/film/revert", role: "admin", body: `{"to":1,"revision":1}`, status: 409},
		{request: "POST /api/v1/workflows/film/revert", role: "admin", body: `{"to":1,"revision":2}`, status: 200, has: []string{`message: a`, `"revision":3`}},
		{request: "DELETE /api/v1/workflows/film", role: "operator", status: 403},
		{request: "DELETE /api/v1/workflows/ask", role: "admin", status: 409},
		{request: "DELETE /api/v1/workflows/film", role: "admin", status: 204},
		{request: "GET /api/v1/runs", status: 200, has: []string{`"workflow":"film"`, `"status":"running"`}},
		{request: "GET /api/v1/workflows/film", status: 404},
	} {
		sc.run(t, w.caller, strings.NewReplacer())
	}
}
