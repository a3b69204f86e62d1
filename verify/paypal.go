package verify

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
)

// paypal signs a checksum of the body. Requests name PayPal's certificate.
type paypal struct {
	scheme  Scheme
	webhook string
	certs   certificates
}

var paypalCertURL = regexp.MustCompile(`^https://api(-m)?\.(sandbox\.)?paypal\.com/v1/notifications/certs/CERT-[A-Za-z0-9-]{1,64}(\.pem)?$`)

func newPayPal(s Scheme, o Options, f *fault.List) checker {
	v := &paypal{scheme: s, webhook: o.Settings["webhook_id"], certs: newCertificates(o.Client)}
	if v.webhook == "" {
		f.Add("settings.webhook_id", "missing; the webhook's id at PayPal is part of the signed content")
	}
	if len(o.Secrets)+len(o.Keys) > 0 {
		f.Add("secrets", "not used: PayPal's keys are public and fetched; remove them")
	}
	return v
}

func (v *paypal) describe() string {
	return "base64 RSA-SHA256 signature of id, time, webhook id and the body's CRC-32 in Paypal-Transmission-Sig"
}

func (v *paypal) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "paypal"}
	var text [5]string
	for i, name := range []string{"Transmission-Id", "Transmission-Time", "Transmission-Sig", "Cert-Url", "Auth-Algo"} {
		var err error
		if text[i], err = headerText(r.Header, "Paypal-"+name, "Paypal-"+name); err != nil {
			return out, err
		}
	}
	id, at, sigText, address, algo := text[0], text[1], text[2], text[3], text[4]
	if algo != "SHA256withRSA" {
		return out, fmt.Errorf("Paypal-Auth-Algo %s is not allowed; SHA256withRSA is wanted: %w", Printable(algo), ErrMismatch)
	}
	if !paypalCertURL.MatchString(address) {
		return out, fmt.Errorf("Paypal-Cert-Url %s is not PayPal's: %w", Printable(address), ErrMismatch)
	}
	sig, ok := decode("base64", sigText)
	if !ok {
		return out, fmt.Errorf("Paypal-Transmission-Sig: %w: not base64", ErrMalformed)
	}
	if strings.Contains(id, "|") {
		return out, fmt.Errorf("Paypal-Transmission-Id: %w: it holds the separator", ErrAmbiguous)
	}
	content := id + "|" + at + "|" + v.webhook + "|" + strconv.FormatUint(uint64(crc32.ChecksumIEEE(r.Body)), 10)
	var err error
	out.KeyID, err = v.certs.checkRSA(ctx, r, address, crypto.SHA256, []byte(content), sig, "Paypal-Transmission-Sig")
	if err != nil {
		return out, err
	}
	out.Signed = signedHash([]byte(content))
	return out, judge(v.scheme.Tolerance, at, "rfc3339", r.ReceivedAt)
}

// covers returns the transmission's id only. The body's CRC-32 is signed, and other bodies with the
// same CRC-32 can be constructed.
func (v *paypal) covers() (c Coverage) {
	c.add("header", "Paypal-Transmission-Id")
	return c
}

func (v *paypal) sign(*gaff.Request, time.Time) error {
	return errors.New("the private key is PayPal's")
}
