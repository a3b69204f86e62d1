package app

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/eventually"
	"gaff/jobs"
	"gaff/sender"
	"gaff/store/sqlite"
	"gaff/verify"
)

// limiter is a gateway with configured sources over a real database, as Serve joins them.
type limiter struct {
	*gaff.Gateway
	st     *sqlite.Store
	reload *reloader
}

func newLimiter(t testing.TB, cfg *config.Config) *limiter {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	g := &limiter{st: st, reload: &reloader{cfg: cfg, store: st, log: log}}
	sources, err := g.reload.sources(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if g.Gateway, err = gaff.New(gaff.Options{Store: st, Logger: log, BaseURL: cfg.BaseURL}); err != nil {
		t.Fatal(err)
	}
	g.reload.gateway = g.Gateway
	for _, src := range sources {
		g.AddSource(src.Source)
		if src.Interpreter != nil {
			g.Handle(src.Name, "*", gaff.Named("effects/"+src.Name, jobs.NewHandler(jobs.Options{
				Store: st, Router: g, Interpreter: src.Interpreter, Patience: time.Millisecond,
			})))
		}
	}
	for name, src := range cfg.Sources {
		if len(src.Secrets) == 0 {
			if _, err := g.reload.openKey(context.Background(), name, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := g.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), eventually.Limit)
		defer cancel()
		if err := g.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func configured(name string, src config.Source) *config.Config {
	cfg := config.Default()
	cfg.BaseURL = "https://hooks.example.test"
	cfg.Sources = map[string]config.Source{name: src}
	return cfg
}

func (g *limiter) do(method, target string, body []byte, header [][2]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, bytes.NewReader(body))
	for _, h := range header {
		r.Header.Add(h[0], h[1])
	}
	rec := httptest.NewRecorder()
	g.IngestHandler().ServeHTTP(rec, r)
	return rec
}

func (g *limiter) events(t *testing.T) int {
	t.Helper()
	page, err := g.st.Events(context.Background(), gaff.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Items)
}

// expectation is an answer as challenges.json describes it.
type expectation struct {
	Status           int
	StatusClass      string `json:"status_class"`
	Headers          map[string]string
	HeaderNot        map[string]string `json:"header_not"`
	BodyText         *string           `json:"body_text"`
	BodyJSON         any               `json:"body_json"`
	BodyNotContains  string            `json:"body_not_contains"`
	BodyEmpty        bool              `json:"body_empty"`
	OneOf            []expectation     `json:"one_of"`
	BodyContains     string            `json:"body_contains"`
	HeaderNotPresent []string          `json:"header_not_present"`
}

func (want expectation) differs(got *httptest.ResponseRecorder) string {
	body := got.Body.String()
	var decoded any
	_ = json.Unmarshal(got.Body.Bytes(), &decoded)
	switch {
	case want.Status != 0 && got.Code != want.Status:
		return fmt.Sprintf("status %d, want %d", got.Code, want.Status)
	case want.StatusClass != "" && want.StatusClass != "any" && fmt.Sprintf("%dxx", got.Code/100) != want.StatusClass:
		return fmt.Sprintf("status %d, want %s", got.Code, want.StatusClass)
	case want.BodyText != nil && body != *want.BodyText:
		return fmt.Sprintf("body %q, want %q", body, *want.BodyText)
	case want.BodyJSON != nil && !reflect.DeepEqual(decoded, want.BodyJSON):
		return fmt.Sprintf("body %q, want %v", body, want.BodyJSON)
	case want.BodyNotContains != "" && strings.Contains(body, want.BodyNotContains):
		return "the body holds what it must not"
	case want.BodyContains != "" && !strings.Contains(body, want.BodyContains):
		return "the body does not hold " + want.BodyContains
	case want.BodyEmpty && body != "":
		return fmt.Sprintf("body %q, want none", body)
	}
	for name, value := range want.Headers {
		if !strings.HasPrefix(got.Header().Get(name), value) {
			return fmt.Sprintf("%s is %q, want %s", name, got.Header().Get(name), value)
		}
	}
	for name, value := range want.HeaderNot {
		if strings.HasPrefix(got.Header().Get(name), value) {
			return fmt.Sprintf("%s is %q", name, got.Header().Get(name))
		}
	}
	for _, name := range want.HeaderNotPresent {
		if got.Header().Get(name) != "" {
			return name + " is there"
		}
	}
	if len(want.OneOf) > 0 && !slices.ContainsFunc(want.OneOf, func(e expectation) bool { return e.differs(got) == "" }) {
		return fmt.Sprintf("none of the alternatives: %s %q", got.Header().Get("Content-Type"), body)
	}
	return ""
}

func TestChallengeVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/challenges.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []struct {
			ID, Provider, Description, Method, URL string
			Keys                                   []struct{ Kind, Value string }
			Config                                 map[string]string
			Headers                                [][2]string
			Body                                   []byte `json:"body_base64"`
			Now                                    int64
			Expect                                 expectation `json:"expect_response"`
			Deliver                                *bool
			Captures                               *verify.Location
			Informative                            bool
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) < 20 {
		t.Fatalf("%d vectors", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		if v.Informative {
			continue
		}
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				src := config.Source{Preset: v.Provider, Settings: v.Config}
				for _, k := range v.Keys {
					src.Secrets = append(src.Secrets, config.Secret(k.Value))
				}
				time.Sleep(time.Until(time.Unix(v.Now, 0)))
				g := newLimiter(t, configured(v.Provider, src))
				target := strings.Replace(v.URL, "/in/", gaff.PathPrefix, 1)
				rec := g.do(v.Method, target, v.Body, v.Headers)
				if diff := v.Expect.differs(rec); diff != "" {
					t.Errorf("%s: %s", v.Description, diff)
				}
				if n := g.events(t); v.Deliver != nil && !*v.Deliver && n != 0 {
					t.Errorf("%s: it became %d events", v.Description, n)
				}
				if rec.Header().Get("X-Content-Type-Options") != "nosniff" {
					t.Error("the answer may be sniffed")
				}
				if v.Captures != nil {
					key, err := g.reload.key(t.Context(), v.Provider)
					if err != nil || key == "" || !bytes.Contains(v.Body, []byte(key)) {
						t.Errorf("the key %q was kept: %v", key, err)
					}
				}
			})
		})
	}
}

func hexHMAC(key, text string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil))
}

// The kinds of challenge that the vectors do not hold.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	mac := hmac.New(sha256.New, []byte("consumer"))
	mac.Write([]byte("crc-1"))
	crc := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	tests := []struct {
		name   string
		src    config.Source
		method string
		query  string
		body   string
		header [][2]string
		status int
		want   string // the whole body
		head   string // a header as "Name: value"
		bare   bool   // a refusal without a body
	}{
		{name: "x-twitter", src: config.Source{Preset: "x-twitter", Secrets: []config.Secret{"consumer"}}, method: "GET", query: "crc_token=crc-1", status: 200, want: `{"response_token":"sha256=` + crc + `"}`},
		// Else anyone could have any body signed.
		{name: "x-twitter as an oracle", src: config.Source{Preset: "x-twitter", Secrets: []config.Secret{"consumer"}}, method: "GET", query: "crc_token=%7B%22a%22%3A1%7D", status: 400},
		{name: "strava", src: config.Source{Preset: "strava", Secrets: []config.Secret{"t"}, Settings: map[string]string{"verify_token": "vt"}}, method: "GET", query: "hub.mode=subscribe&hub.challenge=c1&hub.verify_token=vt", status: 200, want: `{"hub.challenge":"c1"}`},
		{name: "strava, wrong token", src: config.Source{Preset: "strava", Secrets: []config.Secret{"t"}, Settings: map[string]string{"verify_token": "vt"}}, method: "GET", query: "hub.mode=subscribe&hub.challenge=c1&hub.verify_token=no", status: 403},
		{name: "meta without a token set", src: config.Source{Preset: "meta", Secrets: []config.Secret{"t"}}, method: "GET", query: "hub.mode=subscribe&hub.challenge=c1&hub.verify_token=", status: 403},
		{name: "monday", src: config.Source{Preset: "monday", Secrets: []config.Secret{"t"}, Settings: map[string]string{"audience": "a"}}, method: "POST", body: `{"challenge":"<b>"}`, status: 200, want: `{"challenge":"<b>"}`},
		{name: "okta", src: config.Source{Preset: "okta", Secrets: []config.Secret{"t"}}, method: "GET", header: [][2]string{{"X-Okta-Verification-Challenge", "abc"}}, status: 200, want: `{"verification":"abc"}`},
		{name: "asana", src: config.Source{Preset: "asana"}, method: "POST", header: [][2]string{{"X-Hook-Secret", "s-1"}}, body: "{}", status: 200, want: "", head: "X-Hook-Secret: s-1"},
		{name: "asana with a key", src: config.Source{Preset: "asana", Secrets: []config.Secret{"mine"}}, method: "POST", header: [][2]string{{"X-Hook-Secret", "s-1"}}, body: "{}", status: 401},
		{name: "trello", src: config.Source{Preset: "trello", Secrets: []config.Secret{"t"}, Settings: map[string]string{"callback_url": "https://a.test/"}}, method: "HEAD", status: 200, want: ""},
		{name: "heygen", src: config.Source{Preset: "heygen", Secrets: []config.Secret{"t"}}, method: "OPTIONS", status: 200, want: "", head: "Allow: POST, OPTIONS"},
		{name: "cloudevents", src: config.Source{Preset: "cloudevents", Secrets: []config.Secret{"t"}, Settings: map[string]string{"allowed_origin": "events.example.com"}}, method: "OPTIONS", header: [][2]string{{"WebHook-Request-Origin", "events.example.com"}}, status: 200, want: "", head: "WebHook-Allowed-Origin: events.example.com"},
		{name: "cloudevents, an unknown origin", src: config.Source{Preset: "cloudevents", Secrets: []config.Secret{"t"}, Settings: map[string]string{"allowed_origin": "events.example.com"}}, method: "OPTIONS", header: [][2]string{{"WebHook-Request-Origin", "evil.example"}}, status: 403},
		{name: "eventgrid", src: config.Source{Preset: "eventgrid", Secrets: []config.Secret{"tok"}}, method: "POST", query: "token=tok", body: `[{"id":"1","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"vc"}}]`, status: 200, want: `{"validationResponse":"vc"}`},
		// The echo gives nothing away; events without the token are refused.
		{name: "eventgrid without its token", src: config.Source{Preset: "eventgrid", Secrets: []config.Secret{"tok"}}, method: "POST", body: `[{"id":"1","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"vc"}}]`, status: 200, want: `{"validationResponse":"vc"}`},
		{name: "eventgrid, an event without its token", src: config.Source{Preset: "eventgrid", Secrets: []config.Secret{"tok"}}, method: "POST", body: `[{"id":"1","eventType":"Microsoft.Storage.BlobCreated"}]`, status: 401},
		{name: "msgraph", src: config.Source{Preset: "msgraph", Secrets: []config.Secret{"t"}}, method: "POST", query: "validationToken=a%20b%3Cx%3E", status: 200, want: "a b<x>", head: "Content-Type: text/plain; charset=utf-8"},
		{name: "minimax", src: config.Source{Preset: "minimax", Secrets: []config.Secret{"tok"}}, method: "POST", query: "token=tok", body: `{"challenge":"c"}`, status: 200, want: `{"challenge":"c"}`},
		{name: "mandrill", src: config.Source{Preset: "mandrill", Secrets: []config.Secret{"k"}}, method: "HEAD", status: 200},
		{name: "braintree", src: config.Source{Preset: "braintree", Secrets: []config.Secret{"integration_private_key"}, Settings: map[string]string{"public_key": "integration_public_key"}}, method: "GET", query: "bt_challenge=20f9f8ed05f77439fe955c977e4c8a53", status: 200, want: "integration_public_key|d9b899556c966b3f06945ec21311865d35df3ce4"},
		{name: "woocommerce", src: config.Source{Preset: "woocommerce", Secrets: []config.Secret{"k"}}, method: "POST", body: "webhook_id=12", status: 200},
		// A genuine event that holds the ping's text must not pass for one, nor an unsigned one be taken.
		{name: "woocommerce, not all of the body", src: config.Source{Preset: "woocommerce", Secrets: []config.Secret{"k"}}, method: "POST", body: `{"note":"&webhook_id=12&"}`, status: 401},
		{name: "mandrill, the empty list", src: config.Source{Preset: "mandrill", Secrets: []config.Secret{"k"}}, method: "POST", body: "mandrill_events=%5B%5D", status: 200},
		{name: "mandrill, unsigned events", src: config.Source{Preset: "mandrill", Secrets: []config.Secret{"k"}}, method: "POST", body: "mandrill_events=%5B%7B%7D%5D", status: 401},
		{name: "mailchimp", src: config.Source{Preset: "mailchimp", Secrets: []config.Secret{"tok"}}, method: "GET", query: "token=tok", status: 200},
		{name: "mailchimp, without its token", src: config.Source{Preset: "mailchimp", Secrets: []config.Secret{"tok"}}, method: "GET", status: 405},
		{name: "vercel-drain", src: config.Source{Preset: "vercel-drain", Secrets: []config.Secret{"k"}, Settings: map[string]string{"verify": "abc"}}, method: "GET", status: 200, head: "X-Vercel-Verify: abc"},
		{name: "vercel-drain, nothing set", src: config.Source{Preset: "vercel-drain", Secrets: []config.Secret{"k"}}, method: "GET", status: 403},
		{name: "front-app, unsigned", src: config.Source{Preset: "front-app", Secrets: []config.Secret{"k"}}, method: "POST", header: [][2]string{{"X-Front-Challenge", "c1"}}, body: "{}", status: 401},
		{name: "websub", src: config.Source{Preset: "websub", Secrets: []config.Secret{"k"}, Settings: map[string]string{"topic": "https://t.test/"}}, method: "GET", query: "hub.mode=subscribe&hub.topic=https://t.test/&hub.challenge=c", status: 200, want: "c", head: "Content-Type: text/plain; charset=utf-8"},
		{name: "websub, another topic", src: config.Source{Preset: "websub", Secrets: []config.Secret{"k"}, Settings: map[string]string{"topic": "https://t.test/"}}, method: "GET", query: "hub.mode=subscribe&hub.topic=https://u.test/&hub.challenge=c1", status: 404},
		{name: "nylas", src: config.Source{Preset: "nylas", Secrets: []config.Secret{"k"}}, method: "GET", query: "challenge=%3Cb%3E", status: 200, want: "<b>", head: "Content-Type: text/plain; charset=utf-8"},
		{name: "adobe", src: config.Source{Preset: "adobe", Settings: map[string]string{"client_id": "me"}}, method: "GET", query: "challenge=c", status: 200, want: "c", head: "Content-Type: text/plain; charset=utf-8"},
		{name: "lark, sealed", src: config.Source{Preset: "lark", Secrets: []config.Secret{"test key"}, Settings: map[string]string{"verification_token": "vt"}}, method: "POST", body: larkSealed(t, "test key", `{"type":"url_verification","token":"vt","challenge":"c"}`), status: 200, want: `{"challenge":"c"}`},
		{name: "lark, sealed with another key", src: config.Source{Preset: "lark", Secrets: []config.Secret{"test key"}, Settings: map[string]string{"verification_token": "vt"}}, method: "POST", body: larkSealed(t, "other", `{"type":"url_verification","token":"vt","challenge":"c"}`), status: 401},
		{name: "xero, a wrong signature", src: config.Source{Preset: "xero", Secrets: []config.Secret{"k"}}, method: "POST", header: [][2]string{{"X-Xero-Signature", "AAAA"}}, body: `{"events":[]}`, status: 401, bare: true},
		{name: "lark", src: config.Source{Preset: "lark", Secrets: []config.Secret{"k"}, Settings: map[string]string{"verification_token": "vt"}}, method: "POST", body: `{"type":"url_verification","token":"vt","challenge":"c"}`, status: 200, want: `{"challenge":"c"}`},
		{name: "lark, wrong token", src: config.Source{Preset: "lark", Secrets: []config.Secret{"k"}, Settings: map[string]string{"verification_token": "vt"}}, method: "POST", body: `{"type":"url_verification","token":"no","challenge":"c"}`, status: 403},
		{name: "a GET without a challenge", src: config.Source{Preset: "meta", Secrets: []config.Secret{"k"}}, method: "GET", status: 405},
		{name: "a GET where none is known", src: config.Source{Preset: "stripe", Secrets: []config.Secret{"k"}}, method: "GET", status: 405},
		{name: "a value that is too long", src: config.Source{Preset: "dropbox", Secrets: []config.Secret{"k"}}, method: "GET", query: "challenge=" + strings.Repeat("a", 5000), status: 400},
		{name: "described in the configuration", src: config.Source{Secrets: []config.Secret{"k"}, Verify: &sender.Description{
			Scheme: verify.Scheme{Kind: "token", Token: &verify.Token{Location: verify.Location{In: "header", Name: "X-T"}}},
			Challenge: sender.Challenges{{
				Method: "GET", Match: []sender.Match{{Location: verify.Location{In: "query", Name: "probe"}}}, Value: &verify.Location{In: "query", Name: "probe"},
				Pattern: "[a-z]+", HMAC: &sender.ChallengeHMAC{Algorithm: "hmac-sha256", Encoding: "hex"},
				Answer: sender.Answer{Status: 202, JSON: map[string]string{"echo": "{value}", "mac": "v={hmac}"}},
			}},
		}}, method: "GET", query: "probe=hello", status: 202, want: `{"echo":"hello","mac":"v=` + hexHMAC("k", "hello") + `"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := newLimiter(t, configured("it", test.src))
			header := test.header
			if test.body != "" && test.body[0] != '{' && test.body[0] != '[' {
				header = append(header, [2]string{"Content-Type", "application/x-www-form-urlencoded"})
			}
			rec := g.do(test.method, gaff.PathPrefix+"it?"+test.query, []byte(test.body), header)
			if rec.Code != test.status || test.status < 300 && rec.Body.String() != test.want {
				t.Errorf("%d %q, want %d %q", rec.Code, rec.Body, test.status, test.want)
			}
			if name, value, ok := strings.Cut(test.head, ": "); ok && rec.Header().Get(name) != value {
				t.Errorf("%s is %q, want %q", name, rec.Header().Get(name), value)
			}
			if n := g.events(t); n != 0 {
				t.Errorf("it became %d events", n)
			}
			if test.bare && rec.Body.Len() > 0 {
				t.Errorf("the refusal has a body: %q", rec.Body)
			}
			if test.status >= 400 && strings.Contains(rec.Body.String(), "c1") {
				t.Error("a refusal repeats the challenge")
			}
		})
	}
}

// larkSealed is a body as Lark encrypts it.
func larkSealed(t *testing.T, key, text string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(key))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	pad := aes.BlockSize - len(text)%aes.BlockSize
	box := make([]byte, aes.BlockSize+len(text)+pad)
	copy(box[aes.BlockSize:], text+strings.Repeat(string(rune(pad)), pad))
	cipher.NewCBCEncrypter(block, box[:aes.BlockSize]).CryptBlocks(box[aes.BlockSize:], box[aes.BlockSize:])
	return `{"encrypt":"` + base64.StdEncoding.EncodeToString(box) + `"}`
}

// Some senders' ids name an object, or they send an equal body for a new occurrence: such
// requests are distinct events. A request that is only repeated is not.
func TestDistinctEvents(t *testing.T) {
	t.Parallel()
	token := func(name, value string) [][2]string { return [][2]string{{name, value}} }
	hubSigned := func(header string) func(body string) [][2]string {
		return func(body string) [][2]string { return token(header, hexHMAC("k", body)) }
	}
	always := func(header ...[2]string) func(string) [][2]string { return func(string) [][2]string { return header } }
	tests := []struct {
		preset string
		proof  func(body string) [][2]string
		query  string
		bodies []string
		want   int
	}{
		{"dropbox", hubSigned("X-Dropbox-Signature"), "", []string{`{"list_folder":{"accounts":["a"]}}`, `{"list_folder":{"accounts":["a"]}}`}, 2},
		{"mollie-classic", always([2]string{"Content-Type", "application/x-www-form-urlencoded"}), "token=k", []string{"id=tr_1", "id=tr_1"}, 2},
		{"docker-hub", always(), "token=k", []string{`{"push_data":{"pushed_at":1}}`, `{"push_data":{"pushed_at":1}}`}, 1},
		{"postmark", always([2]string{"Authorization", "Basic dTpr"}), "", []string{
			`{"MessageID":"m","RecordType":"Delivery","Recipient":"a"}`, `{"MessageID":"m","RecordType":"Open","Recipient":"a","ReceivedAt":"1"}`,
			`{"MessageID":"m","RecordType":"Open","Recipient":"a","ReceivedAt":"2"}`, `{"MessageID":"m","RecordType":"Open","Recipient":"a","ReceivedAt":"2"}`}, 3},
		{"viber", hubSigned("X-Viber-Content-Signature"), "", []string{`{"message_token":1,"event":"delivered"}`, `{"message_token":1,"event":"seen"}`}, 2},
		{"msgraph", always(), "", []string{`{"value":[{"clientState":"k","resource":"r"},{"clientState":"k","resource":"s"}]}`, `{"value":[{"clientState":"k","resource":"r"}]}`,
			`{"value":[{"clientState":"k","id":"1"}]}`, `{"value":[{"clientState":"k","id":"1"}]}`}, 4},
		{"meta", func(body string) [][2]string { return token("X-Hub-Signature-256", "sha256="+hexHMAC("k", body)) }, "",
			[]string{`{"object":"page","entry":[{"id":1,"changes":[{"field":"feed","v":1},{"field":"feed","v":2}]},{"id":2,"changes":[{"field":"feed","v":1}]}]}`}, 3},
		{"luma", always(), "token=k", []string{`{"id":"1","state":"dreaming"}`, `{"id":"1","state":"completed"}`, `{"id":"1","state":"completed"}`}, 2},
		{"okta", always([2]string{"Authorization", "k"}), "", []string{`{"eventId":"1","data":{"events":[{"uuid":"a","eventType":"x"},{"uuid":"b","eventType":"y"}]}}`}, 2},
	}
	for _, test := range tests {
		t.Run(test.preset, func(t *testing.T) {
			t.Parallel()
			secret := config.Secret("k")
			if test.preset == "postmark" {
				secret = "u:k"
			}
			g := newLimiter(t, configured("it", config.Source{Preset: test.preset, Secrets: []config.Secret{secret}, NoJobs: true}))
			for _, body := range test.bodies {
				if rec := g.do("POST", gaff.PathPrefix+"it?"+test.query, []byte(body), test.proof(body)); rec.Code/100 != 2 {
					t.Fatalf("%s: %d %s", body, rec.Code, rec.Body)
				}
			}
			if n := g.events(t); n != test.want {
				t.Errorf("%d events, want %d", n, test.want)
			}
		})
	}
	// A webhook that another one has caused has that one's id.
	t.Run("gitlab", func(t *testing.T) {
		t.Parallel()
		g := newLimiter(t, configured("it", config.Source{Preset: "gitlab", Secrets: []config.Secret{"k"}}))
		for _, key := range []string{"a", "b", "b"} {
			g.do("POST", gaff.PathPrefix+"it", []byte(`{"n":"`+key+`"}`), [][2]string{{"X-Gitlab-Token", "k"}, {"X-Gitlab-Event-UUID", "same"}, {"Idempotency-Key", key}})
		}
		if n := g.events(t); n != 2 {
			t.Errorf("%d events, want 2", n)
		}
	})
	t.Run("google-push", func(t *testing.T) {
		t.Parallel()
		g := newLimiter(t, configured("it", config.Source{Preset: "google-push", Secrets: []config.Secret{"k"}}))
		for _, number := range []string{"1", "2", "2", "3"} {
			g.do("POST", gaff.PathPrefix+"it", nil, [][2]string{{"X-Goog-Channel-Token", "k"}, {"X-Goog-Channel-ID", "c"}, {"X-Goog-Message-Number", number}, {"X-Goog-Resource-State", "exists"}})
		}
		if n := g.events(t); n != 3 {
			t.Errorf("%d events, want 3", n)
		}
	})
}

// The key that a sender hands over proves its webhooks from then on, also after a restart,
// and no second one takes its place; a person can have it forgotten.
func TestHandedKey(t *testing.T) {
	t.Parallel()
	g := newLimiter(t, configured("notion", config.Source{Preset: "notion"}))
	post := func(body string, header ...[2]string) int {
		return g.do("POST", gaff.PathPrefix+"notion", []byte(body), header).Code
	}
	signed := func(key, body string) [2]string {
		return [2]string{"X-Notion-Signature", "sha256=" + hexHMAC(key, body)}
	}
	hook := `{"id":"1","type":"page.created"}`
	for i, step := range []struct{ got, want int }{
		{post(hook, signed("secret_1", hook)), 401},
		{post(`{"verification_token":"secret_1"}`), 200},
		{post(hook, signed("secret_1", hook)), 200},
		{post(`{"verification_token":"secret_2"}`), 401},
		{post(`{"id":"2"}`, signed("secret_2", `{"id":"2"}`)), 401},
	} {
		if step.got != step.want {
			t.Errorf("step %d: %d, want %d", i, step.got, step.want)
		}
	}
	if built, err := g.reload.sources(t.Context()); err != nil || !slices.ContainsFunc(built, func(s Source) bool { return s.Name == "notion" && s.DisabledReason == "" }) {
		t.Errorf("after a restart: %v", err)
	}
	if err := g.reload.forget(t.Context(), "notion"); err != nil {
		t.Fatal(err)
	}
	if code := post(`{"verification_token":"secret_3"}`); code != 401 {
		t.Errorf("after it was forgotten, and before it is open: %d", code)
	}
	if _, err := g.reload.openKey(t.Context(), "notion", time.Minute); err != nil {
		t.Fatal(err)
	}
	if code := post(`{"verification_token":"secret_3"}`); code != 200 {
		t.Errorf("after it was forgotten: %d", code)
	}
	// Another node forgets it, and is handed a new one.
	if err := g.st.Unkeep(t.Context(), storedKey+"notion"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.st.Keep(t.Context(), storedKey+"notion", "secret_4"); err != nil {
		t.Fatal(err)
	}
	g.reload.look(t.Context())
	hook = `{"id":"4"}`
	if code := post(hook, signed("secret_4", hook)); code != 200 {
		t.Errorf("with the key that another node has: %d", code)
	}
}

// A source takes a key for a bounded time, and only if it has none of its own.
func TestKeyWindowIsBounded(t *testing.T) {
	t.Parallel()
	cfg := configured("notion", config.Source{Preset: "notion"})
	cfg.Sources["github"] = config.Source{Preset: "github", Secrets: []config.Secret{"s"}}
	g := newLimiter(t, cfg)
	for name, takes := range map[string]time.Duration{"notion": 2 * time.Hour, "github": time.Minute, "nothing": time.Minute} {
		if _, err := g.reload.openKey(t.Context(), name, takes); err == nil {
			t.Errorf("source %s was opened for %s", name, takes)
		}
	}
	if err := g.st.Unkeep(t.Context(), keyWindow+"notion"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.st.Keep(t.Context(), keyWindow+"notion", time.Now().Add(-time.Second).UTC().Format(time.RFC3339)); err != nil {
		t.Fatal(err)
	}
	if code := g.do("POST", gaff.PathPrefix+"notion", []byte(`{"verification_token":"late"}`), nil).Code; code != 401 {
		t.Errorf("after the time is over: %d", code)
	}
}

// SNS: the address that confirms a subscription is fetched only if that is wanted, and only
// from Amazon.
func TestSubscriptionIsConfirmed(t *testing.T) {
	t.Parallel()
	scheme, _ := sender.Preset("aws-sns")
	for _, test := range []struct {
		name, url, confirm string
		answer             int
		fetched            bool
		status             int
	}{
		{"wanted", "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription", "true", 200, true, 200},
		{"not wanted", "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription", "", 200, false, 200},
		{"another host", "https://sns.eu-west-1.amazonaws.com.evil.test/", "true", 200, false, 200},
		{"another port", "https://sns.eu-west-1.amazonaws.com:8443/", "true", 200, false, 200},
		{"no TLS", "http://sns.eu-west-1.amazonaws.com/", "true", 200, false, 200},
		{"Amazon is down", "https://sns.eu-west-1.amazonaws.com/", "true", 500, true, 503},
	} {
		var fetched []string
		client := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			fetched = append(fetched, r.URL.String())
			return &http.Response{StatusCode: test.answer, Body: http.NoBody, Request: r}, nil
		})}
		h, err := sender.NewHandshaker(scheme, sender.HandshakeOptions{Settings: map[string]string{"confirm": test.confirm}, Client: client})
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"Type":"SubscriptionConfirmation","SubscribeURL":%q}`, test.url)
		rep, ok := h.Handshake(t.Context(), &gaff.Request{Method: "POST", Body: []byte(body)}, gaff.Verification{}, nil)
		if !ok || rep.Status != test.status || (len(fetched) > 0) != test.fetched {
			t.Errorf("%s: answered %t %d %s, fetched %v", test.name, ok, rep.Status, rep.Detail, fetched)
		}
		if _, ok := h.Handshake(t.Context(), &gaff.Request{Method: "POST", Body: []byte(body)}, gaff.Verification{}, verify.ErrMismatch); ok {
			t.Errorf("%s: answered although its signature is wrong", test.name)
		}
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
