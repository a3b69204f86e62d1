package verify

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"gaff"
)

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
		{"key for HMAC", func(*Scheme) {}, Options{Secrets: secret.Secrets, Keys: []Key{{Kind: "jwks", Value: "{}"}}}, "keys[0]: jwks is not a key for hmac-sha256"},
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

// A sender set up wrongly may put its secret where the signature belongs. The record of the
// refusal must not contain it.
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
