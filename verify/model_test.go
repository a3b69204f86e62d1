package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gaff"
)

// hmacScheme signs what a template says.
func hmacScheme(signed, content string) Scheme {
	return Scheme{
		Kind: "signature", Algorithm: "hmac-sha256", Signed: signed, Encoding: "hex", Content: content,
		Signature: Signatures{{Location: Location{In: "header", Name: "X-Sig"}}},
	}
}

// Fields of forms and queries can be signed, line breaks included.
func TestSignedFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, signed, content, url, body, other string }{
		{"form", "{form:doc}", "form:doc", "https://a.test/", url.Values{"doc": {"{\n\"a\":1}"}, "x": {"1"}}.Encode(), url.Values{"doc": {"{\"a\":2}"}}.Encode()},
		{"query", "id:{query:data.id};", "", "https://a.test/?data.id=12%203", "{}", ""},
	} {
		v, err := New(hmacScheme(c.signed, c.content), Options{Secrets: []string{"s"}})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		r := &gaff.Request{URL: c.url, Body: []byte(c.body), Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}
		if err := v.Sign(r, noon); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if _, err := v.Verify(t.Context(), r); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if r.Body = []byte(c.other); c.other == "" {
			r.URL = "https://a.test/?data.id=124"
		}
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s, another value: %v", c.name, err)
		}
		r.Body, r.URL = []byte("doc=1&doc=2"), "https://a.test/?data.id=1&data.id=2"
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("%s, twice: %v", c.name, err)
		}
	}
}

func TestSignedBodyDigests(t *testing.T) {
	t.Parallel()
	body := []byte(`{"a":1}`)
	for name, hash := range bodyHashes {
		for _, encoding := range []string{"hex", "base64", "base64url"} {
			token := "{body_" + name + "_" + encoding + "}"
			v, err := New(hmacScheme(token, ""), Options{Secrets: []string{"s"}})
			if err != nil {
				t.Fatal(err)
			}
			digest := hash.New()
			digest.Write(body)
			sig := GenerateWebhookSignature(encode(encoding, nil, digest.Sum(nil)), "s")
			r := &gaff.Request{Body: body, Header: http.Header{"X-Sig": {sig}}}
			if _, err := v.Verify(t.Context(), r); err != nil {
				t.Errorf("%s: %v", token, err)
			}
		}
	}
}

// A signature that does not cover the body is refused unless the description says so.
func TestCoversBody(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	token := Scheme{Kind: "jwt", JWT: &JWT{Location: Location{In: "header", Name: "X"}}, Algs: []string{"HS256"}}
	for name, c := range map[string]struct {
		s    Scheme
		says *bool
		ok   bool
	}{
		"whole":                      {hmacScheme("{body}", ""), nil, true},
		"whole, and says so":         {hmacScheme("{body}", ""), &yes, true},
		"whole, and says no":         {hmacScheme("{body}", ""), &no, false},
		"digest":                     {hmacScheme("{body_sha384_base64}", ""), nil, true},
		"fields of the form":         {hmacScheme("{form_sorted}", "form"), nil, true},
		"a field, which is read":     {hmacScheme("{form:doc}", "form:doc"), nil, true},
		"a field":                    {hmacScheme("{json:/id}", ""), nil, true},
		"a field, and says yes":      {hmacScheme("{json:/id}", ""), &yes, false},
		"a field, and says no":       {hmacScheme("{json:/id}", ""), &no, true},
		"a header":                   {hmacScheme("{header:X-Nonce}", ""), nil, false},
		"a header, and says no":      {hmacScheme("{header:X-Nonce}", ""), &no, true},
		"the address":                {hmacScheme("{method}{url}", ""), nil, false},
		"JWT":                        {token, nil, false},
		"JWT, and says no":           {token, &no, true},
		"shared token, and says yes": {Scheme{Kind: "token", Token: &Token{Location: Location{In: "header", Name: "X"}}}, &yes, false},
		"shared token, says nothing": {Scheme{Kind: "token", Token: &Token{Location: Location{In: "header", Name: "X"}}}, nil, true},
	} {
		c.s.CoversBody = c.says
		_, err := New(c.s, Options{Secrets: []string{"s"}})
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "covers_body") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range Presets() {
		s, _ := Preset(name)
		v, err := New(s, options(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if signer, ok := v.check.(coverer); ok && s.Kind != "code" {
			if c := signer.covers(); c.Content == (s.CoversBody != nil) {
				t.Errorf("preset %s: the body is covered: %v, and it says %v", name, c.Content, s.CoversBody != nil)
			}
		}
	}
}

// A digest with the key before the end can be continued without the key. Only bodies of JSON
// cannot, for the filling is none.
func TestKeyedDigestNeedsJSON(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		signed, content string
		ok              bool
	}{
		"JSON": {"{key}{body}", "", true}, "form": {"{key}{body}", "form", false}, "any": {"{key}{body}", "any", false},
		"key in the midst": {"{ts}{key}{body}", "form", false}, "key last": {"{body}{key}", "form", true}, "time last": {"{key}{body}{ts}", "any", true},
		"form fields": {"{key}{form_sorted}", "form", false}, "the JSON in a field": {"{key}{form:doc}", "form:doc", true},
		"body around the field": {"{key}{body}", "form:doc", false},
	} {
		for _, algorithm := range []string{"keyed-sha1", "keyed-sha256", "keyed-sha512"} {
			s := hmacScheme(c.signed, c.content)
			s.Algorithm, s.Timestamp = algorithm, &Timestamp{Location: Location{In: "header", Name: "X-Time"}}
			_, err := New(s, Options{Secrets: []string{"s"}})
			if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "lengthened") {
				t.Errorf("%s, %s: %v", name, algorithm, err)
			}
		}
	}
}

// ECDSA on each curve, as a signature and in tokens; a key of another curve is none.
func TestCurves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		curve     elliptic.Curve
		algorithm string
		alg       string
		hash      crypto.Hash
	}{
		{elliptic.P256(), "ecdsa-p256-sha256", "ES256", crypto.SHA256}, {elliptic.P384(), "ecdsa-p384-sha384", "ES384", crypto.SHA384},
		{elliptic.P521(), "ecdsa-p521-sha512", "ES512", crypto.SHA512},
	} {
		key, err := ecdsa.GenerateKey(c.curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		body := []byte(`{"a":1}`)
		sum := c.hash.New()
		sum.Write(body)
		sig, err := ecdsa.SignASN1(rand.Reader, key, sum.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, algorithm := range []string{"ecdsa-p256-sha256", "ecdsa-p384-sha384", "ecdsa-p521-sha512"} {
			s := hmacScheme("{body}", "")
			s.Algorithm, s.Encoding, s.Key.Source = algorithm, "base64", "spki_base64"
			v, err := New(s, Options{Secrets: []string{base64.StdEncoding.EncodeToString(der)}})
			if (err == nil) != (algorithm == c.algorithm) {
				t.Errorf("a key on %s for %s: %v", c.curve.Params().Name, algorithm, err)
			}
			if err != nil {
				continue
			}
			r := &gaff.Request{Body: body, Header: http.Header{"X-Sig": {base64.StdEncoding.EncodeToString(sig)}}}
			if _, err := v.Verify(t.Context(), r); err != nil {
				t.Errorf("%s: %v", algorithm, err)
			}
		}
		claims, err := json.Marshal(map[string]string{"data": string(body)})
		if err != nil {
			t.Fatal(err)
		}
		input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+c.alg+`"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
		sum.Reset()
		sum.Write([]byte(input))
		r1, s1, err := ecdsa.Sign(rand.Reader, key, sum.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		size := (c.curve.Params().BitSize + 7) / 8
		token := input + "." + base64.RawURLEncoding.EncodeToString(append(r1.FillBytes(make([]byte, size)), s1.FillBytes(make([]byte, size))...))
		v, err := New(Scheme{
			Kind: "jwt", JWT: &JWT{Location: Location{In: "header", Name: "X-Jwt"}}, Algs: []string{"ES256", "ES384", "ES512"},
			Key: KeyFormat{Source: "spki_pem"}, BodyHash: &BodyHash{Claim: "data", Encoding: "text"},
		}, Options{Secrets: []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}})
		if err != nil {
			t.Fatal(err)
		}
		r := &gaff.Request{Body: body, Header: http.Header{"X-Jwt": {token}}}
		if _, err := v.Verify(t.Context(), r); err != nil {
			t.Errorf("%s: %v", c.alg, err)
		}
		r.Body = []byte(`{"a":2}`)
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s, a claim that is another body: %v", c.alg, err)
		}
	}
}

// A secret of Standard Webhooks that does not say that it is base64 may be a text.
func TestStandardWebhooksTextKey(t *testing.T) {
	t.Parallel()
	coded := base64.StdEncoding.EncodeToString([]byte("bytes of a key"))
	for _, c := range []struct {
		name, secret, key string
		ok                bool
	}{
		{"text", "a text, no base64", "a text, no base64", true},
		{"base64, decoded", coded, "bytes of a key", true}, {"base64, its text", coded, coded, true},
		{"with the prefix, decoded", "whsec_" + coded, "bytes of a key", true}, {"with the prefix, its text", "whsec_" + coded, "whsec_" + coded, false},
	} {
		s, _ := Preset("standard-webhooks")
		sender := s
		sender.Key = KeyFormat{Decode: "utf8"}
		signer, err := New(sender, Options{Secrets: []string{c.key}})
		if err != nil {
			t.Fatal(err)
		}
		r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon}
		if err := signer.Sign(r, noon); err != nil {
			t.Fatal(err)
		}
		v, err := New(s, Options{Secrets: []string{c.secret}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), r); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// settings.jwks_url has the keys of v1a fetched, and is never passed over in silence.
func TestJWKSURLIsUsed(t *testing.T) {
	t.Parallel()
	s, _ := Preset("standard-webhooks")
	host := &keyHost{doc: jwksOf(7)}
	v, err := New(s, Options{Settings: map[string]string{"jwks_url": "https://keys.test/"}, Client: &http.Client{Transport: host}})
	if err != nil {
		t.Fatal(err)
	}
	r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon}
	if err := preset(t, "standard-webhooks", Options{Secrets: []string{"whsk_" + base64.StdEncoding.EncodeToString(seed(7))}}).Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	if out, err := v.Verify(t.Context(), r); err != nil || out.Scheme != "ed25519" || host.count() != 1 {
		t.Errorf("%+v, %v after %d fetches", out, err, host.count())
	}
	github, _ := Preset("github")
	if _, err := New(github, Options{Secrets: []string{"s"}, Settings: map[string]string{"jwks_url": "https://keys.test/"}}); err == nil ||
		!strings.Contains(err.Error(), "settings.jwks_url: not used") {
		t.Errorf("a sender without fetched keys: %v", err)
	}
}

func TestHexOfTheOtherCase(t *testing.T) {
	t.Parallel()
	v, err := New(hmacScheme("{body}", ""), Options{Secrets: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	r := &gaff.Request{Body: []byte(`{}`), Header: http.Header{"X-Sig": {strings.ToUpper(GenerateWebhookSignature([]byte(`{}`), "s"))}}}
	if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "encoding: hex-upper") {
		t.Errorf("%v", err)
	}
}

func TestExactID(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, doc := range []string{`{"id":"b\ud83d"}`, `{"id":"b\ud83e"}`, `{"id":"b\ufffd"}`, "{\"id\":\"b\xff\"}", "{\"id\":\"b\xfe\"}"} {
		var decoded struct{ ID string }
		if err := json.Unmarshal([]byte(doc), &decoded); err != nil {
			t.Fatal(err)
		}
		seen[ExactID(decoded.ID, []byte(doc), "/id")] = true
	}
	if len(seen) != 5 {
		t.Errorf("5 ids are %d", len(seen))
	}
	if got := ExactID("plain", []byte(`{"id":"other"}`), "/id"); got != "plain" {
		t.Errorf("an id without a replacement is %q", got)
	}
}
