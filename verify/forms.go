package verify

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
	"gaff/internal/payload"
)

// twilio signs the URL with the form's fields, or with the hash of another body in the
// query.
type twilio struct {
	secrets secretKeys
	url     string
}

const twilioHeader = "X-Twilio-Signature"

func newTwilio(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	return &twilio{newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha1"), f), o.Settings["url"]}
}

func (v *twilio) describe() string {
	return "base64 HMAC-SHA1 of the URL and the form's fields in " + twilioHeader
}

// fields returns what is signed after the URL. A body that nothing covers is refused.
func (v *twilio) fields(r *gaff.Request, address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("request URL: %w", ErrMalformed)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", fmt.Errorf("query: %w", ErrMalformed)
	}
	if hashes := query["bodySHA256"]; len(hashes) > 0 {
		sum := sha256.Sum256(r.Body)
		if len(hashes) > 1 {
			return "", fmt.Errorf("bodySHA256: %w: it came %d times", ErrAmbiguous, len(hashes))
		}
		if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(hashes[0])) != 1 {
			return "", fmt.Errorf("bodySHA256: %w the body", ErrMismatch)
		}
		return "", nil
	}
	if len(r.Body) == 0 {
		return "", nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return "", fmt.Errorf("bodySHA256: %w: nothing covers the body", ErrMissing)
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return "", fmt.Errorf("body: %w: no form", ErrMalformed)
	}
	for name, values := range form {
		slices.Sort(values)
		form[name] = slices.Compact(values)
	}
	return strings.Join(sortedForm(form), ""), nil
}

// variants returns the address as it is, without its port, and with the scheme's own:
// Twilio may have signed either.
func (v *twilio) variants(address string) []string {
	list := []string{address}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return list
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, path := rest[:end], rest[end:]
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return append(list, scheme+"://"+host[:i]+path)
	}
	if port := map[string]string{"https": ":443", "http": ":80"}[scheme]; port != "" {
		list = append(list, scheme+"://"+host+port+path)
	}
	return list
}

func (v *twilio) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "twilio"}
	sig, err := headerText(r.Header, twilioHeader, twilioHeader)
	if err != nil {
		return out, err
	}
	address := v.address(r)
	fields, err := v.fields(r, address)
	if err != nil {
		return out, err
	}
	for _, a := range v.variants(address) {
		id, err := v.secrets.match("base64", []string{sig}, func(_ []byte, w writer) error {
			w.text(a)
			w.text(fields)
			return nil
		})
		if err != nil || id != "" {
			out.KeyID, out.Signed = id, signedHash([]byte(a+fields))
			return out, err
		}
	}
	return out, mismatch(twilioHeader, "base64", sig)
}

func (v *twilio) covers() Coverage { return Coverage{Content: true, form: true, url: true} }

func (v *twilio) address(r *gaff.Request) string {
	if v.url != "" {
		return v.url
	}
	return r.URL
}

func (v *twilio) sign(r *gaff.Request, _ time.Time) error {
	address := v.address(r)
	fields, err := v.fields(r, address)
	if err != nil {
		return err
	}
	r.Header.Set(twilioHeader, v.secrets.sign("base64", address+fields))
	return nil
}

// dropboxSign signs time and type of the event inside a form's JSON field.
type dropboxSign struct {
	secrets secretKeys
	set     pointers
}

func newDropboxSign(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	v := &dropboxSign{secrets: newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f)}
	for _, name := range []string{"event_time", "event_type", "event_hash"} {
		v.set.must("/event/" + name)
	}
	return v
}

func (v *dropboxSign) describe() string {
	return "hex HMAC-SHA256 of the event's time and type in the JSON of the form field json (the rest is not covered)"
}

func (v *dropboxSign) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "dropbox-sign"}
	doc, err := formField(r, "json")
	if err != nil {
		return out, err
	}
	raw, err := v.set.find(doc)
	if err != nil {
		return out, fmt.Errorf("form field json: %w: %w", ErrMalformed, err)
	}
	at, _ := jsonText(raw[0])
	out.Type, _ = jsonText(raw[1])
	sig, _ := jsonText(raw[2])
	if at == "" || out.Type == "" || sig == "" {
		return out, fmt.Errorf("event_time, event_type or event_hash: %w", ErrMissing)
	}
	if _, ok := parseTime(at, "s"); !ok { // nothing separates it from the type
		return out, fmt.Errorf("event_time %s: %w", Printable(at), ErrMalformed)
	}
	out.KeyID, err = v.secrets.match("hex", []string{sig}, func(_ []byte, w writer) error {
		w.text(at)
		w.text(out.Type)
		return nil
	})
	if err == nil && out.KeyID == "" {
		err = mismatch("event_hash", "hex", sig)
	}
	return out, err
}

// formTexts returns the texts of a field in a form of either kind, as sent: in the bytes of
// their charset, which are what is signed. A body of another content type is read as
// urlencoded.
func formTexts(r *gaff.Request, name string) (texts []string, err error) {
	fields, err := payload.Form(r.Header.Get("Content-Type"), r.Text())
	if errors.Is(err, payload.ErrNoForm) {
		fields, err = payload.Form("application/x-www-form-urlencoded", r.Text())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, f := range fields {
		if f.Name != name || f.File && !f.JSON() {
			continue
		}
		if f.Broken {
			return nil, fmt.Errorf("%w: a %% that is no escape", ErrMalformed)
		}
		texts = append(texts, string(f.Value))
	}
	return texts, nil
}

// formField returns a field of a form of either kind. One that came twice is ambiguous.
func formField(r *gaff.Request, name string) ([]byte, error) {
	fields, err := payload.Form(r.Header.Get("Content-Type"), r.Text())
	if errors.Is(err, payload.ErrNoForm) {
		return nil, fmt.Errorf("Content-Type: %w: a form is wanted", ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	var found []byte
	for _, f := range fields {
		if f.Name != name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("form field %s: %w: it came twice", name, ErrAmbiguous)
		}
		found = []byte(f.Text())
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("form field %s: %w", name, ErrMissing)
	}
	return found, nil
}

func (v *dropboxSign) sign(r *gaff.Request, at time.Time) error {
	doc := r.Body
	if text, err := formField(r, "json"); err == nil {
		doc = text
	}
	raw, err := v.set.find(doc)
	if err != nil {
		return err
	}
	eventType, _ := jsonText(raw[1])
	eventType = cmp.Or(eventType, "callback_test")
	t := formatTime(at, "s")
	for _, field := range [...]struct{ pointer, text string }{
		{"/event/event_time", t}, {"/event/event_type", eventType}, {"/event/event_hash", v.secrets.sign("hex", t+eventType)},
	} {
		if doc, err = payload.SetJSON(doc, field.pointer, field.text); err != nil {
			return err
		}
	}
	r.Body = []byte(url.Values{"json": {string(doc)}}.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return nil
}

// plivo signs the address with its query sorted, the form's fields and a nonce.
type plivo struct {
	secrets secretKeys
	url     string
}

const (
	plivoHeader = "X-Plivo-Signature-V3"
	plivoNonce  = "X-Plivo-Signature-V3-Nonce"
)

func newPlivo(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	return &plivo{newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f), o.Settings["url"]}
}

func (v *plivo) describe() string {
	return "base64 HMAC-SHA256 of the URL, the form's fields and a nonce in " + plivoHeader
}

func (v *plivo) covers() Coverage { return Coverage{Content: true, form: true, url: true} }

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
	out.Signed = signedHash([]byte(content))
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

func newRSAForm(v *rsaForm, s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	fits := func(key crypto.PublicKey) bool { _, ok := key.(*rsa.PublicKey); return ok }
	v.keys, _ = newPublicKeys(o, KeyFormat{Source: "spki_pem"}, "RSA-SHA1", fits, f)
	return v
}

func newTravis(s Scheme, o Options, f *fault.List) checker {
	return newRSAForm(&rsaForm{name: "travis", header: "Signature", content: func(form url.Values) ([]byte, string, error) {
		text, err := oneOf(form["payload"])
		if err != nil {
			return nil, "", fmt.Errorf("form field payload: %w", err)
		}
		return []byte(text), "", nil
	}}, s, o, f)
}

func newPaddleClassic(s Scheme, o Options, f *fault.List) checker {
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
				return nil, "", fmt.Errorf("form field %s: %w: it came %d times", Printable(name), ErrAmbiguous, len(values))
			}
			fmt.Fprintf(&b, "s:%d:\"%s\";s:%d:\"%s\";", len(name), name, len(values[0]), values[0])
		}
		b.WriteByte('}')
		return b.Bytes(), sig, nil
	}}, s, o, f)
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

// braintree signs a form field under the digest of the private key, once for each key of
// the account, by the name of the public key.
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
	// The answers to challenges are signatures of texts that anyone chooses, so only a text
	// that cannot be such a one is a webhook.
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
	if !bytes.HasPrefix(doc, []byte("<")) { // a body of another kind is put into a notification
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
