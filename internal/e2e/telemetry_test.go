//go:build !slim

package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"gaff/internal/eventually"
)

// collector is a collector of OTLP over HTTP.
type collector struct {
	mu    sync.Mutex
	spans map[string]*tracepb.Span // by their names
	posts map[string]int           // by path
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posts[r.URL.Path]++
	if r.URL.Path == "/v1/traces" {
		var data tracepb.TracesData // as the request is encoded, too
		if err := proto.Unmarshal(body, &data); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, rs := range data.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					c.spans[s.Name] = s
				}
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *collector) span(name string) *tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spans[name]
}

// One webhook that is forwarded is one trace, from the sender's span to the receiver's.
func TestForwardedWebhookIsOneTrace(t *testing.T) {
	t.Parallel()
	c := &collector{spans: map[string]*tracepb.Span{}, posts: map[string]int{}}
	otlp := httptest.NewServer(c)
	defer otlp.Close()
	arrived := make(chan string, 10)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { arrived <- r.Header.Get("traceparent") }))
	defer app.Close()
	dir := t.TempDir()
	config := fmt.Sprintf("destinations:\n  app: {url: %q, events: [\"custom:*\"]}\n", app.URL)
	if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	g, err := serve(dir, environment(dir, addr, "GAFF_ALLOW_ADDRESSES=127.0.0.1/32", "OTEL_EXPORTER_OTLP_ENDPOINT="+otlp.URL,
		"OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_METRIC_EXPORT_INTERVAL=500", "OTEL_BLRP_SCHEDULE_DELAY=100"), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer g.kill()

	const sender, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	g.sendCustom(t, `{"type":"paid","id":"order-1"}`, "Traceparent", "00-"+sender+"-"+parent+"-01")
	received := eventually.Receive(t, "the forwarded webhook", arrived)
	names := []string{"receive custom", "verify", "store", "attempt app", "POST " + strings.TrimPrefix(app.URL, "http://")}
	parents := map[string]string{"receive custom": parent}
	for _, name := range names {
		eventually.True(t, "the span "+name, func() bool { return c.span(name) != nil })
		if id := hex.EncodeToString(c.span(name).TraceId); id != sender {
			t.Errorf("the span %q belongs to the trace %s, want the sender's %s", name, id, sender)
		}
	}
	id := func(name string) string { return hex.EncodeToString(c.span(name).SpanId) }
	parents["verify"], parents["store"], parents["attempt app"] = id(names[0]), id(names[0]), id(names[0])
	parents[names[4]] = id("attempt app")
	for name, want := range parents {
		if got := hex.EncodeToString(c.span(name).ParentSpanId); got != want {
			t.Errorf("the parent of %q is %s, want %s", name, got, want)
		}
	}
	if want := "00-" + sender + "-" + id(names[4]) + "-01"; received != want {
		t.Errorf("the receiver got the traceparent %q, want %q", received, want)
	}
	for _, path := range []string{"/v1/metrics", "/v1/logs"} {
		eventually.True(t, "a request to "+path, func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.posts[path] > 0
		})
	}

	// Without a sender's trace it is one of its own, and a replay another one with a link to it.
	g.sendCustom(t, `{"type":"paid","id":"order-2"}`)
	eventually.Receive(t, "the second forwarded webhook", arrived)
	eventually.True(t, "another trace", func() bool { return hex.EncodeToString(c.span("receive custom").TraceId) != sender })
	if n := len(c.span("receive custom").ParentSpanId); n != 0 {
		t.Errorf("the first span has a parent of %d bytes", n)
	}
}
