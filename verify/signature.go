package verify

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gaff"
)

// algorithm is a way of signing. Exactly one of mac, keyed and public says how.
type algorithm struct {
	name   string
	title  string
	hash   func() hash.Hash // of mac and keyed
	mac    bool
	keyed  bool
	public crypto.Hash // of rsa and ecdsa; 0 for ed25519
}

var algorithms = []algorithm{
	{name: "hmac-sha1", title: "HMAC-SHA1", hash: sha1.New, mac: true},
	{name: "hmac-sha256", title: "HMAC-SHA256", hash: sha256.New, mac: true},
	{name: "hmac-sha384", title: "HMAC-SHA384", hash: sha512.New384, mac: true},
	{name: "hmac-sha512", title: "HMAC-SHA512", hash: sha512.New, mac: true},
	{name: "keyed-sha1", title: "SHA1 with the key inside", hash: sha1.New, keyed: true},
	{name: "keyed-sha256", title: "SHA256 with the key inside", hash: sha256.New, keyed: true},
	{name: "ed25519", title: "Ed25519 signature"},
	{name: "ecdsa-p256-sha256", title: "ECDSA P-256 signature", public: crypto.SHA256},
	{name: "rsa-pkcs1-sha1", title: "RSA-SHA1 signature", public: crypto.SHA1},
	{name: "rsa-pkcs1-sha256", title: "RSA-SHA256 signature", public: crypto.SHA256},
	{name: "rsa-pkcs1-sha512", title: "RSA-SHA512 signature", public: crypto.SHA512},
}

func findAlgorithm(name string) (algorithm, bool) {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.name == name })
	if i < 0 {
		return algorithm{}, false
	}
	return algorithms[i], true
}

// symmetric reports whether who verifies can sign.
func (a algorithm) symmetric() bool { return a.mac || a.keyed }

// fits reports whether the key is one for the algorithm.
func (a algorithm) fits(key crypto.PublicKey) bool {
	switch key.(type) {
	case ed25519.PublicKey:
		return a.name == "ed25519"
	case *ecdsa.PublicKey:
		return a.name == "ecdsa-p256-sha256"
	case *rsa.PublicKey:
		return strings.HasPrefix(a.name, "rsa-")
	}
	return false
}

// verifyPublic checks a signature with a public key that fits.
func (a algorithm) verifyPublic(key crypto.PublicKey, message, sig []byte) bool {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize && ed25519.Verify(k, message, sig)
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest(a.public, message), sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, a.public, digest(a.public, message), sig) == nil
	}
	return false
}

func digest(h crypto.Hash, message []byte) []byte {
	d := h.New()
	d.Write(message)
	return d.Sum(nil)
}

// encodings of signatures. encode appends; decode is strict: one text for one value
// (but for the case of hex digits), no white space.
func encode(name string, dst, b []byte) []byte {
	switch name {
	case "hex":
		return hex.AppendEncode(dst, b)
	case "hex-upper":
		from := len(dst)
		dst = hex.AppendEncode(dst, b)
		for i := from; i < len(dst); i++ {
			if dst[i] >= 'a' {
				dst[i] -= 'a' - 'A'
			}
		}
		return dst
	case "base64":
		return base64.StdEncoding.AppendEncode(dst, b)
	default:
		return base64.RawURLEncoding.AppendEncode(dst, b)
	}
}

func decode(name, text string) ([]byte, bool) {
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	var b []byte
	var err error
	switch name {
	case "hex", "hex-upper":
		b, err = hex.DecodeString(text)
	case "base64":
		b, err = base64.StdEncoding.Strict().DecodeString(text)
	default:
		b, err = base64.RawURLEncoding.Strict().DecodeString(text)
	}
	return b, err == nil
}

const (
	maxTimestamp = 40 // bytes of text
	// Signatures in one request. A digest is compared with each; a public key
	// operation costs a thousand times that.
	maxSignatures       = 512
	maxPublicSignatures = 32
	maxTagSeps          = 8 // of which one may end an item's tag
)

// parseTime reads a timestamp strictly: digits without sign or leading zero, or RFC 3339
// in full. Lenience would let bytes move between the timestamp and its neighbours.
func parseTime(text, unit string) (time.Time, bool) {
	if unit == "rfc3339" {
		const shape = "0000-00-00T00:00:00"
		if len(text) < len(shape)+1 || len(text) > maxTimestamp {
			return time.Time{}, false
		}
		for i := range len(shape) {
			if digit := text[i] >= '0' && text[i] <= '9'; digit != (shape[i] == '0') || !digit && text[i] != shape[i] {
				return time.Time{}, false
			}
		}
		if strings.ContainsRune(text, ',') {
			return time.Time{}, false
		}
		at, err := time.Parse(time.RFC3339Nano, text)
		return at, err == nil
	}
	if text == "" || len(text) > 15 || text[0] == '0' && len(text) > 1 {
		return time.Time{}, false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return time.Time{}, false
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	if unit == "ms" {
		return time.UnixMilli(n), true
	}
	return time.Unix(n, 0), true
}

// fresh reports whether at is within the window around now, both ends included.
func fresh(at, now time.Time, past, future time.Duration) bool {
	return !at.Before(now.Add(-past)) && !at.After(now.Add(future))
}

// formatTime is the reverse of parseTime.
func formatTime(at time.Time, unit string) string {
	switch unit {
	case "ms":
		return strconv.FormatInt(at.UnixMilli(), 10)
	case "rfc3339":
		return at.UTC().Format(time.RFC3339Nano)
	}
	return strconv.FormatInt(at.Unix(), 10)
}

// secretKey is a symmetric key with its reusable digests.
type secretKey struct {
	id   string
	key  []byte
	pool *sync.Pool // of *macState
}

// macState is one computation under way.
type macState struct {
	h    hash.Hash
	sum  []byte
	text []byte // the expected signature as it is written
	buf  []byte // text to be hashed
}

func (m *macState) feed(s string) {
	m.buf = append(m.buf[:0], s...)
	m.h.Write(m.buf)
}

// hashWriter feeds a digest.
type hashWriter struct{ *macState }

func (w hashWriter) text(s string)  { w.feed(s) }
func (w hashWriter) bytes(b []byte) { w.h.Write(b) }

// bufWriter collects the content for algorithms that need it whole.
type bufWriter struct{ b []byte }

func (w *bufWriter) text(s string)  { w.b = append(w.b, s...) }
func (w *bufWriter) bytes(b []byte) { w.b = append(w.b, b...) }

// secretKeys are tried in turn.
type secretKeys []secretKey

func newSecretKey(key []byte, a algorithm) secretKey {
	return secretKey{id: fingerprint(key), key: key, pool: &sync.Pool{New: func() any {
		if a.keyed {
			return &macState{h: a.hash()}
		}
		return &macState{h: hmac.New(a.hash, key)}
	}}}
}

// written is a place of a signature ready for use.
type written struct {
	Signature
	at  place
	tag *regexp.Regexp
}

// found is what the texts at the places of a signature hold.
type found struct {
	list  []string
	array [4]string
	time  string // of a field inside the signature's text
	most  int
}

func (f *found) add(sig string) bool {
	if f.list == nil {
		f.list = f.array[:0]
	}
	f.list = append(f.list, sig)
	return len(f.list) <= f.most
}

// read takes the text apart and adds what it holds. timeKey names the field that holds
// the timestamp; empty if there is none.
func (w *written) read(text, timeKey string, f *found) error {
	tooMany := func() error {
		return fmt.Errorf("%s: %w: more than %d signatures", w.at.label, ErrAmbiguous, f.most)
	}
	before := len(f.list)
	setTime := func(value string) error {
		if f.time != "" && f.time != value {
			return fmt.Errorf("%s: %w: two different %s", w.at.label, ErrAmbiguous, timeKey)
		}
		f.time = value
		return nil
	}
	lacks := "" // where no signature was found
	switch w.Format {
	case "raw":
		f.add(text)
	case "prefixed":
		sig, ok := strings.CutPrefix(text, w.Prefix)
		if !ok {
			return fmt.Errorf("%s: %w: it does not begin with %s", w.at.label, ErrMalformed, w.Prefix)
		}
		f.add(sig)
	case "kv":
		for rest := text; rest != ""; {
			pair := rest
			if i := strings.IndexAny(rest, w.PairSep); i >= 0 {
				pair, rest = rest[:i], rest[i+1:]
			} else {
				rest = ""
			}
			key, value, ok := strings.Cut(strings.Trim(pair, " \t"), w.KVSep)
			if !ok {
				continue
			}
			if key == timeKey && timeKey != "" {
				if value == "" {
					return fmt.Errorf("%s: %w: empty %s", w.at.label, ErrMalformed, key)
				}
				if err := setTime(value); err != nil {
					return err
				}
			}
			if slices.Contains(w.SigKeys, key) && !f.add(value) {
				return tooMany()
			}
		}
		lacks = strings.Join(w.SigKeys, ", ")
	case "list":
		for item := range strings.SplitSeq(text, w.ItemSep) {
			tag, sig, ok := strings.Cut(strings.Trim(item, " \t"), w.TagSep)
			if ok && slices.Contains(w.AcceptTags, tag) && !f.add(sig) {
				return tooMany()
			}
		}
		lacks = strings.Join(w.AcceptTags, ", ")
	case "tagged":
		for item := range strings.SplitSeq(text, w.ItemSep) {
			item = strings.Trim(item, " \t")
			// Tags and signatures in base64 may hold the separator themselves.
			for i, n := 0, 0; n < maxTagSeps; n++ {
				j := strings.Index(item[i:], w.TagSep)
				if j < 0 {
					break
				}
				tag := item[:i+j]
				i += j + len(w.TagSep)
				if w.tag.MatchString(tag) && !f.add(item[i:]) {
					return tooMany()
				}
			}
		}
		lacks = w.TagRegex
	case "positional":
		first := true
		for item := range strings.SplitSeq(text, w.ItemSep) {
			item = strings.Trim(item, " \t")
			if first {
				first = false
				if err := setTime(item); err != nil {
					return err
				}
			} else if !f.add(item) {
				return tooMany()
			}
		}
		lacks = "timestamp"
	}
	if len(f.list) == before {
		return fmt.Errorf("%s: %w: no signature under %s", w.at.label, ErrMissing, lacks)
	}
	return nil
}

// write is the reverse of read.
func (w *written) write(sig, timeKey, ts string) (string, error) {
	switch w.Format {
	case "prefixed":
		return w.Prefix + sig, nil
	case "kv":
		sep := w.PairSep[:1]
		text := w.SigKeys[0] + w.KVSep + sig
		if timeKey != "" {
			text = timeKey + w.KVSep + ts + sep + text
		}
		return text, nil
	case "list":
		return w.AcceptTags[0] + w.TagSep + sig, nil
	case "tagged":
		tag := w.TagRegex
		if !w.tag.MatchString(tag) {
			if tag = "1" + strings.TrimPrefix(tag, "[0-9]+"); !w.tag.MatchString(tag) {
				return "", errors.New("the signature's tag is not told by the scheme")
			}
		}
		return tag + w.TagSep + sig, nil
	case "positional":
		return ts + w.ItemSep + sig, nil
	}
	return sig, nil
}

// signature is the kind of the same name.
type signature struct {
	scheme  Scheme
	alg     algorithm
	secrets secretKeys
	public  []publicKey
	jwks    *JWKS
	tmpl    template
	places  []written
	set     pointers // what must be known to verify
	id      place
	ts      *Timestamp
	tsAt    place // zero where the timestamp is inside the signature's text
	timeKey string
	url     string // overrides the request's
}

func newSignature(s Scheme, o Options, f *faults) *signature {
	v := &signature{scheme: s, url: o.Settings["url"]}
	alg, ok := findAlgorithm(s.Algorithm)
	if !ok {
		names := make([]string, len(algorithms))
		for i, a := range algorithms {
			names[i] = a.name
		}
		f.add("algorithm", "%q is not known; one of %s is wanted", s.Algorithm, strings.Join(names, ", "))
	}
	v.alg = alg
	if !slices.Contains([]string{"hex", "hex-upper", "base64", "base64url"}, s.Encoding) {
		f.add("encoding", "%q is not known; one of hex, hex-upper, base64, base64url is wanted", s.Encoding)
	}
	before := len(*f)
	v.tmpl = parseTemplate(s.Signed, "signed", o.Settings, &v.set, f)
	if ok && alg.keyed != v.tmpl.has(partKey) {
		if alg.keyed {
			f.add("signed", "%s needs {key} in the signed content", s.Algorithm)
		} else {
			f.add("signed", "{key} does not go with %s; remove it, or take keyed-sha256", s.Algorithm)
		}
	}
	if !slices.ContainsFunc(v.tmpl.parts, s.fromBody) && len(*f) == before {
		f.add("signed", "%q covers nothing of the body; {body} is wanted", s.Signed)
	}
	v.newPlaces(f)
	v.newTime(f)
	if v.tmpl.has(partID) {
		if s.ID == nil {
			f.add("id", "missing; {id} is part of the signed content")
		}
		v.id = newPlace(s.ID, "id", &v.set, &faults{}) // faults are reported by New
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

// fromBody reports whether a part of the signed content is taken from the body, or may be.
func (s *Scheme) fromBody(p part) bool {
	inBody := func(l *Location) bool { return l != nil && (l.In == "json" || l.In == "form") }
	switch p.kind {
	case partBody, partBodyHash, partForm, partPlace:
		return true
	case partID:
		return inBody(s.ID)
	case partTime:
		return s.Timestamp != nil && inBody(&s.Timestamp.Location)
	}
	return false
}

func (v *signature) newPlaces(f *faults) {
	if len(v.scheme.Signature) == 0 {
		f.add("signature", "missing; where it stands is wanted, such as in: header, name: X-Signature")
	}
	for i, s := range v.scheme.Signature {
		path := "signature"
		if len(v.scheme.Signature) > 1 {
			path = fmt.Sprintf("signature[%d]", i)
		}
		w := written{Signature: s, at: newPlace(&s.Location, path, &v.set, f)}
		need := func(field, value, example string) {
			if value == "" {
				f.add(path+"."+field, "missing; format %s needs it, such as %s", s.Format, example)
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
				f.add(path+".tag_regex", "%v", err)
			}
			w.tag = re
		case "positional":
			w.ItemSep = cmp.Or(w.ItemSep, ",")
		default:
			f.add(path+".format", "%q is not known; one of raw, prefixed, kv, list, tagged, positional is wanted", s.Format)
		}
		v.places = append(v.places, w)
	}
}

func (v *signature) newTime(f *faults) {
	t := v.scheme.Timestamp
	if t == nil {
		if v.scheme.Tolerance != nil {
			f.add("tolerance", "there is no timestamp to judge; describe it under timestamp, or remove tolerance")
		}
		if v.tmpl.has(partTime) {
			f.add("timestamp", "missing; {ts} is part of the signed content")
		}
		return
	}
	v.ts = t
	if !slices.Contains([]string{"", "s", "ms", "rfc3339"}, t.Unit) {
		f.add("timestamp.unit", "%q is not known; one of s, ms, rfc3339 is wanted", t.Unit)
	}
	if t.In != "signature" {
		if t.Key != "" {
			f.add("timestamp.key", "only used with in: signature; remove it")
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
		f.add("timestamp.key", "missing; the field's name inside the signature's text is wanted")
	}
	for i := range v.places {
		switch p := &v.places[i]; p.Format {
		case "kv":
			if slices.Contains(p.SigKeys, t.Key) {
				f.add("timestamp.key", "%q is one of sig_keys, too", t.Key)
			}
		case "positional":
			if p.TSKey != t.Key && p.TSKey != "" && t.Key != "" {
				f.add("timestamp.key", "%q; the signature's ts_key is %q", t.Key, p.TSKey)
			}
		default:
			f.add("timestamp.in", "signature does not go with format %s; kv or positional is wanted", p.Format)
		}
	}
}

func (v *signature) newSecrets(o Options, f *faults) {
	if v.scheme.Key.Source != "" {
		f.add("key.source", "is for public keys; %s takes key.decode", v.alg.name)
	}
	v.secrets = newSecretKeys(o, v.scheme.Key, v.alg, f)
	for i := range o.Keys {
		f.add(fmt.Sprintf("keys[%d]", i), "%s is no key for %s; write it as a secret", o.Keys[i].Kind, v.alg.name)
	}
}

func newSecretKeys(o Options, format KeyFormat, a algorithm, f *faults) secretKeys {
	if !slices.Contains([]string{"", "utf8", "base64", "hex", "utf8-nfkd", "sha1"}, format.Decode) {
		f.add("key.decode", "%q is not known; one of utf8, base64, hex, utf8-nfkd, sha1 is wanted", format.Decode)
		return nil
	}
	if len(o.Secrets) == 0 {
		f.add("secrets", "missing; the secret that the sender signs with is wanted")
	}
	var keys secretKeys
	for i, text := range o.Secrets {
		key, err := decodeSecret(text, format)
		if err != nil {
			f.add(fmt.Sprintf("secrets[%d]", i), "%v", err)
			continue
		}
		keys = append(keys, newSecretKey(key, a))
	}
	return keys
}

// keyKinds says as which kind of [Key] a plain text is read.
var keyKinds = map[string]string{
	"hex": "ed25519_hex", "base64": "ed25519_base64", "spki_base64": "spki_base64", "spki_pem": "spki_pem",
}

func (v *signature) newPublicKeys(o Options, f *faults) {
	if v.scheme.Key.Decode != "" {
		f.add("key.decode", "is for secrets; %s takes key.source", v.alg.name)
	}
	v.public, v.jwks = newPublicKeys(o, v.scheme.Key, v.alg.name, v.alg.fits, f)
}

// newPublicKeys returns the configured keys that fit, or else the address to fetch them
// from.
func newPublicKeys(o Options, format KeyFormat, name string, fits func(crypto.PublicKey) bool, f *faults) ([]publicKey, *JWKS) {
	fetched := format.Source == "jwks" || format.Source == "jwks-by-kid"
	if _, ok := keyKinds[format.Source]; !ok && !fetched {
		f.add("key.source", "%q is not known; one of jwks, jwks-by-kid, hex, base64, spki_base64, spki_pem is wanted", format.Source)
		return nil, nil
	}
	var keys []Key
	var paths []string
	for i, text := range o.Secrets {
		path := fmt.Sprintf("secrets[%d]", i)
		kind := keyKinds[format.Source]
		if fetched {
			if kind = "jwks"; !strings.HasPrefix(text, "{") {
				f.add(path, "not used: the sender's keys are public; remove it, or give a JWKS document")
				continue
			}
		}
		keys, paths = append(keys, Key{Kind: kind, Value: text}), append(paths, path)
	}
	for i, k := range o.Keys {
		keys, paths = append(keys, k), append(paths, fmt.Sprintf("keys[%d]", i))
	}
	var public []publicKey
	for i, k := range keys {
		if k.Value == "" {
			f.add(paths[i], "empty; a public key is wanted")
			continue
		}
		list, err := parseKey(k)
		if err != nil {
			f.add(paths[i], "%v", err)
			continue
		}
		before := len(public)
		for _, p := range list {
			if fits(p.key) {
				public = append(public, p)
			}
		}
		if len(public) == before {
			f.add(paths[i], "no key for %s in it", name)
		}
	}
	if len(keys) > 0 || len(o.Secrets) > 0 {
		return public, nil
	}
	address := o.Settings["jwks_url"]
	if address == "" {
		address = format.DefaultURL
	}
	switch {
	case !fetched:
		f.add("secrets", "missing; the sender's public key is wanted (%s)", format.Source)
	case o.JWKS != nil:
		return nil, o.JWKS
	case address != "":
		return nil, NewJWKS(address, JWKSOptions{Client: o.Client})
	case format.Source == "jwks-by-kid":
		f.add("secrets", "missing; the sender hands out its keys one by one for API credentials: give them as a JWKS document")
	default:
		f.add("settings.jwks_url", "missing; the address of the sender's JWKS is wanted")
	}
	return nil, nil
}

func (v *signature) describe() string {
	what := "the body"
	if v.scheme.Signed != "{body}" {
		what = strconv.Quote(v.scheme.Signed)
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
	values, err := v.set.find(r.Body)
	if err != nil {
		return out, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	sigs := found{most: maxSignatures}
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
			return out, fmt.Errorf("timestamp %s: %w", printable(c.ts), ErrMalformed)
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
	if v.scheme.Tolerance != nil {
		now := r.ReceivedAt
		if v.ts.Unit == "" || v.ts.Unit == "s" {
			now = now.Truncate(time.Second)
		}
		past, future := v.scheme.Tolerance.window()
		if !fresh(at, now, past, future) {
			return out, fmt.Errorf("timestamp %s: %w of %s around %s", printable(c.ts), ErrStale, past, now.UTC().Format(time.RFC3339))
		}
	}
	return out, nil
}

// readSignatures gathers the signatures of all places. It is enough that one place has
// some, but none may be ambiguous.
func (v *signature) readSignatures(r *gaff.Request, values [][]byte, sigs *found) error {
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

// match returns the name of the secret under which one of the signatures is right, or
// nothing. write writes the signed content. The expected text is compared with the text
// sent, so a right signature has one spelling and nothing need be decoded.
func (keys secretKeys) match(encoding string, sigs []string, write func(key []byte, w writer) error) (string, error) {
	for i := range keys {
		k := &keys[i]
		m := k.pool.Get().(*macState)
		m.h.Reset()
		if err := write(k.key, hashWriter{m}); err != nil {
			k.pool.Put(m)
			return "", err
		}
		m.sum = m.h.Sum(m.sum[:0])
		m.text = encode(encoding, m.text[:0], m.sum)
		matched := false
		for _, sig := range sigs {
			if len(sig) == len(m.text) {
				m.buf = append(m.buf[:0], sig...)
				matched = subtle.ConstantTimeCompare(m.buf, m.text) == 1 || matched
			}
		}
		k.pool.Put(m)
		if matched {
			return k.id, nil
		}
	}
	return "", nil
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
		if id := v.tryKeys(v.jwks.renewed(ctx, keys), w.b, decoded); id != "" {
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

// refusal tells signatures that fit no key from texts that are none.
func (v *signature) refusal(sigs []string) error {
	label := v.places[0].at.label
	if len(v.places) > 1 {
		label = "signature"
	}
	for _, sig := range sigs {
		if _, ok := decode(v.scheme.Encoding, sig); ok {
			n := max(len(v.secrets), len(v.public))
			if n > 1 {
				return fmt.Errorf("%s: %w any of %d keys: another key, or the signed content was changed on its way", label, ErrMismatch, n)
			}
			return fmt.Errorf("%s: %w: another key, or the signed content was changed on its way", label, ErrMismatch)
		}
	}
	return notEncoded(label, v.scheme.Encoding, sigs[0])
}

// notEncoded does not repeat the text: a sender set up wrongly may have put its secret
// there.
func notEncoded(label, encoding, text string) error {
	return fmt.Errorf("%s: %w: its %d characters are not %s", label, ErrMalformed, len(text), encoding)
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
		if v.tsAt.in == "json" { // a body that brings its own keeps it
			values, err := v.set.find(r.Body)
			if err != nil {
				return err
			}
			had, _ = v.tsAt.read(r, values)
		}
		switch {
		case had != "":
			ts = had
		case v.tsAt.in != "":
			if err := v.tsAt.put(r, v.ts.Pointer, ts, v.ts.Unit != "rfc3339"); err != nil {
				return err
			}
		}
	}
	if v.id.in == "header" && r.Header.Get(v.id.name) == "" {
		r.Header.Set(v.id.name, "msg_"+strings.ToLower(rand.Text()))
	}
	values, err := v.fill(r)
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

// fill gives a body that is being signed the signed values that it lacks, and returns
// what the pointers find in it then.
func (v *signature) fill(r *gaff.Request) ([][]byte, error) {
	values, err := v.set.find(r.Body)
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
	return v.set.find(r.Body)
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

// cutWord cuts a prefix such as "Bearer ", which may be written in any case (RFC 9110).
func cutWord(text, prefix string) (rest string, ok bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

// token is the kind of the same name: a shared text, compared.
type token struct {
	scheme Scheme
	at     place
	set    pointers
	tokens [][sha256.Size]byte
	plain  []string
	ids    []string
}

func newToken(s Scheme, o Options, f *faults) *token {
	v := &token{scheme: s}
	if s.Token == nil {
		f.add("token", "missing; where it stands is wanted, such as in: header, name: X-Token")
	} else {
		v.at = newPlace(&s.Token.Location, "token", &v.set, f)
	}
	if s.Tolerance != nil {
		f.add("tolerance", "kind token has no timestamp; remove it")
	}
	if len(o.Secrets) == 0 {
		f.add("secrets", "missing; the token that the sender sends is wanted")
	}
	for i, text := range o.Secrets {
		key, err := decodeSecret(text, KeyFormat{})
		if err != nil {
			f.add(fmt.Sprintf("secrets[%d]", i), "%v", err)
			continue
		}
		v.tokens = append(v.tokens, sha256.Sum256(key))
		v.plain = append(v.plain, text)
		v.ids = append(v.ids, fingerprint(key))
	}
	return v
}

func (v *token) describe() string { return "a shared token in " + v.at.label }

func (v *token) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "token"}
	values, err := v.set.find(r.Body)
	if err != nil {
		return out, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	text, err := v.at.text(r, values)
	if err != nil {
		return out, err
	}
	text, ok := cutWord(text, v.scheme.Token.Prefix)
	if !ok {
		return out, fmt.Errorf("%s: %w: it does not begin with %s", v.at.label, ErrMalformed, v.scheme.Token.Prefix)
	}
	if out.KeyID = v.match(text); out.KeyID == "" {
		return out, fmt.Errorf("%s: %w", v.at.label, ErrMismatch)
	}
	return out, nil
}

// match returns the name of the token that the text is, or nothing.
func (v *token) match(text string) string {
	sum := sha256.Sum256([]byte(text)) // of equal length, whatever was sent
	for i := range v.tokens {
		if subtle.ConstantTimeCompare(sum[:], v.tokens[i][:]) == 1 {
			return v.ids[i]
		}
	}
	return ""
}

func (v *token) sign(r *gaff.Request, _ time.Time) error {
	return v.at.put(r, v.scheme.Token.Pointer, v.scheme.Token.Prefix+v.plain[0], false)
}

// standard is Standard Webhooks: HMACs tagged v1 and Ed25519 signatures tagged v1a side
// by side, each checked with its own kind of key only.
type standard struct {
	v1, v1a *signature // nil without such keys
	prefix  string
}

func newStandard(s Scheme, o Options, f *faults) *standard {
	prefix := s.HeaderPrefix
	if prefix == "" {
		prefix = "webhook-"
	}
	if !isToken(prefix) {
		f.add("header_prefix", "%q cannot begin a header name; webhook- or svix- is wanted", prefix)
	}
	base := Scheme{
		Kind: "signature", Signed: "{id}.{ts}.{body}", Encoding: "base64",
		Signature: Signatures{{
			Location: Location{In: "header", Name: prefix + "signature"},
			Format:   "list", ItemSep: " ", TagSep: ",", AcceptTags: []string{"v1"},
		}},
		Timestamp: &Timestamp{Location: Location{In: "header", Name: prefix + "timestamp"}},
		Tolerance: s.Tolerance,
		ID:        &Location{In: "header", Name: prefix + "id"},
	}
	v := &standard{prefix: prefix}
	var secrets []string
	keys := slices.Clone(o.Keys)
	for _, text := range o.Secrets {
		switch {
		case strings.HasPrefix(text, "whpk_"):
			keys = append(keys, Key{Kind: "ed25519_base64", Value: text})
		case strings.HasPrefix(text, "whsk_"):
			keys = append(keys, Key{Kind: "ed25519_seed_base64", Value: text})
		default:
			secrets = append(secrets, text)
		}
	}
	if len(secrets) > 0 || len(keys) == 0 {
		hmac := base
		hmac.Algorithm = "hmac-sha256"
		hmac.Key = KeyFormat{Decode: "base64", StripPrefix: []string{"v1,whsec_", "whsec_"}}
		v.v1 = newSignature(hmac, Options{Secrets: secrets, Settings: o.Settings}, f)
	}
	if len(keys) > 0 {
		public := base
		public.Algorithm = "ed25519"
		public.Key = KeyFormat{Source: "base64"}
		public.Signature = slices.Clone(base.Signature)
		public.Signature[0].AcceptTags = []string{"v1a"}
		v.v1a = newSignature(public, Options{Keys: keys, Settings: o.Settings}, f)
	}
	return v
}

func (v *standard) describe() string {
	tags := "v1 (HMAC-SHA256)"
	switch {
	case v.v1 == nil:
		tags = "v1a (Ed25519)"
	case v.v1a != nil:
		tags += " or v1a (Ed25519)"
	}
	return fmt.Sprintf("Standard Webhooks %s in %ssignature", tags, v.prefix)
}

func (v *standard) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	if v.v1 == nil {
		return v.v1a.verify(ctx, r)
	}
	out, err := v.v1.verify(ctx, r)
	if err == nil || v.v1a == nil || errors.Is(err, ErrStale) || errors.Is(err, ErrAmbiguous) {
		return out, err
	}
	other, errOther := v.v1a.verify(ctx, r)
	if errOther == nil || errors.Is(err, ErrMissing) {
		return other, errOther
	}
	return out, err
}

func (v *standard) sign(r *gaff.Request, at time.Time) error {
	if v.v1 != nil {
		return v.v1.sign(r, at)
	}
	return v.v1a.sign(r, at)
}
