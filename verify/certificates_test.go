package verify

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"net/http"
	"testing"
	"time"

	"gaff"
)

func TestPayPal(t *testing.T) {
	t.Parallel()
	key := rsaKey(t).key
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	const address = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42"
	doc := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	o := Options{
		Settings: map[string]string{"webhook_id": "1JE"},
		Client:   &http.Client{Transport: answers{address: doc, "https://api.paypal.com.evil.test/v1/notifications/certs/CERT-360caa42": doc}},
	}
	v := preset(t, "paypal", o)
	body := []byte(`{"id":"WH-1","event_type":"PAYMENT.SALE.COMPLETED"}`)
	content := fmt.Sprintf("tx-1|2026-01-01T00:00:00Z|1JE|%d", crc32.ChecksumIEEE(body))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest(crypto.SHA256, []byte(content)))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, header, value string
		at                  time.Time
		err                 error
	}{
		{"right", "X-None", "", noon, nil},
		{"another host", "Paypal-Cert-Url", "https://api.paypal.com.evil.test/v1/notifications/certs/CERT-360caa42", noon, ErrMismatch},
		{"unreachable", "Paypal-Cert-Url", "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1", noon, gaff.ErrUnverifiable},
		{"algorithm", "Paypal-Auth-Algo", "SHA1withRSA", noon, ErrMismatch},
		{"another id", "Paypal-Transmission-Id", "tx-2", noon, ErrMismatch},
		{"separator in the id", "Paypal-Transmission-Id", "tx-1|x", noon, ErrAmbiguous},
		{"another time", "Paypal-Transmission-Time", "2026-01-01T00:00:01Z", noon, ErrMismatch},
		{"no base64", "Paypal-Transmission-Sig", "***", noon, ErrMalformed},
		{"stale", "X-None", "", noon.Add(301 * time.Second), ErrStale},
		{"expired certificate", "X-None", "", noon.Add(2 * time.Hour), ErrMismatch},
	}
	for _, tt := range tests {
		r := &gaff.Request{Body: body, ReceivedAt: tt.at, Header: http.Header{}}
		for name, value := range map[string]string{
			"Transmission-Id": "tx-1", "Transmission-Time": "2026-01-01T00:00:00Z", "Cert-Url": address,
			"Auth-Algo": "SHA256withRSA", "Transmission-Sig": base64.StdEncoding.EncodeToString(sig),
		} {
			r.Header.Set("Paypal-"+name, value)
		}
		r.Header.Set(tt.header, tt.value)
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

// A certificate that was fetched once outlives its host's outage, and is fetched again
// when it can be.
func TestCertificateKept(t *testing.T) {
	t.Parallel()
	key := rsaKey(t).key
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon, NotAfter: noon.Add(1000 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	const address = "https://a.test/a.pem"
	host := answers{address: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
	asked := 0
	certs := newCertificates(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked++
		return host.RoundTrip(r)
	})})
	clock := noon
	certs.now = func() time.Time { return clock }
	want := func(step string, n int) {
		t.Helper()
		if cert, err := certs.get(t.Context(), address, "192.0.2.1"); err != nil || cert == nil || asked != n {
			t.Errorf("%s: %v after %d fetches, want %d", step, err, asked, n)
		}
	}
	want("first", 1)
	clock = clock.Add(remoteMaxAge - 1)
	want("kept", 1)
	doc := host[address]
	delete(host, address)
	clock = clock.Add(1)
	want("host gone", 2)
	clock = clock.Add(remoteBackoff - 1)
	want("left alone", 2)
	clock = clock.Add(1)
	want("asked again", 3)
	host[address] = doc
	clock = clock.Add(remoteBackoff)
	want("back", 4)
	clock = clock.Add(remoteMaxAge - 1)
	want("kept again", 4)
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

// Adobe's keys are fetched from its host alone, and sign for all its customers.
func TestAdobe(t *testing.T) {
	t.Parallel()
	pair := rsaKey(t)
	host := answers{adobeHost + "/prod/keys/pub-key-a.pem": pair.pem, "https://evil.test/k.pem": pair.pem, adobeHost + "/prod/keys/junk.pem": "junk"}
	v := preset(t, "adobe", Options{Settings: map[string]string{"client_id": "me"}, Client: &http.Client{Transport: host}})
	body := `{"event_id":"e1","event":{"@type":"made"},"recipient_client_id":"me"}`
	for _, tt := range []struct {
		name, body   string
		sig1, sig2   bool
		path1, path2 string
		want         error
	}{
		{"both", body, true, true, "/prod/keys/pub-key-a.pem", "/prod/keys/pub-key-a.pem", nil},
		{"the second alone", body, false, true, "/prod/keys/pub-key-a.pem", "/prod/keys/pub-key-a.pem", nil},
		{"the first's key is away", body, true, true, "/prod/keys/gone.pem", "/prod/keys/pub-key-a.pem", nil},
		{"wrong", body, false, false, "/prod/keys/pub-key-a.pem", "/prod/keys/pub-key-a.pem", ErrMismatch},
		{"keys away", body, true, true, "/prod/keys/gone.pem", "/prod/keys/gone2.pem", gaff.ErrUnverifiable},
		{"no key there", body, true, false, "/prod/keys/junk.pem", "/prod/keys/pub-key-a.pem", gaff.ErrUnverifiable},
		{"another host", body, true, true, "@evil.test/k.pem", "//evil.test/k.pem", ErrMismatch},
		{"up", body, true, true, "/../k.pem", "/prod/keys/pub-key-a.pem?x", ErrMismatch},
		{"another customer", `{"event_id":"e1","recipient_client_id":"you"}`, true, true, "/prod/keys/pub-key-a.pem", "/prod/keys/pub-key-a.pem", ErrMismatch},
		{"no customer", `{"event_id":"e1"}`, true, true, "/prod/keys/pub-key-a.pem", "/prod/keys/pub-key-a.pem", ErrMismatch},
	} {
		sign := func(good bool) string {
			content := tt.body
			if !good {
				content += " "
			}
			sig, err := rsa.SignPKCS1v15(rand.Reader, pair.key, crypto.SHA256, digest(crypto.SHA256, []byte(content)))
			if err != nil {
				t.Fatal(err)
			}
			return base64.StdEncoding.EncodeToString(sig)
		}
		r := &gaff.Request{Method: "POST", Body: []byte(tt.body), ReceivedAt: noon, Header: http.Header{}}
		r.Header.Set("x-adobe-digital-signature-1", sign(tt.sig1))
		r.Header.Set("x-adobe-digital-signature-2", sign(tt.sig2))
		r.Header.Set("x-adobe-public-key1-path", tt.path1)
		r.Header.Set("x-adobe-public-key2-path", tt.path2)
		out, err := v.Verify(t.Context(), r)
		if !errors.Is(err, tt.want) || err == nil && (out.Subject != "me") {
			t.Errorf("%s: %+v, %v; want %v", tt.name, out, err, tt.want)
		}
	}
}
