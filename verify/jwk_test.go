package verify

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"gaff/internal/fuzzseed"
)

func TestParseJWKS(t *testing.T) {
	t.Parallel()
	key := func(change map[string]any) string {
		pub := ed25519.NewKeyFromSeed(seed(1)).Public().(ed25519.PublicKey)
		k := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(pub)}
		for name, value := range change {
			k[name] = value
		}
		text, err := json.Marshal(map[string]any{"keys": []any{k}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	pub := ed25519.NewKeyFromSeed(seed(1)).Public().(ed25519.PublicKey)
	for name, tt := range map[string]struct {
		doc  string
		want int
	}{
		"plain":            {key(nil), 1},
		"padded x":         {key(map[string]any{"x": base64.URLEncoding.EncodeToString(pub)}), 1},
		"for signatures":   {key(map[string]any{"use": "sig", "key_ops": []string{"verify"}}), 1},
		"for encryption":   {key(map[string]any{"use": "enc"}), 0},
		"to sign":          {key(map[string]any{"key_ops": []string{"sign"}}), 0},
		"31 bytes":         {key(map[string]any{"x": base64.RawURLEncoding.EncodeToString(pub[:31])}), 0},
		"small order":      {key(map[string]any{"x": base64.RawURLEncoding.EncodeToString(make([]byte, 32))}), 0},
		"x is a number":    {key(map[string]any{"x": 7}), 0},
		"X25519":           {key(map[string]any{"crv": "X25519"}), 0},
		"RSA of 1024 bits": {`{"keys":[{"kty":"RSA","e":"AQAB","n":"` + base64.RawURLEncoding.EncodeToString(append([]byte{0x80}, make([]byte, 127)...)) + `"}]}`, 0},
		"RSA, exponent 1":  {`{"keys":[{"kty":"RSA","e":"AQ","n":"` + base64.RawURLEncoding.EncodeToString(append([]byte{0x80}, make([]byte, 255)...)) + `"}]}`, 0},
		"RSA of 8192 bits": {rsaJWK(1024), 1},
		"RSA of 8200 bits": {rsaJWK(1025), 0},
		"broken x5c":       {key(map[string]any{"x5c": []string{"AAAA"}, "x5t": "AA"}), 1},
		"private part":     {key(map[string]any{"d": "AAAA"}), 1},
		"secret":           {`{"keys":[{"kty":"oct","k":"AAAA"}]}`, 0},
		"off the curve":    {`{"keys":[{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}]}`, 0},
		"many":             {`{"keys":[` + strings.Repeat(key(nil)[9:len(key(nil))-2]+",", 200) + `{}]}`, maxJWKSKeys},
		"keys is a text":   {`{"keys":"x"}`, 0},
		"empty":            {``, 0},
	} {
		keys, err := parseJWKS([]byte(tt.doc))
		if len(keys) != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%s: %d keys, %v; want %d", name, len(keys), err, tt.want)
		}
	}
}

// rsaJWK returns a key set with an RSA key whose modulus has so many bytes.
func rsaJWK(size int) string {
	n := make([]byte, size)
	n[0], n[size-1] = 0x80, 1
	return `{"keys":[{"kty":"RSA","e":"AQAB","n":"` + base64.RawURLEncoding.EncodeToString(n) + `"}]}`
}

// A key without kid is named after its bytes.
func TestJWKFingerprints(t *testing.T) {
	t.Parallel()
	pair := rsaKey(t)
	n := base64.RawURLEncoding.EncodeToString(pair.key.N.Bytes())
	keys, err := parseJWKS([]byte(`{"keys":[{"kty":"RSA","e":"AQAB","n":"` + n + `"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := fingerprint(pair.key.N.Bytes()); keys[0].id != want {
		t.Errorf("the RSA key is %s, want %s", keys[0].id, want)
	}
	if keys, err = parseJWKS([]byte(jwksOf(1))); err != nil || keys[0].id != "k1" || keys[0].kid != "k1" {
		t.Errorf("a key with kid k1 is %+v, %v", keys, err)
	}
}

func FuzzParseJWKS(f *testing.F) {
	f.Add([]byte(jwksOf(1, 2)))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"","y":""}]}`))
	for _, doc := range fuzzseed.Vary(jwksOf(1, 2), `{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`) {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		keys, err := parseJWKS(doc)
		if (err == nil) == (len(keys) == 0) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			for _, a := range algorithms {
				if a.fits(k.key) && a.verifyPublic(k.key, doc, make([]byte, 64)) {
					t.Errorf("%s verified nothing", a.name)
				}
			}
		}
	})
}
