package destination_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/client"
	"gaff/destination"
	"gaff/store/sqlite"
)

// world is a gateway over a real database and receivers that are functions, with a clock
// that is faked.
type world struct {
	*gaff.Gateway
	t  *testing.T
	st *sqlite.Store
	mu sync.Mutex
	// sent are the times of the requests, by host and webhook id.
	sent map[string][]time.Time
	// answer decides by host and the event's data; nil means 200.
	answer func(host string, e client.Envelope) (status int, header http.Header, err error)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	st, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gw, err := gaff.New(gaff.Options{Store: st, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Gateway: gw, t: t, st: st, sent: map[string][]time.Time{}}
	if err := gw.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(gw.Stop(context.Background()), st.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var e client.Envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, err
	}
	w.mu.Lock()
	key := r.URL.Host + " " + e.Event.WebhookID
	w.sent[key] = append(w.sent[key], time.Now())
	answer := w.answer
	w.mu.Unlock()
	status, header := http.StatusOK, http.Header{}
	if answer != nil {
		if status, header, err = answer(r.URL.Host, e); err != nil {
			return nil, err
		}
	}
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: r}, nil
}

func (w *world) answers(f func(host string, e client.Envelope) (int, http.Header, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

// tries is how many requests a host got, for one webhook or for all.
func (w *world) tries(host, webhookID string) (times []time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, ts := range w.sent {
		if h, id, _ := strings.Cut(key, " "); h == host && (webhookID == "" || id == webhookID) {
			times = append(times, ts...)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

func (w *world) add(s destination.Spec) *destination.Destination {
	w.t.Helper()
	if s.URL == "" {
		s.URL = "http://" + s.Name + "/in"
	}
	d, err := destination.New(s, destination.Options{Client: &http.Client{Transport: w}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := d.Attach(w.Gateway); err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) emit(webhookID, data string) string {
	w.t.Helper()
	id, err := w.Emit(context.Background(), gaff.Event{Source: "shop", Type: "paid", WebhookID: webhookID, Data: json.RawMessage(data)}, time.Time{})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) delivery(eventID string) (gaff.Delivery, []gaff.Attempt) {
	w.t.Helper()
	d, err := w.st.Event(context.Background(), eventID)
	if err != nil || len(d.Deliveries) != 1 {
		w.t.Fatalf("%v, %d deliveries", err, len(d.Deliveries))
	}
	return d.Deliveries[0], d.Attempts
}

func TestTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(string, client.Envelope) (int, http.Header, error) { return 500, nil, nil })
		w.add(destination.Spec{Name: "app", MaxAttempts: 4})
		id := w.emit("1", `{}`)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		tries := w.tries("app", "1")
		if len(tries) != 4 {
			t.Fatalf("%d tries", len(tries))
		}
		for i, want := range []time.Duration{10 * time.Second, 30 * time.Second, 90 * time.Second} {
			if got := tries[i+1].Sub(tries[i]); got < want*8/10 || got > want*12/10+time.Second {
				t.Errorf("wait %d was %s, want about %s", i, got, want)
			}
		}
		d, attempts := w.delivery(id)
		if d.State != gaff.StateDead || !strings.Contains(d.Error, "answered 500") || len(attempts) != 4 {
			t.Errorf("%s, %q, %d attempts", d.State, d.Error, len(attempts))
		}
		var ex destination.Exchange
		if err := json.Unmarshal([]byte(attempts[0].Detail), &ex); err != nil || ex.Response.Status != 500 || ex.Request.URL != "http://app/…" || !strings.Contains(ex.Request.Body, `"shop"`) {
			t.Errorf("kept %v: %s", err, attempts[0].Detail)
		}
	})
}

func TestTheUsualTriesTakeADayAndAHalf(t *testing.T) {
	t.Parallel()
	d, err := destination.New(destination.Spec{Name: "app", URL: "https://app.example.com"}, destination.Options{})
	if err != nil {
		t.Fatal(err)
	}
	policy, all := *d.HandleOptions().Retry, time.Duration(0)
	for n := 1; n < policy.MaxAttempts; n++ {
		all += policy.Wait(n)
	}
	if policy.MaxAttempts != 12 || all < 24*time.Hour || all > 40*time.Hour {
		t.Errorf("%d tries over %s", policy.MaxAttempts, all)
	}
}

func TestTheIDIsTheSameAtEachTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var headers []http.Header
		tr := roundTrip(func(r *http.Request) (*http.Response, error) {
			headers = append(headers, r.Header.Clone())
			body, _ := io.ReadAll(r.Body)
			if _, err := client.Verify([]string{testSecret}, r.Header, body, time.Now()); err != nil {
				t.Error(err)
			}
			return &http.Response{StatusCode: 500, Header: http.Header{}, Body: http.NoBody}, nil
		})
		d, err := destination.New(destination.Spec{Name: "app", URL: "http://app", Secrets: []string{destination.NewSecret(), testSecret}, MaxAttempts: 3},
			destination.Options{Client: &http.Client{Transport: tr}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Attach(w.Gateway); err != nil {
			t.Fatal(err)
		}
		id := w.emit("1", `{}`)
		time.Sleep(time.Hour)
		synctest.Wait()
		delivery, _ := w.delivery(id)
		if len(headers) != 3 {
			t.Fatalf("%d tries", len(headers))
		}
		seen := map[string]bool{}
		for _, h := range headers {
			if h.Get("Webhook-Id") != delivery.ID || len(strings.Fields(h.Get("Webhook-Signature"))) != 2 {
				t.Errorf("signed %v", h)
			}
			seen[h.Get("Webhook-Timestamp")] = true
		}
		if len(seen) != 3 {
			t.Errorf("the same time at each attempt: %v", seen)
		}
	})
}

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var mu sync.Mutex
		now, most := 0, 0
		w.answers(func(string, client.Envelope) (int, http.Header, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return 200, nil, nil
		})
		w.add(destination.Spec{Name: "app", Concurrency: 3})
		for i := range 30 {
			w.emit(fmt.Sprint(i), `{}`)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := len(w.tries("app", "")); n != 30 || most != 3 {
			t.Errorf("%d sent, at most %d at once, want 30 and 3", n, most)
		}
	})
}

func TestOrderByKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(_ string, e client.Envelope) (int, http.Header, error) {
			if strings.HasPrefix(e.Event.WebhookID, "stuck0") {
				return 500, nil, nil
			}
			return 200, nil, nil
		})
		w.add(destination.Spec{Name: "app", OrderBy: "/metadata/project_id", MaxAttempts: 3})
		var stuck []string
		for i := range 3 {
			stuck = append(stuck, w.emit(fmt.Sprint("stuck", i), `{"metadata":{"project_id":"a"}}`))
			w.emit(fmt.Sprint("b", i), `{"metadata":{"project_id":7}}`)
			w.emit(fmt.Sprint("none", i), `{}`)
		}
		synctest.Wait()
		if n := len(w.tries("app", "")); n != 1+3+3 {
			t.Errorf("%d requests, want the stuck one and all of other keys", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		// After the dead one the next go on: what happens then is the spec's to say.
		for i, want := range []gaff.State{gaff.StateDead, gaff.StateSucceeded, gaff.StateSucceeded} {
			if d, _ := w.delivery(stuck[i]); d.State != want {
				t.Errorf("number %d is %s, want %s", i, d.State, want)
			}
		}
	})
}

// Ten thousand that wait for one dead receiver are nobody else's affair.
func TestTheDeadSlowNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(host string, _ client.Envelope) (int, http.Header, error) {
			if host == "dead" {
				time.Sleep(15 * time.Second)
				return 0, nil, errors.New("timeout")
			}
			return 200, nil, nil
		})
		w.add(destination.Spec{Name: "dead", Filter: `data.to != "alive"`})
		for i := range 500 {
			w.emit(fmt.Sprint("d", i), `{"to":"dead"}`)
		}
		time.Sleep(time.Hour)
		w.add(destination.Spec{Name: "alive"})
		started := time.Now()
		for i := range 50 {
			w.emit(fmt.Sprint("a", i), `{"to":"alive"}`)
		}
		synctest.Wait()
		tries := w.tries("alive", "")
		if len(tries) != 50 || tries[49].Sub(started) > 0 {
			t.Errorf("%d sent to the living, the last after %s", len(tries), tries[len(tries)-1].Sub(started))
		}
	})
}
