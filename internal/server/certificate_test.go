package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff/internal/server"
)

// writePair writes a self-signed certificate for name and its key.
func writePair(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		replace(t, file, pem.EncodeToMemory(block))
	}
	return cert, key
}

// replace replaces a file as cert-manager and certbot do.
func replace(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// nameOf returns the name in the certificate that a handshake has.
func nameOf(t *testing.T, c *server.Certificate) string {
	t.Helper()
	time.Sleep(2 * time.Second) // in a bubble
	pair, err := c.Config().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf.Subject.CommonName
}

func TestCertificateIsReplacedWithoutRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		cert, key := writePair(t, dir, "first")
		var log strings.Builder
		c, err := server.LoadCertificate(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		var announced []string
		c.Announce(func(leaf []byte) {
			parsed, err := x509.ParseCertificate(leaf)
			if err != nil {
				t.Fatal(err)
			}
			announced = append(announced, parsed.Subject.CommonName)
		})
		if got := nameOf(t, c); got != "first" {
			t.Errorf("at the start: %s", got)
		}
		old, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		writePair(t, dir, "second")
		second, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		replace(t, cert, old) // the key came first
		for range 3 {
			if got := nameOf(t, c); got != "first" {
				t.Errorf("with another key: %s", got)
			}
		}
		if n := strings.Count(log.String(), "the previous one stays"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, &log)
		}
		replace(t, cert, second)
		if got := nameOf(t, c); got != "second" {
			t.Errorf("after both were replaced: %s", got)
		}
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		if got := nameOf(t, c); got != "second" {
			t.Errorf("without the key's file: %s", got)
		}
		if got := strings.Join(announced, " "); got != "first second" {
			t.Errorf("announced %s", got)
		}
	})
}

func TestLoadCertificateNamesItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := writePair(t, dir, "a")
	other, _ := writePair(t, t.TempDir(), "b")
	for name, c := range map[string]struct{ cert, key, want string }{
		"missing": {filepath.Join(dir, "none"), key, "none"},
		"no pair": {other, key, "does not match"},
		"swapped": {key, cert, "PEM"},
	} {
		if _, err := server.LoadCertificate(c.cert, c.key, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestServeWithTLS(t *testing.T) {
	t.Parallel()
	cert, key := writePair(t, t.TempDir(), "gaff")
	loaded, err := server.LoadCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.TLS = loaded.Config()
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, o)
		for _, protocols := range [][]string{nil, {"h2", "http/1.1"}} {
			c := tls.Client(f.dial(t), &tls.Config{InsecureSkipVerify: true, ServerName: "gaff", NextProtos: protocols})
			if _, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: gaff\r\nConnection: close\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			if text, _, _ := said(c); !strings.HasPrefix(text, "HTTP/1.1 200 OK\r\n") {
				t.Errorf("with %v: %s", protocols, text)
			}
		}
		// Idle connections are found behind TLS, too: a fourth client gets one's place.
		var idle []net.Conn
		for range 3 {
			c := tls.Client(f.dial(t), &tls.Config{InsecureSkipVerify: true})
			if _, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: gaff\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			idle = append(idle, c)
			synctest.Wait()
		}
		c := tls.Client(f.dial(t), &tls.Config{InsecureSkipVerify: true})
		if _, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: gaff\r\nConnection: close\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if text, _, after := said(c); !strings.HasPrefix(text, "HTTP/1.1 200") || after > time.Second {
			t.Errorf("the fourth client: %s after %s", text, after)
		}
		_ = idle
	})
}
