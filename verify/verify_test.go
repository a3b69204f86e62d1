package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"gaff"
	"gaff/internal/fuzzseed"
)

// BenchmarkVerify measures one verification, by algorithm and size of the body.
func BenchmarkVerify(b *testing.B) {
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	ecPublic, err := x509.MarshalPKIXPublicKey(&ecKey.PublicKey)
	if err != nil {
		b.Fatal(err)
	}
	digestOf := func(content []byte) []byte {
		sum := sha256.Sum256(content)
		return sum[:]
	}
	for _, c := range []struct {
		name, preset string
		o            *Options
		sign         func(r *gaff.Request) // nil: the verifier does
	}{
		{name: "HMAC-SHA256", preset: "lastframe"},
		{name: "HMAC-SHA256-dated", preset: "stripe"},
		{name: "StandardWebhooks", preset: "standard-webhooks"},
		{name: "HMAC-SHA512", preset: "paystack"},
		{name: "JWT-HS256-with-hash", preset: "netlify"},
		{name: "Ed25519", preset: "fal"},
		{name: "ECDSA-P256", preset: "sendgrid", o: &Options{Secrets: []string{base64.StdEncoding.EncodeToString(ecPublic)}}, sign: func(r *gaff.Request) {
			ts := strconv.FormatInt(noon.Unix(), 10)
			sig, err := ecdsa.SignASN1(rand.Reader, ecKey, digestOf(append([]byte(ts), r.Body...)))
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("X-Twilio-Email-Event-Webhook-Timestamp", ts)
			r.Header.Set("X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(sig))
		}},
		{name: "RSA-2048-SHA256", preset: "wise", o: &Options{Secrets: []string{rsaKey(b).pem}}, sign: func(r *gaff.Request) {
			sig, err := rsa.SignPKCS1v15(rand.Reader, testRSA, crypto.SHA256, digestOf(r.Body))
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("X-Signature-SHA256", base64.StdEncoding.EncodeToString(sig))
		}},
	} {
		for _, size := range []int{1 << 10, 100 << 10} {
			b.Run(fmt.Sprintf("%s/%dKiB", c.name, size>>10), func(b *testing.B) {
				s, _ := Preset(c.preset)
				o := options(b, s)
				if c.o != nil {
					o = *c.o
				}
				v, err := New(s, o)
				if err != nil {
					b.Fatal(err)
				}
				item := `{"url":"https://v3.fal.media/files/lion/example.jpeg","width":1024,"height":1024},`
				body := `{"id":"a","type":"b","items":[` + strings.Repeat(item, size/len(item)) + `null]}`
				r := &gaff.Request{Body: []byte(body), ReceivedAt: noon, Header: http.Header{}}
				r.Header.Set("X-Fal-Webhook-Request-Id", "a")
				r.Header.Set("X-Fal-Webhook-User-Id", "b")
				if c.sign != nil {
					c.sign(r)
				} else if err := v.Sign(r, noon); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := v.Verify(b.Context(), r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func FuzzVerify(f *testing.F) {
	var verifiers []*Verifier
	for _, name := range Presets() {
		s, _ := Preset(name)
		if s.Key.Source == "jwks" || s.Key.Source == "jwks-by-kid" {
			continue
		}
		o := options(f, s)
		o.Client = &http.Client{Transport: answers{}}
		v, err := New(s, o)
		if err != nil {
			f.Fatal(err)
		}
		verifiers = append(verifiers, v)
	}
	f.Add("t=1,v1=00", `{"a":[1]}`, "https://a.test/?a=b")
	for _, text := range fuzzseed.Vary("t=1,v1=00") {
		f.Add(text, `{"a":[1]}`, "https://a.test/?a=b")
	}
	for _, body := range fuzzseed.Vary(`{"a":[1]}`) {
		f.Add("t=1,v1=00", body, "https://a.test/?a=b")
	}
	f.Fuzz(func(t *testing.T, text, body, address string) {
		for _, v := range verifiers {
			h := http.Header{"Authorization": {text}, "Content-Type": {text}}
			for _, s := range v.scheme.Signature {
				h.Set(s.Name, text)
			}
			for _, l := range []*Location{v.scheme.ID} {
				if l != nil {
					h.Set(l.Name, text)
				}
			}
			if ts := v.scheme.Timestamp; ts != nil {
				h.Set(ts.Name, formatTime(noon, ts.Unit))
			}
			for _, name := range []string{twilioHeader, hook0Header, contentfulSig, contentfulSigned} {
				h.Set(name, text)
			}
			r := &gaff.Request{Method: "POST", URL: address, Header: h, Body: []byte(body), ReceivedAt: noon}
			if _, err := v.Verify(t.Context(), r); err == nil && v.scheme.Kind == "signature" {
				t.Errorf("%s: %q verified", v.Describe(), text)
			}
		}
	})
}
