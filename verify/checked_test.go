package verify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"gaff"
)

// Polar's endpoints sign with the secret's text or with what it decodes to, by their age.
func TestPolarKeys(t *testing.T) {
	t.Parallel()
	const decoded = "0123456789abcdef0123456789abcdef"
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte(decoded))
	v := preset(t, "polar", Options{Secrets: []string{secret}})
	for name, c := range map[string]struct {
		key string
		ok  bool
	}{
		"decoded": {decoded, true}, "text": {secret, true}, "text without its prefix": {strings.TrimPrefix(secret, "whsec_"), false}, "another": {"x", false},
	} {
		r := standardRequest(t, c.key)
		out, err := v.Verify(t.Context(), r)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if c.ok && out.KeyID != Fingerprint(secret, mustPreset(t, "polar")) {
			t.Errorf("%s: key %q is not that of the secret", name, out.KeyID)
		}
	}
	old := "polar_whs_abcdefghijklmnopqrstuvwxyz012345"
	if _, err := preset(t, "polar", Options{Secrets: []string{old}}).Verify(t.Context(), standardRequest(t, old)); err != nil {
		t.Errorf("text under the older prefix: %v", err)
	}
}

// A secret that one way of a key cannot read is read the other way; one that fits none is refused.
func TestKeyAlternatives(t *testing.T) {
	t.Parallel()
	scheme := Scheme{
		Kind: "signature", Algorithm: "hmac-sha256", Signed: "{body}", Encoding: "hex",
		Key:       KeyFormat{Decode: "hex", Or: &KeyFormat{Decode: "base64"}},
		Signature: Signatures{{Location: Location{In: "header", Name: "X-Sig"}}},
	}
	for secret, key := range map[string]string{"00ff": "\x00\xff", "AP8=": "\x00\xff"} {
		v, err := New(scheme, Options{Secrets: []string{secret}})
		if err != nil {
			t.Fatal(err)
		}
		body := []byte("{}")
		m := hmac.New(sha256.New, []byte(key))
		m.Write(body)
		r := &gaff.Request{Body: body, Header: http.Header{"X-Sig": {hex.EncodeToString(m.Sum(nil))}}}
		if _, err := v.Verify(t.Context(), r); err != nil {
			t.Errorf("%s: %v", secret, err)
		}
	}
	if _, err := New(scheme, Options{Secrets: []string{"???"}}); err == nil || !strings.Contains(err.Error(), "not hex") {
		t.Errorf("neither: %v", err)
	}
	scheme.Key.Or.Decode = "rot13"
	if _, err := New(scheme, Options{Secrets: []string{"00"}}); err == nil || !strings.Contains(err.Error(), "key.or.decode") {
		t.Errorf("unknown alternative: %v", err)
	}
}

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

// A secret of Standard Webhooks that is not base64 is a text, with and without its prefix; one that is stays decoded.
func TestStandardWebhooksTextSecrets(t *testing.T) {
	t.Parallel()
	coded := "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef"))
	for _, c := range []struct {
		name, preset, secret, key string
		ok                        bool
	}{
		{"text", "standard-webhooks", "not base64!", "not base64!", true},
		{"text with the prefix", "standard-webhooks", "whsec_not base64!", "whsec_not base64!", true},
		{"text after the prefix", "standard-webhooks", "whsec_not base64!", "not base64!", true},
		{"decoded", "standard-webhooks", coded, "0123456789abcdef", true},
		{"text of one that is base64", "standard-webhooks", coded, coded, false},
		{"text by its own preset", "standard-webhooks-text", coded, coded, true},
		{"text after the prefix by its own preset", "standard-webhooks-text", coded, coded[6:], true},
		{"decoded by the preset for texts", "standard-webhooks-text", coded, "0123456789abcdef", false},
	} {
		_, err := preset(t, c.preset, Options{Secrets: []string{c.secret}}).Verify(t.Context(), standardRequest(t, c.key))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Fourthwall signs for a platform's app under another header, the same way.
func TestFourthwallHeaders(t *testing.T) {
	t.Parallel()
	body := []byte(`{"type":"ORDER_PLACED"}`)
	m := hmac.New(sha256.New, []byte("k"))
	m.Write(body)
	sig := base64.StdEncoding.EncodeToString(m.Sum(nil))
	for header, ok := range map[string]bool{"X-Fourthwall-Hmac-Sha256": true, "X-Fourthwall-Hmac-Apps-Sha256": true, "X-Fourthwall-Hmac": false} {
		r := &gaff.Request{Body: body, Header: http.Header{header: {sig}}}
		if _, err := preset(t, "fourthwall", Options{Secrets: []string{"k"}}).Verify(t.Context(), r); (err == nil) != ok {
			t.Errorf("%s: %v", header, err)
		}
	}
}
