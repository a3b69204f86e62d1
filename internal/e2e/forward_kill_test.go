package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"gaff/internal/eventually"
)

// requestCounter counts the requests of each event, by the event's id.
type requestCounter struct {
	mu       sync.Mutex
	requests map[string]int
	total    int
	marks    map[int]chan struct{} // closed when so many requests came
	open     chan struct{}         // nothing is answered until it is closed
}

func (r *requestCounter) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var event struct {
		ID string `json:"id"`
	}
	if err := json.NewDecoder(req.Body).Decode(&event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.requests[event.ID]++
	r.total++
	if mark := r.marks[r.total]; mark != nil {
		close(mark)
	}
	r.mu.Unlock()
	<-r.open
}

func (r *requestCounter) events() (events, repeated int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests), r.total - len(r.requests)
}

// A gateway that is killed while the ends of requests wait for their commit sends each event, and no more of
// them again than docs/forwarding.md says.
func TestKilledGatewayRepeatsFewRequests(t *testing.T) {
	t.Parallel()
	for name, prepare := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database, err := prepare(t)()
			if err != nil {
				t.Fatal(err)
			}
			const events, concurrency = 600, 4
			kills := []int{100, 250, 400}
			app := &requestCounter{requests: map[string]int{}, marks: map[int]chan struct{}{}, open: make(chan struct{})}
			for _, at := range kills {
				app.marks[at] = make(chan struct{})
			}
			server := httptest.NewServer(app)
			t.Cleanup(server.Close)
			dir := t.TempDir()
			config := fmt.Sprintf("destinations:\n  app: {url: %q, events: [\"custom:*\"], concurrency: %d}\nlimits: {lease: 2s}\n", server.URL, concurrency)
			if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			start := func() *gateway {
				addr := must(freeAddr())
				env := append(database, "GAFF_ALLOW_ADDRESSES=127.0.0.1/32")
				g, err := serve(dir, environment(dir, addr, env...), addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(g.kill)
				return g
			}
			g := start()
			for n := range events {
				if _, _, err := send(t.Context(), http.DefaultClient, g.url, makeWebhook(fmt.Sprint("kill-", n), 2)); err != nil {
					t.Fatal(err)
				}
			}
			close(app.open)
			for _, at := range kills {
				eventually.Receive(t, fmt.Sprintf("request %d", at), app.marks[at])
				g.kill()
				g = start()
			}
			eventually.True(t, "all events are received", func() bool {
				received, _ := app.events()
				return received == events
			})
			if err := g.stop(); err != nil {
				t.Fatal(err)
			}
			_, repeated := app.events()
			t.Logf("%d of %d requests were repeated", repeated, events)
			if most := 5 * concurrency * len(kills); repeated > most {
				t.Errorf("%d requests were repeated after %d kills, want at most %d", repeated, len(kills), most)
			}
		})
	}
}
