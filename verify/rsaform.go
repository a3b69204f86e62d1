package verify

import (
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/url"
	"time"

	"gaff"
	"gaff/internal/fault"
)

// rsaForm is for senders that sign a text made from a form's fields with RSA-SHA1.
type rsaForm struct {
	name    string
	keys    []publicKey
	content func(url.Values) (content []byte, sig string, err error)
	header  string // with the signature; empty if it is in the form
}

func newRSAForm(v *rsaForm, s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	fits := func(key crypto.PublicKey) bool { _, ok := key.(*rsa.PublicKey); return ok }
	v.keys, _ = newPublicKeys(o, KeyFormat{Source: "spki_pem"}, "RSA-SHA1", fits, f)
	return v
}

func (v *rsaForm) covers() Coverage { return Coverage{Content: true} }

func (v *rsaForm) describe() string {
	if v.header != "" {
		return "base64 RSA-SHA1 signature of the form field payload in " + v.header
	}
	return "base64 RSA-SHA1 signature of the form's fields, as PHP writes them, in p_signature"
}

func (v *rsaForm) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: v.name}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil || !isForm(r) {
		return out, fmt.Errorf("body: %w: no form", ErrMalformed)
	}
	content, text, err := v.content(form)
	label := "p_signature"
	if err == nil && v.header != "" {
		label = v.header
		text, err = headerText(r.Header, v.header, v.header)
	}
	if err != nil {
		return out, err
	}
	sig, ok := decode("base64", text)
	if !ok {
		return out, notEncoded(label, "base64", text)
	}
	for _, k := range v.keys {
		if mustAlgorithm("rsa-pkcs1-sha1").verifyPublic(k.key, content, sig) {
			out.KeyID, out.Signed = k.id, signedHash(content)
			return out, nil
		}
	}
	return out, mismatch(label, "base64", text)
}

func (v *rsaForm) sign(*gaff.Request, time.Time) error {
	return errors.New("the private key is the sender's")
}
