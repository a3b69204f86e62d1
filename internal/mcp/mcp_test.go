//go:build !slim

package mcp

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// fakeAPI answers paths with documents, and records the changing calls.
type fakeAPI struct {
	docs    map[string]string
	changed []string
}

func (f *fakeAPI) call(_ context.Context, _ http.Header, method, path string, body []byte) (int, []byte, error) {
	if method != http.MethodGet {
		f.changed = append(f.changed, method+" "+path+" "+string(body))
	}
	if doc, ok := f.docs[method+" "+path]; ok {
		return http.StatusOK, []byte(doc), nil
	}
	return http.StatusNotFound, []byte(`{"status":404,"title":"Not Found","detail":"no such thing","hint":"GET /api/v1/events lists them."}`), nil
}

// use calls a tool in memory.
func (f *fakeAPI) use(t *testing.T, tool string, args map[string]any) (text string, failed bool) {
	t.Helper()
	ctx := context.Background()
	toServer, toClient := mcp.NewInMemoryTransports()
	if _, err := New("test", f.call).Connect(ctx, toServer, nil); err != nil {
		t.Fatal(err)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "t"}, nil).Connect(ctx, toClient, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	r, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatal(err)
	}
	return r.Content[0].(*mcp.TextContent).Text, r.IsError
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	f := &fakeAPI{docs: map[string]string{"GET /api/v1/events?limit=20": `{"docs":["` + strings.Repeat("x", 1<<20) + `"]}`}}
	text, failed := f.use(t, "list_events", nil)
	if failed || len(text) > maxOutput+500 || !strings.Contains(text, "cut: 24576 of") {
		t.Errorf("%d bytes: …%s", len(text), text[max(0, len(text)-200):])
	}
}

func TestLimitOfListsIsBounded(t *testing.T) {
	t.Parallel()
	for given, want := range map[int]string{0: "20", -1: "20", 7: "7", 5000: "50"} {
		if got := rows(given); got != want {
			t.Errorf("limit %d: %s, want %s", given, got, want)
		}
	}
}

func TestErrorHasTheHintOfTheAPI(t *testing.T) {
	t.Parallel()
	text, failed := (&fakeAPI{}).use(t, "get_event", map[string]any{"id": "evt_1"})
	if !failed || !strings.Contains(text, "no such thing. GET /api/v1/events lists them.") {
		t.Errorf("%t %s", failed, text)
	}
}

func TestIDsCannotLeaveTheirPath(t *testing.T) {
	t.Parallel()
	f := &fakeAPI{docs: map[string]string{"GET /api/v1/keys": `{}`}}
	if text, failed := f.use(t, "get_job", map[string]any{"id": "../keys"}); !failed {
		t.Errorf("read %s", text)
	}
}

func TestChangesNeedTheirOwnConfirmation(t *testing.T) {
	t.Parallel()
	f := &fakeAPI{docs: map[string]string{"POST /api/v1/jobs": `{"id":"job_1"}`}}
	args := map[string]any{"provider": "fal", "model": "fal-ai/flux/dev", "input": map[string]any{"prompt": "a cat"}}
	text, _ := f.use(t, "submit_job", args)
	var step confirmation
	if err := json.Unmarshal([]byte(text), &step); err != nil || step.Confirm == "" || len(f.changed) != 0 {
		t.Fatalf("%s; calls %q", text, f.changed)
	}
	args["confirm"], args["input"] = step.Confirm, map[string]any{"prompt": "another"}
	if text, _ := f.use(t, "submit_job", args); len(f.changed) != 0 || !strings.Contains(text, "is of another change") {
		t.Errorf("another job was submitted with the confirmation of the first: %s", text)
	}
	args["input"] = map[string]any{"prompt": "a cat"}
	text, failed := f.use(t, "submit_job", args)
	if failed || text != `{"id":"job_1"}` || len(f.changed) != 1 || strings.Contains(f.changed[0], "confirm") {
		t.Errorf("%s; calls %q", text, f.changed)
	}
}

func TestBulkIsCountedAgainBeforeItStarts(t *testing.T) {
	t.Parallel()
	f := &fakeAPI{docs: map[string]string{"POST /api/v1/bulk": `{"state":"counted","matches":3}`}}
	args := map[string]any{"source": "fal"}
	text, _ := f.use(t, "replay", args)
	var step confirmation
	_ = json.Unmarshal([]byte(text), &step)
	f.docs["POST /api/v1/bulk"] = `{"state":"counted","matches":4000}`
	args["confirm"] = step.Confirm
	if text, _ := f.use(t, "replay", args); !strings.Contains(text, "replay 4000 events") {
		t.Errorf("answered %s", text)
	}
	for _, call := range f.changed {
		if !strings.Contains(call, `"dryRun":true`) {
			t.Errorf("started: %s", call)
		}
	}
	if text, failed := f.use(t, "replay", nil); !failed {
		t.Errorf("replayed everything: %s", text)
	}
}

func TestExplanations(t *testing.T) {
	t.Parallel()
	delivery := func(error, detail string) string {
		d, _ := json.Marshal(detail)
		e, _ := json.Marshal(error)
		return `{"id":"dlv_1-1","handler":"app","state":"dead","attempts":3,"maxAttempts":12,"error":` + string(e) +
			`,"tries":[{"number":3,"outcome":"failed","error":` + string(e) + `,"detail":` + string(d) + `,"changes":[]}]}`
	}
	destination := `{"name":"app","kind":"http","events":["*:*"],"health":{"state":"disabled","reason":"the receiver answered 410 Gone","circuit":"closed"},"backlog":{}}`
	for name, c := range map[string]struct {
		id   string
		docs map[string]string
		want []string
	}{
		"rejected signature": {"dlv_1-1", map[string]string{
			"GET /api/v1/deliveries/dlv_1-1": delivery("answered 401 Unauthorized", `{"response":{"status":401,"body":"bad signature"}}`),
		}, []string{`"receiverStatus":401`, "bad signature", "compare the secret", "call retry with the id dlv_1-1"}},
		"disabled destination": {"dlv_1-1", map[string]string{
			"GET /api/v1/deliveries/dlv_1-1": delivery("answered 410 Gone", `{"response":{"status":410}}`), "GET /api/v1/destinations/app": destination,
		}, []string{"call resume_destination"}},
		"destination by name": {"app", map[string]string{"GET /api/v1/destinations/app": destination}, []string{`"kind":"destination"`, "410 Gone"}},
		"unhandled event": {"evt_1", map[string]string{"GET /api/v1/events/evt_1": `{"id":"evt_1","source":"shop","type":"paid","status":"success","unhandled":true}`},
			[]string{"no handler or destination takes it", "match shop:paid"}},
		"failed job": {"job_1", map[string]string{"GET /api/v1/jobs/job_1": `{"status":"failed","model":"m","provider":"fal","errorType":"content_policy_violation"}`},
			[]string{"change the prompt"}},
		"rejected request": {"rej_1", map[string]string{"GET /api/v1/rejections/rej_1": `{"id":"rej_1","status":401,"source":"shop","reason":"wrong signature"}`},
			[]string{"call rescue"}},
		"failed run": {"run_1", map[string]string{"GET /api/v1/runs/run_1": `{"status":"failed","steps":[{"name":"draw","status":"failed","error":"no","jobId":"job_2"}]}`},
			[]string{"call explain_failure with job_2", "gaff runs retry run_1"}},
		"nothing failed": {"evt_1", map[string]string{"GET /api/v1/events/evt_1": `{"id":"evt_1","status":"success","deliveries":[{"id":"dlv_1-1","handler":"app","state":"succeeded"}]}`},
			[]string{"Nothing failed"}},
	} {
		text, failed := (&fakeAPI{docs: c.docs}).use(t, "explain_failure", map[string]any{"id": c.id})
		for _, want := range c.want {
			if failed || !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %s", name, want, text)
			}
		}
	}
}

func TestPreviewSendsItsQuestionAndShortensBodies(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 40_000)
	f := &fakeAPI{docs: map[string]string{
		"POST /api/v1/destinations/preview": `{"events":[{"id":"evt_1","passes":true,"sent":true,"before":"` + long + `","after":"{}","headers":{},"logs":[],"error":null}],"failed":0}`,
	}}
	text, failed := f.use(t, "preview_destination", map[string]any{"destination": "app", "ids": []string{"evt_1"}, "filter": "data.a > 1"})
	if failed || !strings.Contains(text, `"passes":true`) || !strings.Contains(text, `"truncated":true`) || len(text) > maxBody+1000 {
		t.Errorf("%d bytes: %.300s", len(text), text)
	}
	if want := `POST /api/v1/destinations/preview {"destination":"app","filter":"data.a > 1","ids":["evt_1"]}`; len(f.changed) != 1 || strings.ReplaceAll(f.changed[0], `\u003e`, ">") != want {
		t.Errorf("calls %q, want %q", f.changed, want)
	}
}

func TestScheduledEventIsCanceledInTwoSteps(t *testing.T) {
	t.Parallel()
	f := &fakeAPI{docs: map[string]string{
		"GET /api/v1/scheduled-events?limit=20&status=scheduled": `{"docs":[{"id":"sch_1"}]}`,
		"GET /api/v1/scheduled-events/sch_1":                     `{"id":"sch_1","type":"order.paid","status":"scheduled","runAt":"2026-12-01T00:00:00Z"}`,
		"DELETE /api/v1/scheduled-events/sch_1":                  `{"id":"sch_1","status":"canceled"}`,
	}}
	if text, failed := f.use(t, "list_scheduled_events", nil); failed || !strings.Contains(text, "sch_1") {
		t.Errorf("listed %s", text)
	}
	text, failed := f.use(t, "cancel_scheduled_event", map[string]any{"id": "sch_1"})
	var step confirmation
	if err := json.Unmarshal([]byte(text), &step); failed || err != nil || len(f.changed) != 0 || !strings.Contains(step.Would, "order.paid") {
		t.Fatalf("%s, %v; calls %q", text, err, f.changed)
	}
	text, failed = f.use(t, "cancel_scheduled_event", map[string]any{"id": "sch_1", "confirm": step.Confirm})
	if failed || len(f.changed) != 1 || !strings.Contains(text, "canceled") {
		t.Errorf("%s; calls %q", text, f.changed)
	}
}
