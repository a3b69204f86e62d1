package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/fault"
	"gaff/internal/fuzzseed"
)

var noon = time.Unix(1_767_225_600, 0)

func TestNewFaults(t *testing.T) {
	t.Parallel()
	good := func() Scheme {
		return Scheme{
			Kind: "signature", Algorithm: "hmac-sha256", Signed: "{ts}.{body}", Encoding: "hex",
			Signature: Signatures{{Location: Location{In: "header", Name: "X-Sig"}}},
			Timestamp: &Timestamp{Location: Location{In: "header", Name: "X-Time"}},
			Tolerance: &Tolerance{Past: 300},
		}
	}
	secret := Options{Secrets: []string{"s3cret-value"}}
	if _, err := New(good(), secret); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*Scheme)
		o      Options
		want   string // the beginning of a line of the error
	}{
		{"no kind", func(s *Scheme) { s.Kind = "" }, secret, "kind: missing"},
		{"kind", func(s *Scheme) { s.Kind = "hmac" }, secret, `kind: "hmac" is not known`},
		{"code", func(s *Scheme) { s.Kind, s.Name = "code", "acme" }, secret, `name: "acme" is not known`},
		{"algorithm", func(s *Scheme) { s.Algorithm = "md5" }, secret, `algorithm: "md5" is not known`},
		{"encoding", func(s *Scheme) { s.Encoding = "base32" }, secret, `encoding: "base32" is not known`},
		{"no encoding", func(s *Scheme) { s.Encoding = "" }, secret, "encoding: missing; one of hex, hex-upper, base64, base64url is wanted"},
		{"no algorithm", func(s *Scheme) { s.Algorithm = "" }, secret, "algorithm: missing; one of "},
		{"token", func(s *Scheme) { s.Signed = "{boddy}" }, secret, "signed: {boddy} is not known"},
		{"brace", func(s *Scheme) { s.Signed = "{body" }, secret, "signed: a { without a }"},
		{"other brace", func(s *Scheme) { s.Signed = "{body}}" }, secret, "signed: a } without a {"},
		{"nothing signed", func(s *Scheme) { s.Signed = "" }, secret, "signed: missing"},
		{"no body", func(s *Scheme) { s.Signed = "{ts}" }, secret, `covers_body: missing: "{ts}" covers nothing of the body`},
		{"key in HMAC", func(s *Scheme) { s.Signed = "{body}{key}" }, secret, "signed: {key} does not go with hmac-sha256"},
		{"no key in digest", func(s *Scheme) { s.Algorithm = "keyed-sha256" }, secret, "signed: keyed-sha256 needs {key}"},
		{"id", func(s *Scheme) { s.Signed = "{id}{body}" }, secret, "id: missing"},
		{"setting", func(s *Scheme) { s.Signed = "{body}{config:callback_url}" }, secret, "settings.callback_url: missing"},
		{"pointer", func(s *Scheme) { s.Signed = "{json:a}" }, secret, "signed: {json:a}"},
		{"header name", func(s *Scheme) { s.Signed = "{body}{header:a b}" }, secret, "signed: {header:a b}"},
		{"no timestamp", func(s *Scheme) { s.Timestamp, s.Signed = nil, "{body}" }, secret, "tolerance: there is no timestamp"},
		{"ts", func(s *Scheme) { s.Timestamp, s.Tolerance = nil, nil }, secret, "timestamp: missing"},
		{"unit", func(s *Scheme) { s.Timestamp.Unit = "min" }, secret, `timestamp.unit: "min" is not known`},
		{"ts place", func(s *Scheme) { s.Timestamp.In = "cookie" }, secret, `timestamp.in: "cookie" is not known`},
		{"ts in raw", func(s *Scheme) { s.Timestamp = &Timestamp{Location: Location{In: "signature"}, Key: "t"} }, secret, "timestamp.in: signature does not go with format raw"},
		{"tolerance", func(s *Scheme) { s.Tolerance = &Tolerance{} }, secret, "tolerance: past 0"},
		{"negative", func(s *Scheme) { s.Tolerance = &Tolerance{Past: 1, Future: new(int64(-1))} }, secret, "tolerance: past 1, future -1"},
		{"override", func(s *Scheme) {}, Options{Secrets: secret.Secrets, Tolerance: &Tolerance{Past: -5}}, "tolerance: past -5"},
		{"no signature", func(s *Scheme) { s.Signature = nil }, secret, "signature: missing"},
		{"format", func(s *Scheme) { s.Signature[0].Format = "xml" }, secret, `signature.format: "xml" is not known`},
		{"prefix", func(s *Scheme) { s.Signature[0].Format = "prefixed" }, secret, "signature.prefix: missing"},
		{"kv", func(s *Scheme) { s.Signature[0].Format = "kv" }, secret, "signature.sig_keys: missing"},
		{"list", func(s *Scheme) { s.Signature[0].Format = "list" }, secret, "signature.accept_tags: missing"},
		{"second place", func(s *Scheme) { s.Signature = append(s.Signature, Signature{}) }, secret, "signature[1].in: missing"},
		{"regex", func(s *Scheme) {
			s.Signature[0].Format, s.Signature[0].ItemSep, s.Signature[0].TagSep, s.Signature[0].TagRegex = "tagged", ",", "/", "("
		}, secret, "signature.tag_regex: "},
		{"name", func(s *Scheme) { s.Signature[0].Name = "" }, secret, "signature.name: missing"},
		{"required", func(s *Scheme) { s.RequireHeaders = map[string]string{"a b": "c"} }, secret, `require_headers: "a b"`},
		{"decode", func(s *Scheme) { s.Key.Decode = "rot13" }, secret, `key.decode: "rot13" is not known`},
		{"source", func(s *Scheme) { s.Key.Source = "hex" }, secret, "key.source: is for public keys"},
		{"no secret", func(*Scheme) {}, Options{}, "secrets: missing"},
		{"empty secret", func(*Scheme) {}, Options{Secrets: []string{"a", ""}}, "secrets[1]: empty"},
		{"prefix only", func(s *Scheme) { s.Key.StripPrefix = []string{"whsec_"} }, Options{Secrets: []string{"whsec_"}}, "secrets[0]: empty after its prefix"},
		{"newline", func(*Scheme) {}, Options{Secrets: []string{"s3cret-value\n"}}, "secrets[0]: begins or ends with white space"},
		{"base64", func(s *Scheme) { s.Key.Decode = "base64" }, Options{Secrets: []string{"s3cret_value!"}}, "secrets[0]: not base64"},
		{"hex", func(s *Scheme) { s.Key.Decode = "hex" }, secret, "secrets[0]: not hex"},
		{"key for HMAC", func(*Scheme) {}, Options{Secrets: secret.Secrets, Keys: []Key{{Kind: "jwks", Value: "{}"}}}, "keys[0]: jwks is no key for hmac-sha256"},
		{"no public key", func(s *Scheme) { s.Algorithm, s.Key.Source = "ed25519", "hex" }, Options{}, "secrets: missing; the sender's public key"},
		{"short public key", func(s *Scheme) { s.Algorithm, s.Key.Source = "ed25519", "hex" }, Options{Secrets: []string{"abcd"}}, "secrets[0]: 2 bytes"},
		{"weak public key", func(s *Scheme) { s.Algorithm, s.Key.Source = "ed25519", "hex" }, Options{Secrets: []string{"01" + strings.Repeat("00", 31)}}, "secrets[0]: a point of small order"},
		{"no key source", func(s *Scheme) { s.Algorithm = "ed25519" }, secret, `key.source: missing; one of jwks`},
		{"no JWKS", func(s *Scheme) { s.Algorithm, s.Key.Source = "ed25519", "jwks" }, Options{}, "settings.jwks_url: missing"},
		{"secret for JWKS", func(s *Scheme) { s.Algorithm, s.Key.Source = "ed25519", "jwks" }, secret, "secrets[0]: not used"},
		{"token place", func(s *Scheme) { *s = Scheme{Kind: "token"} }, secret, "token: missing"},
		{"token tolerance", func(s *Scheme) {
			*s = Scheme{Kind: "token", Token: &Token{Location: Location{In: "header", Name: "X"}}, Tolerance: &Tolerance{Past: 3}}
		}, secret, "tolerance: kind token has no timestamp"},
		{"password", func(s *Scheme) { *s = Scheme{Kind: "basic"} }, Options{Secrets: []string{"s3cret-value"}}, "secrets[0]: a user"},
		{"jwt", func(s *Scheme) { *s = Scheme{Kind: "jwt"} }, secret, "jwt: missing"},
		{"algs", func(s *Scheme) { *s = Scheme{Kind: "jwt", JWT: &JWT{Location: Location{In: "header", Name: "X"}}} }, secret, "algs: missing"},
		{"alg none", func(s *Scheme) {
			*s = Scheme{Kind: "jwt", Algs: []string{"none"}, JWT: &JWT{Location: Location{In: "header", Name: "X"}}}
		}, secret, `algs[0]: "none" is not known`},
		{"mixed algs", func(s *Scheme) {
			*s = Scheme{Kind: "jwt", Algs: []string{"HS256", "RS256"}, JWT: &JWT{Location: Location{In: "header", Name: "X"}}}
		}, secret, "algs: HS algorithms beside public key ones"},
		{"audience", func(s *Scheme) { *s, _ = Preset("gcp-pubsub") }, Options{}, "settings.audience: missing"},
		{"topics", func(s *Scheme) { *s, _ = Preset("aws-sns") }, Options{}, "settings.topic_arns: missing"},
		{"webhook id", func(s *Scheme) { *s, _ = Preset("paypal") }, Options{}, "settings.webhook_id: missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := good()
			s.Signature = slices.Clone(s.Signature)
			tt.change(&s)
			v, err := New(s, tt.o)
			if err == nil {
				t.Fatalf("no error; %s", v.Describe())
			}
			if !slices.ContainsFunc(strings.Split(err.Error(), "\n"), func(line string) bool { return strings.HasPrefix(line, tt.want) }) {
				t.Errorf("want %q, got\n%v", tt.want, err)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}

func TestNewReportsAllFaults(t *testing.T) {
	t.Parallel()
	_, err := New(Scheme{Kind: "signature", Algorithm: "rot13", Encoding: "runes", Signed: "{x}"}, Options{})
	for _, want := range []string{"algorithm:", "encoding:", "signed:", "signature:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in: %v", want, err)
		}
	}
}

// options returns what a preset needs to be used, with keys that sign where that can be.
func options(t testing.TB, s Scheme) Options {
	t.Helper()
	o := Options{Settings: map[string]string{
		"callback_url": "https://a.test/hook", "issuer": "me", "audience": "https://a.test/hook", "email": "a@b.test",
		"client_id": "me", "topic_arns": "arn:aws:sns:us-east-1:1:a", "webhook_id": "W-1", "public_key": "pub",
	}}
	if s.Key.Source == "jwks" || s.Key.Source == "jwks-by-kid" {
		o.Settings["jwks_url"] = "https://keys.test/"
	}
	text := "an operator's secret"
	switch {
	case s.Key.Decode == "hex" || s.Name == "adyen":
		text = hex.EncodeToString([]byte(text))
	case s.Key.Decode == "base64" || s.Name == "standard-webhooks":
		text = "whsec_" + base64.StdEncoding.EncodeToString([]byte(text))
		if len(s.Key.StripPrefix) == 0 && s.Name == "" {
			text = strings.TrimPrefix(text, "whsec_")
		}
	case s.Kind == "basic":
		text = "user:" + text
	}
	seed := sha256.Sum256([]byte(text))
	public := s.Algorithm != "" && !strings.HasPrefix(s.Algorithm, "hmac") && !strings.HasPrefix(s.Algorithm, "keyed") ||
		len(s.Algs) > 0 && !strings.HasPrefix(s.Algs[0], "HS")
	switch {
	case s.Algorithm == "ed25519":
		o.Keys = []Key{{Kind: "ed25519_seed_hex", Value: hex.EncodeToString(seed[:])}}
	case s.Name == "aws-sns" || s.Name == "paypal" || s.Name == "adobe" || public && strings.HasPrefix(s.Key.Source, "jwks"):
	case strings.HasPrefix(s.Algorithm, "rsa") || s.Name == "travis" || s.Name == "paddle-classic" || s.Kind == "jwt" && s.Key.Source == "spki_pem":
		o.Secrets = []string{rsaKey(t).pem}
	case s.Algorithm == "ecdsa-p256-sha256":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		o.Secrets = []string{base64.StdEncoding.EncodeToString(der)}
	default:
		o.Secrets = []string{text}
	}
	return o
}

var testRSA *rsa.PrivateKey

type rsaPair struct {
	key *rsa.PrivateKey
	pem string
}

func rsaKey(t testing.TB) rsaPair {
	t.Helper()
	key := testRSA
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return rsaPair{key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

func TestMain(m *testing.M) {
	var err error
	if testRSA, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// preset makes a verifier or ends the test.
func preset(t testing.TB, name string, o Options) *Verifier {
	t.Helper()
	s, ok := Preset(name)
	if !ok {
		t.Fatalf("no preset %s", name)
	}
	v, err := New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// ErrStale promises that all else was right, so that a caller may still make something
// of an old request.
func TestStaleOnlyIfAuthentic(t *testing.T) {
	t.Parallel()
	v := preset(t, "stripe", Options{Secrets: []string{"whsec_x"}})
	for _, age := range []time.Duration{-301 * time.Second, 301 * time.Second} {
		r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon.Add(age)}
		if err := v.Sign(r, noon); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrStale) {
			t.Errorf("%s off: %v", age, err)
		}
		r.Body = []byte(`{ }`)
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s off and forged: %v", age, err)
		}
	}
	// Parts of a second do not count where the sender sends whole ones.
	r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon.Add(300*time.Second + 999*time.Millisecond)}
	if err := v.Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), r); err != nil {
		t.Errorf("300.999 s old: %v", err)
	}
}

func TestKeyIDTellsKeysApart(t *testing.T) {
	t.Parallel()
	var ids []string
	for _, secret := range []string{"first", "second"} {
		r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon}
		if err := preset(t, "github", Options{Secrets: []string{secret}}).Sign(r, noon); err != nil {
			t.Fatal(err)
		}
		got, err := preset(t, "github", Options{Secrets: []string{"first", "second"}}).Verify(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, got.KeyID)
	}
	if ids[0] == ids[1] || len(ids[0]) != 8 {
		t.Errorf("key ids %q", ids)
	}
}

// A sender set up wrongly may put its secret where the signature belongs. What is
// written down about the refusal must not hold it.
func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "kept-from-everyone"
	for _, name := range Presets() {
		s, _ := Preset(name)
		if s.Kind != "signature" {
			continue
		}
		v, err := New(s, options(t, s))
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		for _, sig := range s.Signature {
			h.Set(sig.Name, secret)
			h.Add(sig.Name, sig.Prefix+secret)
		}
		for name := range h {
			for _, value := range h[name] {
				r := &gaff.Request{Header: h.Clone(), Body: []byte("{}"), ReceivedAt: noon}
				r.Header[name] = []string{value}
				if s.Timestamp != nil && s.Timestamp.In == "header" {
					r.Header.Set(s.Timestamp.Name, formatTime(noon, s.Timestamp.Unit))
				}
				if _, err := v.Verify(t.Context(), r); err == nil || s.Signature[0].Format != "positional" && strings.Contains(err.Error(), secret) {
					t.Errorf("%s: %v", s.Signature[0].Name, err)
				}
			}
		}
	}
}

func TestLocations(t *testing.T) {
	t.Parallel()
	request := func(body string) *gaff.Request {
		return &gaff.Request{
			URL: "https://a.test/hook?q=query&twice=1&twice=2", Body: []byte(body), ReceivedAt: noon,
			Header: http.Header{"X-One": {"header"}, "X-Two": {"a", "b"}, "X-Same": {"a", "a"}, "X-Empty": {""}, "X-Break": {"a\nb"}},
		}
	}
	tests := []struct {
		at   Location
		body string
		want string
		err  error
	}{
		{Location{In: "header", Name: "x-one"}, "", "header", nil},
		{Location{In: "header", Name: "X-Two"}, "", "", ErrAmbiguous},
		{Location{In: "header", Name: "X-Same"}, "", "a", nil},
		{Location{In: "header", Name: "X-Empty"}, "", "", ErrMissing},
		{Location{In: "header", Name: "X-None"}, "", "", ErrMissing},
		{Location{In: "header", Name: "X-Break"}, "", "", ErrMalformed},
		{Location{In: "header", Name: "host"}, "", "a.test", nil},
		{Location{In: "header", Name: "X-None", Or: &Location{In: "json", Pointer: "/a", Or: &Location{In: "query", Name: "q"}}}, `{"b":1}`, "query", nil},
		{Location{In: "header", Name: "x-one", And: &Location{In: "query", Name: "q"}}, "", "header.query", nil},
		{Location{In: "header", Name: "x-one", And: &Location{In: "query", Name: "none"}}, "", "header", nil},
		{Location{In: "header", Name: "X-None", And: &Location{In: "query", Name: "q"}, Or: &Location{In: "header", Name: "X-One"}}, "", "header", nil},
		{Location{In: "member", Name: "update_id"}, `{"update_id":1,"message":{"a":[1]}}`, "message", nil},
		{Location{In: "member", Name: "update_id"}, `{"message":{},"update_id":1}`, "message", nil},
		{Location{In: "member", Name: "update_id"}, `{"update_id":{"x":1}}`, "", ErrMissing},
		{Location{In: "member"}, `[{"a":1}]`, "", ErrMissing},
		{Location{In: "header", Name: "X-Two", Or: &Location{In: "query", Name: "q"}}, "", "", ErrAmbiguous},
		{Location{In: "query", Name: "q"}, "", "query", nil},
		{Location{In: "query", Name: "twice"}, "", "", ErrAmbiguous},
		{Location{In: "form", Name: "f"}, "f=a+b", "a b", nil},
		{Location{In: "form", Name: "f"}, "f=%zz", "", ErrMalformed},
		{Location{In: "json", Pointer: "/a"}, `{"a":123456789012345678901234567890}`, "123456789012345678901234567890", nil},
		{Location{In: "json", Pointer: "/a"}, `{"a":1.50}`, "1.50", nil},
		{Location{In: "json", Pointer: "/a"}, `{"a":null}`, "", ErrMissing},
		{Location{In: "json", Pointer: "/a"}, `{"a":""}`, "", ErrMissing},
	}
	for _, tt := range tests {
		var set pointers
		var f fault.List
		p := newPlace(&tt.at, "id", &set, &f)
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		r := request(tt.body)
		values, err := set.find(r.Text())
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.text(r, values)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%+v: %q, %v; want %q, %v", tt.at, got, err, tt.want, tt.err)
		}
	}
}

func TestRequireHeaders(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]Scheme{
		"signature": {Kind: "signature", Algorithm: "hmac-sha256", Signed: "{body}", Encoding: "hex",
			Signature: Signatures{{Location: Location{In: "header", Name: "X-Sig"}}}},
		"token": {Kind: "token", Token: &Token{Location: Location{In: "header", Name: "X-Token"}}},
		"basic": {Kind: "basic"},
		"jwt": {Kind: "jwt", JWT: &JWT{Location: Location{In: "header", Name: "X-Jwt"}}, Algs: []string{"HS256"},
			BodyHash: &BodyHash{Claim: "body", Encoding: "text"}},
		"code": {Kind: "code", Name: "hook0"},
	} {
		s.RequireHeaders = map[string]string{"x-version": "1"}
		v, err := New(s, Options{Secrets: []string{"user:password"}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon}
		if err := v.Sign(r, noon); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := v.Verify(t.Context(), r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r.Header.Set("X-Version", "2")
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s, version 2: %v", name, err)
		}
		r.Header.Del("X-Version")
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrMissing) {
			t.Errorf("%s, no version: %v", name, err)
		}
	}
}

// The second of two places may hold the right signature, a wrong one in the first does
// not matter.
func TestSeveralPlaces(t *testing.T) {
	t.Parallel()
	v := preset(t, "hookdeck", Options{Secrets: []string{"new"}})
	r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon}
	if err := v.Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Hookdeck-Signature-2", r.Header.Get("X-Hookdeck-Signature"))
	r.Header.Set("X-Hookdeck-Signature", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	if _, err := v.Verify(t.Context(), r); err != nil {
		t.Error(err)
	}
	r.Header.Add("X-Hookdeck-Signature-2", "another")
	if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("twice: %v", err)
	}
}

func TestSignatureCap(t *testing.T) {
	t.Parallel()
	v := preset(t, "stripe", Options{Secrets: []string{"x"}})
	r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon, Header: http.Header{}}
	r.Header.Set("Stripe-Signature", "t=1767225600"+strings.Repeat(",v1=00", maxSignatures+1))
	if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrAmbiguous) {
		t.Error(err)
	}
}

func TestStandardSecrets(t *testing.T) {
	t.Parallel()
	seed := bytes.Repeat([]byte{7}, 32)
	private := "whsk_" + base64.StdEncoding.EncodeToString(seed)
	public := "whpk_" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	r := &gaff.Request{Body: []byte(`{"type":"a.b"}`), ReceivedAt: noon}
	if err := preset(t, "standard-webhooks", Options{Secrets: []string{private}}).Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	holder := preset(t, "standard-webhooks", Options{Secrets: []string{"whsec_AAAAAAAAAAAAAAAA", public}})
	got, err := holder.Verify(t.Context(), r)
	if err != nil || got.Scheme != "ed25519" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := preset(t, "standard-webhooks", Options{Secrets: []string{public}}).Sign(r, noon); err == nil {
		t.Error("a public key signed")
	}
}

// answers is a network of fixed documents.
type answers map[string]string

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	doc, ok := a[r.URL.String()]
	if !ok {
		return nil, errors.New("unreachable")
	}
	return &http.Response{StatusCode: 200, Status: "200 OK", Body: io.NopCloser(strings.NewReader(doc)), Request: r}, nil
}

func TestPayPal(t *testing.T) {
	t.Parallel()
	key := rsaKey(t).key
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	const address = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42"
	doc := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	o := Options{
		Settings: map[string]string{"webhook_id": "1JE"},
		Client:   &http.Client{Transport: answers{address: doc, "https://api.paypal.com.evil.test/v1/notifications/certs/CERT-360caa42": doc}},
	}
	v := preset(t, "paypal", o)
	body := []byte(`{"id":"WH-1","event_type":"PAYMENT.SALE.COMPLETED"}`)
	content := fmt.Sprintf("tx-1|2026-01-01T00:00:00Z|1JE|%d", crc32.ChecksumIEEE(body))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest(crypto.SHA256, []byte(content)))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, header, value string
		at                  time.Time
		err                 error
	}{
		{"right", "X-None", "", noon, nil},
		{"another host", "Paypal-Cert-Url", "https://api.paypal.com.evil.test/v1/notifications/certs/CERT-360caa42", noon, ErrMismatch},
		{"unreachable", "Paypal-Cert-Url", "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1", noon, gaff.ErrUnverifiable},
		{"algorithm", "Paypal-Auth-Algo", "SHA1withRSA", noon, ErrMismatch},
		{"another id", "Paypal-Transmission-Id", "tx-2", noon, ErrMismatch},
		{"separator in the id", "Paypal-Transmission-Id", "tx-1|x", noon, ErrAmbiguous},
		{"another time", "Paypal-Transmission-Time", "2026-01-01T00:00:01Z", noon, ErrMismatch},
		{"no base64", "Paypal-Transmission-Sig", "***", noon, ErrMalformed},
		{"stale", "X-None", "", noon.Add(301 * time.Second), ErrStale},
		{"expired certificate", "X-None", "", noon.Add(2 * time.Hour), ErrMismatch},
	}
	for _, tt := range tests {
		r := &gaff.Request{Body: body, ReceivedAt: tt.at, Header: http.Header{}}
		for name, value := range map[string]string{
			"Transmission-Id": "tx-1", "Transmission-Time": "2026-01-01T00:00:00Z", "Cert-Url": address,
			"Auth-Algo": "SHA256withRSA", "Transmission-Sig": base64.StdEncoding.EncodeToString(sig),
		} {
			r.Header.Set("Paypal-"+name, value)
		}
		r.Header.Set(tt.header, tt.value)
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

// A certificate that was fetched once outlives its host's outage, and is fetched again
// when it can be.
func TestCertificateKept(t *testing.T) {
	t.Parallel()
	key := rsaKey(t).key
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon, NotAfter: noon.Add(1000 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	const address = "https://a.test/a.pem"
	host := answers{address: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
	asked := 0
	certs := newCertificates(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked++
		return host.RoundTrip(r)
	})})
	clock := noon
	certs.now = func() time.Time { return clock }
	want := func(step string, n int) {
		t.Helper()
		if cert, err := certs.get(t.Context(), address, "192.0.2.1"); err != nil || cert == nil || asked != n {
			t.Errorf("%s: %v after %d fetches, want %d", step, err, asked, n)
		}
	}
	want("first", 1)
	clock = clock.Add(remoteMaxAge - 1)
	want("kept", 1)
	doc := host[address]
	delete(host, address)
	clock = clock.Add(1)
	want("host gone", 2)
	clock = clock.Add(remoteBackoff - 1)
	want("left alone", 2)
	clock = clock.Add(1)
	want("asked again", 3)
	host[address] = doc
	clock = clock.Add(remoteBackoff)
	want("back", 4)
	clock = clock.Add(remoteMaxAge - 1)
	want("kept again", 4)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestGraph(t *testing.T) {
	t.Parallel()
	v := preset(t, "msgraph", Options{Secrets: []string{"shared"}})
	for body, want := range map[string]error{
		`{"value":[{"clientState":"shared"},{"clientState":"shared"}]}`:  nil,
		`{"value":[{"clientState":"shared"},{"clientState":"another"}]}`: ErrMismatch,
		`{"value":[{"clientState":"shared"},{}]}`:                        ErrMissing,
		`{"value":[{"clientState":"shared"},null]}`:                      ErrMissing,
		`{"value":[]}`: ErrMalformed,
		`{}`:           ErrMalformed,
		`[`:            ErrMalformed,
	} {
		r := &gaff.Request{Body: []byte(body), ReceivedAt: noon}
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", body, err, want)
		}
	}
}

func TestDropboxSign(t *testing.T) {
	t.Parallel()
	v := preset(t, "dropbox-sign", Options{Secrets: []string{"api-key"}})
	sig := GenerateWebhookSignature([]byte("1767225600signature_request_signed"), "api-key")
	doc := `{"event":{"event_time":"1767225600","event_type":"signature_request_signed","event_hash":"` + sig + `"}}`
	part := "--b\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n" + doc + "\r\n"
	for body, want := range map[string]error{
		part + "--b--\r\n":        nil,
		part + part + "--b--\r\n": ErrAmbiguous,
		"--b--\r\n":               ErrMissing,
		part:                      ErrMalformed,
		part + "--b\r\nContent-Disposition: form-data; name=\"more\"\r\n\r\ncut off": ErrMalformed,
		strings.Replace(part, "request_signed", "request_sent", 1) + "--b--\r\n":     ErrMismatch,
		strings.Replace(part, "1767225600", "x", 1) + "--b--\r\n":                    ErrMalformed,
	} {
		r := &gaff.Request{Body: []byte(body), ReceivedAt: noon, Header: http.Header{"Content-Type": {"multipart/form-data; boundary=b"}}}
		got, err := v.Verify(t.Context(), r)
		if !errors.Is(err, want) || err == nil && got.Type != "signature_request_signed" {
			t.Errorf("%q: %+v, %v, want %v", body, got, err, want)
		}
	}
}

func TestHook0PrefersV1(t *testing.T) {
	t.Parallel()
	v := preset(t, "coinbase-cdp", Options{Secrets: []string{"x"}})
	v0 := GenerateWebhookSignature([]byte("1767225600.{}"), "x")
	for header, want := range map[string]error{
		"t=1767225600,v0=" + v0: nil,
		"t=1767225600,v0=" + v0 + ",h=,v1=" + strings.Repeat("0", 64): ErrMismatch,
		"v0=" + v0:               ErrMissing,
		"t=1767225600":           ErrMissing,
		"t=1,t=2,v0=" + v0:       ErrAmbiguous,
		"t=01767225600,v0=" + v0: ErrMalformed,
	} {
		r := &gaff.Request{Body: []byte("{}"), ReceivedAt: noon, Header: http.Header{"X-Hook0-Signature": {header}}}
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", header, err, want)
		}
	}
}

func TestWebhookFunctions(t *testing.T) {
	t.Parallel()
	body := []byte(`{"a":1}`)
	sig := GenerateWebhookSignature(body, "secret")
	tests := []struct {
		name, sig, secret string
		want              bool
	}{
		{"right", sig, "secret", true},
		{"wrong secret", sig, "other", false},
		{"short", sig[:63], "secret", false},
		{"long", sig + "00", "secret", false},
		{"empty", "", "secret", false},
		{"upper case", strings.ToUpper(sig), "secret", false},
		{"empty secret", GenerateWebhookSignature(body, ""), "", false},
	}
	for _, tt := range tests {
		if got := VerifyWebhookSignature(body, tt.sig, tt.secret); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	now := noon.Add(500 * time.Millisecond)
	times := []struct {
		text      string
		tolerance time.Duration
		want      bool
	}{
		{"1767225600", 0, true},
		{"1767225300", 0, true},
		{"1767225299", 0, false},
		{"1767225900", 0, true},
		{"1767225901", 0, false},
		{"1767225590", 10 * time.Second, true},
		{"1767225589", 10 * time.Second, false},
		{"1767225600", -time.Second, false},
		{"", 0, false},
		{" 1767225600", 0, false},
		{"+1767225600", 0, false},
		{"01767225600", 0, false},
		{"1767225600.0", 0, false},
		{"1.7672256e9", 0, false},
		{"1767225600x", 0, false},
		{"99999999999999999999", 0, false},
	}
	for _, tt := range times {
		if got := ValidateWebhookTimestamp(tt.text, now, tt.tolerance); got != tt.want {
			t.Errorf("%q within %s: %v", tt.text, tt.tolerance, got)
		}
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, unit string
		want       int64 // milliseconds; -1 for none
	}{
		{"1767225600", "", 1767225600000},
		{"1767225600123", "ms", 1767225600123},
		{"2026-01-01T00:00:00Z", "rfc3339", 1767225600000},
		{"2026-01-01T00:00:00.123456789Z", "rfc3339", 1767225600123},
		{"2026-01-01T01:00:00+01:00", "rfc3339", 1767225600000},
		{"2026-01-01 00:00:00Z", "rfc3339", -1},
		{"2026-01-01T00:00:00", "rfc3339", -1},
		{"2026-01-01T00:00:00,5Z", "rfc3339", -1},
		{"2026-1-1T0:00:00Z", "rfc3339", -1},
		{"2026-13-01T00:00:00Z", "rfc3339", -1},
		{"2026-01-01T00:00:00." + strings.Repeat("0", 40) + "Z", "rfc3339", -1},
		{"Thu, 01 Jan 2026 00:00:00 GMT", "http-date", 1767225600000},
		{"1767225600", "http-date", 1767225600000},
		{"Fri, 01 Jan 2026 00:00:00 GMT", "http-date", -1}, // another weekday
		{"Thu, 1 Jan 2026 00:00:00 GMT", "http-date", -1},
		{"Thu, 01 Jan 2026 00:00:00 UTC", "http-date", -1},
		{"Thu, 01 Jan 2026 00:00:00 GMT", "s", -1},
		{"-1", "s", -1},
		{"0x69", "s", -1},
		{"1234567890123456", "s", -1},
		{"\u0661\u0667\u0666", "s", -1},
	} {
		at, ok := parseTime(tt.text, tt.unit)
		if got := at.UnixMilli(); ok != (tt.want >= 0) || ok && got != tt.want {
			t.Errorf("%q as %s: %d, %v", tt.text, tt.unit, got, ok)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	f.Add("1767225600", "s")
	f.Add("2026-01-01T00:00:00.5Z", "rfc3339")
	for _, text := range fuzzseed.Vary("1767225600", "2026-01-01T00:00:00.5Z") {
		for _, unit := range []string{"s", "ms", "rfc3339"} {
			f.Add(text, unit)
		}
	}
	f.Fuzz(func(t *testing.T, text, unit string) {
		at, ok := parseTime(text, unit)
		if !ok || unit == "rfc3339" {
			return
		}
		if again := formatTime(at, unit); again != text {
			t.Errorf("%q was read as %q", text, again)
		}
	})
}

func FuzzSignatureText(f *testing.F) {
	f.Add("t=1,v1=aa, v1=bb", "stripe")
	f.Add("v1,aa v1a,bb", "openai")
	f.Add("1,aa,bb", "recurly")
	f.Add("1/SHA256/aa", "worldpay")
	f.Add("sha256=aa", "github")
	var verifiers = map[string]*signature{}
	for _, name := range []string{"stripe", "openai", "recurly", "worldpay", "github", "knock", "persona"} {
		s, _ := Preset(name)
		v, err := New(s, options(f, s))
		if err != nil {
			f.Fatal(err)
		}
		verifiers[name] = v.check.(*signature)
		for _, text := range fuzzseed.Vary("t=1,v1=aa, v1=bb", "v1,aa v1a,bb", "1,aa,bb", "1/SHA256/aa", "sha256=aa") {
			f.Add(text, name)
		}
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		v := verifiers[name]
		if v == nil {
			return
		}
		sigs := found{most: 20}
		if err := v.places[0].read(text, v.timeKey, &sigs); err == nil && len(sigs.list) == 0 {
			t.Errorf("%q: neither signatures nor an error", text)
		}
		if len(sigs.list) > 21 {
			t.Errorf("%d signatures", len(sigs.list))
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add("{ts}.{body}")
	f.Add("{header:X-A}{nl}{json:/a/b}{config:url}")
	for _, text := range fuzzseed.Vary("{ts}.{body}", "{header:X-A}{nl}{json:/a/b}{config:url}") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var set pointers
		var faults fault.List
		tmpl := parseTemplate(text, "signed", map[string]string{"url": "u"}, &set, &faults)
		if len(faults) > 0 {
			return
		}
		r := &gaff.Request{Body: []byte(`a=1`), Header: http.Header{}}
		var w bufWriter
		_ = tmpl.write(&content{r: r, values: make([][]byte, len(set.list))}, nil, &w)
		if !strings.Contains(text, "{") && string(w.b) != text {
			t.Errorf("%q became %q", text, w.b)
		}
	})
}

// BenchmarkVerify measures one verification, by algorithm and size of the body.
func BenchmarkVerify(b *testing.B) {
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	ecPublic, err := x509.MarshalPKIXPublicKey(&ecKey.PublicKey)
	if err != nil {
		b.Fatal(err)
	}
	digestOf := func(content []byte) []byte {
		sum := sha256.Sum256(content)
		return sum[:]
	}
	for _, c := range []struct {
		name, preset string
		o            *Options
		sign         func(r *gaff.Request) // nil: the verifier does
	}{
		{name: "HMAC-SHA256", preset: "lastframe"},
		{name: "HMAC-SHA256-dated", preset: "stripe"},
		{name: "StandardWebhooks", preset: "standard-webhooks"},
		{name: "HMAC-SHA512", preset: "paystack"},
		{name: "JWT-HS256-with-hash", preset: "netlify"},
		{name: "Ed25519", preset: "fal"},
		{name: "ECDSA-P256", preset: "sendgrid", o: &Options{Secrets: []string{base64.StdEncoding.EncodeToString(ecPublic)}}, sign: func(r *gaff.Request) {
			ts := strconv.FormatInt(noon.Unix(), 10)
			sig, err := ecdsa.SignASN1(rand.Reader, ecKey, digestOf(append([]byte(ts), r.Body...)))
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("X-Twilio-Email-Event-Webhook-Timestamp", ts)
			r.Header.Set("X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(sig))
		}},
		{name: "RSA-2048-SHA256", preset: "wise", o: &Options{Secrets: []string{rsaKey(b).pem}}, sign: func(r *gaff.Request) {
			sig, err := rsa.SignPKCS1v15(rand.Reader, testRSA, crypto.SHA256, digestOf(r.Body))
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("X-Signature-SHA256", base64.StdEncoding.EncodeToString(sig))
		}},
	} {
		for _, size := range []int{1 << 10, 100 << 10} {
			b.Run(fmt.Sprintf("%s/%dKiB", c.name, size>>10), func(b *testing.B) {
				s, _ := Preset(c.preset)
				o := options(b, s)
				if c.o != nil {
					o = *c.o
				}
				v, err := New(s, o)
				if err != nil {
					b.Fatal(err)
				}
				item := `{"url":"https://v3.fal.media/files/lion/example.jpeg","width":1024,"height":1024},`
				body := `{"id":"a","type":"b","items":[` + strings.Repeat(item, size/len(item)) + `null]}`
				r := &gaff.Request{Body: []byte(body), ReceivedAt: noon, Header: http.Header{}}
				r.Header.Set("X-Fal-Webhook-Request-Id", "a")
				r.Header.Set("X-Fal-Webhook-User-Id", "b")
				if c.sign != nil {
					c.sign(r)
				} else if err := v.Sign(r, noon); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := v.Verify(b.Context(), r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func FuzzVerify(f *testing.F) {
	var verifiers []*Verifier
	for _, name := range Presets() {
		s, _ := Preset(name)
		if s.Key.Source == "jwks" || s.Key.Source == "jwks-by-kid" {
			continue
		}
		o := options(f, s)
		o.Client = &http.Client{Transport: answers{}}
		v, err := New(s, o)
		if err != nil {
			f.Fatal(err)
		}
		verifiers = append(verifiers, v)
	}
	f.Add("t=1,v1=00", `{"a":[1]}`, "https://a.test/?a=b")
	for _, text := range fuzzseed.Vary("t=1,v1=00") {
		f.Add(text, `{"a":[1]}`, "https://a.test/?a=b")
	}
	for _, body := range fuzzseed.Vary(`{"a":[1]}`) {
		f.Add("t=1,v1=00", body, "https://a.test/?a=b")
	}
	f.Fuzz(func(t *testing.T, text, body, address string) {
		for _, v := range verifiers {
			h := http.Header{"Authorization": {text}, "Content-Type": {text}}
			for _, s := range v.scheme.Signature {
				h.Set(s.Name, text)
			}
			for _, l := range []*Location{v.scheme.ID} {
				if l != nil {
					h.Set(l.Name, text)
				}
			}
			if ts := v.scheme.Timestamp; ts != nil {
				h.Set(ts.Name, formatTime(noon, ts.Unit))
			}
			for _, name := range []string{twilioHeader, hook0Header, contentfulSig, contentfulSigned} {
				h.Set(name, text)
			}
			r := &gaff.Request{Method: "POST", URL: address, Header: h, Body: []byte(body), ReceivedAt: noon}
			if _, err := v.Verify(t.Context(), r); err == nil && v.scheme.Kind == "signature" {
				t.Errorf("%s: %q verified", v.Describe(), text)
			}
		}
	})
}
