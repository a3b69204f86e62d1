package verify

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"gaff/internal/fault"

	"gaff"
)

// adobe is Adobe I/O Events: two RSA signatures, with keys at paths that the request
// names, on a host of Adobe's. The keys sign for all its customers, so the recipient is checked too.
type adobe struct {
	recipient string
	keys      *fetchCache[publicKey]
	set       pointers
}

const adobeHost = "https://static.adobeioevents.com"

var adobePath = regexp.MustCompile(`^(/[A-Za-z0-9_-]{1,100}){1,5}\.pem$`)

func newAdobe(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	v := &adobe{recipient: o.Settings["client_id"], keys: newFetchCache("public key at", func(ctx context.Context, address string) (publicKey, error) {
		doc, err := fetch(ctx, o.Client, address, remoteMaxBytes)
		if err != nil {
			return publicKey{}, err
		}
		keys, err := parseKey(Key{Kind: "spki_pem", Value: string(doc)})
		if err != nil {
			return publicKey{}, err
		}
		if !mustAlgorithm("rsa-pkcs1-sha256").fits(keys[0].key) {
			return publicKey{}, errors.New("no RSA key")
		}
		return keys[0], nil
	})}
	if v.recipient == "" {
		f.Add("settings.client_id", "missing; Adobe signs for all its customers, so the client id that events are for is wanted")
	}
	if len(o.Secrets)+len(o.Keys) > 0 {
		f.Add("secrets", "not used: Adobe's keys are public and fetched; remove them")
	}
	v.set.must("/recipient_client_id")
	v.set.must("/recipientclientid")
	return v
}

func (v *adobe) describe() string {
	return "base64 RSA-SHA256 signature of the body in X-Adobe-Digital-Signature-1 or -2, for " + v.recipient
}

func (v *adobe) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "adobe"}
	failure := fmt.Errorf("X-Adobe-Digital-Signature-1: %w", ErrMissing)
	for _, n := range []string{"1", "2"} {
		id, err := v.check(ctx, r, "X-Adobe-Digital-Signature-"+n, "X-Adobe-Public-Key"+n+"-Path")
		switch {
		case errors.Is(err, ErrAmbiguous):
			return out, err
		case err == nil:
			out.KeyID = id
		case n == "1" || errors.Is(err, gaff.ErrUnverifiable):
			failure = err
		}
	}
	if out.KeyID == "" {
		return out, failure
	}
	values, err := v.set.findIn(r)
	if err != nil {
		return out, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	for _, raw := range values {
		if out.Subject, _ = claimText(raw); out.Subject != "" {
			break
		}
	}
	if subtle.ConstantTimeCompare([]byte(out.Subject), []byte(v.recipient)) != 1 {
		return out, fmt.Errorf("recipient_client_id %s is not settings.client_id: %w", Printable(out.Subject), ErrMismatch)
	}
	return out, nil
}

func (v *adobe) check(ctx context.Context, r *gaff.Request, sigName, pathName string) (keyID string, err error) {
	text, err := headerText(r.Header, http.CanonicalHeaderKey(sigName), sigName)
	if err != nil {
		return "", err
	}
	path, err := headerText(r.Header, http.CanonicalHeaderKey(pathName), pathName)
	if err != nil {
		return "", err
	}
	sig, ok := decode("base64", text)
	if !ok {
		return "", notEncoded(sigName, "base64", text)
	}
	if !adobePath.MatchString(path) {
		return "", fmt.Errorf("%s %s is not Adobe's: %w", pathName, Printable(path), ErrMismatch)
	}
	key, err := v.keys.get(ctx, adobeHost+path, r.RemoteAddr)
	if err != nil {
		return "", err
	}
	if !mustAlgorithm("rsa-pkcs1-sha256").verifyPublic(key.key, r.Body, sig) {
		return "", mismatch(sigName, "base64", text)
	}
	return key.id, nil
}

func (v *adobe) covers() Coverage { return Coverage{Body: true, Content: true} }

func (v *adobe) sign(*gaff.Request, time.Time) error {
	return errors.New("the private key is Adobe's")
}
