package gaff_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gaff"
	"gaff/internal/fuzzseed"
	"gaff/store/sqlite"
)

// guardedVerifier accepts the header X-Pass: open; other values choose a failure.
type guardedVerifier struct{}

func (guardedVerifier) Verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	switch r.Header.Get("X-Pass") {
	case "open":
		return gaff.Verification{Scheme: "pass", KeyID: "k1"}, nil
	case "no keys":
		return gaff.Verification{}, fmt.Errorf("fetch keys: %w", gaff.ErrUnverifiable)
	case "panic":
		panic("a verifier's mistake")
	}
	return gaff.Verification{}, errors.New("X-Pass: does not match")
}

func ingestBench(t *testing.T) *bench {
	t.Helper()
	return newBench(t, gaff.Options{BaseURL: "https://hooks.example.com"}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "guarded", Verifier: guardedVerifier{}, Parser: plain{}, MaxBodyBytes: 1000})
		b.AddSource(gaff.Source{Name: "zip", Verifier: guardedVerifier{}, Parser: plain{}, MaxBodyBytes: 1000, AcceptGzip: true})
		b.AddSource(gaff.Source{Name: "polite", Verifier: guardedVerifier{}, Parser: plain{}, Ack: &gaff.Reply{
			Status: 202, ContentType: "text/plain", Body: []byte("[accepted]"),
		}})
	})
}

func TestReplies(t *testing.T) {
	t.Parallel()
	b := ingestBench(t)
	const good = `{"id":"r1","type":"paid"}`
	deep := strings.Repeat("[", 100_000)
	for _, c := range []struct {
		name, method, path, pass, encoding, body string
		status                                   int
		// answer is the whole body; a % is an event's id.
		answer string
	}{
		{"accepted", "POST", "guarded", "open", "", good, 200, `{"success":true,"id":"%"}`},
		{"again", "POST", "guarded", "open", "", good, 200, `{"success":true,"id":"%","duplicate":true}`},
		{"again with another body", "POST", "guarded", "open", "", `{"id":"r1","type":"paid","more":1}`, 200, `{"success":true,"id":"%","duplicate":true}`},
		{"a slash at the end", "POST", "guarded/", "open", "", `{"id":"r2","type":"paid"}`, 200, `{"success":true,"id":"%"}`},
		{"a handle", "POST", "guarded/h-1", "open", "", `{"id":"r3","type":"paid"}`, 200, `{"success":true,"id":"%"}`},
		{"a handle and a slash", "POST", "guarded/h-1/", "open", "", `{"id":"r4","type":"paid"}`, 200, `{"success":true,"id":"%"}`},
		{"no id", "POST", "guarded", "open", "", `{"type":"paid"}`, 200, `{"success":true,"id":"%"}`},
		{"no id again", "POST", "guarded", "open", "", `{"type":"paid"}`, 200, `{"success":true,"id":"%","duplicate":true}`},
		{"its own answer", "POST", "polite", "open", "", good, 202, `[accepted]`},
		{"slashes too many", "POST", "/guarded//h-1", "open", "", `{"id":"r11","type":"paid"}`, 200, `{"success":true,"id":"%"}`},
		{"dots in the address", "POST", "./x/../guarded", "open", "", `{"id":"r12","type":"paid"}`, 200, `{"success":true,"id":"%"}`},
		{"dots that lead elsewhere", "POST", "../events", "open", "", good, 404, `{"error":"Unknown webhook source"}`},
		{"too deep an address", "POST", "guarded/a/b", "open", "", good, 404, `{"error":"Unknown webhook source"}`},
		{"unknown source", "POST", "nobody", "open", "", good, 404, `{"error":"Unknown webhook source"}`},
		{"no source", "POST", "", "open", "", good, 404, `{"error":"Unknown webhook source"}`},
		{"unproven", "POST", "guarded", "wrong", "", good, 401, `{"error":"Invalid signature"}`},
		{"unreadable", "POST", "guarded", "open", "", `{"id":`, 400, `{"error":"Invalid payload"}`},
		{"empty", "POST", "guarded", "open", "", ``, 400, `{"error":"Invalid payload"}`},
		{"deep", "POST", "guarded", "open", "", deep[:999], 400, `{"error":"Invalid payload"}`},
		{"unproven and unreadable", "POST", "guarded", "wrong", "", `{"id":`, 401, `{"error":"Invalid signature"}`},
		{"too large", "POST", "guarded", "open", "", good + strings.Repeat(" ", 1000), 413, `{"error":"Payload too large"}`},
		{"as large as may be", "POST", "guarded", "open", "", `{"id":"r5","type":"paid"}` + strings.Repeat(" ", 1000-25), 200, `{"success":true,"id":"%"}`},
		{"no keys", "POST", "guarded", "no keys", "", good, 503, `{"error":"Webhook processing failed"}`},
		{"a verifier's mistake", "POST", "guarded", "panic", "", good, 503, `{"error":"Webhook processing failed"}`},
		{"GET", "GET", "guarded", "open", "", "", 405, `{"error":"Method not allowed"}`},
		{"PUT", "PUT", "guarded", "open", "", good, 405, `{"error":"Method not allowed"}`},
		{"compressed", "POST", "guarded", "open", "gzip", zipped(t, good), 400, `{"error":"Invalid payload"}`},
		{"compressed as agreed", "POST", "zip", "open", "gzip", zipped(t, good), 200, `{"success":true,"id":"%"}`},
		{"a bomb", "POST", "zip", "open", "gzip", zipped(t, strings.Repeat("0", 100_000)), 413, `{"error":"Payload too large"}`},
		{"said to be compressed", "POST", "zip", "open", "gzip", `{"id":"r6","type":"paid"}`, 200, `{"success":true,"id":"%"}`},
		{"said to be compressed to who takes none", "POST", "guarded", "open", "gzip", `{"id":"r7","type":"paid"}`, 200, `{"success":true,"id":"%"}`},
		{"no compression", "POST", "guarded", "open", "aws-chunked, UTF-8", `{"id":"r8","type":"paid"}`, 200, `{"success":true,"id":"%"}`},
		{"an old name", "POST", "zip", "open", "X-GZip, identity", zipped(t, `{"id":"r9","type":"paid"}`), 200, `{"success":true,"id":"%"}`},
		{"compressed twice", "POST", "zip", "open", "gzip, gzip", zipped(t, zipped(t, `{"id":"r10","type":"paid"}`)), 200, `{"success":true,"id":"%"}`},
		{"no gzip", "POST", "zip", "open", "gzip", "\xff" + good, 400, `{"error":"Invalid payload"}`},
		{"cut off", "POST", "zip", "open", "gzip", zipped(t, good)[:30], 400, `{"error":"Invalid payload"}`},
		{"another compression", "POST", "zip", "open", "br", "\x8b" + good, 400, `{"error":"Invalid payload"}`},
	} {
		req := httptest.NewRequest(c.method, gaff.PathPrefix+c.path, strings.NewReader(c.body))
		req.Header.Set("X-Pass", c.pass)
		if c.encoding != "" {
			req.Header.Set("Content-Encoding", c.encoding)
		}
		rec := httptest.NewRecorder()
		b.IngestHandler().ServeHTTP(rec, req)
		before, after, open := strings.Cut(c.answer, "%")
		got := rec.Body.String()
		if rec.Code != c.status || !strings.HasPrefix(got, before) || !strings.HasSuffix(got, after) || !open && got != c.answer {
			t.Errorf("%s: answered %d %q, want %d %q", c.name, rec.Code, got, c.status, c.answer)
		}
		if (rec.Code == 503) != (rec.Header().Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After %q with %d", c.name, rec.Header().Get("Retry-After"), rec.Code)
		}
		if rec.Code == 405 && rec.Header().Get("Allow") != "POST" {
			t.Errorf("%s: Allow %q", c.name, rec.Header().Get("Allow"))
		}
		if want := "application/json"; c.name != "its own answer" && rec.Header().Get("Content-Type") != want {
			t.Errorf("%s: Content-Type %q", c.name, rec.Header().Get("Content-Type"))
		}
	}
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
		t.Errorf("%d were processed", n)
	}
}

// What a source does not admit is not stored, and its sender comes again.
func TestAdmitJudgesBeforeStoring(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "full", Verifier: guardedVerifier{}, Parser: plain{}, Admit: func(_ context.Context, ev *gaff.Event) error {
			if ev.WebhookID == "one too many" {
				return errors.New("no room today")
			}
			return nil
		}})
	})
	for id, want := range map[string]int{"first": 200, "one too many": 429} {
		r := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+"full", strings.NewReader(`{"id":"`+id+`","type":"paid"}`))
		r.Header.Set("X-Pass", "open")
		rec := httptest.NewRecorder()
		b.IngestHandler().ServeHTTP(rec, r)
		if rec.Code != want || (rec.Header().Get("Retry-After") == "60") != (want == 429) {
			t.Errorf("%s: answered %d, Retry-After %q", id, rec.Code, rec.Header().Get("Retry-After"))
		}
	}
	page, err := b.st.Events(t.Context(), gaff.EventFilter{Cursor: gaff.Cursor{Limit: 10}})
	if err != nil || len(page.Items) != 1 || page.Items[0].WebhookID != "first" {
		t.Errorf("stored: %+v, %v", page.Items, err)
	}
}

func TestTheRequestIsKeptAsItCame(t *testing.T) {
	t.Parallel()
	b := ingestBench(t)
	body := `{"id":"x", "type":"paid", "seed":17454220438242315174, "big":1e400, "name":"caf` + "\xff" + `"}`
	req := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+"guarded/h-7?x=%20y", strings.NewReader(body))
	req.Header.Set("X-Pass", "open")
	req.Header["X-Odd"] = []string{"one", "tw\xe9"}
	rec := httptest.NewRecorder()
	b.IngestHandler().ServeHTTP(rec, req)
	page, err := b.st.Events(context.Background(), gaff.EventFilter{})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("%d events, %v; answered %s", len(page.Items), err, rec.Body)
	}
	d := b.detail(t, page.Items[0].ID)
	r := d.Request
	if string(r.Body) != body || string(d.Data) != body {
		t.Errorf("the body became %q", r.Body)
	}
	if r.URL != "https://hooks.example.com/api/v1/webhooks/guarded/h-7?x=%20y" || r.Method != "POST" || d.CallbackToken != "h-7" {
		t.Errorf("%s %s, handle %q", r.Method, r.URL, d.CallbackToken)
	}
	if got := r.Header["X-Odd"]; len(got) != 2 || got[1] != "tw\xe9" {
		t.Errorf("the header became %q", got)
	}
	if d.Verification.Scheme != "pass" || d.Verification.KeyID != "k1" {
		t.Errorf("proof %+v", d.Verification)
	}
}

func TestAClosedStoreIsTold(t *testing.T) {
	t.Parallel()
	st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
	b := benchOn(t, st, gaff.Options{}, nil)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	b.IngestHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, gaff.PathPrefix+"shop", strings.NewReader(`{"id":"1"}`)))
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
		t.Errorf("answered %d %s", rec.Code, rec.Body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = b.Stop(ctx) // the store is gone; it must only come back
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

func FuzzIngest(f *testing.F) {
	st, err := sqlite.Open(context.Background(), filepath.Join(f.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		f.Fatal(err)
	}
	defer st.Close()
	gw, err := gaff.New(gaff.Options{Store: st})
	if err != nil {
		f.Fatal(err)
	}
	gw.AddSource(gaff.Source{Name: "shop", Verifier: open{}, Parser: plain{}})
	f.Add("/api/v1/webhooks/shop", "X-A", "b", []byte(`{"id":"1","type":"t"}`))
	for _, body := range fuzzseed.Vary(`{"id":"1","type":"t","more":[{"a":"b"}]}`, `{"id":"","type":"\u0000"}`) {
		f.Add("/api/v1/webhooks/shop", "X-A", "b", []byte(body))
	}
	for _, path := range fuzzseed.Vary("/api/v1/webhooks/shop/a-handle") {
		f.Add(path, path, path, []byte(`{"id":"1","type":"t"}`))
	}
	f.Add("/api/v1/webhooks/shop/%2f", "Content-Encoding", "gzip", []byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, path, name, value string, body []byte) {
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		req.URL.Path = path
		req.Header[http.CanonicalHeaderKey(name)] = []string{value}
		rec := httptest.NewRecorder()
		gw.IngestHandler().ServeHTTP(rec, req)
		switch rec.Code {
		case 200, 400, 401, 404, 413:
		default:
			t.Errorf("answered %d %s", rec.Code, rec.Body)
		}
		if rec.Code != 200 {
			return
		}
		var id string
		if _, err := fmt.Sscanf(rec.Body.String(), `{"success":true,"id":"%30s`, &id); err != nil {
			t.Fatalf("answered %s: %v", rec.Body, err)
		}
		d, err := st.Event(context.Background(), id)
		if err != nil || d.Request == nil || !bytes.Equal(d.Request.Body, body) && d.Duplicates == 0 {
			t.Errorf("kept %+v, %v", d, err)
		}
	})
}

// Answers share the values of headers that never change. A server around the handler may add to them.
func TestAnswersDoNotShareChanges(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{}, nil)
	for range 2 {
		rec := b.post(http.MethodPost, "shop", `{"id":"1","type":"paid"}`)
		for name, want := range map[string]string{
			"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Content-Length": strconv.Itoa(rec.Body.Len()),
		} {
			if got := rec.Header().Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
			rec.Header().Add(name, "another")
		}
	}
}
