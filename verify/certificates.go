package verify

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"time"

	"gaff"
)

// certificates fetches and caches signing certificates by the URLs in requests. Their validity
// dates are checked at each use.
type certificates struct{ *fetchCache[*x509.Certificate] }

func newCertificates(client *http.Client) certificates {
	return certificates{newFetchCache("certificate at", func(ctx context.Context, address string) (*x509.Certificate, error) {
		doc, err := fetch(ctx, client, address, remoteMaxBytes)
		if err != nil {
			return nil, err
		}
		return parseCertificate(doc)
	})}
}

func parseCertificate(doc []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(doc)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if _, ok := cert.PublicKey.(*rsa.PublicKey); !ok {
		return nil, errors.New("its key is not RSA")
	}
	if err := checkKey(cert.PublicKey); err != nil {
		return nil, err
	}
	return cert, nil
}

// checkRSA verifies a signature with the certificate at a URL that the caller has checked to be
// the sender's. The certificate is trusted because it comes over TLS from a pinned host.
func (c certificates) checkRSA(ctx context.Context, r *gaff.Request, address string, h crypto.Hash, content, sig []byte, label string) (string, error) {
	now := r.ReceivedAt
	cert, err := c.get(ctx, address, r.RemoteAddr)
	if err != nil {
		return "", err
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return "", fmt.Errorf("certificate at %s: %w: valid from %s to %s", address, ErrMismatch,
			cert.NotBefore.UTC().Format(time.RFC3339), cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), h, digest(h, content), sig) != nil {
		return "", fmt.Errorf("%s: %w: the signed content was changed, or the sender is another", label, ErrMismatch)
	}
	return fingerprint(cert.RawSubjectPublicKeyInfo), nil
}
