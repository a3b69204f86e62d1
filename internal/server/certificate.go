package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is how often the files of a certificate are looked at, at most.
const lookEvery = time.Second

// Certificate is a certificate with its private key, from two files. New files are used from the
// next connection on.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu       sync.Mutex
	changed  func(leaf []byte)
	current  *tls.Certificate
	loaded   files
	rejected files // that could not be loaded
	looked   time.Time
}

// files identifies the content of the two files without reading it.
type files [2]os.FileInfo

// LoadCertificate reads the files.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	seen, err := c.look()
	if err != nil {
		return nil, err
	}
	return c, c.load(seen)
}

// Config returns the configuration of a listener with this certificate.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return c.get(), nil
	}}
}

// Announce calls changed with the certificate in DER, now and whenever it is replaced.
func (c *Certificate) Announce(changed func(leaf []byte)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = changed
	changed(c.current.Leaf.Raw)
}

// get returns the certificate of the files, or the previous one if they cannot be used: a
// certificate and its key are not replaced at one instant.
func (c *Certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.looked) < lookEvery {
		return c.current
	}
	c.looked = now
	seen, err := c.look()
	if err == nil && seen.equal(c.loaded) {
		return c.current
	}
	if err == nil {
		err = c.load(seen)
	}
	switch {
	case err == nil:
		c.log.Info("certificate replaced", "file", c.certFile, "expires", c.current.Leaf.NotAfter)
	case !seen.equal(c.rejected):
		c.rejected = seen
		c.log.Warn("the new certificate cannot be used, the previous one stays", "file", c.certFile, "error", err)
	}
	return c.current
}

func (c *Certificate) look() (seen files, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, statErr := os.Stat(name)
		seen[i], err = info, errors.Join(err, statErr)
	}
	return seen, err
}

func (c *Certificate) load(seen files) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current, c.loaded = &pair, seen
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		c.log.Warn("the certificate has expired", "file", c.certFile, "expired", end)
	}
	if c.changed != nil {
		c.changed(pair.Leaf.Raw)
	}
	return nil
}

func (f files) equal(other files) bool {
	for i, info := range f {
		was := other[i]
		if info == nil || was == nil {
			if info != was {
				return false
			}
			continue
		}
		if !os.SameFile(info, was) || !info.ModTime().Equal(was.ModTime()) || info.Size() != was.Size() {
			return false
		}
	}
	return true
}
