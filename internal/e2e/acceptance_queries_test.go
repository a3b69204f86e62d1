//go:build acceptance

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gaff/internal/eventually"
)

// fillLogs makes webhook logs of all kinds: successes, failures with and without a retry, one that is
// canceled, one that waits.
func fillLogs(t *testing.T, g *gateway) {
	t.Helper()
	dir := t.TempDir()
	env := []string{"GAFF_URL=" + g.url, "GAFF_TOKEN=" + adminToken}
	send := func(source, secret, body string) {
		t.Helper()
		file := filepath.Join(dir, "body.json")
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		runIn(t, dir, env, binary, "send", source, "--data", file, "--secret", secret)
	}
	for _, body := range []string{
		`{"id":"a","type":"order.paid"}`, `{"id":"b","type":"order.sent"}`, `{"id":"c","type":"order.paid"}`, `{"id":"d","type":"Invoice 100% paid"}`,
	} {
		send("custom", customSecret, body)
	}
	for _, id := range []string{"lf1", "lf2"} {
		send("lastframe", lastFrameSecret, `{"job_id":"`+id+`","status":"completed","service":"video-stitch","result":"a text",
			"metadata":{"project_id":"f","user_id":"anna","original_job_id":"job-9"}}`)
	}
	for _, id := range []string{"req1", "req2"} {
		send("fal", falSecret, `{"request_id":"`+id+`","gateway_request_id":"`+id+`","status":"OK","payload":{"images":[{"url":"https://v3.fal.media/files/a.png"}]}}`)
	}
	settled := func(status string, want int) (ids []string) {
		t.Helper()
		eventually.True(t, fmt.Sprintf("%d logs are %s", want, status), func() bool {
			var page struct{ Docs []struct{ ID string } }
			if err := g.get("/api/v1/webhooks/manage?sort=receivedAt&status="+status, &page); err != nil {
				t.Fatal(err)
			}
			ids = nil
			for _, doc := range page.Docs {
				ids = append(ids, doc.ID)
			}
			return len(ids) == want
		})
		return ids
	}
	failed := settled("error", 2)
	settled("success", 4)
	retry := exec.Command(binary, "events", "retry", failed[1], "--now")
	retry.Dir, retry.Env = dir, append(os.Environ(), env...)
	if out, err := retry.CombinedOutput(); err == nil {
		t.Fatalf("the retry of a log that fails each time succeeded: %s", out)
	}
	var delivery struct{ ID string }
	waiting := settled("pending", 2)
	if err := json.Unmarshal([]byte(runIn(t, dir, env, binary, "deliveries", "list", "--event", waiting[1], "--json")), &delivery); err != nil {
		t.Fatal(err)
	}
	runIn(t, dir, env, binary, "deliveries", "cancel", delivery.ID)
	settled("error", 3)
}

// testPayloadQueries asks the gateway and a collection of Payload with the same documents the queries
// of testdata/payload/queries.txt. Those with a ~ differ on purpose; docs/api.md has the reasons.
func testPayloadQueries(t *testing.T, s *studio) {
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	g, err := serve(dir, environment(dir, addr), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer g.kill()
	fillLogs(t, g)
	text, err := os.ReadFile(filepath.Join("testdata", "payload", "queries.txt"))
	if err != nil {
		t.Fatal(err)
	}
	differs := map[string]bool{}
	var queries []string
	for line := range strings.Lines(string(text)) {
		query, deliberate := strings.CutPrefix(strings.TrimSpace(line), "~ ")
		differs[query] = deliberate
		queries = append(queries, query)
	}
	cmd := exec.CommandContext(t.Context(), "node", s.add(filepath.Join("internal", "e2e", "testdata", "payload", "compare.mjs")))
	cmd.Dir, cmd.Stdin = filepath.Join(s.dir, ".data"), strings.NewReader(strings.Join(queries, "\n"))
	cmd.Env = append(os.Environ(), "GAFF_URL="+g.url, "GAFF_TOKEN="+adminToken, "DATABASE_URL=file:"+filepath.Join(t.TempDir(), "payload.db"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	compared := 0
	for line := range strings.Lines(string(out)) {
		var c struct {
			Query         string
			Equal         bool
			Gaff, Payload any
		}
		if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &c) != nil {
			continue // Payload's own log
		}
		compared++
		if c.Equal == differs[c.Query] {
			t.Errorf("%s: equal is %t, want %t (Payload -, gaff +):\n%s", c.Query, c.Equal, !c.Equal, cmp.Diff(c.Payload, c.Gaff))
		}
	}
	if compared != len(queries) {
		t.Errorf("%d queries were compared, want %d", compared, len(queries))
	}
}
