package verify

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
)

// signature is the kind signature.
type signature struct {
	scheme  Scheme
	alg     algorithm
	secrets secretKeys
	public  []publicKey
	jwks    *JWKS
	tmpl    template
	places  []signaturePlace
	set     pointers // values of the body that verification needs
	id      place
	ts      *Timestamp
	tsAt    place // zero if the timestamp is in the signature's text
	timeKey string
	url     string // overrides the request's
	hashed  bool   // report the hash of the signed content
}

func (v *signature) hashSigned() { v.hashed = true }

func newSignature(s Scheme, o Options, f *fault.List) *signature {
	v := &signature{scheme: s, url: o.Settings["url"]}
	alg, ok := findAlgorithm(s.Algorithm)
	if !ok {
		names := make([]string, len(algorithms))
		for i, a := range algorithms {
			names[i] = a.name
		}
		f.OneOf("algorithm", s.Algorithm, strings.Join(names, ", "))
	}
	v.alg = alg
	if !slices.Contains([]string{"hex", "hex-upper", "base64", "base64url"}, s.Encoding) {
		f.OneOf("encoding", s.Encoding, "hex, hex-upper, base64, base64url")
	}
	before := len(*f)
	v.tmpl = parseTemplate(s.Signed, "signed", o.Settings, &v.set, f)
	if ok && alg.keyed != v.tmpl.has(partKey) {
		if alg.keyed {
			f.Add("signed", "%s needs {key} in the signed content", s.Algorithm)
		} else {
			f.Add("signed", "{key} does not go with %s; remove it, or take keyed-sha256", s.Algorithm)
		}
	}
	if len(*f) == before {
		v.checkExtension(f)
	}
	v.newPlaces(f)
	v.newTime(f)
	if v.tmpl.has(partID) {
		if s.ID == nil {
			f.Add("id", "missing; {id} is part of the signed content")
		}
		v.id = newPlace(s.ID, "id", &v.set, &fault.List{}) // faults are reported by New
	}
	if !ok {
		return v
	}
	if alg.symmetric() {
		v.newSecrets(o, f)
	} else {
		v.newPublicKeys(o, f)
	}
	return v
}

func (v *signature) newPlaces(f *fault.List) {
	if len(v.scheme.Signature) == 0 {
		f.Add("signature", "missing; its place is wanted, such as in: header, name: X-Signature")
	}
	for i, s := range v.scheme.Signature {
		path := "signature"
		if len(v.scheme.Signature) > 1 {
			path = fmt.Sprintf("signature[%d]", i)
		}
		w := signaturePlace{Signature: s, at: newPlace(&s.Location, path, &v.set, f)}
		need := func(field, value, example string) {
			if value == "" {
				f.Add(path+"."+field, "missing; format %s needs it, such as %s", s.Format, example)
			}
		}
		switch s.Format {
		case "":
			w.Format = "raw"
		case "raw":
		case "prefixed":
			need("prefix", s.Prefix, "sha256=")
		case "kv":
			if w.PairSep == "" {
				w.PairSep = ","
			}
			if w.KVSep == "" {
				w.KVSep = "="
			}
			need("sig_keys", strings.Join(s.SigKeys, ""), "[v1]")
		case "list":
			w.ItemSep, w.TagSep = cmp.Or(w.ItemSep, " "), cmp.Or(w.TagSep, ",")
			need("accept_tags", strings.Join(s.AcceptTags, ""), "[v1]")
		case "tagged":
			w.ItemSep, w.TagSep = cmp.Or(w.ItemSep, ","), cmp.Or(w.TagSep, "/")
			need("tag_regex", s.TagRegex, "[0-9]+/SHA256")
			re, err := regexp.Compile("^(?:" + s.TagRegex + ")$")
			if err != nil {
				f.Add(path+".tag_regex", "%v", err)
			}
			w.tag = re
		case "positional":
			w.ItemSep = cmp.Or(w.ItemSep, ",")
		default:
			f.OneOf(path+".format", s.Format, "raw, prefixed, kv, list, tagged, positional")
		}
		v.places = append(v.places, w)
	}
}

func (v *signature) newTime(f *fault.List) {
	t := v.scheme.Timestamp
	if t == nil {
		if v.scheme.Tolerance != nil {
			f.Add("tolerance", "there is no timestamp to judge; describe it under timestamp, or remove tolerance")
		}
		if v.tmpl.has(partTime) {
			f.Add("timestamp", "missing; {ts} is part of the signed content")
		}
		return
	}
	v.ts = t
	if !slices.Contains([]string{"", "s", "ms", "rfc3339", "http-date"}, t.Unit) {
		f.OneOf("timestamp.unit", t.Unit, "s, ms, rfc3339, http-date")
	}
	if t.In != "signature" {
		if t.Key != "" {
			f.Add("timestamp.key", "only used with in: signature; remove it")
		}
		v.tsAt = newPlace(&t.Location, "timestamp", &v.set, f)
		return
	}
	v.timeKey = t.Key
	positional := len(v.places) > 0
	for i := range v.places {
		positional = positional && v.places[i].Format == "positional"
	}
	if t.Key == "" && !positional { // there, it is the first item
		f.Add("timestamp.key", "missing; the field's name inside the signature's text is wanted")
	}
	for i := range v.places {
		switch p := &v.places[i]; p.Format {
		case "kv":
			if slices.Contains(p.SigKeys, t.Key) {
				f.Add("timestamp.key", "%q is one of sig_keys, too", t.Key)
			}
		case "positional":
			if p.TSKey != t.Key && p.TSKey != "" && t.Key != "" {
				f.Add("timestamp.key", "%q; the signature's ts_key is %q", t.Key, p.TSKey)
			}
		default:
			f.Add("timestamp.in", "signature does not go with format %s; kv or positional is wanted", p.Format)
		}
	}
}

func (v *signature) newSecrets(o Options, f *fault.List) {
	if v.scheme.Key.Source != "" {
		f.Add("key.source", "is for public keys; %s takes key.decode", v.alg.name)
	}
	v.secrets = newSecretKeys(o, v.scheme.Key, v.alg, f)
	for i := range o.Keys {
		f.Add(fmt.Sprintf("keys[%d]", i), "%s is not a key for %s; write it as a secret", o.Keys[i].Kind, v.alg.name)
	}
}

func (v *signature) newPublicKeys(o Options, f *fault.List) {
	if v.scheme.Key.Decode != "" {
		f.Add("key.decode", "is for secrets; %s takes key.source", v.alg.name)
	}
	v.public, v.jwks = newPublicKeys(o, v.scheme.Key, v.alg.name, v.alg.fits, f)
}

func (v *signature) describe() string {
	what := "the body"
	if v.scheme.Signed != "{body}" {
		what = strconv.Quote(v.scheme.Signed)
		if c := v.covers(); !c.Content {
			what += " (the body is not covered)"
		}
	}
	names := make([]string, len(v.places))
	for i, p := range v.places {
		names[i] = p.at.label
		switch p.Format {
		case "prefixed":
			names[i] += " after " + p.Prefix
		case "kv":
			names[i] += " as " + strings.Join(p.SigKeys, " or ")
		case "list":
			names[i] += " tagged " + strings.Join(p.AcceptTags, " or ")
		}
	}
	text := fmt.Sprintf("%s %s of %s in %s", v.scheme.Encoding, v.alg.title, what, strings.Join(names, " or "))
	if t := v.scheme.Tolerance; t != nil {
		past, future := t.window()
		text += fmt.Sprintf(", at most %d s old or %d s ahead", int64(past.Seconds()), int64(future.Seconds()))
	}
	return text
}

func (v *signature) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: v.alg.name}
	values, err := v.set.findIn(r)
	if err != nil {
		return out, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	sigs := signatureTexts{most: maxSignatures}
	if !v.alg.symmetric() {
		sigs.most = maxPublicSignatures
	}
	if err := v.readSignatures(r, values, &sigs); err != nil {
		return out, err
	}
	c := content{r: r, url: r.URL, values: values}
	if v.url != "" {
		c.url = v.url
	}
	var at time.Time
	if v.ts != nil {
		if c.ts = sigs.time; v.tsAt.in != "" {
			if c.ts, err = v.tsAt.text(r, values); err != nil {
				return out, err
			}
		} else if c.ts == "" {
			return out, fmt.Errorf("%s: %w: no %s", v.places[0].at.label, ErrMissing, v.timeKey)
		}
		var ok bool
		if at, ok = parseTime(c.ts, v.ts.Unit); !ok {
			return out, fmt.Errorf("timestamp %s: %w", Printable(c.ts), ErrMalformed)
		}
	}
	if v.id.in != "" {
		if c.id, err = v.id.text(r, values); err != nil {
			return out, err
		}
		unit := ""
		if v.ts != nil {
			unit = v.ts.Unit
		}
		if err := v.tmpl.checkID(c.id, unit); err != nil {
			return out, err
		}
	}
	if v.alg.symmetric() {
		out.KeyID, err = v.matchSecret(&c, sigs.list)
	} else {
		out.KeyID, err = v.matchPublic(ctx, &c, sigs.list)
	}
	if err != nil {
		return out, err
	}
	if v.hashed {
		var w bufWriter
		if err := v.tmpl.write(&c, nil, &w); err != nil {
			return out, err
		}
		out.Signed = signedHash(w.b)
	}
	if v.scheme.Tolerance != nil {
		now := r.ReceivedAt
		if v.ts.Unit != "ms" && v.ts.Unit != "rfc3339" {
			now = now.Truncate(time.Second)
		}
		past, future := v.scheme.Tolerance.window()
		if !fresh(at, now, past, future) {
			return out, fmt.Errorf("timestamp %s: %w of %s around %s", Printable(c.ts), ErrStale, past, now.UTC().Format(time.RFC3339))
		}
	}
	return out, nil
}

// readSignatures collects the signatures of all places. One place with signatures is enough, but
// no place may be ambiguous.
func (v *signature) readSignatures(r *gaff.Request, values [][]byte, sigs *signatureTexts) error {
	var first error
	for i := range v.places {
		w := &v.places[i]
		text, err := w.at.text(r, values)
		if err == nil {
			err = w.read(text, v.timeKey, sigs)
		}
		if errors.Is(err, ErrAmbiguous) {
			return err
		}
		if err != nil && first == nil {
			first = err
		}
	}
	if len(sigs.list) == 0 {
		return first
	}
	return nil
}

func (v *signature) matchSecret(c *content, sigs []string) (string, error) {
	id, err := v.secrets.match(v.scheme.Encoding, sigs, func(key []byte, w writer) error {
		return v.tmpl.write(c, key, w)
	})
	if err == nil && id == "" {
		err = v.refusal(sigs)
	}
	return id, err
}

func (v *signature) matchPublic(ctx context.Context, c *content, sigs []string) (string, error) {
	decoded := make([][]byte, 0, len(sigs))
	for _, sig := range sigs {
		if b, ok := decode(v.scheme.Encoding, sig); ok {
			decoded = append(decoded, b)
		}
	}
	if len(decoded) == 0 {
		return "", v.refusal(sigs)
	}
	var w bufWriter
	if err := v.tmpl.write(c, nil, &w); err != nil {
		return "", err
	}
	keys := v.public
	if v.jwks != nil {
		var err error
		if keys, err = v.jwks.current(ctx); err != nil {
			return "", err
		}
	}
	if id := v.tryKeys(keys, w.b, decoded); id != "" {
		return id, nil
	}
	if v.jwks != nil {
		renewed, err := v.jwks.renewed(ctx, keys, c.r.RemoteAddr)
		if err != nil {
			return "", err
		}
		if id := v.tryKeys(renewed, w.b, decoded); id != "" {
			return id, nil
		}
	}
	return "", v.refusal(sigs)
}

func (v *signature) tryKeys(keys []publicKey, message []byte, sigs [][]byte) string {
	for i := range keys {
		if !v.alg.fits(keys[i].key) {
			continue
		}
		for _, sig := range sigs {
			if v.alg.verifyPublic(keys[i].key, message, sig) {
				return keys[i].id
			}
		}
	}
	return ""
}

// refusal returns the error for signatures that match no key: malformed if they cannot be
// signatures.
func (v *signature) refusal(sigs []string) error {
	label := v.places[0].at.label
	if len(v.places) > 1 {
		label = "signature"
	}
	for _, sig := range sigs {
		if _, ok := decode(v.scheme.Encoding, sig); ok {
			n := max(len(v.secrets), len(v.public))
			if n > 1 {
				return fmt.Errorf("%s: %w any of %d keys: another key, or the signed content was changed on its way%s",
					label, ErrMismatch, n, hexCase(v.scheme.Encoding, sig))
			}
			return mismatch(label, v.scheme.Encoding, sig)
		}
	}
	return notEncoded(label, v.scheme.Encoding, sigs[0])
}

func (v *signature) sign(r *gaff.Request, at time.Time) error {
	if !v.alg.symmetric() && (len(v.public) == 0 || v.public[0].priv == nil) {
		return fmt.Errorf("the private key for %s is the sender's", v.alg.name)
	}
	w := &v.places[0]
	ts := ""
	if v.ts != nil {
		ts = formatTime(at, v.ts.Unit)
		var had string
		if v.tsAt.in == "json" { // the body may have its own
			values, err := v.set.findIn(r)
			if err != nil {
				return err
			}
			had, _ = v.tsAt.read(r, values)
		}
		switch {
		case had != "":
			ts = had
		case v.tsAt.in != "":
			if err := v.tsAt.put(r, v.ts.Pointer, ts, v.ts.Unit != "rfc3339" && v.ts.Unit != "http-date"); err != nil {
				return err
			}
		}
	}
	values, err := v.fillID(r)
	if err != nil {
		return err
	}
	c := content{r: r, url: r.URL, values: values, ts: ts}
	if v.url != "" {
		c.url = v.url
	}
	if v.id.in != "" {
		if c.id, err = v.id.text(r, values); err != nil {
			return err
		}
	}
	raw, err := v.signBytes(&c)
	if err != nil {
		return err
	}
	text, err := w.write(string(encode(v.scheme.Encoding, nil, raw)), v.timeKey, c.ts)
	if err != nil {
		return err
	}
	return w.at.put(r, w.Pointer, text, false)
}

// fillID adds an id to a request that is being signed if it has none, and fills its body.
func (v *signature) fillID(r *gaff.Request) ([][]byte, error) {
	values, err := v.fill(r)
	if err != nil || v.id.in != "header" && v.id.in != "json" {
		return values, err
	}
	if _, err := v.id.text(r, values); !errors.Is(err, ErrMissing) {
		return values, nil // an existing id is checked later
	}
	if err := v.id.put(r, v.scheme.ID.Pointer, "msg_"+strings.ToLower(rand.Text()), false); err != nil {
		return nil, err
	}
	return v.set.find(r.Body)
}

// fill adds missing signed values to a body that is being signed, and returns the values at the
// pointers.
func (v *signature) fill(r *gaff.Request) ([][]byte, error) {
	values, err := v.set.findIn(r)
	if err != nil {
		return nil, err
	}
	changed := false
	for _, p := range v.tmpl.parts {
		if p.kind != partPlace {
			continue
		}
		if _, err := p.at.read(r, values); err == nil {
			continue
		} else if !errors.Is(err, ErrMissing) {
			return nil, err
		}
		text := strings.ToLower(rand.Text())
		if err := p.at.put(r, strings.TrimPrefix(p.at.label, "body "), text, false); err != nil {
			return nil, err
		}
		changed = true
	}
	if !changed {
		return values, nil
	}
	return v.set.findIn(r)
}

func (v *signature) signBytes(c *content) ([]byte, error) {
	if !v.alg.symmetric() {
		var w bufWriter
		if err := v.tmpl.write(c, nil, &w); err != nil {
			return nil, err
		}
		return ed25519.Sign(v.public[0].priv, w.b), nil
	}
	k := &v.secrets[0]
	m := k.pool.Get().(*macState)
	defer k.pool.Put(m)
	m.h.Reset()
	if err := v.tmpl.write(c, k.key, hashWriter{m}); err != nil {
		return nil, err
	}
	return m.h.Sum(nil), nil
}
