package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"testing"

	"gaff"
)

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

// ECDSA on each curve, as a signature and in tokens; a key of another curve does not verify.
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
