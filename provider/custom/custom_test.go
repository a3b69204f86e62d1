package custom_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/fuzzseed"
	"gaff/provider/custom"
	"gaff/sender"
	"gaff/verify"
)

var now = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func request(body string) *gaff.Request {
	return &gaff.Request{Method: http.MethodPost, URL: "https://h/api/v1/webhooks/custom", Header: http.Header{}, Body: []byte(body), ReceivedAt: now}
}

// standard signs as the specification of Standard Webhooks says.
func standard(t *testing.T, r *gaff.Request, preset, secret string, at time.Time) {
	t.Helper()
	scheme, ok := sender.Preset(preset)
	if !ok {
		t.Fatalf("preset %s is gone", preset)
	}
	v, err := sender.New(scheme, verify.Options{Secrets: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Sign(r, at); err != nil {
		t.Fatal(err)
	}
}

func TestDefaultTakesBothSchemes(t *testing.T) {
	t.Parallel()
	const encoded = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	src, err := custom.Default([]string{"a passphrase", encoded})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sign func(t *testing.T, r *gaff.Request)
		ok   bool
	}{
		"hex":               {func(_ *testing.T, r *gaff.Request) { custom.Sign(r, "a passphrase", now) }, true},
		"hex, other secret": {func(_ *testing.T, r *gaff.Request) { custom.Sign(r, encoded, now) }, true},
		"hex, stale":        {func(_ *testing.T, r *gaff.Request) { custom.Sign(r, "a passphrase", now.Add(-301*time.Second)) }, false},
		"hex, no time": {func(_ *testing.T, r *gaff.Request) {
			custom.Sign(r, "a passphrase", now)
			r.Header.Del("X-Webhook-Timestamp")
		}, true},
		"hex, wrong":            {func(_ *testing.T, r *gaff.Request) { custom.Sign(r, "wrong", now) }, false},
		"standard":              {func(t *testing.T, r *gaff.Request) { standard(t, r, "standard-webhooks", encoded, now) }, true},
		"standard, text as key": {func(t *testing.T, r *gaff.Request) { standard(t, r, "bigcommerce", "a passphrase", now) }, true},
		"standard, stale":       {func(t *testing.T, r *gaff.Request) { standard(t, r, "standard-webhooks", encoded, now.Add(-time.Hour)) }, false},
		"both, one broken": {func(t *testing.T, r *gaff.Request) {
			custom.Sign(r, "a passphrase", now)
			standard(t, r, "standard-webhooks", "whsec_"+strings.Repeat("A", 32), now)
		}, false},
		"nothing": {func(*testing.T, *gaff.Request) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request(`{"id":"e","type":"order.paid"}`)
			c.sign(t, r)
			proof, err := src.Verifier.Verify(context.Background(), r)
			if (err == nil) != c.ok {
				t.Fatalf("accepted: %v (%v), want %v", err == nil, err, c.ok)
			}
			if !c.ok {
				return
			}
			env, err := src.Parser.Parse(r, proof)
			if err != nil || env.ID != "e" || env.Type != "order.paid" {
				t.Errorf("read as %+v, %v", env, err)
			}
		})
	}
	if src, err := custom.Default(nil); err != nil || !strings.Contains(src.DisabledReason, "WEBHOOK_SECRET") {
		t.Errorf("without a secret: %q, %v", src.DisabledReason, err)
	}
}

func TestPointers(t *testing.T) {
	t.Parallel()
	src, err := custom.Source(custom.Options{
		Name: "farm", Verifier: verify.Refuse("not asked"), ID: "/data/0/id", Type: "/a~1b", Status: "/state", Correlation: "/job",
	})
	if err != nil {
		t.Fatal(err)
	}
	known := gaff.Verification{ID: "by header", Type: "by.header"}
	for body, want := range map[string]gaff.Envelope{
		`{"data":[{"id":"e"}],"a/b":"t","state":"s","job":"j"}`: {ID: "e", Type: "t", Status: "s", CorrelationID: "j"},
		`{"data":[{"id":12345678901234567890}],"a/b":true}`:     {ID: "12345678901234567890", Type: "true"},
		`{}`:                                 {ID: "by header", Type: "by.header"},
		`{"data":[{"id":null}],"a/b":{}}`:    {ID: "by header", Type: "by.header"},
		`{"data":{"0":{"id":"e"}}}`:          {ID: "e", Type: "by.header"},
		`[]`:                                 {ID: "by header", Type: "by.header"},
		` "text" `:                           {ID: "by header", Type: "by.header"},
		`{"data":[{"id":"\ud83d\ude00 e"}]}`: {ID: "😀 e", Type: "by.header"},
	} {
		env, err := src.Parser.Parse(request(body), known)
		if err != nil || env.ID != want.ID || env.Type != want.Type || env.Status != want.Status || env.CorrelationID != want.CorrelationID {
			t.Errorf("%s is read as %+v, %v; want %+v", body, env, err, want)
		}
	}
	for _, body := range []string{``, `{`, `{} {}`, `nul`, "\xff", `{"a":01}`} {
		if env, err := src.Parser.Parse(request(body), known); err == nil {
			t.Errorf("%q is read as %+v", body, env)
		}
	}
	if env, err := src.Parser.Parse(request(`{}`), gaff.Verification{}); err != nil || env.Type != custom.UnknownType {
		t.Errorf("without a type: %+v, %v", env, err)
	}
	if _, err := custom.Source(custom.Options{Name: "x", ID: "no pointer"}); err == nil {
		t.Error("a broken pointer was taken")
	}
}

func TestSample(t *testing.T) {
	t.Parallel()
	body, err := custom.Sample("", now)
	var read struct{ ID, Timestamp, Type string }
	if err != nil || json.Unmarshal(body, &read) != nil || read.ID == "" || read.Type != "test" || read.Timestamp != "2026-01-31T12:00:00.000Z" {
		t.Errorf("%s, %v", body, err)
	}
}

func FuzzPointers(f *testing.F) {
	f.Add([]byte(`{"id":"e","type":"t"}`), "/id", "/type")
	f.Add([]byte(`{"a":[{"b/c":1e400}]}`), "/a/0/b~1c", "")
	f.Add([]byte(`{"":{"~":"x"}}`), "//~0", "/")
	for _, body := range fuzzseed.Vary(`{"a":[{"b/c":1e400}],"type":"t"}`) {
		f.Add([]byte(body), "/a/0/b~1c", "/type")
	}
	for _, pointer := range fuzzseed.Vary("/a/0/b~1c") {
		f.Add([]byte(`{"a":[{"b/c":1e400}],"type":"t"}`), pointer, "/type")
	}
	f.Add([]byte(`[[[1]]]`), "/0/0/0", "/-")
	f.Fuzz(func(t *testing.T, body []byte, id, eventType string) {
		src, err := custom.Source(custom.Options{Name: "x", ID: id, Type: eventType, Status: eventType, Correlation: id})
		if err != nil {
			return
		}
		env, err := src.Parser.Parse(&gaff.Request{Body: body}, gaff.Verification{})
		if err != nil {
			return
		}
		if env.Type == "" || env.ID != env.CorrelationID {
			t.Errorf("%q by %q and %q is read as %+v", body, id, eventType, env)
		}
	})
}
