package destination

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"sync"

	"gaff/internal/safehttp"
)

// TLS identifies gaff to a receiver by a client certificate (mTLS), and says which authorities it
// trusts.
type TLS struct {
	// Cert is the certificate in PEM, with its intermediates behind it, Key its private key.
	Cert string `json:"cert,omitempty" yaml:"cert" secret:"value"`
	Key  string `json:"key,omitempty" yaml:"key" secret:"value"`
	// CertFile and KeyFile name files with them instead. They are read for each new connection, so
	// that renewed ones are used at once. Only gaff.yaml may name files.
	CertFile string `json:"-" yaml:"cert_file"`
	KeyFile  string `json:"-" yaml:"key_file"`
	// CA has the authorities in PEM that may have signed the receiver's certificate; empty: those of
	// the system.
	CA string `json:"ca,omitempty" yaml:"ca" ref:"true"`
}

const maxPEM = 64 << 10

// checkTLS checks the certificates, and makes the configuration of connections.
func (c *compiled) checkTLS(fault func(string, string, ...any)) {
	t := c.TLS
	if t == nil {
		return
	}
	if c.Kind != KindHTTP {
		fault("tls", "is for destinations of kind http")
		return
	}
	c.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		c.tls.RootCAs = x509.NewCertPool()
		if len(t.CA) > maxPEM || !c.tls.RootCAs.AppendCertsFromPEM([]byte(t.CA)) {
			fault("tls.ca", "must be certificates in PEM, at most %d bytes: -----BEGIN CERTIFICATE-----…", maxPEM)
		}
	}
	switch {
	case t.CertFile != "" && (t.Cert != "" || t.Key != ""):
		fault("tls", "has the certificate as text and as a file: keep one of the two")
	case (t.CertFile == "") != (t.KeyFile == ""):
		fault("tls", "certFile and keyFile belong together: set both")
	case (t.Cert == "") != (t.Key == ""):
		fault("tls", "cert and key belong together: set both")
	case t.CertFile != "":
		files := &certificateFiles{cert: t.CertFile, key: t.KeyFile}
		if _, err := files.load(); err != nil {
			fault("tls.certFile", "%v", err)
		}
		c.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return files.load() }
	case t.Cert != "":
		pair, err := tls.X509KeyPair([]byte(t.Cert), []byte(t.Key))
		if err != nil || len(t.Cert)+len(t.Key) > maxPEM {
			// The error of the library does not quote the key.
			fault("tls.cert", "must be a certificate in PEM that belongs to the key: %v", err)
			return
		}
		c.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
}

// certificateFiles reads a certificate and its key from files. If they cannot be used, because they
// are being replaced for one, it returns the previous ones.
type certificateFiles struct {
	cert, key string

	mu   sync.Mutex
	last *tls.Certificate
}

func (f *certificateFiles) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.last = &pair
	}
	if f.last == nil {
		if missing, ok := errors.AsType[*os.PathError](err); ok {
			err = missing
		}
		return nil, fmt.Errorf("read the client certificate: %w", err)
	}
	return f.last, nil
}

// ClientCertificate returns the certificate that the destination identifies itself with; nil if it
// has none, or it cannot be read.
func (s *Spec) ClientCertificate() *x509.Certificate {
	if s.TLS == nil {
		return nil
	}
	pair, err := tls.X509KeyPair([]byte(s.TLS.Cert), []byte(s.TLS.Key))
	if s.TLS.CertFile != "" {
		pair, err = tls.LoadX509KeyPair(s.TLS.CertFile, s.TLS.KeyFile)
	}
	if err != nil {
		return nil
	}
	return pair.Leaf
}

// NewTLSClient is [NewClient] with a configuration of TLS of its own.
func NewTLSClient(allow []netip.Prefix, config *tls.Config) *http.Client {
	return safehttp.New(safehttp.Options{Allow: allow, UserAgent: "gaff", IdlePerHost: maxConcurrency, TLS: config})
}
