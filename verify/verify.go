package verify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"gaff/internal/fault"

	"gaff"
)

// Why a request was refused, to be asked for with errors.Is. The errors that
// [Verifier.Verify] returns say the place first, for the operator: "X-Sig: missing".
// The sender is told none of it.
var (
	// ErrMissing: something that proves the sender is not there.
	ErrMissing = errors.New("missing")
	// ErrMalformed: it is there but not written as the scheme writes it.
	ErrMalformed = errors.New("malformed")
	// ErrMismatch: it is right by its form, and wrong.
	ErrMismatch = errors.New("does not match")
	// ErrStale: the signature is right, and the timestamp outside the tolerance.
	ErrStale = errors.New("outside the tolerance")
	// ErrAmbiguous: it can be read in two ways, such as a header that came twice.
	ErrAmbiguous = errors.New("ambiguous")
)

// Options is what an operator adds to a [Scheme].
type Options struct {
	// Secrets are the configured texts. All are accepted, the first signs. For public
	// key algorithms they are the public keys, written as Scheme.Key.Source says; for
	// kind basic, "user:password".
	Secrets []string
	// Keys are keys that are no plain texts.
	Keys []Key
	// Settings are the values of {config:name}, and of what code needs: callback_url,
	// webhook_id, issuer, audience, email, topic_arns (comma separated). "url" overrides
	// the request's own URL as {url}, "jwks_url" the scheme's default_url.
	Settings map[string]string
	// JWKS is where keys come from for key.source jwks; nil means one at jwks_url or the
	// scheme's default_url. Not used where Keys are given.
	JWKS *JWKS
	// Tolerance overrides the scheme's; nil keeps it.
	Tolerance *Tolerance
	// Client fetches keys and certificates; nil means one with timeouts.
	Client *http.Client
	// AnyCoverage accepts signatures that do not cover the body, without a
	// Scheme.CoversBody that says so. It is for files of test vectors.
	AnyCoverage bool
}

// Verifier checks requests against one scheme with one operator's keys, and signs by
// the same. It is a [gaff.Verifier] and safe for use by many goroutines.
type Verifier struct {
	scheme  Scheme
	check   checker
	require []header
	// reports is set if the hash of the signed content is wanted.
	reports bool
}

// checker is a kind of scheme, ready for use.
type checker interface {
	verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error)
	sign(r *gaff.Request, at time.Time) error
	describe() string
}

var _ gaff.Verifier = (*Verifier)(nil)

// New makes a verifier. Its error is a [fault.List], which never contains a secret.
func New(s Scheme, o Options) (*Verifier, error) {
	var f fault.List
	if o.Client == nil {
		o.Client = DefaultClient()
	}
	if o.Tolerance != nil {
		o.Tolerance.check("tolerance", &f)
		s.Tolerance = o.Tolerance
	} else {
		s.Tolerance.check("tolerance", &f)
	}
	v := &Verifier{scheme: s, require: requiredHeaders(s.RequireHeaders, &f)}
	switch s.Kind {
	case "signature":
		v.check = newSignature(s, o, &f)
	case "token":
		v.check = newToken(s, o, &f)
	case "basic":
		v.check = newBasic(s, o, &f)
	case "jwt":
		v.check = newJWT(s, o, &f)
	case "code":
		v.check = newCode(s, o, &f)
	case "":
		f.Add("kind", "missing; one of %s is wanted", kinds)
	default:
		f.Add("kind", "%q is not known; one of %s is wanted", s.Kind, kinds)
	}
	if !o.AnyCoverage {
		s.checkCoverage(v.check, &f)
	}
	if o.Settings["jwks_url"] != "" && !s.fetchesKeys() {
		f.Add("settings.jwks_url", "not used: this sender's keys are not fetched; remove it")
	}
	newPlace(s.ID, "id", new(pointers), &f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return v, nil
}

const kinds = "signature, token, basic, jwt, code"

// Verify checks r at the time of its receipt. See [gaff.Verifier].
//
// [ErrStale] is returned only where everything else was right.
func (v *Verifier) Verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	if err := checkHeaders(v.require, r.Header); err != nil {
		return gaff.Verification{}, err
	}
	out, err := v.check.verify(ctx, r)
	if err != nil {
		return gaff.Verification{}, err
	}
	if !v.reports {
		out.Signed = ""
	}
	return out, nil
}

// ReportSigned makes [Verifier.Verify] fill Signed, the hash of the signed content. Call it
// before the first Verify.
func (v *Verifier) ReportSigned() {
	v.reports = true
	if signer, ok := v.check.(interface{ hashSigned() }); ok {
		signer.hashSigned()
	}
}

// Covers returns what of a request the signature covers; ok is false if the scheme signs
// nothing and compares a shared secret.
func (v *Verifier) Covers() (c Coverage, ok bool) {
	signer, ok := v.check.(coverer)
	if !ok {
		return c, false
	}
	return signer.covers(), true
}

// Sign adds to r what makes it authentic at the time, with the first secret: headers for
// most senders, but its URL or its body are changed where the proof stands there. A JSON
// body becomes the form that the sender would send, if fields of a form are what is signed.
// It returns an error where the signing key is not ours to hold.
func (v *Verifier) Sign(r *gaff.Request, at time.Time) error {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if r.Method == "" {
		r.Method = http.MethodPost
	}
	for _, h := range v.require {
		r.Header.Set(h.name, h.value)
	}
	if v.scheme.Kind == "signature" && v.scheme.wantsForm() && ValidJSON(r.Body) == nil {
		body, err := asForm(r.Body, v.scheme.Content)
		if err != nil {
			return fmt.Errorf("sign: the body as a form: %w", err)
		}
		r.Body = body
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if err := v.check.sign(r, at); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return nil
}

// Describe says in one line what is expected of a request, for people.
func (v *Verifier) Describe() string { return v.check.describe() }

// Scheme returns the description that the verifier was made of.
func (v *Verifier) Scheme() Scheme { return v.scheme }

// place is a [Location] ready for use. The zero place has no text.
type place struct {
	in    string
	name  string // canonical for headers
	index int    // within a pointer set
	label string // for errors
	or    *place // where to look if nothing stands here
	and   *place // whose text follows
	lines bool   // the text may have line breaks
	exact bool   // different values have different texts: for what tells events apart
}

// identify makes the text at a place, and at those beside it, exact.
func (p *place) identify() {
	p.exact = true
	for _, other := range []*place{p.or, p.and} {
		if other != nil {
			other.identify()
		}
	}
}

// newPlace readies a location; nil gives the zero place.
func newPlace(l *Location, path string, set *pointers, f *fault.List) place {
	if l == nil {
		return place{}
	}
	p := place{in: l.In, name: l.Name, label: l.Name}
	switch l.In {
	case "header", "form", "query":
		if l.Name == "" {
			f.Add(path+".name", "missing; the %s's name is wanted", l.In)
		}
		if l.Pointer != "" {
			f.Add(path+".pointer", "not used with in: %s; remove it, or write in: json", l.In)
		}
		if l.In == "header" {
			if l.Name != "" && !IsHeaderName(l.Name) {
				f.Add(path+".name", "%q is no header name", l.Name)
			}
			p.name = textproto.CanonicalMIMEHeaderKey(l.Name)
		} else {
			p.label = l.In + " field " + l.Name
		}
	case "json":
		if l.Name != "" {
			f.Add(path+".name", "not used with in: json; write pointer")
		}
		i, err := set.add(l.Pointer)
		if err != nil {
			f.Add(path+".pointer", "%v", err)
		}
		p.index, p.label = i, "body "+l.Pointer
	case "body":
		if l.Name != "" || l.Pointer != "" {
			f.Add(path, "in: body is the whole body; remove name and pointer")
		}
		p.label = "body"
	case "member":
		if l.Pointer != "" {
			f.Add(path+".pointer", "not used with in: member; remove it")
		}
		p.label = "body's first member"
	case "":
		f.Add(path+".in", "missing; one of header, json, form, query, body, member is wanted")
	default:
		f.OneOf(path+".in", l.In, "header, json, form, query, body, member")
	}
	if l.Or != nil {
		or := newPlace(l.Or, path+".or", set, f)
		p.or = &or
	}
	if l.And != nil {
		and := newPlace(l.And, path+".and", set, f)
		p.and = &and
	}
	return p
}

// IsHeaderName reports whether text may be a header's name (RFC 9110).
func IsHeaderName(text string) bool {
	for i := range len(text) {
		c := text[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return text != ""
}

// text returns the text at the place. values are what the place's pointer set found.
// An absent or empty text is ErrMissing, two different ones are ErrAmbiguous.
func (p place) text(r *gaff.Request, values [][]byte) (string, error) {
	text, err := p.read(r, values)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.label, err)
	}
	return text, nil
}

// read is text without the label in the error.
func (p place) read(r *gaff.Request, values [][]byte) (string, error) {
	text, err := p.readHere(r, values)
	if p.or != nil && errors.Is(err, ErrMissing) {
		return p.or.read(r, values)
	}
	if p.and != nil && err == nil {
		if more, err := p.and.read(r, values); err == nil {
			if p.exact {
				return JoinExactly([]string{text, more}, "."), nil
			}
			text += "." + more
		}
	}
	return text, err
}

// firstMember returns the name of an object's first member that is not called skip.
func firstMember(doc []byte, skip string) (string, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return "", ErrMissing
	}
	for d.More() {
		t, err := d.Token()
		if name, ok := t.(string); err == nil && ok && name != skip {
			return name, nil
		}
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			break
		}
	}
	return "", ErrMissing
}

func (p place) readHere(r *gaff.Request, values [][]byte) (string, error) {
	switch p.in {
	case "header":
		values := r.Header[p.name]
		if p.name == "Host" && len(values) == 0 { // which a server takes out of the headers
			if u, err := url.Parse(r.URL); err == nil {
				values = []string{u.Host}
			}
		}
		return oneOf(values)
	case "json":
		if p.index < len(values) {
			read := jsonText
			if p.exact {
				read = exactText
			}
			if text, ok := read(values[p.index]); ok && text != "" {
				return text, nil
			}
		}
	case "member":
		return firstMember(r.Text(), p.name)
	case "body":
		return oneOf([]string{strings.TrimRight(string(r.Body), "\r\n")})
	case "form":
		texts, err := formTexts(r, p.name)
		if err != nil {
			return "", err
		}
		return p.one(texts)
	case "query":
		u, err := url.Parse(r.URL)
		if err != nil {
			return "", ErrMalformed
		}
		fields, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			return "", ErrMalformed
		}
		return p.one(fields[p.name])
	}
	return "", ErrMissing
}

// one returns the text that all the values are.
func (p place) one(values []string) (string, error) {
	if p.lines {
		return same(values)
	}
	return oneOf(values)
}

// headerText returns a header by its canonical name.
func headerText(h http.Header, name, label string) (string, error) {
	text, err := oneOf(h[name])
	if err != nil {
		return "", fmt.Errorf("%s: %w", label, err)
	}
	return text, nil
}

// oneOf returns the text of one line that all the values are.
func oneOf(values []string) (string, error) {
	text, err := same(values)
	if err != nil {
		return "", err
	}
	// A header cannot hold these over HTTP. Where requests come from elsewhere, they
	// could move the borders inside signed content.
	if strings.ContainsAny(text, "\r\n\x00") {
		return "", fmt.Errorf("%w: line break", ErrMalformed)
	}
	return text, nil
}

// same returns the text that all the values are.
func same(values []string) (string, error) {
	for _, v := range values {
		if v != values[0] {
			return "", fmt.Errorf("%w: it came %d times with different values", ErrAmbiguous, len(values))
		}
	}
	if len(values) == 0 || values[0] == "" {
		return "", ErrMissing
	}
	return values[0], nil
}

// header is a name with the value it must have.
type header struct{ name, value string }

func requiredHeaders(m map[string]string, f *fault.List) []header {
	var list []header
	for name, value := range m {
		if !IsHeaderName(name) {
			f.Add("require_headers", "%q is no header name", name)
		}
		list = append(list, header{textproto.CanonicalMIMEHeaderKey(name), value})
	}
	slices.SortFunc(list, func(a, b header) int { return strings.Compare(a.name, b.name) })
	return list
}

func checkHeaders(list []header, h http.Header) error {
	for _, want := range list {
		got, err := headerText(h, want.name, want.name)
		if err != nil {
			return err
		}
		if got != want.value {
			return fmt.Errorf("%s: %w: %s, %s is wanted", want.name, ErrMismatch, Printable(got), Printable(want.value))
		}
	}
	return nil
}

// GenerateWebhookSignature returns the hex HMAC-SHA256 of the payload under the secret.
func GenerateWebhookSignature(payload []byte, secret string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(payload)
	return hex.EncodeToString(m.Sum(nil))
}

// VerifyWebhookSignature reports whether signature is the hex HMAC-SHA256 of the
// payload under the secret. An empty secret verifies nothing.
func VerifyWebhookSignature(payload []byte, signature, secret string) bool {
	if secret == "" {
		return false
	}
	return hmac.Equal([]byte(signature), []byte(GenerateWebhookSignature(payload, secret)))
}

// ValidateWebhookTimestamp reports whether timestamp, in Unix seconds, is within the
// tolerance of now, before or after it, both ends included. Zero tolerance means 300
// seconds.
func ValidateWebhookTimestamp(timestamp string, now time.Time, tolerance time.Duration) bool {
	if tolerance == 0 {
		tolerance = 300 * time.Second
	}
	at, ok := parseTime(timestamp, "s")
	return ok && fresh(at, now.Truncate(time.Second), tolerance, tolerance)
}
