package verify

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"gaff/internal/fault"

	"gaff"
)

// hook0 signs the values of headers that the signature itself names.
type hook0 struct {
	scheme  Scheme
	secrets secretKeys
}

const hook0Header = "X-Hook0-Signature"

func newHook0(s Scheme, o Options, f *fault.List) checker {
	return &hook0{s, newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f)}
}

func (v *hook0) describe() string {
	return "hex HMAC-SHA256 of the time, the named headers and the body in " + hook0Header
}

func (v *hook0) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "hook0"}
	text, err := headerText(r.Header, hook0Header, hook0Header)
	if err != nil {
		return out, err
	}
	field := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
		if old, twice := field[key]; ok && twice && old != value {
			return out, fmt.Errorf("%s: %w: two different %s", hook0Header, ErrAmbiguous, Printable(key))
		}
		field[key] = value
	}
	if field["t"] == "" {
		return out, fmt.Errorf("%s: %w: no t", hook0Header, ErrMissing)
	}
	if _, ok := parseTime(field["t"], "s"); !ok {
		return out, fmt.Errorf("timestamp %s: %w", Printable(field["t"]), ErrMalformed)
	}
	// v1 covers more than v0: where it is there, v0 counts for nothing.
	sig, v1 := field["v1"]
	content := field["t"] + "."
	if v1 {
		names := field["h"]
		values := []string{}
		for name := range strings.FieldsSeq(names) {
			value, err := headerText(r.Header, http.CanonicalHeaderKey(name), name)
			if err != nil {
				return out, err
			}
			values = append(values, value)
		}
		content += names + "." + strings.Join(values, ".") + "."
	} else {
		sig = field["v0"]
	}
	if sig == "" {
		return out, fmt.Errorf("%s: %w: no signature under v1 or v0", hook0Header, ErrMissing)
	}
	out.KeyID, err = v.secrets.match("hex", []string{sig}, func(_ []byte, w writer) error {
		w.text(content)
		w.bytes(r.Body)
		return nil
	})
	if err != nil {
		return out, err
	}
	if out.KeyID == "" {
		return out, mismatch(hook0Header, "hex", sig)
	}
	out.Signed = signedHash([]byte(content + string(r.Body)))
	return out, judge(v.scheme.Tolerance, field["t"], "s", r.ReceivedAt)
}

// covers is the body: which headers are signed, each request says.
func (v *hook0) covers() Coverage { return Coverage{Body: true, Content: true} }

func (v *hook0) sign(r *gaff.Request, at time.Time) error {
	t := formatTime(at, "s")
	names, values := "", ""
	if kind := r.Header.Get("Content-Type"); kind != "" {
		names, values = "content-type", kind
	}
	content := t + "." + names + "." + values + "." + string(r.Body)
	r.Header.Set(hook0Header, "t="+t+",h="+names+",v1="+v.secrets.sign("hex", content))
	return nil
}

// contentful signs a canonical form of the request.
type contentful struct {
	scheme  Scheme
	secrets secretKeys
}

func newContentful(s Scheme, o Options, f *fault.List) checker {
	return &contentful{s, newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f)}
}

func (v *contentful) describe() string {
	return "hex HMAC-SHA256 of method, path, signed headers and body in X-Contentful-Signature"
}

const (
	contentfulTime   = "X-Contentful-Timestamp"
	contentfulSigned = "X-Contentful-Signed-Headers"
	contentfulSig    = "X-Contentful-Signature"
)

// paths returns what may be signed as the path: as it is, and as the sender's own library
// writes it, which escapes what is escaped already.
func (v *contentful) paths(r *gaff.Request) ([]string, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, fmt.Errorf("request URL: %w", ErrMalformed)
	}
	path := u.EscapedPath()
	own := escapeJS(path, ";,/?:@&=+$#")
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
		own += "?" + escapeJS(escapeJS(u.RawQuery, ""), ";,/?:@&=+$#")
	}
	if own == path {
		return []string{path}, nil
	}
	return []string{own, path}, nil
}

// escapeJS escapes as JavaScript does: all but letters, digits, some marks and more.
func escapeJS(text, more string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.!~*'()"+more, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (v *contentful) content(r *gaff.Request, path, names string) (string, error) {
	list := strings.Split(strings.ToLower(names), ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	if !slices.Contains(list, strings.ToLower(contentfulTime)) {
		return "", fmt.Errorf("%s: %w: the timestamp is not among the signed headers", contentfulSigned, ErrMissing)
	}
	slices.Sort(list)
	for i, name := range list {
		value := names
		if name != strings.ToLower(contentfulSigned) {
			var err error
			if value, err = headerText(r.Header, http.CanonicalHeaderKey(name), name); err != nil {
				return "", err
			}
		}
		list[i] = name + ":" + strings.TrimSpace(value)
	}
	return r.Method + "\n" + path + "\n" + strings.Join(list, ";") + "\n", nil
}

func (v *contentful) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "contentful"}
	sig, err := headerText(r.Header, contentfulSig, contentfulSig)
	if err != nil {
		return out, err
	}
	names, err := headerText(r.Header, contentfulSigned, contentfulSigned)
	if err != nil {
		return out, err
	}
	at, err := headerText(r.Header, contentfulTime, contentfulTime)
	if err != nil {
		return out, err
	}
	if _, ok := parseTime(at, "ms"); !ok {
		return out, fmt.Errorf("timestamp %s: %w", Printable(at), ErrMalformed)
	}
	paths, err := v.paths(r)
	if err != nil {
		return out, err
	}
	for _, path := range paths {
		content, err := v.content(r, path, names)
		if err != nil {
			return out, err
		}
		out.KeyID, err = v.secrets.match("hex", []string{sig}, func(_ []byte, w writer) error {
			w.text(content)
			w.bytes(r.Body)
			return nil
		})
		if err != nil {
			return out, err
		}
		if out.KeyID != "" {
			out.Signed = signedHash([]byte(content + string(r.Body)))
			break
		}
	}
	if out.KeyID == "" {
		return out, mismatch(contentfulSig, "hex", sig)
	}
	return out, judge(v.scheme.Tolerance, at, "ms", r.ReceivedAt)
}

// covers is the body: which headers are signed, each request says.
func (v *contentful) covers() Coverage { return Coverage{Body: true, Content: true, url: true} }

func (v *contentful) sign(r *gaff.Request, at time.Time) error {
	r.Header.Set(contentfulTime, formatTime(at, "ms"))
	names := strings.ToLower(contentfulSigned) + "," + strings.ToLower(contentfulTime)
	r.Header.Set(contentfulSigned, names)
	paths, err := v.paths(r)
	if err != nil {
		return err
	}
	content, err := v.content(r, paths[0], names)
	if err != nil {
		return err
	}
	r.Header.Set(contentfulSig, v.secrets.sign("hex", content+string(r.Body)))
	return nil
}

// websub is signed with the method that the hub named in the signature, one of those that
// the specification allows.
type websub struct {
	methods []*signature
}

const websubHeader = "X-Hub-Signature"

func newWebSub(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	v := &websub{}
	for i, method := range []string{"sha256", "sha1", "sha384", "sha512"} {
		told := f
		if i > 0 { // the same faults again
			told = &fault.List{}
		}
		v.methods = append(v.methods, newSignature(Scheme{
			Kind: "signature", Algorithm: "hmac-" + method, Key: s.Key, Signed: "{body}", Encoding: "hex",
			Signature: Signatures{{Location: Location{In: "header", Name: websubHeader}, Format: "prefixed", Prefix: method + "="}},
		}, o, told))
	}
	return v
}

func (v *websub) covers() Coverage { return v.methods[0].covers() }

func (v *websub) hashSigned() {
	for _, m := range v.methods {
		m.hashSigned()
	}
}

func (v *websub) describe() string {
	return "hex HMAC of the body in " + websubHeader + ", by the method that it names: sha256, sha1, sha384 or sha512"
}

func (v *websub) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	text, err := headerText(r.Header, websubHeader, websubHeader)
	if err != nil {
		return gaff.Verification{}, err
	}
	for _, m := range v.methods {
		if strings.HasPrefix(text, m.places[0].Prefix) {
			return m.verify(ctx, r)
		}
	}
	return v.methods[0].verify(ctx, r)
}

func (v *websub) sign(r *gaff.Request, at time.Time) error { return v.methods[0].sign(r, at) }
