package gaff_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/eventually"
)

// lines splits a body into an event for each line; an empty body holds none.
type lines struct{}

func (lines) Parse(r *gaff.Request, _ gaff.Verification) (gaff.Envelope, error) {
	env := gaff.Envelope{Split: true}
	for line := range strings.FieldsSeq(string(r.Body)) {
		env.Batch = append(env.Batch, gaff.Envelope{ID: line, Type: "line", Data: []byte(`"` + line + `"`)})
	}
	return env, nil
}

// pass accepts the word that it is, at the time of receipt.
type pass string

func (p pass) Verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	if r.Header.Get("X-Pass") != string(p) {
		return gaff.Verification{}, errors.New("another word")
	}
	if at, err := time.Parse(time.RFC3339, r.Header.Get("X-At")); err == nil && r.ReceivedAt.Sub(at) > time.Minute {
		return gaff.Verification{}, errors.New("too late")
	}
	return gaff.Verification{Scheme: "pass", KeyID: string(p)}, nil
}

func (b *bench) post(method, path, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, "/api/v1/webhooks/"+path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	b.IngestHandler().ServeHTTP(rec, req)
	return rec
}

func (b *bench) newestRejection(t *testing.T) gaff.Rejection {
	t.Helper()
	return b.rejections(t, gaff.RejectionFilter{}, 1)[0]
}

// rejections returns the rejections that a filter chooses, when there are at least n: on a slow
// disk an answer does not wait for its note.
func (b *bench) rejections(t *testing.T, f gaff.RejectionFilter, n int) (found []gaff.Rejection) {
	t.Helper()
	eventually.True(t, fmt.Sprint(n, " rejections are stored"), func() bool {
		page, err := b.st.Rejections(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		found = page.Items
		return len(found) >= n
	})
	return found
}

func TestBatch(t *testing.T) {
	t.Parallel()
	var worked atomic.Int64
	b := newBench(t, gaff.Options{}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "lines", Verifier: open{}, Parser: lines{}})
		b.Handle("lines", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
			worked.Add(1)
			return nil
		}))
	})
	for _, step := range []struct{ body, want string }{
		{"", `{"success":true,"events":0}`},
		{"a b c", `,"events":3}`},
		{"a b c", `,"events":3,"duplicate":true}`},
		{"c d", `,"events":2}`},
		{"e", `"}`},
	} {
		rec := b.post("POST", "lines", step.body)
		if rec.Code != 200 || !strings.HasSuffix(rec.Body.String(), step.want) {
			t.Errorf("%q: %d %s, want …%s", step.body, rec.Code, rec.Body, step.want)
		}
	}
	page, err := b.st.Events(t.Context(), gaff.EventFilter{Source: "lines"})
	if err != nil || len(page.Items) != 5 {
		t.Fatalf("%d events: %v", len(page.Items), err)
	}
	for _, l := range page.Items {
		if l.Conflict {
			t.Errorf("%s came again as it was, and is a conflict", l.WebhookID)
		}
		if d := b.detail(t, l.ID); l.WebhookID == "a" && string(d.Request.Body) != "a b c" {
			t.Errorf("the first event has not the whole request: %+v", d.Request)
		}
	}
	rec := b.post("POST", "lines", strings.Repeat("x ", 6000))
	if rec.Code != http.StatusBadRequest {
		t.Errorf("6,000 events in a request: %d", rec.Code)
	}
	deadline := time.Now().Add(10 * time.Second)
	for worked.Load() < 5 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := worked.Load(); n != 5 {
		t.Errorf("%d were worked", n)
	}
}

func TestGuardAddresses(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.0.0.0/8")}}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "lines", Verifier: open{}, Parser: lines{}, Guard: gaff.Guard{
			Allow: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		}})
	})
	// httptest's peer is 192.0.2.1, one of the proxies.
	for _, c := range []struct {
		forwarded []string
		want      int
		seen      string
	}{
		{nil, 401, "192.0.2.1"},
		{[]string{"203.0.113.7"}, 200, ""},
		{[]string{"203.0.113.7, 10.1.2.3"}, 200, ""},
		{[]string{"203.0.113.7", "10.1.2.3"}, 200, ""},
		{[]string{"203.0.113.7, 198.51.100.1"}, 401, "198.51.100.1"}, // what a stranger claims before a proxy's word
		{[]string{"203.0.113.7, junk"}, 401, "192.0.2.1"},
		{[]string{"::ffff:203.0.113.7"}, 200, ""},
		{[]string{"[2001:db8::1]:443"}, 200, ""},
		{[]string{"203.0.113.7:1234"}, 200, ""},
	} {
		var header []string
		for _, f := range c.forwarded {
			header = append(header, "X-Forwarded-For", f)
		}
		rec := b.post("POST", "lines", fmt.Sprint(c.forwarded), header...)
		if rec.Code != c.want {
			t.Errorf("%q: %d, want %d", c.forwarded, rec.Code, c.want)
		}
		if c.want == 401 {
			if rj := b.newestRejection(t); rj.RemoteAddr != c.seen || !strings.Contains(rj.Reason, c.seen) || rec.Body.String() != `{"error":"Invalid signature"}` {
				t.Errorf("%q: seen as %s, %s, %s", c.forwarded, rj.RemoteAddr, rj.Reason, rec.Body)
			}
		}
	}
}

func TestGuardRateAndType(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.AddSource(gaff.Source{Name: "lines", Verifier: open{}, Parser: lines{}, Guard: gaff.Guard{Rate: 0.5, Burst: 3}})
			b.AddSource(gaff.Source{Name: "typed", Verifier: open{}, Parser: lines{}, Guard: gaff.Guard{ContentTypes: []string{"application/json", "text/plain"}}})
		})
		for i := range 3 {
			if rec := b.post("POST", "lines", fmt.Sprint(i)); rec.Code != 200 {
				t.Errorf("request %d: %d", i, rec.Code)
			}
		}
		rec := b.post("POST", "lines", "over")
		if rec.Code != 429 || rec.Header().Get("Retry-After") != "3" || rec.Body.String() != `{"error":"Too many requests"}` {
			t.Errorf("over the limit: %d, Retry-After %s, %s", rec.Code, rec.Header().Get("Retry-After"), rec.Body)
		}
		time.Sleep(2 * time.Second)
		if rec := b.post("POST", "lines", "later"); rec.Code != 200 {
			t.Errorf("two seconds later: %d", rec.Code)
		}
		if rec := b.post("POST", "lines", "again"); rec.Code != 429 {
			t.Errorf("and at once again: %d", rec.Code)
		}
		for kind, want := range map[string]int{"application/json; charset=utf-8": 200, "TEXT/plain": 200, "text/html": 415, "": 415, ";": 415} {
			if rec := b.post("POST", "typed", kind, "Content-Type", kind); rec.Code != want {
				t.Errorf("%q: %d, want %d", kind, rec.Code, want)
			}
		}
	})
}

func TestUnverifiedRequestsUseUpNothingOfTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.AddSource(gaff.Source{Name: "lines", Verifier: pass("ok"), Parser: lines{}, Guard: gaff.Guard{Rate: 1, Burst: 3}})
		})
		codes := map[int]int{}
		for range 10 {
			codes[b.post("POST", "lines", "x", "X-Pass", "no").Code]++
		}
		if codes[401] != 3 || codes[429] != 7 {
			t.Errorf("unverified requests of one client: %v, want 3 times 401 and then 429", codes)
		}
		for i := range 3 {
			if rec := b.post("POST", "lines", fmt.Sprint(i), "X-Pass", "ok"); rec.Code != 200 {
				t.Errorf("verified request %d after them: %d", i, rec.Code)
			}
		}
		if rec := b.post("POST", "lines", "over", "X-Pass", "ok"); rec.Code != 429 {
			t.Errorf("verified, over the rate: %d, want 429", rec.Code)
		}
	})
}

// A refused request is kept whole, and judged at its own time once the word is mended.
func TestRescue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := func(word string) gaff.Source {
			return gaff.Source{Name: "lines", Verifier: pass(word), Parser: lines{}}
		}
		b := newBench(t, gaff.Options{}, func(b *bench) { b.AddSource(source("old")) })
		sentAt := time.Now().UTC().Format(time.RFC3339)
		refused := func(body string) string {
			t.Helper()
			if rec := b.post("POST", "lines/handle-1?x=1", body, "X-Pass", "new", "X-At", sentAt); rec.Code != 401 {
				t.Fatalf("answered %d", rec.Code)
			}
			rj := b.newestRejection(t)
			if !rj.Rescuable {
				t.Fatal("it was not kept whole")
			}
			return rj.ID
		}
		first, second := refused("a b"), refused("c")
		if _, err := b.Rescue(t.Context(), first); !errors.Is(err, gaff.ErrConflict) || !strings.Contains(err.Error(), "another word") {
			t.Errorf("before it is mended: %v", err)
		}
		time.Sleep(5 * time.Minute)
		if err := b.UpdateSource(source("new")); err != nil {
			t.Fatal(err)
		}
		out, err := b.Rescue(t.Context(), first)
		if err != nil || out.Events != 2 || out.Duplicate {
			t.Fatalf("rescued %+v, %v", out, err)
		}
		d := b.detail(t, out.EventID)
		if d.CallbackToken != "handle-1" || string(d.Request.Body) != "a b" || d.ReceivedAt.UTC().Format(time.RFC3339) != sentAt || d.Verification.KeyID != "new" {
			t.Errorf("the event is %+v", d.Event)
		}
		again, err := b.Rescue(t.Context(), first)
		if err != nil || !again.Duplicate || again.EventID != out.EventID {
			t.Errorf("rescued twice: %+v, %v", again, err)
		}
		// The sender was faster.
		rec := b.post("POST", "lines", "c", "X-Pass", "new")
		if rec.Code != 200 {
			t.Fatalf("sent again: %d", rec.Code)
		}
		out, err = b.Rescue(t.Context(), second)
		if err != nil || !out.Duplicate {
			t.Errorf("after it was sent again: %+v, %v", out, err)
		}
		rj, err := b.st.Rejection(t.Context(), second)
		if err != nil || rj.RescuedAs != out.EventID || rj.Rescuable {
			t.Errorf("the rejection: %+v, %v", rj, err)
		}
		if _, err := b.Rescue(t.Context(), "rej_nobody"); !errors.Is(err, gaff.ErrNotFound) {
			t.Errorf("an unknown one: %v", err)
		}
	})
}

// What strangers can make us keep is bounded in speed.
func TestQuarantineSpeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.AddSource(gaff.Source{Name: "lines", Verifier: pass("x"), Parser: lines{}})
		})
		whole := 0
		for range 40 {
			b.post("POST", "lines", strings.Repeat("a", 1<<20-2000))
			if b.newestRejection(t).Rescuable {
				whole++
			}
		}
		if whole < 10 || whole > 20 {
			t.Errorf("%d of 40 MiB at once are kept whole", whole)
		}
		time.Sleep(3 * time.Second)
		b.post("POST", "lines", strings.Repeat("a", 1<<20-2000))
		if !b.newestRejection(t).Rescuable {
			t.Error("later ones are not kept")
		}
	})
}

// New secrets of a running gateway lose no request: each is judged by the old or by the
// new one.
func TestUpdateSourceUnderLoad(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "lines", Verifier: open{}, Parser: lines{}})
	})
	done := make(chan struct{})
	var sent, kept atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				sent.Add(1)
				if rec := b.post("POST", "lines", fmt.Sprintf("%d-%d", w, i)); rec.Code == 200 {
					kept.Add(1)
				} else {
					t.Errorf("answered %d %s", rec.Code, rec.Body)
				}
			}
		})
	}
	for range 200 {
		if err := b.UpdateSource(gaff.Source{Name: "lines", Verifier: open{}, Parser: lines{}}); err != nil {
			t.Fatal(err)
		}
		if sent.Load() > 500 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(done)
	wg.Wait()
	if sent.Load() != kept.Load() {
		t.Errorf("%d sent, %d kept", sent.Load(), kept.Load())
	}
	if err := b.UpdateSource(gaff.Source{Name: "nobody", Verifier: open{}, Parser: lines{}}); !errors.Is(err, gaff.ErrNotFound) {
		t.Errorf("a source that is none: %v", err)
	}
	if err := b.UpdateSource(gaff.Source{Name: "lines"}); !errors.Is(err, gaff.ErrInvalid) {
		t.Errorf("a source without verifier: %v", err)
	}
}

// The cost of a request does not grow with the number of sources.
func TestAllocationsDoNotGrowWithSources(t *testing.T) {
	measure := func(sources int) float64 {
		b := newBench(t, gaff.Options{}, func(b *bench) {
			for i := range sources {
				b.AddSource(gaff.Source{Name: fmt.Sprint("s", i), Verifier: pass("x"), Parser: lines{}})
			}
		})
		n := 0
		return testing.AllocsPerRun(200, func() {
			n++
			b.post("POST", "s0", fmt.Sprint(n), "X-Pass", "x")
		})
	}
	few, many := measure(1), measure(2000)
	if many > few*1.2+5 {
		t.Errorf("%.0f allocations with one source, %.0f with 2,000", few, many)
	}
}
