package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
)

// plivo signs the address with its query sorted, the form's fields and a nonce.
type plivo struct {
	secrets secretKeys
	url     string
}

const (
	plivoHeader = "X-Plivo-Signature-V3"
	plivoNonce  = "X-Plivo-Signature-V3-Nonce"
)

func newPlivo(s Scheme, o Options, f *faults) checker {
	noTolerance(s, f)
	return &plivo{newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f), o.Settings["url"]}
}

func (v *plivo) describe() string {
	return "base64 HMAC-SHA256 of the URL, the form's fields and a nonce in " + plivoHeader
}

func (v *plivo) content(r *gaff.Request, nonce string) (string, error) {
	address := r.URL
	if v.url != "" {
		address = v.url
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("request URL: %w", ErrMalformed)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", fmt.Errorf("query: %w", ErrMalformed)
	}
	form := url.Values{}
	if len(r.Body) > 0 {
		if !isForm(r) {
			return "", fmt.Errorf("body: %w: no form, and nothing else is covered", ErrMalformed)
		}
		if form, err = url.ParseQuery(string(r.Body)); err != nil {
			return "", fmt.Errorf("body: %w: no form", ErrMalformed)
		}
	}
	var b strings.Builder
	b.WriteString(u.Scheme + "://" + u.Host + u.EscapedPath())
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range slices.Sorted(slices.Values(query[name])) {
			pairs = append(pairs, name+"="+value)
		}
	}
	if len(pairs) > 0 || len(form) > 0 {
		b.WriteString("?" + strings.Join(pairs, "&"))
	}
	if len(pairs) > 0 && len(form) > 0 {
		b.WriteString(".")
	}
	b.WriteString(strings.Join(sortedForm(form), ""))
	return b.String() + "." + nonce, nil
}

func (v *plivo) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "plivo"}
	text, err := headerText(r.Header, plivoHeader, plivoHeader)
	if err != nil {
		return out, err
	}
	nonce, err := headerText(r.Header, plivoNonce, plivoNonce)
	if err != nil {
		return out, err
	}
	sigs := strings.Split(text, ",")
	if len(sigs) > maxSignatures {
		return out, fmt.Errorf("%s: %w: more than %d signatures", plivoHeader, ErrAmbiguous, maxSignatures)
	}
	content, err := v.content(r, nonce)
	if err != nil {
		return out, err
	}
	out.KeyID, err = v.secrets.match("base64", sigs, func(_ []byte, w writer) error {
		w.text(content)
		return nil
	})
	if err == nil && out.KeyID == "" {
		err = mismatch(plivoHeader, "base64", sigs[0])
	}
	return out, err
}

func (v *plivo) sign(r *gaff.Request, at time.Time) error {
	nonce := strconv.FormatInt(at.UnixNano(), 10)
	content, err := v.content(r, nonce)
	if err != nil {
		return err
	}
	r.Header.Set(plivoNonce, nonce)
	r.Header.Set(plivoHeader, v.secrets.sign("base64", content))
	return nil
}

func isForm(r *gaff.Request) bool {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded")
}

// rsaForm are senders that sign something made of a form's fields with RSA-SHA1.
type rsaForm struct {
	name    string
	keys    []publicKey
	content func(url.Values) (content []byte, sig string, err error)
	header  string // holds the signature, if not the form
}

func newRSAForm(v *rsaForm, s Scheme, o Options, f *faults) checker {
	noTolerance(s, f)
	fits := func(key crypto.PublicKey) bool { _, ok := key.(*rsa.PublicKey); return ok }
	v.keys, _ = newPublicKeys(o, KeyFormat{Source: "spki_pem"}, "RSA-SHA1", fits, f)
	return v
}

func newTravis(s Scheme, o Options, f *faults) checker {
	return newRSAForm(&rsaForm{name: "travis", header: "Signature", content: func(form url.Values) ([]byte, string, error) {
		text, err := oneOf(form["payload"])
		if err != nil {
			return nil, "", fmt.Errorf("form field payload: %w", err)
		}
		return []byte(text), "", nil
	}}, s, o, f)
}

func newPaddleClassic(s Scheme, o Options, f *faults) checker {
	return newRSAForm(&rsaForm{name: "paddle-classic", content: func(form url.Values) ([]byte, string, error) {
		sig, err := oneOf(form["p_signature"])
		if err != nil {
			return nil, "", fmt.Errorf("form field p_signature: %w", err)
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "a:%d:{", len(form)-1)
		for _, name := range slices.Sorted(maps.Keys(form)) {
			if name == "p_signature" {
				continue
			}
			values := form[name]
			if len(values) > 1 {
				return nil, "", fmt.Errorf("form field %s: %w: it came %d times", printable(name), ErrAmbiguous, len(values))
			}
			fmt.Fprintf(&b, "s:%d:\"%s\";s:%d:\"%s\";", len(name), name, len(values[0]), values[0])
		}
		b.WriteByte('}')
		return b.Bytes(), sig, nil
	}}, s, o, f)
}

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
			out.KeyID = k.id
			return out, nil
		}
	}
	return out, mismatch(label, "base64", text)
}

func (v *rsaForm) sign(*gaff.Request, time.Time) error {
	return errors.New("the private key is the sender's")
}

// braintree signs a form field under the digest of the private key, once for each key of
// the account, by the name of the public key.
type braintree struct {
	secrets secretKeys
	public  string
}

func newBraintree(s Scheme, o Options, f *faults) checker {
	noTolerance(s, f)
	v := &braintree{newSecretKeys(o, KeyFormat{Decode: "sha1"}, mustAlgorithm("hmac-sha1"), f), o.Settings["public_key"]}
	if v.public == "" {
		f.add("settings.public_key", "missing; the API key's public part, by which the signature is found, is wanted (the private part is the secret)")
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
	doc, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(payload))
	if err != nil {
		return out, nil // authentic; whoever reads it says what is wrong with it
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

func (v *braintree) sign(r *gaff.Request, _ time.Time) error {
	payload := base64.StdEncoding.EncodeToString(r.Body) + "\n"
	form := url.Values{
		"bt_payload":   {payload},
		"bt_signature": {v.public + "|" + v.secrets.sign("hex", payload)},
	}
	r.Body = []byte(form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return nil
}

// lark signs with the key inside the content, and may seal the body under the same key.
type lark struct {
	*signature
	keys [][sha256.Size]byte
	set  pointers
}

func newLark(s Scheme, o Options, f *faults) checker {
	base := Scheme{
		Kind: "signature", Algorithm: "keyed-sha256", Signed: "{ts}{header:X-Lark-Request-Nonce}{key}{body}", Encoding: "hex",
		Signature: Signatures{{Location: Location{In: "header", Name: "X-Lark-Signature"}, Format: "raw"}},
		Timestamp: &Timestamp{Location: Location{In: "header", Name: "X-Lark-Request-Timestamp"}},
		Tolerance: s.Tolerance,
	}
	v := &lark{signature: newSignature(base, o, f)}
	v.set.must("/encrypt")
	for _, secret := range o.Secrets {
		v.keys = append(v.keys, sha256.Sum256([]byte(secret)))
	}
	return v
}

func (v *lark) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	out, err := v.signature.verify(ctx, r)
	if err != nil {
		return out, err
	}
	found, err := v.set.find(r.Body)
	if err != nil {
		return out, nil
	}
	text, ok := claimText(found[0])
	if !ok {
		return out, nil
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return out, nil
	}
	for _, key := range v.keys {
		if plain, ok := unseal(key[:], sealed); ok && ValidJSON(plain) == nil {
			out.Content = string(plain)
			break
		}
	}
	return out, nil
}

// unseal undoes AES-CBC with PKCS #7; the initial vector comes first.
func unseal(key, sealed []byte) ([]byte, bool) {
	if len(sealed) < 2*aes.BlockSize || len(sealed)%aes.BlockSize != 0 {
		return nil, false
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, false
	}
	plain := make([]byte, len(sealed)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, sealed[:aes.BlockSize]).CryptBlocks(plain, sealed[aes.BlockSize:])
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize {
		return nil, false
	}
	return plain[:len(plain)-pad], true
}

func (v *lark) sign(r *gaff.Request, at time.Time) error {
	if r.Header.Get("X-Lark-Request-Nonce") == "" {
		r.Header.Set("X-Lark-Request-Nonce", strconv.FormatInt(at.UnixNano(), 36))
	}
	return v.signature.sign(r, at)
}

// families is Standard Webhooks of senders that moved from svix- headers to webhook- ones:
// a request is judged by those it came with, and one that has both by its own.
type families struct{ *standard }

func (v families) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	if len(r.Header[http.CanonicalHeaderKey(v.prefix+"signature")]) > 0 || len(r.Header["Webhook-Signature"]) == 0 {
		return v.standard.verify(ctx, r)
	}
	other := *r
	other.Header = r.Header.Clone()
	for _, name := range []string{"id", "timestamp", "signature"} {
		to := http.CanonicalHeaderKey(v.prefix + name)
		delete(other.Header, to)
		if values := r.Header[http.CanonicalHeaderKey("webhook-"+name)]; values != nil {
			other.Header[to] = values
		}
	}
	out, err := v.standard.verify(ctx, &other)
	if err == nil {
		out.ID = other.Header.Get(v.prefix + "id")
	}
	return out, err
}

func sha1Key(text string) []byte {
	sum := sha1.Sum([]byte(text))
	return sum[:]
}
