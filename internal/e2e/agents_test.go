package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"gaff/internal/eventually"
)

// agent is a client of the tools.
type agent struct {
	t *testing.T
	s *mcp.ClientSession
}

// bearer sends requests with a token.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

func newAgent(t *testing.T, transport mcp.Transport) *agent {
	t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "scripted agent", Version: "1"}, nil)
	s, err := c.Connect(context.Background(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &agent{t, s}
}

// use calls a tool and decodes its answer; failed is the text of a failure.
func (a *agent) use(tool string, args map[string]any, into any) (failed string) {
	a.t.Helper()
	r, err := a.s.CallTool(context.Background(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		a.t.Fatalf("%s: %v", tool, err)
	}
	text := r.Content[0].(*mcp.TextContent).Text
	if r.IsError {
		return text
	}
	if into != nil {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			a.t.Fatalf("%s: %v in %s", tool, err, text)
		}
	}
	return ""
}

type explained struct {
	Summary  string
	WhatToDo []string
	Failures []struct {
		Delivery, State, ReceiverAnswer string
		ReceiverStatus                  int
	}
}

// TestAgentFixesAFailure has a scripted agent find out why a delivery is dead, and retry it once the
// cause is removed, by both transports and on both databases.
func TestAgentFixesAFailure(t *testing.T) {
	t.Parallel()
	for name, prepare := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database, err := prepare(t)()
			if err != nil {
				t.Fatal(err)
			}
			var corrected atomic.Bool
			receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if !corrected.Load() {
					w.WriteHeader(http.StatusUnprocessableEntity)
					_, _ = io.WriteString(w, "column plan does not exist: run the migration")
				}
			}))
			t.Cleanup(receiver.Close)
			dir, addr := t.TempDir(), must(freeAddr())
			config := fmt.Sprintf("destinations:\n  app: {url: %q, events: \"custom:*\"}\n", receiver.URL)
			if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			env := environment(dir, addr, append(database, "GAFF_ALLOW_ADDRESSES=127.0.0.0/8")...)
			g, err := serve(dir, env, addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(g.kill)
			for _, transport := range []string{"http", "stdio"} {
				corrected.Store(false)
				sendWebhook(t, g, fmt.Sprintf(`{"id":"w-%s","type":"order.paid"}`, transport))
				agentStory(t, g, connect(t, g, transport, env, adminToken), &corrected)
			}
			viewerStory(t, g, env)
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// sendWebhook sends a webhook of the source custom.
func sendWebhook(t *testing.T, g *gateway, body string) {
	t.Helper()
	cmd := exec.Command(binary, "send", "custom", "--to", g.url+"/api/v1/webhooks/custom", "--secret", customSecret, "--data", "-")
	cmd.Stdin, cmd.Dir = strings.NewReader(body), t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("send: %v\n%s", err, out)
	}
}

func connect(t *testing.T, g *gateway, transport string, env []string, token string) *agent {
	t.Helper()
	if transport == "http" {
		return newAgent(t, &mcp.StreamableClientTransport{Endpoint: g.url + "/mcp", HTTPClient: &http.Client{Transport: bearer(token)}, DisableStandaloneSSE: true})
	}
	cmd := exec.Command(binary, "mcp")
	cmd.Env, cmd.Dir = append(env, "GAFF_URL="+g.url, "GAFF_TOKEN="+token), t.TempDir()
	return newAgent(t, &mcp.CommandTransport{Command: cmd})
}

func agentStory(t *testing.T, g *gateway, a *agent, corrected *atomic.Bool) {
	t.Helper()
	var issues struct {
		Docs []struct{ ID, LastRef string }
	}
	eventually.True(t, "an issue is open", func() bool {
		return a.use("list_issues", nil, &issues) == "" && len(issues.Docs) == 1
	})
	ref := issues.Docs[0].LastRef
	var why explained
	if failed := a.use("explain_failure", map[string]any{"id": ref}, &why); failed != "" || len(why.Failures) != 1 {
		t.Fatalf("explained %+v, %s", why, failed)
	}
	if f := why.Failures[0]; f.ReceiverStatus != 422 || !strings.Contains(f.ReceiverAnswer, "run the migration") || f.State != "dead" {
		t.Errorf("the cause: %+v", f)
	}
	if advice := strings.Join(why.WhatToDo, "\n"); !strings.Contains(advice, "call retry with the id "+ref) {
		t.Errorf("what to do: %s", advice)
	}
	corrected.Store(true) // the agent runs the migration
	var step struct {
		Would, Confirm string
		Affects        int
	}
	a.use("retry", map[string]any{"id": ref}, &step)
	if step.Affects != 1 || step.Confirm == "" {
		t.Errorf("the first step: %+v", step)
	}
	a.use("retry", map[string]any{"id": ref, "confirm": "000000000000"}, &step)
	event := eventOf(t, a, ref)
	if event != "error" {
		t.Errorf("a wrong confirmation retried it: %s", event)
	}
	if failed := a.use("retry", map[string]any{"id": ref, "confirm": step.Confirm}, nil); failed != "" {
		t.Error(failed)
	}
	eventually.True(t, "the delivery succeeds", func() bool { return eventOf(t, a, ref) == "success" })
	if failed := a.use("retry", map[string]any{"id": ref}, nil); !strings.Contains(failed, "nothing to retry") {
		t.Errorf("retried again: %s", failed)
	}
}

// eventOf returns the status of a delivery's event.
func eventOf(t *testing.T, a *agent, delivery string) (status string) {
	t.Helper()
	id := "evt_" + strings.TrimPrefix(delivery[:strings.LastIndex(delivery, "-")], "dlv_")
	var ev struct{ Status string }
	if failed := a.use("get_event", map[string]any{"id": id}, &ev); failed != "" {
		t.Error(failed)
	}
	return ev.Status
}

// viewerStory shows that an agent has the role of its key, and that calls without a key are refused.
func viewerStory(t *testing.T, g *gateway, env []string) {
	t.Helper()
	cmd := exec.Command(binary, "keys", "create", "agent", "--role", "viewer")
	cmd.Env, cmd.Dir = append(env, "GAFF_URL="+g.url, "GAFF_TOKEN="+adminToken), t.TempDir()
	key, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	a := connect(t, g, "http", env, strings.TrimSpace(string(key)))
	var page struct{ Docs []struct{ ID string } }
	if failed := a.use("list_events", map[string]any{"source": "custom", "limit": 1}, &page); failed != "" || len(page.Docs) != 1 {
		t.Fatalf("%s %+v", failed, page)
	}
	args := map[string]any{"id": page.Docs[0].ID}
	var step struct{ Confirm string }
	a.use("replay", args, &step)
	args["confirm"] = step.Confirm
	if failed := a.use("replay", args, nil); !strings.Contains(failed, "role operator") || !strings.Contains(failed, "Use a key with the role") {
		t.Errorf("a viewer replayed: %s", failed)
	}
	for name, header := range map[string]http.Header{"nothing": {}, "a wrong token": {"Authorization": {"Bearer gaff_wrong"}}, "a cookie": {"Cookie": {"gaff_session=x"}}} {
		r, _ := http.NewRequest(http.MethodPost, g.url+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
		r.Header = header
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("with %s: %s", name, res.Status)
		}
	}
}
