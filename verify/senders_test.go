package verify

import (
	"crypto"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gaff"
)

func formRequest(form url.Values, header ...string) *gaff.Request {
	r := &gaff.Request{
		Method: "POST", URL: "https://a.test/hook", Body: []byte(form.Encode()), ReceivedAt: noon,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func signSHA1(t *testing.T, text string) string {
	t.Helper()
	sum := sha1.Sum([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, testRSA, crypto.SHA1, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
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
		t.Error("a body that is no form by its type")
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

// SNS has certificates on hosts of Amazon's regions only: other names under amazonaws.com are
// customers' buckets and services.
func TestSNSHosts(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"sns.us-east-1.amazonaws.com": true, "sns.us-gov-west-1.amazonaws.com": true, "sns.ap-southeast-2.amazonaws.com": true,
		"sns.s3.amazonaws.com": false, "sns.s3-us-west-2.amazonaws.com": false, "sns.s3-website-eu-west-1.amazonaws.com": false,
		"sns.execute-api.amazonaws.com": false, "sns.lambda-url.us-east-1.amazonaws.com": false, "sns..amazonaws.com": false,
		"sns.us-east-1.amazonaws.com.evil.test": false, "xsns.us-east-1.amazonaws.com": false, "sns.us-east-1.s3.amazonaws.com": false,
		"sns.sns.amazonaws.com": false, "sns.elb-1.amazonaws.com": false,
	} {
		if got := snsCertURL.MatchString("https://" + host + "/SimpleNotificationService-1.pem"); got != want {
			t.Errorf("certificate from %s: %v, want %v", host, got, want)
		}
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
