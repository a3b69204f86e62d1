package verify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
)

// braintree signs a form field with the digest of the private key. A request has a signature for
// each key of the account, under the name of the public key.
type braintree struct {
	secrets secretKeys
	public  string
}

func newBraintree(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	v := &braintree{newSecretKeys(o, KeyFormat{Decode: "sha1"}, mustAlgorithm("hmac-sha1"), f), o.Settings["public_key"]}
	if v.public == "" {
		f.Add("settings.public_key", "missing; the API key's public part, by which the signature is found, is wanted (the private part is the secret)")
	}
	return v
}

func (v *braintree) describe() string {
	return "hex HMAC-SHA1 of the form field bt_payload in bt_signature"
}

func (v *braintree) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "braintree"}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil || !isForm(r) {
		return out, fmt.Errorf("body: %w: no form", ErrMalformed)
	}
	text, err := oneOf(form["bt_signature"])
	if err != nil {
		return out, fmt.Errorf("form field bt_signature: %w", err)
	}
	values := form["bt_payload"]
	if len(values) != 1 || values[0] == "" {
		return out, fmt.Errorf("form field bt_payload: %w", ErrMissing)
	}
	payload := values[0]
	var sigs []string
	for pair := range strings.SplitSeq(text, "&") {
		if public, sig, ok := strings.Cut(pair, "|"); ok && public == v.public && len(sigs) < maxSignatures {
			sigs = append(sigs, sig)
		}
	}
	if len(sigs) == 0 {
		return out, fmt.Errorf("bt_signature: %w: none under the public key", ErrMissing)
	}
	// The sender signs the payload with or without the line break at its end.
	for _, content := range []string{payload, strings.TrimRight(payload, "\n") + "\n"} {
		out.KeyID, err = v.secrets.match("hex", sigs, func(_ []byte, w writer) error {
			w.text(content)
			return nil
		})
		if err != nil || out.KeyID != "" {
			break
		}
	}
	if err == nil && out.KeyID == "" {
		err = mismatch("bt_signature", "hex", sigs[0])
	}
	if err != nil {
		return out, err
	}
	out.Signed = signedHash([]byte(strings.TrimRight(payload, "\n")))
	// The answer to a challenge is a signature of a text that any client can choose, so a webhook's
	// content must be a text that no challenge may contain.
	doc, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(payload))
	if err != nil || !bytes.HasPrefix(bytes.TrimLeft(doc, " \t\r\n\xef\xbb\xbf"), []byte("<")) {
		return out, fmt.Errorf("bt_payload: %w: no XML in base64", ErrMalformed)
	}
	content, err := json.Marshal(map[string]string{"notification": string(doc)})
	if err != nil {
		return out, err
	}
	out.Content = string(content)
	if _, rest, ok := bytes.Cut(doc, []byte("<kind>")); ok {
		if kind, _, ok := bytes.Cut(rest, []byte("</kind>")); ok && len(kind) <= 100 {
			out.Type = string(kind)
		}
	}
	return out, nil
}

func (v *braintree) covers() Coverage { return Coverage{Content: true} }

func (v *braintree) sign(r *gaff.Request, _ time.Time) error {
	doc := r.Body
	if !bytes.HasPrefix(doc, []byte("<")) { // other bodies are put into a notification
		var b bytes.Buffer
		b.WriteString("<notification><kind>check</kind><subject>")
		if err := xml.EscapeText(&b, doc); err != nil {
			return err
		}
		b.WriteString("</subject></notification>")
		doc = b.Bytes()
	}
	payload := base64.StdEncoding.EncodeToString(doc) + "\n"
	form := url.Values{
		"bt_payload":   {payload},
		"bt_signature": {v.public + "|" + v.secrets.sign("hex", payload)},
	}
	r.Body = []byte(form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return nil
}
