package gaff_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"gaff"
)

// buffer is a log that may be written to and read at once.
type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(text)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

const shared = "shared-SECRET"

// tokens is a source whose secret is sent as it is, in every kind of place.
func tokens(b *bench) {
	b.AddSource(gaff.Source{
		Name: "tokens", Verifier: pass("ok"), Parser: plain{}, Headers: []string{"X-Pass"},
		Secrets: []string{"header:X-Proof", "query:k", "json:/passcode"},
	})
}

const tokenBody = `{"id":"1","type":"t","passcode":"` + shared + `","a":1}`

func TestStoredEventShowsNoSharedSecret(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{}, tokens)
	if rec := b.post("POST", "tokens?k="+shared+"&x=1", tokenBody, "X-Pass", "ok", "X-Proof", shared); rec.Code != 200 {
		t.Fatal(rec.Code, rec.Body)
	}
	page, err := b.st.Events(context.Background(), gaff.EventFilter{})
	if err != nil || len(page.Items) != 1 {
		t.Fatal(page.Items, err)
	}
	d, err := b.st.Event(context.Background(), page.Items[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	shown := d.Masked(nil) // the places were stored with the event
	if text := fmt.Sprintf("%s %v %s %s", shown.Request.URL, shown.Request.Header, shown.Request.Body, shown.Data); strings.Contains(text, shared) {
		t.Errorf("shown: %s", text)
	}
	if want := `{"id":"1","type":"t","passcode":"[masked]","a":1}`; string(d.Data) != want {
		t.Errorf("data is %s, want %s", d.Data, want)
	}
	if string(d.Request.Body) != tokenBody || d.Request.Header.Get("X-Proof") != shared {
		t.Error("the request itself was changed: receivers of the original could not verify it")
	}
}

// Where any body is taken, a form is stored as a text.
func TestTextWithSharedSecretIsMasked(t *testing.T) {
	t.Parallel()
	for place, want := range map[string]string{"form:k": `"[masked]"`, "json:/k": `"[masked]"`, "header:K": `"a=1&k=s"`} {
		var l gaff.Log
		l.Source, l.Data = "tokens", []byte(`"a=1&k=s"`)
		if got := string(l.Masked([]string{place}).Data); got != want {
			t.Errorf("%s: %s, want %s", place, got, want)
		}
	}
}

func TestRejectionOfUnknownSourceHoldsNoQuery(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{}, tokens)
	b.post("POST", "tokenz?k="+shared, tokenBody)
	if rj := b.newestRejection(t); !strings.HasSuffix(rj.URL, "/tokenz?k=[masked]") {
		t.Errorf("URL is %s", rj.URL)
	}
}

func TestEventSearchFindsNoSharedSecret(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{}, tokens)
	b.post("POST", "tokens", tokenBody, "X-Pass", "ok")
	for query, want := range map[string]int{"shared-S": 0, `"a":1`: 1} {
		page, err := b.st.Events(context.Background(), gaff.EventFilter{Query: query})
		if err != nil || len(page.Items) != want {
			t.Errorf("%q finds %d, %v; want %d", query, len(page.Items), err, want)
		}
	}
}

func TestRejectionHoldsNoSharedSecret(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"whole": tokenBody, "cut off": tokenBody[:40], "long": `{"pad":"` + strings.Repeat("x", 2020) + `","passcode":"` + shared + `"}`} {
		b := newBench(t, gaff.Options{}, tokens)
		b.post("POST", "tokens?k="+shared, body, "X-Pass", "no", "X-Proof", shared)
		rj := b.newestRejection(t)
		if text := fmt.Sprintf("%s %v %s", rj.URL, rj.Header, rj.Body); strings.Contains(text, "SECRET") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestRejectionKeepsOnlyHeadersThatAreReadOrHarmless(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{}, tokens)
	b.post("POST", "tokens", `{}`, "X-Pass", "no", "X-Other", "value", "User-Agent", "agent/1")
	h := b.newestRejection(t).Header
	if h.Get("X-Pass") != "no" || h.Get("User-Agent") != "agent/1" {
		t.Errorf("kept %v, want X-Pass and User-Agent as they came", h)
	}
	if h.Get("X-Other") != "[masked]" {
		t.Errorf("X-Other is %q, want its name alone", h.Get("X-Other"))
	}
}

func TestLogHoldsNoPayload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log buffer
		opt := gaff.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		failures := []error{errors.New("the payload is SECRET"), gaff.Discard(errors.New("SECRET")), nil}
		b := newBench(t, opt, func(b *bench) {
			for i, failure := range failures {
				b.HandleWith("shop", "*", gaff.HandlerFunc(func(ctx context.Context, _ *gaff.Event) error {
					gaff.SetDetail(ctx, "SECRET")
					if failure == nil {
						panic("SECRET")
					}
					return failure
				}), gaff.HandleOptions{Name: fmt.Sprintf("h%d", i)})
			}
		})
		b.post("POST", "shop", `{"id":"1","type":"t","x":"SECRET"}`)
		b.post("POST", "shop", `{"SECRET`)
		synctest.Wait()
		text := log.String()
		for _, want := range []string{"delivery failed", "delivery will be retried", "webhook refused"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in the log", want)
			}
		}
		if strings.Contains(text, "SECRET") {
			t.Errorf("the log quotes the payload: %s", text)
		}
	})
}
