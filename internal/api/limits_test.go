package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

// Each operation has its own limit: what an operation allows in a field fits into its body.
func TestBodyLimitsPerOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	input := func(bytes int) string {
		return fmt.Sprintf(`{"workflow":"ask","input":{"text":%q}}`, strings.Repeat("x", bytes))
	}
	metadata := func(bytes int) string {
		return fmt.Sprintf(`{"provider":"fal","requestId":"r","metadata":{"text":%q}}`, strings.Repeat("x", bytes))
	}
	for _, c := range []struct {
		name, method, path, body string
		large                    bool
	}{
		{"a run's input of 900 KiB", http.MethodPost, "/api/v1/runs", input(900 << 10), false},
		{"a run's input of 3 MiB", http.MethodPost, "/api/v1/runs", input(3 << 20), true},
		{"a job's metadata of nearly 64 KiB", http.MethodPut, "/api/v1/jobs/mine", metadata(65_000), false},
		{"a job's metadata of 200 KiB", http.MethodPut, "/api/v1/jobs/mine", metadata(200 << 10), true},
		{"a bulk action of 60 KiB", http.MethodPost, "/api/v1/bulk", `{"action":"retry","q":"` + strings.Repeat("x", 60<<10) + `"}`, false},
		{"a bulk action of 70 KiB", http.MethodPost, "/api/v1/bulk", `{"action":"retry","q":"` + strings.Repeat("x", 70<<10) + `"}`, true},
		{"a retry by Payload's clients of 70 KiB", http.MethodPost, "/api/v1/webhooks/manage", strings.Repeat(" ", 70<<10), true},
	} {
		res := w.call(c.method, c.path, "admin", c.body)
		if (res.status == http.StatusRequestEntityTooLarge) != c.large {
			t.Errorf("%s: %d %.300s; want 413: %v", c.name, res.status, res.body, c.large)
		}
		if c.large && !strings.Contains(res.body, "the body is larger than ") {
			t.Errorf("%s: %.300s does not say what the limit is", c.name, res.body)
		}
	}
}

// How a node is can be asked while its database hangs.
func TestHealthAnswersInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.ready = func(ctx context.Context) error {
			<-ctx.Done()
			return fmt.Errorf("%w: %w", gaff.ErrUnavailable, ctx.Err())
		}
		began := time.Now()
		res := f.call(http.MethodGet, "/api/v1/health", "viewer", "")
		if res.status != http.StatusOK || !strings.Contains(res.body, `"ready":false`) {
			t.Errorf("answered %d %s, want 200 and not ready", res.status, res.body)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("answered after %s, want two seconds at most", took)
		}
	})
}

func startBulk(t *testing.T, f *fake, events int) {
	t.Helper()
	f.store.events = func(gaff.EventFilter) (page gaff.Page[gaff.Log], _ error) {
		for i := range events {
			page.Items = append(page.Items, gaff.Log{Event: gaff.Event{ID: fmt.Sprint("evt_", i)}})
		}
		return page, nil
	}
	if res := f.call(http.MethodPost, "/api/v1/bulk", "operator", `{"action":"retry"}`); res.status != http.StatusAccepted {
		t.Fatalf("%d %s", res.status, res.body)
	}
}

// A bulk action works outside of any request: a panic in it must not end the process.
func TestBulkActionSurvivesAPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.gateway.retry = func(context.Context) error { panic("a mistake") }
		startBulk(t, f, 3)
		f.running.Wait()
		if got := strings.Count(f.log.String(), "bulk action panicked"); got != 3 {
			t.Errorf("%d panics are logged, want 3", got)
		}
	})
}

// A bulk action ends when the gateway stops, and is waited for.
func TestBulkActionEndsWithTheGateway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var stop context.CancelFunc
		f.work, stop = context.WithCancel(context.Background())
		f.gateway.retry = func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Hour):
				return nil
			}
		}
		startBulk(t, f, 500)
		began := time.Now()
		time.Sleep(time.Second)
		stop()
		f.running.Wait()
		if took := time.Since(began); took != time.Second {
			t.Errorf("ended after %s, want at the stop, after a second", took)
		}
	})
}
