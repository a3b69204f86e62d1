package verify

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gaff"
)

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

func TestTravis(t *testing.T) {
	t.Parallel()
	v := preset(t, "travis", Options{Secrets: []string{rsaKey(t).pem}})
	payload := `{"id":1,"type":"push","text":"é +"}`
	good := signSHA1(t, payload)
	for name, c := range map[string]struct {
		form url.Values
		sig  string
		ok   bool
	}{
		"right":         {url.Values{"payload": {payload}}, good, true},
		"other fields":  {url.Values{"payload": {payload}, "x": {"y"}}, good, true},
		"changed":       {url.Values{"payload": {payload + " "}}, good, false},
		"two payloads":  {url.Values{"payload": {payload, "{}"}}, good, false},
		"none":          {url.Values{}, good, false},
		"not base64":    {url.Values{"payload": {payload}}, "!", false},
		"no signature":  {url.Values{"payload": {payload}}, "", false},
		"of other text": {url.Values{"payload": {payload}}, signSHA1(t, "{}"), false},
	} {
		out, err := v.Verify(t.Context(), formRequest(c.form, "Signature", c.sig))
		if (err == nil) != c.ok || err == nil && out.KeyID == "" {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	r := formRequest(url.Values{"payload": {payload}}, "Signature", good)
	r.Header.Set("Content-Type", "application/json")
	if _, err := v.Verify(t.Context(), r); err == nil {
		t.Error("a body whose type is not a form's")
	}
}

func TestPaddleClassic(t *testing.T) {
	t.Parallel()
	v := preset(t, "paddle-classic", Options{Secrets: []string{rsaKey(t).pem}})
	// As PHP serialises a sorted array of texts; lengths are in bytes.
	serialised := `a:3:{s:10:"alert_name";s:4:"paid";s:4:"name";s:3:"Zoë";s:4:"size";s:0:"";}`
	serialised = strings.Replace(serialised, `s:3:"Zoë"`, `s:4:"Zoë"`, 1)
	form := func() url.Values {
		return url.Values{"size": {""}, "name": {"Zoë"}, "alert_name": {"paid"}, "p_signature": {signSHA1(t, serialised)}}
	}
	if _, err := v.Verify(t.Context(), formRequest(form())); err != nil {
		t.Errorf("right: %v", err)
	}
	for name, change := range map[string]func(url.Values){
		"changed":          func(f url.Values) { f.Set("name", "Zoe") },
		"a field more":     func(f url.Values) { f.Set("x", "y") },
		"a field less":     func(f url.Values) { f.Del("size") },
		"a field twice":    func(f url.Values) { f.Add("name", "b") },
		"no signature":     func(f url.Values) { f.Del("p_signature") },
		"two signatures":   func(f url.Values) { f.Add("p_signature", "AAAA") },
		"a border crossed": func(f url.Values) { f.Set("name", `Zoë";s:1:"x`) },
	} {
		f := form()
		change(f)
		if _, err := v.Verify(t.Context(), formRequest(f)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBraintreeSignatures(t *testing.T) {
	t.Parallel()
	v := preset(t, "braintree", Options{Secrets: []string{"priv"}, Settings: map[string]string{"public_key": "pub"}})
	r := &gaff.Request{Header: http.Header{}, Body: []byte("<notification><kind>check</kind></notification>")}
	if err := v.Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	signed, err := url.ParseQuery(string(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	good := signed.Get("bt_signature")
	for name, c := range map[string]struct {
		sig string
		ok  bool
	}{
		"right":                  {good, true},
		"among others":           {"other|00&" + good + "&x", true},
		"under another key":      {strings.Replace(good, "pub|", "bup|", 1), false},
		"the value alone":        {strings.TrimPrefix(good, "pub|"), false},
		"empty":                  {"", false},
		"wrong, beside the good": {"pub|00&" + good, true},
	} {
		out, err := v.Verify(t.Context(), formRequest(url.Values{"bt_payload": signed["bt_payload"], "bt_signature": {c.sig}}))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (out.Type != "check" || !strings.Contains(out.Content, "check")) {
			t.Errorf("%s: read as %+v", name, out)
		}
	}
}

// The hub names the method, out of those that the specification allows.
func TestWebSub(t *testing.T) {
	t.Parallel()
	v := preset(t, "websub", Options{Secrets: []string{"old", "hub secret"}})
	body := []byte("<feed/>")
	for _, tt := range []struct {
		method string
		hash   func() hash.Hash
		want   error
	}{
		{"sha1", sha1.New, nil}, {"sha256", sha256.New, nil}, {"sha384", sha512.New384, nil}, {"sha512", sha512.New, nil},
		{"md5", md5.New, ErrMalformed}, {"sha1", sha256.New, ErrMismatch}, {"SHA1", sha1.New, ErrMalformed}, {"", sha256.New, ErrMalformed},
	} {
		m := hmac.New(tt.hash, []byte("hub secret"))
		m.Write(body)
		r := &gaff.Request{Method: "POST", Body: body, ReceivedAt: noon, Header: http.Header{"X-Hub-Signature": {tt.method + "=" + hex.EncodeToString(m.Sum(nil))}}}
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.method, err, tt.want)
		}
	}
	if _, err := v.Verify(t.Context(), &gaff.Request{Body: body, Header: http.Header{}}); !errors.Is(err, ErrMissing) {
		t.Errorf("unsigned: %v", err)
	}
}
