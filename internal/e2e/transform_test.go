package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gaff/internal/eventually"
)

const transformConfig = `destinations:
  chat:
    url: %q
    events: ["published:*"]
    transform_js: file:chat.js
    first_wait: 50ms
    longest_wait: 100ms
    max_attempts: 1000
`

const chatScript = `function transform(event, out) {
  if (event.type === "order.draft") return null;
  if (event.type === "order.endless") while (true) {}
  out.headers["X-Kind"] = event.type;
  return { text: "Order " + event.data.id + " costs " + event.data.total.toFixed(2), seed: event.data.seed };
}
`

// TestJavaScriptTransformsEvents forwards events through a script of gaff.yaml: what it makes arrives, what it leaves
// out does not, and what fails is retried by a corrected script, also in another process.
func TestJavaScriptTransformsEvents(t *testing.T) {
	t.Parallel()
	for name, prepare := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database, err := prepare(t)()
			if err != nil {
				t.Fatal(err)
			}
			received := make(chan string, 100)
			app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				received <- r.Header.Get("X-Kind") + " " + string(body)
			}))
			t.Cleanup(app.Close)
			dir, addr := t.TempDir(), must(freeAddr())
			write := func(file, text string) {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("gaff.yaml", fmt.Sprintf(transformConfig, app.URL))
			env := environment(dir, addr, append(database, "GAFF_ALLOW_ADDRESSES=127.0.0.0/8")...)

			// A mistake in the script is found when the configuration is read.
			write("chat.js", "function transform(event) {\n  return { text: };\n}\n")
			g, err := serve(dir, env, addr)
			if err == nil {
				g.kill()
				t.Fatal("started with a syntax error in a transformation")
			}
			write("chat.js", chatScript)
			if g, err = serve(dir, env, addr); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { g.kill() })

			g.call(t, http.MethodPost, "/api/v1/events", `{"type":"order.draft","data":{"id":1}}`, http.StatusCreated)
			g.call(t, http.MethodPost, "/api/v1/events", `{"type":"order.broken","data":{"id":2}}`, http.StatusCreated)
			g.call(t, http.MethodPost, "/api/v1/events", `{"type":"order.paid","data":{"id":3,"total":12.5,"seed":17454220438242315174}}`, http.StatusCreated)
			want := `order.paid {"text":"Order 3 costs 12.50","seed":17454220438242315174}`
			if got := eventually.Receive(t, "the order", received); got != want {
				t.Errorf("received %s, want %s", got, want)
			}

			// The failure has line and message, and loses no event.
			eventually.True(t, "the broken order fails", func() bool {
				return strings.Contains(string(g.call(t, http.MethodGet, "/api/v1/deliveries", "", http.StatusOK)), "transform: 5:")
			})

			// Preview by the API and by the command, on the same events.
			var preview struct {
				Events []struct {
					Type, After, Error string
					Sent               bool
				}
				Failed int
			}
			if err := json.Unmarshal(g.call(t, http.MethodPost, "/api/v1/destinations/preview", `{"destination":"chat","limit":3}`, http.StatusOK), &preview); err != nil {
				t.Fatal(err)
			}
			if len(preview.Events) != 3 || preview.Failed != 1 || !preview.Events[0].Sent || preview.Events[2].Sent {
				t.Errorf("preview %+v, want three events, of which one fails and one is left out", preview)
			}
			fixed := strings.Replace(chatScript, "event.data.total.toFixed(2)", "(event.data.total ?? 0).toFixed(2)", 1)
			write("fixed.js", fixed)
			if out, err := g.gaff("transforms", "test", filepath.Join(dir, "chat.js"), "--events", "published:*", "--last", "3"); err == nil || !strings.Contains(out, "TypeError") {
				t.Errorf("gaff transforms test of the broken script: %v\n%s", err, out)
			}
			if out, err := g.gaff("transforms", "test", filepath.Join(dir, "fixed.js"), "--events", "published:*", "--last", "3"); err != nil {
				t.Errorf("gaff transforms test of the corrected script: %v\n%s", err, out)
			}

			// A script that does not end delays nobody else, and the gateway stops in time.
			g.call(t, http.MethodPost, "/api/v1/events", `{"type":"order.endless","data":{"id":4}}`, http.StatusCreated)
			g.call(t, http.MethodPost, "/api/v1/events", `{"type":"order.paid","data":{"id":5,"total":1}}`, http.StatusCreated)
			want = `order.paid {"text":"Order 5 costs 1.00"}`
			if got := eventually.Receive(t, "the order behind the endless one", received); got != want {
				t.Errorf("received %s, want %s", got, want)
			}
			began := time.Now()
			if err := g.stop(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("stopping took %s", took)
			}

			write("chat.js", fixed)
			if g, err = serve(dir, env, addr); err != nil {
				t.Fatal(err)
			}
			want = `order.broken {"text":"Order 2 costs 0.00"}`
			if got := eventually.Receive(t, "the order that failed before", received); got != want {
				t.Errorf("received %s, want %s", got, want)
			}
		})
	}
}
