package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"gaff"
)

var noon = time.Unix(1_767_225_600, 0)

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

// answers is a network of fixed documents.
type answers map[string]string

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	doc, ok := a[r.URL.String()]
	if !ok {
		return nil, errors.New("unreachable")
	}
	return &http.Response{StatusCode: 200, Status: "200 OK", Body: io.NopCloser(strings.NewReader(doc)), Request: r}, nil
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func mustPreset(t *testing.T, name string) Scheme {
	t.Helper()
	s, ok := Preset(name)
	if !ok {
		t.Fatalf("no preset %s", name)
	}
	return s
}

// standardRequest is signed the Standard Webhooks way under the bytes of key.
func standardRequest(t *testing.T, key string) *gaff.Request {
	t.Helper()
	body := []byte(`{"type":"t"}`)
	ts := strconv.FormatInt(noon.Unix(), 10)
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte("msg_1." + ts + "." + string(body)))
	return &gaff.Request{Method: "POST", Body: body, ReceivedAt: noon, Header: http.Header{
		"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {ts}, "Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))},
	}}
}

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

// hmacScheme signs what a template says.
func hmacScheme(signed, content string) Scheme {
	return Scheme{
		Kind: "signature", Algorithm: "hmac-sha256", Signed: signed, Encoding: "hex", Content: content,
		Signature: Signatures{{Location: Location{In: "header", Name: "X-Sig"}}},
	}
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
