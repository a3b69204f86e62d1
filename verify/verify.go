package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"gaff"
	"gaff/internal/fault"
)

// Reasons of a rejection, for errors.Is. Errors of [Verifier.Verify] begin with the place, for the
// operator: "X-Sig: missing". Senders do not get them.
var (
	// ErrMissing: a signature, token or other required value is missing.
	ErrMissing = errors.New("missing")
	// ErrMalformed: it is not written as the scheme demands.
	ErrMalformed = errors.New("malformed")
	// ErrMismatch: it is well-formed and wrong.
	ErrMismatch = errors.New("does not match")
	// ErrStale: the signature is right, but the timestamp is outside the tolerance.
	ErrStale = errors.New("outside the tolerance")
	// ErrAmbiguous: it has two readings, such as a header that occurs twice.
	ErrAmbiguous = errors.New("ambiguous")
)

// Options is what an operator adds to a [Scheme].
type Options struct {
	// Secrets are the configured texts. All verify, the first signs. For public
	// key algorithms they are the public keys, written as Scheme.Key.Source says; for
	// kind basic, "user:password".
	Secrets []string
	// Keys are keys other than plain texts.
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

// Verifier verifies requests by one scheme with one operator's keys, and signs by the same
// scheme. It is a [gaff.Verifier] and safe for use by many goroutines.
type Verifier struct {
	scheme  Scheme
	check   checker
	require []header
	// reports is set if Verify returns the hash of the signed content.
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
// [ErrStale] implies that everything else is right.
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

// Sign signs r at the time with the first secret. For most senders it sets headers; for some it
// changes the URL or the body. If the sender signs fields of a form, a JSON body becomes a form.
// Sign returns an error if only the sender has the signing key.
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

// Describe returns in one line how a request must be signed, for people.
func (v *Verifier) Describe() string { return v.check.describe() }

// Scheme returns the scheme that the verifier was made from.
func (v *Verifier) Scheme() Scheme { return v.scheme }
