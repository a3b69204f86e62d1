package destination

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes a self-signed client certificate, in PEM.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// newTLSReceiver asks for a client certificate, and answers with its name. ca is its own.
func newTLSReceiver(t *testing.T) (r *httptest.Server, ca string) {
	t.Helper()
	r = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	r.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.StartTLS()
	t.Cleanup(r.Close)
	return r, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}))
}

func TestClientCertificateIsSent(t *testing.T) {
	t.Parallel()
	r, ca := newTLSReceiver(t)
	cert, key := certificate(t, "gaff-1")
	ex, err := newDestination(t, Spec{URL: r.URL, TLS: &TLS{Cert: cert, Key: key, CA: ca}}, Options{}).Probe(context.Background())
	if err != nil || ex.Response.Body != "gaff-1" {
		t.Errorf("%+v, %v", ex.Response, err)
	}
	_, err = newDestination(t, Spec{URL: r.URL, TLS: &TLS{Cert: cert, Key: key}}, Options{}).Probe(context.Background())
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the receiver's authority: %v", err)
	}
}

func TestClientCertificateFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	r, ca := newTLSReceiver(t)
	dir := t.TempDir()
	files := &TLS{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), CA: ca}
	write := func(cert, key string) {
		for name, text := range map[string]string{files.CertFile: cert, files.KeyFile: key} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(certificate(t, "first"))
	d := newDestination(t, Spec{URL: r.URL, TLS: files}, Options{})
	probe := func() string {
		ex, err := d.Probe(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return ex.Response.Body
	}
	if got := probe(); got != "first" {
		t.Errorf("identified as %q", got)
	}
	write(certificate(t, "second"))
	if got := probe(); got != "second" {
		t.Errorf("after the renewal identified as %q", got)
	}
	write("half", "written")
	if got := probe(); got != "second" {
		t.Errorf("while the files are replaced identified as %q", got)
	}
}

func TestTLSFaults(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t, "a")
	_, key := certificate(t, "b")
	for name, c := range map[string]struct {
		tls  TLS
		want string
	}{
		"key of another":   {TLS{Cert: cert, Key: key}, "tls.cert: must be a certificate"},
		"no key":           {TLS{Cert: cert}, "cert and key belong together"},
		"missing files":    {TLS{CertFile: "/nowhere/a", KeyFile: "/nowhere/b"}, "tls.certFile: read the client certificate"},
		"text and file":    {TLS{CertFile: "/a", KeyFile: "/b", Cert: cert}, "keep one of the two"},
		"invalid ca":       {TLS{CA: "x"}, "tls.ca: must be certificates in PEM"},
		"key file missing": {TLS{CertFile: "/a"}, "certFile and keyFile belong together"},
	} {
		err := (&Spec{Name: "a", URL: "https://a.example", TLS: &c.tls}).Check()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
}
