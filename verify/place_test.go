package verify

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"gaff"
	"gaff/internal/fault"
)

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

// Gitea sends indented JSON in its form, and signs the field's text.
func TestSignedFieldOfSeveralLines(t *testing.T) {
	t.Parallel()
	v := preset(t, "gitea-form", Options{Secrets: []string{"a-secret-of-this-sender"}})
	for _, doc := range []string{"{\n  \"ref\": \"main\"\n}", "{}\r\n"} {
		r := &gaff.Request{Body: []byte(url.Values{"payload": {doc}}.Encode()), ReceivedAt: noon, Header: http.Header{
			"Content-Type": {"application/x-www-form-urlencoded"}, "X-Gitea-Delivery": {"1"},
			"X-Gitea-Signature": {GenerateWebhookSignature([]byte(doc), "a-secret-of-this-sender")},
		}}
		if _, err := v.Verify(t.Context(), r); err != nil {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

// A JSON part of a multipart form is a signed field even if it has a file's name.
func TestSignedPartWithAFileName(t *testing.T) {
	t.Parallel()
	v := preset(t, "transloadit", Options{Secrets: []string{"a-secret-of-this-sender"}})
	r := &gaff.Request{Method: "POST", URL: "https://a.test/hook", Body: []byte(`{"assembly_id":"a"}`), ReceivedAt: noon}
	if err := v.Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	fields, _ := url.ParseQuery(string(r.Body))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	r.Body = []byte("--b\r\nContent-Disposition: form-data; name=\"transloadit\"; filename=\"a.json\"\r\nContent-Type: application/json\r\n\r\n" +
		fields.Get("transloadit") + "\r\n--b\r\nContent-Disposition: form-data; name=\"signature\"\r\n\r\n" + fields.Get("signature") + "\r\n--b--\r\n")
	if _, err := v.Verify(t.Context(), r); err != nil {
		t.Error(err)
	}
}
