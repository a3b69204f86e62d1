package sender

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"gaff"
	"gaff/verify"
)

// identity is what a description reads of an authentic request.
type identity struct{ id, eventType, subject, keyID, scheme string }

// TestIdentity checks what presets read of an event beside who sent it.
func TestIdentity(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		verifier *Verifier
		request  *gaff.Request
		want     identity
	}{
		"fal":               falIdentity(t),
		"standard-webhooks": standardIdentity(t),
		"fireblocks":        fireblocksIdentity(t),
		"dropbox-sign":      dropboxIdentity(t),
		"adobe":             adobeIdentity(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := c.verifier.Verify(t.Context(), c.request)
			if err != nil {
				t.Fatal(err)
			}
			got := identity{v.ID, v.Type, v.Subject, v.KeyID, v.Scheme}
			// A field that is empty in the wanted one is not compared.
			for _, field := range []struct{ name, got, want string }{
				{"id", got.id, c.want.id},
				{"type", got.eventType, c.want.eventType},
				{"subject", got.subject, c.want.subject},
				{"key id", got.keyID, c.want.keyID},
				{"scheme", got.scheme, c.want.scheme},
			} {
				if field.want != "" && field.got != field.want {
					t.Errorf("%s %q, want %q", field.name, field.got, field.want)
				}
			}
		})
	}
}

type identityCase = struct {
	verifier *Verifier
	request  *gaff.Request
	want     identity
}

func falIdentity(t *testing.T) identityCase {
	t.Helper()
	v := preset(t, "fal", verify.Options{Keys: []verify.Key{{Kind: "ed25519_seed_hex", Value: hex.EncodeToString(bytes.Repeat([]byte{1}, 32))}}})
	r := &gaff.Request{Body: []byte(`{"status":"OK"}`), ReceivedAt: noon, Header: http.Header{
		"X-Fal-Webhook-Request-Id": {"request"}, "X-Fal-Webhook-User-Id": {"user"},
	}}
	if err := v.Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	return identityCase{v, r, identity{id: "request", eventType: "OK", subject: "user"}}
}

func standardIdentity(t *testing.T) identityCase {
	t.Helper()
	seed := bytes.Repeat([]byte{7}, 32)
	private := "whsk_" + base64.StdEncoding.EncodeToString(seed)
	public := "whpk_" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	r := &gaff.Request{Body: []byte(`{"type":"a.b"}`), ReceivedAt: noon}
	if err := preset(t, "standard-webhooks", verify.Options{Secrets: []string{private}}).Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	id := r.Header.Get("Webhook-Id")
	if id == "" {
		t.Fatal("signed without an id")
	}
	v := preset(t, "standard-webhooks", verify.Options{Secrets: []string{"whsec_AAAAAAAAAAAAAAAA", public}})
	return identityCase{v, r, identity{id: id, eventType: "a.b", scheme: "ed25519"}}
}

// fireblocksIdentity has a detached token, which covers the body by itself.
func fireblocksIdentity(t *testing.T) identityCase {
	t.Helper()
	key := rsaKey(t).key
	encode := base64.RawURLEncoding.EncodeToString
	jwks := `{"keys":[{"kty":"RSA","n":"` + encode(key.N.Bytes()) + `","e":"` + encode(big.NewInt(int64(key.E)).Bytes()) + `","kid":"k1"}]}`
	body := []byte(`{"id":"1","eventType":"transaction.created"}`)
	head := encode([]byte(`{"alg":"RS512","kid":"k1"}`))
	sum := sha512.Sum512([]byte(head + "." + encode(body)))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA512, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	r := &gaff.Request{Body: body, ReceivedAt: noon, Header: http.Header{"Fireblocks-Webhook-Signature": {head + ".." + encode(sig)}}}
	v := preset(t, "fireblocks", verify.Options{Keys: []verify.Key{{Kind: "jwks", Value: jwks}}})
	return identityCase{v, r, identity{eventType: "transaction.created", keyID: "k1"}}
}

func dropboxIdentity(t *testing.T) identityCase {
	t.Helper()
	m := hmac.New(sha256.New, []byte("api-key"))
	m.Write([]byte("1767225600signature_request_signed"))
	doc := `{"event":{"event_time":"1767225600","event_type":"signature_request_signed","event_hash":"` + hex.EncodeToString(m.Sum(nil)) + `"}}`
	r := &gaff.Request{
		Body:       []byte("--b\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n" + doc + "\r\n--b--\r\n"),
		ReceivedAt: noon, Header: http.Header{"Content-Type": {"multipart/form-data; boundary=b"}},
	}
	return identityCase{preset(t, "dropbox-sign", verify.Options{Secrets: []string{"api-key"}}), r, identity{eventType: "signature_request_signed"}}
}

// pemHost serves one key at every path of every host.
type pemHost string

func (p pemHost) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(p))), Request: r}, nil
}

func adobeIdentity(t *testing.T) identityCase {
	t.Helper()
	pair := rsaKey(t)
	body := `{"event_id":"e1","event":{"@type":"made"},"recipient_client_id":"me"}`
	sum := sha256.Sum256([]byte(body))
	sig, err := rsa.SignPKCS1v15(rand.Reader, pair.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	r := &gaff.Request{Method: http.MethodPost, Body: []byte(body), ReceivedAt: noon, Header: http.Header{}}
	for _, n := range []string{"1", "2"} {
		r.Header.Set("x-adobe-digital-signature-"+n, base64.StdEncoding.EncodeToString(sig))
		r.Header.Set("x-adobe-public-key"+n+"-path", "/prod/keys/pub-key-a.pem")
	}
	v := preset(t, "adobe", verify.Options{Settings: map[string]string{"client_id": "me"}, Client: &http.Client{Transport: pemHost(pair.pem)}})
	return identityCase{v, r, identity{id: "e1", eventType: "made", subject: "me"}}
}

func TestNewRejectsWrongEventTypePointer(t *testing.T) {
	t.Parallel()
	d := hmacScheme("{body}", "")
	d.EventType = &verify.Location{In: "json", Pointer: "type"}
	_, err := New(d, verify.Options{Secrets: []string{"s3cret-value"}})
	if want := `event_type.pointer: "type" is not a JSON pointer`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}
