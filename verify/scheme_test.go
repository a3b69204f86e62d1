package verify

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gaff"
)

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

// A digest with the key before its end can be extended without the key, but the padding inside
// is not JSON, so a body that must be JSON cannot be extended.
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
