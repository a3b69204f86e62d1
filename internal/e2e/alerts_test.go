package e2e

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"gaff/internal/eventually"
	"gaff/internal/wire"
)

// mailServer is a mail server of this process. Messages are what it takes.
func mailServer(t *testing.T) (addr string, messages <-chan string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	got := make(chan string, 100)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go takeMail(conn, got)
		}
	}()
	return ln.Addr().String(), got
}

func takeMail(conn net.Conn, got chan<- string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	fmt.Fprint(conn, "220 test ESMTP\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
		case "DATA":
			fmt.Fprint(conn, "354 go on\r\n")
			var b strings.Builder
			for line, err = in.ReadString('\n'); err == nil && line != ".\r\n"; line, err = in.ReadString('\n') {
				b.WriteString(line)
			}
			got <- strings.ReplaceAll(b.String(), "=\r\n", "")
			fmt.Fprint(conn, "250 queued\r\n")
		case "QUIT":
			fmt.Fprint(conn, "221 bye\r\n")
			return
		default:
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}
}

// command runs gaff as its user would, against a running gateway.
func (g *gateway) command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Env = t.TempDir(), []string{"PATH=" + os.Getenv("PATH"), "GAFF_URL=" + g.url, "GAFF_TOKEN=" + adminToken}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("gaff %v: %v\n%s%s", args, err, out, stderr.String())
	}
	return string(out)
}

// sendCustom sends a signed webhook to the source custom, with more headers as names and values.
func (g *gateway) sendCustom(t *testing.T, body string, header ...string) {
	t.Helper()
	mac := hmac.New(sha256.New, []byte(customSecret))
	mac.Write([]byte(body))
	req, err := http.NewRequest(http.MethodPost, g.url+"/api/v1/webhooks/custom", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Webhook-Signature", hex.EncodeToString(mac.Sum(nil)))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("webhook answered %d %s", resp.StatusCode, answer)
	}
}

// An application is down: its deliveries die, one mail says so, the deliveries are an issue. The
// application comes back, the issue is retried, and a mail says that it is over.
func TestOperatorIsToldByMailAndRetriesTheIssue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var works atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !works.Load() {
			http.Error(w, "hush: it quotes the payload", http.StatusInternalServerError)
		}
	}))
	defer app.Close()
	smtp, messages := mailServer(t)
	config := fmt.Sprintf(`destinations:
  app: {url: %q, events: ["custom:*"], max_attempts: 1, break_after: -1}
alerts:
  interval: 1s
  wait: 1s
  every: 1s
  channels:
    night: {email: {server: %q, tls: none, from: gaff@example.com, to: [ops@example.com]}, events: [delivery.dead]}
`, app.URL, smtp)
	if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	g, err := serve(dir, environment(dir, addr, "GAFF_ALLOW_ADDRESSES=127.0.0.1/32", "WEBHOOK_BASE_URL=https://hooks.example.com"), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer g.kill()

	if out := g.command(t, "alerts", "test"); !strings.Contains(out, "night") || !strings.Contains(out, "sent") {
		t.Errorf("gaff alerts test: %s", out)
	}
	if m := eventually.Receive(t, "the test mail", messages); !strings.Contains(m, "this is a test") {
		t.Errorf("test mail:\n%s", m)
	}

	for i := range 3 {
		g.sendCustom(t, fmt.Sprintf(`{"type":"paid","id":"order-%d"}`, i))
	}
	var list wire.List[wire.Issue]
	eventually.True(t, "three dead deliveries in one issue", func() bool {
		if err := g.get("/api/v1/issues?state=open", &list); err != nil {
			t.Fatal(err)
		}
		return len(list.Docs) == 1 && list.Docs[0].Count == 3
	})
	issue := list.Docs[0]
	if issue.Destination != "app" || issue.Source != "custom" || issue.Status != 500 || strings.Contains(issue.Error, "hush") {
		t.Errorf("issue %+v", issue)
	}
	m := eventually.Receive(t, "the mail about the dead deliveries", messages)
	if !strings.Contains(m, "Deliveries of custom to app are dead") || !strings.Contains(m, "https://hooks.example.com/issues/"+issue.ID) || strings.Contains(m, "hush") {
		t.Errorf("mail:\n%s", m)
	}
	if out := g.command(t, "issues", "list"); !strings.Contains(out, issue.ID) {
		t.Errorf("gaff issues list: %s", out)
	}
	var events wire.List[wire.Event]
	if err := g.get("/api/v1/events?source=gaff&type=delivery.dead", &events); err != nil || len(events.Docs) == 0 {
		t.Errorf("events of the type delivery.dead: %d, %v", len(events.Docs), err)
	}

	works.Store(true)
	if out := g.command(t, "issues", "retry", issue.ID); !strings.Contains(out, "3 of 3 done") {
		t.Errorf("gaff issues retry: %s", out)
	}
	eventually.True(t, "the issue is resolved", func() bool {
		var i wire.Issue
		return json.Unmarshal([]byte(g.command(t, "issues", "show", issue.ID, "--json")), &i) == nil && i.State == "resolved"
	})
	for !strings.Contains(m, "Resolved: Deliveries of custom to app are dead") {
		m = eventually.Receive(t, "the mail about the end", messages)
	}
}
