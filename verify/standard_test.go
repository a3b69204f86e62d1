package verify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"gaff"
)

func TestStandardSecrets(t *testing.T) {
	t.Parallel()
	seed := bytes.Repeat([]byte{7}, 32)
	private := "whsk_" + base64.StdEncoding.EncodeToString(seed)
	public := "whpk_" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	r := &gaff.Request{Body: []byte(`{"type":"a.b"}`), ReceivedAt: noon}
	if err := preset(t, "standard-webhooks", Options{Secrets: []string{private}}).Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	holder := preset(t, "standard-webhooks", Options{Secrets: []string{"whsec_AAAAAAAAAAAAAAAA", public}})
	got, err := holder.Verify(t.Context(), r)
	if err != nil || got.Scheme != "ed25519" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := preset(t, "standard-webhooks", Options{Secrets: []string{public}}).Sign(r, noon); err == nil {
		t.Error("a public key signed")
	}
}

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
