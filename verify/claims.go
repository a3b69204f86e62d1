package verify

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
	"gaff/internal/jsonscan"
)

// newClaims checks what the scheme demands of claims, and fills in the operator's settings.
func (v *jsonToken) newClaims(o Options, f *fault.List) {
	if v.scheme.Claims != nil {
		v.claims = *v.scheme.Claims
		v.claims.Iss = resolve(v.claims.Iss, "issuer", o.Settings, f)
		v.claims.Aud = resolve(v.claims.Aud, "audience", o.Settings, f)
		v.claims.Email = resolve(v.claims.Email, "email", o.Settings, f)
		if v.claims.IatMaxAge < 0 || v.claims.IatFuture < 0 {
			f.Add("claims", "iat_max_age %d, iat_future %d; seconds are wanted", v.claims.IatMaxAge, v.claims.IatFuture)
		}
	}
	h := v.scheme.BodyHash
	if h == nil {
		return
	}
	if h.Claim == "" {
		f.Add("body_hash.claim", "missing; the claim with the body's hash, or its text, is wanted")
	}
	if !slices.Contains([]string{"hex", "base64", "base64url", textBody}, h.Encoding) {
		f.OneOf("body_hash.encoding", h.Encoding, "hex, base64, base64url, text")
	}
	if _, ok := bodyHashes[h.Algorithm]; !ok && h.Algorithm != "" {
		f.OneOf("body_hash.algorithm", h.Algorithm, "sha256, sha384, sha512")
	}
	if h.Algorithm != "" && h.Encoding == textBody {
		f.Add("body_hash.algorithm", "not used with encoding: text; remove it")
	}
}

// resolve returns a list in which the operator's settings replace each "@name". An "@" alone
// is the setting of the given name.
func resolve(list Texts, setting string, settings map[string]string, f *fault.List) Texts {
	out := make(Texts, 0, len(list))
	for _, text := range list {
		if name, ok := strings.CutPrefix(text, fromSetting); ok {
			if name == "" {
				name = setting
			}
			if text = settings[name]; text == "" {
				f.Add("settings."+name, "missing; the token's claim must be equal to it")
				continue
			}
		}
		out = append(out, text)
	}
	return out
}

// textBody is the encoding of a claim that contains the body itself.
const textBody = "text"

// of returns the value that the claim must have for a body.
func (h *BodyHash) of(body []byte) string {
	if h.Encoding == textBody {
		return string(body)
	}
	return string(encode(h.Encoding, nil, sumBody(bodyHashes[h.Algorithm], nil, body)))
}

// what names the claim's content, for people.
func (h *BodyHash) what() string {
	switch {
	case h.Encoding == textBody:
		return "text"
	case h.Algorithm != "":
		return "SHA-" + strings.TrimPrefix(h.Algorithm, "sha")
	}
	return "SHA-256"
}

// check compares the claim with the body.
func (h *BodyHash) check(claims map[string]json.RawMessage, body []byte) error {
	got, ok := claimText(claims[h.Claim])
	if !ok || got == "" {
		return fmt.Errorf("%s: %w", h.Claim, ErrMissing)
	}
	want := h.of(body)
	if h.Encoding == "base64" || h.Encoding == "base64url" { // libraries differ in padding
		got, want = strings.TrimRight(got, "="), strings.TrimRight(want, "=")
	}
	if subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
		return fmt.Errorf("%s: %w the body", h.Claim, ErrMismatch)
	}
	return nil
}

// claimText returns a claim that is a text.
func claimText(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return jsonscan.Unquote(raw), true
}

// claimTime returns a claim that is a time: a number of seconds.
func claimTime(claims map[string]json.RawMessage, name string) (at time.Time, present bool, err error) {
	raw := claims[name]
	if len(raw) == 0 {
		return at, false, nil
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || n < 0 || n > 1e12 {
		return at, true, fmt.Errorf("%s: %w: a number of seconds is wanted", name, ErrMalformed)
	}
	return time.UnixMilli(int64(n * 1000)), true, nil
}

// checkAllowed checks that a claim, a text or a list of texts, has one of the allowed values.
// An empty list allows everything.
func checkAllowed(claims map[string]json.RawMessage, name string, allowed ...string) error {
	if len(allowed) == 0 {
		return nil
	}
	raw := claims[name]
	got := []string{}
	if text, ok := claimText(raw); ok {
		got = append(got, text)
	} else if len(raw) > 0 && raw[0] == '[' {
		if json.Unmarshal(raw, &got) != nil {
			return fmt.Errorf("%s: %w", name, ErrMalformed)
		}
	}
	if len(got) == 0 {
		return fmt.Errorf("%s: %w", name, ErrMissing)
	}
	if !slices.ContainsFunc(got, func(g string) bool { return slices.Contains(allowed, g) }) {
		return fmt.Errorf("%s %s: %w; %s is wanted", name, Printable(got[0]), ErrMismatch, strings.Join(allowed, " or "))
	}
	return nil
}

func (v *jsonToken) checkClaims(claims map[string]json.RawMessage, r *gaff.Request) error {
	if err := checkAllowed(claims, "iss", v.claims.Iss...); err != nil {
		return err
	}
	if err := checkAllowed(claims, "aud", v.claims.Aud...); err != nil {
		return err
	}
	if len(v.claims.Email) > 0 {
		if err := checkAllowed(claims, "email", v.claims.Email...); err != nil {
			return err
		}
		if verified := string(claims["email_verified"]); verified != "true" && verified != `"true"` {
			return fmt.Errorf("email_verified: %w: true is wanted", ErrMismatch)
		}
	}
	if v.claims.SubURL {
		if err := checkAllowed(claims, "sub", v.urlOf(r)); err != nil {
			return err
		}
	}
	if h := v.scheme.BodyHash; h != nil {
		if err := h.check(claims, r.Body); err != nil {
			return err
		}
	}
	return v.checkTimes(claims, r.ReceivedAt)
}

// urlOf returns the URL that the sender knows the receiver by.
func (v *jsonToken) urlOf(r *gaff.Request) string {
	if v.url != "" {
		return v.url
	}
	return r.URL
}

// checkTimes runs last, so that [ErrStale] implies that everything else is right.
func (v *jsonToken) checkTimes(claims map[string]json.RawMessage, now time.Time) error {
	var past, future time.Duration
	if v.scheme.Tolerance != nil {
		past, future = v.scheme.Tolerance.window()
	}
	exp, present, err := claimTime(claims, "exp")
	switch {
	case err != nil:
		return err
	case !present && v.claims.RequireExp:
		return fmt.Errorf("exp: %w", ErrMissing)
	case present && !now.Before(exp.Add(past)):
		return fmt.Errorf("exp %s: %w: it has expired", exp.UTC().Format(time.RFC3339), ErrStale)
	}
	nbf, present, err := claimTime(claims, "nbf")
	switch {
	case err != nil:
		return err
	case present && now.Before(nbf.Add(-future)):
		return fmt.Errorf("nbf %s: %w: it is not valid yet", nbf.UTC().Format(time.RFC3339), ErrStale)
	}
	if v.claims.IatMaxAge == 0 {
		return nil
	}
	iat, present, err := claimTime(claims, "iat")
	switch {
	case err != nil:
		return err
	case !present:
		return fmt.Errorf("iat: %w", ErrMissing)
	}
	ahead := v.claims.IatFuture
	if ahead == 0 {
		ahead = v.claims.IatMaxAge
	}
	past, future = (&Tolerance{Past: v.claims.IatMaxAge, Future: &ahead}).window()
	if !fresh(iat, now.Truncate(time.Second), past, future) {
		return fmt.Errorf("iat %s: %w of %s", iat.UTC().Format(time.RFC3339), ErrStale, past)
	}
	return nil
}

const signedFor = 5 * time.Minute // how long a token that gaff signs is valid

// claimsFor returns the claims of a token for a request.
func (v *jsonToken) claimsFor(r *gaff.Request, at time.Time) map[string]any {
	claims := map[string]any{"iat": at.Unix(), "nbf": at.Unix(), "exp": at.Add(signedFor).Unix()}
	for name, list := range map[string]Texts{"iss": v.claims.Iss, "aud": v.claims.Aud, "email": v.claims.Email} {
		if len(list) > 0 {
			claims[name] = list[0]
		}
	}
	if len(v.claims.Email) > 0 {
		claims["email_verified"] = true
	}
	if v.claims.SubURL {
		claims["sub"] = v.urlOf(r)
	}
	if h := v.scheme.BodyHash; h != nil {
		claims[h.Claim] = h.of(r.Body)
	}
	return claims
}
