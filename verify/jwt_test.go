package verify

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"gaff"
)

func TestJWT(t *testing.T) {
	t.Parallel()
	v := preset(t, "qstash", Options{Secrets: []string{"current", "next"}})
	sign := func() *gaff.Request {
		r := &gaff.Request{URL: "https://a.test/hook", Body: []byte(`{"a":1}`), ReceivedAt: noon}
		if err := v.Sign(r, noon); err != nil {
			t.Fatal(err)
		}
		return r
	}
	tests := []struct {
		name   string
		change func(*gaff.Request)
		err    error
	}{
		{"as signed", func(*gaff.Request) {}, nil},
		{"another body", func(r *gaff.Request) { r.Body = []byte(`{"a":2}`) }, ErrMismatch},
		{"another address", func(r *gaff.Request) { r.URL = "https://a.test/other" }, ErrMismatch},
		{"too late", func(r *gaff.Request) { r.ReceivedAt = noon.Add(signedFor) }, ErrStale},
		{"too early", func(r *gaff.Request) { r.ReceivedAt = noon.Add(-time.Second) }, ErrStale},
		{"no token", func(r *gaff.Request) { r.Header.Del("Upstash-Signature") }, ErrMissing},
		{"two tokens", func(r *gaff.Request) { r.Header.Add("Upstash-Signature", "x") }, ErrAmbiguous},
		{"no parts", func(r *gaff.Request) { r.Header.Set("Upstash-Signature", "x") }, ErrMalformed},
		{"huge", func(r *gaff.Request) { r.Header.Set("Upstash-Signature", strings.Repeat("a", maxJWT)+".a.a") }, ErrMalformed},
	}
	for _, tt := range tests {
		r := sign()
		tt.change(r)
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

func TestJWTDetached(t *testing.T) {
	t.Parallel()
	key := rsaKey(t).key
	n := base64.RawURLEncoding.EncodeToString(key.N.Bytes())
	e := base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes())
	v := preset(t, "fireblocks", Options{Keys: []Key{{Kind: "jwks", Value: `{"keys":[{"kty":"RSA","n":"` + n + `","e":"` + e + `","kid":"k1"}]}`}}})
	body := []byte(`{"id":"1","eventType":"transaction.created"}`)
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS512","kid":"k1"}`))
	sum := digest(crypto.SHA512, []byte(head+"."+base64.RawURLEncoding.EncodeToString(body)))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA512, sum)
	if err != nil {
		t.Fatal(err)
	}
	r := &gaff.Request{Body: body, ReceivedAt: noon, Header: http.Header{}}
	r.Header.Set("Fireblocks-Webhook-Signature", head+".."+base64.RawURLEncoding.EncodeToString(sig))
	got, err := v.Verify(t.Context(), r)
	if err != nil || got.KeyID != "k1" {
		t.Errorf("%+v, %v", got, err)
	}
	r.Body = []byte(`{}`)
	if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrMismatch) {
		t.Errorf("another body: %v", err)
	}
}

// textToken is a scheme whose token contains the body's text.
func textToken(algs ...string) Scheme {
	return Scheme{
		Kind: "jwt", JWT: &JWT{Location: Location{In: "header", Name: "X-Jwt"}}, Algs: algs,
		BodyHash: &BodyHash{Claim: "data", Encoding: textBody},
	}
}

// compact returns a token signed with an HMAC. The header is written as it is given.
func compact(newHash func() hash.Hash, secret, header, payload string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	m := hmac.New(newHash, []byte(secret))
	m.Write([]byte(input))
	return input + "." + b64(m.Sum(nil))
}

func TestJWTSecretsOfAnyLength(t *testing.T) {
	t.Parallel()
	for alg, newHash := range map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New} {
		for _, length := range []int{1, 31, 32, 47, 63, 64, 65, 127, 128, 129, 200} {
			secret := strings.Repeat("s", length)
			v, err := New(textToken(alg), Options{Secrets: []string{secret}})
			if err != nil {
				t.Fatal(err)
			}
			r := &gaff.Request{Body: []byte("{}"), ReceivedAt: noon, Header: http.Header{"X-Jwt": {compact(newHash, secret, `{"alg":"`+alg+`"}`, `{"data":"{}"}`)}}}
			if _, err := v.Verify(t.Context(), r); err != nil {
				t.Errorf("%s with a secret of %d bytes: %v", alg, length, err)
			}
			r.Header.Set("X-Jwt", compact(newHash, secret+"s", `{"alg":"`+alg+`"}`, `{"data":"{}"}`))
			if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrMismatch) {
				t.Errorf("%s with another secret of %d bytes: %v", alg, length, err)
			}
			if err := v.Sign(r, noon); err != nil {
				t.Fatal(err)
			}
			input, sig, _ := cutLast(r.Header.Get("X-Jwt"), ".")
			m := hmac.New(newHash, []byte(secret))
			m.Write([]byte(input))
			if want := base64.RawURLEncoding.EncodeToString(m.Sum(nil)); sig != want {
				t.Errorf("%s signs with a secret of %d bytes: %s, want %s", alg, length, sig, want)
			}
		}
	}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Every header here is signed with the right secret.
func TestJWTHeaders(t *testing.T) {
	t.Parallel()
	v, err := New(textToken("HS256"), Options{Secrets: []string{"s3cret-value"}})
	if err != nil {
		t.Fatal(err)
	}
	deep := func(levels int) string {
		return `{"alg":"HS256","x":` + strings.Repeat("[", levels) + strings.Repeat("]", levels) + `}`
	}
	for name, tt := range map[string]struct {
		header string
		want   error
		text   string // in the error
	}{
		"plain":                 {`{"alg":"HS256"}`, nil, ""},
		"more members":          {`{"typ":"JWT","alg":"HS256","kid":"k","x":{"y":[1]}}`, nil, ""},
		"no alg":                {`{}`, ErrMismatch, `alg "" is not allowed; HS256 is wanted`},
		"alg none":              {`{"alg":"none"}`, ErrMismatch, `alg "none" is not allowed`},
		"alg in lower case":     {`{"alg":"hs256"}`, ErrMismatch, `alg "hs256" is not allowed`},
		"ALG":                   {`{"ALG":"HS256"}`, ErrMismatch, `alg "" is not allowed`},
		"another HS":            {`{"alg":"HS512"}`, ErrMismatch, `alg "HS512" is not allowed`},
		"alg a number":          {`{"alg":256}`, ErrMismatch, `alg "" is not allowed`},
		"alg twice":             {`{"alg":"none","alg":"HS256"}`, ErrMalformed, "its header is not JSON"},
		"kid a number":          {`{"alg":"HS256","kid":7}`, ErrMalformed, "its header is not JSON"},
		"crit":                  {`{"alg":"HS256","crit":["exp"],"exp":1}`, ErrMalformed, "it demands extensions (crit)"},
		"b64":                   {`{"alg":"HS256","b64":false}`, ErrMalformed, "its payload is not base64url (b64)"},
		"b64, crit":             {`{"alg":"HS256","b64":false,"crit":["b64"]}`, ErrMalformed, "it demands extensions (crit)"},
		"an embedded key":       {`{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`, ErrMalformed, "its header is not JSON"},
		"a list":                {`["HS256"]`, ErrMalformed, "its header is not JSON"},
		"null":                  {`null`, ErrMalformed, "its header is not JSON"},
		"no JSON":               {`alg`, ErrMalformed, "its header is not JSON"},
		"deep":                  {deep(6000), nil, ""},
		"longer than the limit": {deep(maxTextJWT / 4), ErrMalformed, "its header is longer than 16384 bytes"},
	} {
		r := &gaff.Request{Body: []byte("{}"), ReceivedAt: noon, Header: http.Header{"X-Jwt": {compact(sha256.New, "s3cret-value", tt.header, `{"data":"{}"}`)}}}
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v; want %v: %s", name, err, tt.want, tt.text)
		}
	}
}

func TestJWTHasOneSpelling(t *testing.T) {
	t.Parallel()
	v, err := New(textToken("HS256"), Options{Secrets: []string{"s3cret-value"}})
	if err != nil {
		t.Fatal(err)
	}
	good := compact(sha256.New, "s3cret-value", `{"alg":"HS256"}`, `{"data":"{}"}`)
	parts := strings.Split(good, ".")
	loose := func(part string) string { // with another last digit that decodes to the same bytes
		const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		i := strings.IndexByte(digits, part[len(part)-1])
		return part[:len(part)-1] + digits[i+1:i+2]
	}
	for name, tt := range map[string]struct {
		token string
		want  error
	}{
		"as signed":          {good, nil},
		"loose claims":       {parts[0] + "." + loose(parts[1]) + "." + parts[2], ErrMalformed},
		"loose signature":    {parts[0] + "." + parts[1] + "." + loose(parts[2]), ErrMalformed},
		"padded":             {good + "=", ErrMalformed},
		"a space at the end": {good + " ", ErrMalformed},
		"no signature":       {parts[0] + "." + parts[1] + ".", ErrMalformed},
		"four parts":         {good + ".", ErrMalformed},
		"as JSON":            {`{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, ErrMalformed},
	} {
		r := &gaff.Request{Body: []byte("{}"), ReceivedAt: noon, Header: http.Header{"X-Jwt": {tt.token}}}
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
