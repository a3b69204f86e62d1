package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keyPair writes a certificate and its key.
func keyPair(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestListeners(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir())
	_, other := keyPair(t, t.TempDir())
	for name, c := range map[string]struct {
		environ []string
		want    string // a part of the fault; empty: none
	}{
		"one listener":               {[]string{"GAFF_ADDR=:1"}, ""},
		"two":                        {[]string{"GAFF_ADDR=:1", "GAFF_ADMIN_ADDR=127.0.0.1:2"}, ""},
		"a port":                     {[]string{"GAFF_ADDR=1", "GAFF_ADMIN_ADDR=2"}, ""},
		"two of any port":            {[]string{"GAFF_ADDR=127.0.0.1:0", "GAFF_ADMIN_ADDR=127.0.0.1:0"}, ""},
		"one address for both":       {[]string{"GAFF_ADDR=1", "GAFF_ADMIN_ADDR=:1"}, `GAFF_ADMIN_ADDR=":1" (environment): must differ from GAFF_ADDR`},
		"not an address":             {[]string{"GAFF_ADMIN_ADDR=here"}, `GAFF_ADMIN_ADDR="here" (environment): is not a listen address`},
		"TLS":                        {[]string{"GAFF_TLS_CERT=" + cert, "GAFF_TLS_KEY=" + key}, ""},
		"TLS by the other names":     {[]string{"GAFF_TLS_CERT_FILE=" + cert, "GAFF_TLS_KEY_FILE=" + key}, ""},
		"TLS of both":                {[]string{"GAFF_ADMIN_ADDR=:2", "GAFF_TLS_CERT=" + cert, "GAFF_TLS_KEY=" + key, "GAFF_ADMIN_TLS_CERT=" + cert, "GAFF_ADMIN_TLS_KEY=" + key}, ""},
		"a certificate without key":  {[]string{"GAFF_TLS_CERT=" + cert}, "needs the private key: set GAFF_TLS_KEY"},
		"a key without certificate":  {[]string{"GAFF_TLS_KEY=" + key}, "needs the certificate: set GAFF_TLS_CERT"},
		"another key":                {[]string{"GAFF_TLS_CERT=" + cert, "GAFF_TLS_KEY=" + other}, "cannot be used: tls: private key does not match"},
		"a missing key":              {[]string{"GAFF_TLS_CERT=" + cert, "GAFF_TLS_KEY=/none"}, `GAFF_TLS_KEY="/none" (environment): cannot be used: no such file`},
		"a missing certificate":      {[]string{"GAFF_TLS_CERT=/none", "GAFF_TLS_KEY=" + key}, `GAFF_TLS_CERT="/none" (environment): cannot be used: no such file`},
		"a key in place of its file": {[]string{"GAFF_TLS_CERT=" + cert, "GAFF_TLS_KEY=-----BEGIN hush"}, "GAFF_TLS_KEY (environment): must be the path of a file"},
		"admin TLS without address":  {[]string{"GAFF_ADMIN_TLS_CERT=" + cert, "GAFF_ADMIN_TLS_KEY=" + key}, "needs GAFF_ADMIN_ADDR"},
	} {
		_, err := Load(LoadOptions{Dir: t.TempDir(), Environ: c.environ})
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
