package verify

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
)

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

// paths returns the texts that may be signed as the path: the path as sent, and as the sender's own
// library writes it, which escapes it a second time.
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

// covers returns the body only: the signed headers differ from request to request.
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
