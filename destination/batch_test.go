package destination

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff/client"
)

// handleAll handles n events at once, and returns the outcomes.
func handleAll(d *Destination, n int) []string {
	var wg sync.WaitGroup
	outcomes := make([]string, n)
	for i := range n {
		ev := event()
		ev.ID, ev.Data = fmt.Sprint("evt_", i), json.RawMessage("{\n  \"n\": 1\n}")
		wg.Go(func() { outcomes[i] = verdict(d.Handle(context.Background(), ev)) })
	}
	wg.Wait()
	return outcomes
}

func TestFullBatchIsSentAtOnce(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	d := newDestination(t, Spec{URL: r.URL, Batch: &Batch{Size: 5, Wait: Duration(time.Minute)}, Secrets: []string{secret}}, Options{})
	if got := strings.Join(handleAll(d, 5), " "); got != "done done done done done" {
		t.Errorf("outcomes %s", got)
	}
	var events []client.Envelope
	if err := json.Unmarshal(r.body, &events); err != nil || len(events) != 5 {
		t.Errorf("%d events, %v", len(events), err)
	}
	if id := r.header.Get(client.HeaderID); !strings.HasPrefix(id, "bat_") {
		t.Errorf("webhook-id %q", id)
	}
	want, _ := client.Sign(secret, r.header.Get(client.HeaderID), mustInt(t, r.header.Get(client.HeaderTimestamp)), r.body)
	if got := r.header.Get(client.HeaderSignature); got != want {
		t.Errorf("signature %q, want that of the whole body", got)
	}
	if h := d.Health(); h.Sent != 1 {
		t.Errorf("%d attempts for one request", h.Sent)
	}
}

func mustInt(t *testing.T, text string) (n int64) {
	t.Helper()
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBatchFormats(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec Spec
		kind string
		ok   func(body []byte) bool
	}{
		"lines": {Spec{Batch: &Batch{Size: 3, Format: BatchLines}}, "application/x-ndjson", func(body []byte) bool {
			return bytes.Count(body, []byte("\n")) == 3
		}},
		"cloudevents": {Spec{Format: FormatCloudEvents, Batch: &Batch{Size: 3}}, "application/cloudevents-batch+json", func(body []byte) bool {
			var all []struct{ Specversion string }
			return json.Unmarshal(body, &all) == nil && len(all) == 3 && all[2].Specversion == "1.0"
		}},
		"transformed": {Spec{Transform: `{"n": id}`, Batch: &Batch{Size: 3}}, "application/json", func(body []byte) bool {
			var all []map[string]string
			return json.Unmarshal(body, &all) == nil && len(all) == 3 && strings.HasPrefix(all[0]["n"], "evt_")
		}},
	} {
		r := newReceiver(t, nil)
		c.spec.URL = r.URL
		handleAll(newDestination(t, c.spec, Options{}), 3)
		if got := r.header.Get("Content-Type"); got != c.kind || !c.ok(r.body) {
			t.Errorf("%s: %s %s", name, got, r.body)
		}
	}
}

func TestBatchFailsAsAWhole(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{500: "retry", 422: "dead", 429: "retry"} {
		r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		d := newDestination(t, Spec{URL: r.URL, Batch: &Batch{Size: 3}}, Options{})
		if got := strings.Join(handleAll(d, 3), " "); got != want+" "+want+" "+want {
			t.Errorf("%d: %s", status, got)
		}
		if h := d.Health(); h.Failed != 1 {
			t.Errorf("%d: %d failures for one request", status, h.Failed)
		}
	}
}

// countingTransport answers every request, without a network.
type countingTransport struct {
	mu     sync.Mutex
	bodies [][]byte
}

func (c *countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	var b bytes.Buffer
	_, _ = b.ReadFrom(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies = append(c.bodies, b.Bytes())
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
}

func TestBatchIsSentWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent countingTransport
		d := newDestination(t, Spec{URL: "http://app", Batch: &Batch{Size: 100, Wait: Duration(3 * time.Second)}}, Options{Client: &http.Client{Transport: &sent}})
		started := time.Now()
		handleAll(d, 7)
		if took := time.Since(started); took != 3*time.Second || len(sent.bodies) != 1 {
			t.Errorf("%d requests after %s, want 1 after 3s", len(sent.bodies), took)
		}
	})
}

func TestBatchOfLargeEventsIsSplit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent countingTransport
		d := newDestination(t, Spec{URL: "http://app", Batch: &Batch{Size: 10, Wait: Duration(time.Second)}}, Options{Client: &http.Client{Transport: &sent}})
		var wg sync.WaitGroup
		for range 5 {
			ev := event()
			ev.Data = []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
			wg.Go(func() { _ = d.Handle(context.Background(), ev) })
		}
		wg.Wait()
		for _, body := range sent.bodies {
			if len(body) > maxBatchBytes+4096 {
				t.Errorf("a request has %d bytes", len(body))
			}
		}
		if len(sent.bodies) != 2 {
			t.Errorf("%d requests, want 2", len(sent.bodies))
		}
	})
}

func TestBatchEndsWithTheGateway(t *testing.T) {
	t.Parallel()
	var sent countingTransport
	d := newDestination(t, Spec{URL: "http://app", Batch: &Batch{Size: 10, Wait: Duration(time.Minute)}}, Options{Client: &http.Client{Transport: &sent}})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Handle(ctx, event()); err == nil {
		t.Error("a delivery that was interrupted has succeeded")
	}
}
