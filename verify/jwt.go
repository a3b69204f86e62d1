package verify

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff/internal/fault"

	"gaff"
	"gaff/internal/jsonscan"
)

// jwtAlgs are the values of alg that may be allowed, and the hash of each.
var jwtAlgs = map[string]crypto.Hash{
	"HS256": crypto.SHA256, "HS384": crypto.SHA384, "HS512": crypto.SHA512,
	"RS256": crypto.SHA256, "RS384": crypto.SHA384, "RS512": crypto.SHA512,
	"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512,
	"ES256": crypto.SHA256, "ES384": crypto.SHA384, "ES512": crypto.SHA512, "EdDSA": 0,
}

// jwtCurves are the curves of the ES algorithms.
var jwtCurves = map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

// The longest tokens in bytes, and those that hold the body's text.
const (
	maxJWT     = 32 << 10
	maxTextJWT = 1 << 20
)

// jsonToken is the kind jwt. The token's alg decides nothing here: it must be one of the allowed, and each family has
// keys of its own, so that no public key is ever taken for a secret.
type jsonToken struct {
	scheme  Scheme
	at      place
	set     pointers
	secrets secretKeys
	public  []publicKey
	jwks    *JWKS
	byKid   *remote[publicKey] // keys that are fetched one by one; nil: none are
	claims  Claims             // settings in place
	url     string
}

func newJWT(s Scheme, o Options, f *fault.List) *jsonToken {
	v := &jsonToken{scheme: s, url: o.Settings["url"]}
	if s.JWT == nil {
		f.Add("jwt", "missing; where the token stands is wanted, such as in: header, name: Authorization")
		return v
	}
	v.at = newPlace(&s.JWT.Location, "jwt", &v.set, f)
	if len(s.Algs) == 0 {
		f.Add("algs", "missing; the allowed algorithms are wanted, such as [RS256]")
	}
	var shared, public bool
	for i, alg := range s.Algs {
		if _, ok := jwtAlgs[alg]; !ok {
			f.OneOf(fmt.Sprintf("algs[%d]", i), alg, "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA")
		}
		if strings.HasPrefix(alg, "HS") {
			shared = true
		} else {
			public = true
		}
	}
	if shared && public {
		f.Add("algs", "HS algorithms beside public key ones; describe two sources")
		return v
	}
	if shared {
		v.secrets = newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f)
		if s.Key.Source != "" {
			f.Add("key.source", "is for public keys; %s takes key.decode", s.Algs[0])
		}
		for i := range o.Keys {
			f.Add(fmt.Sprintf("keys[%d]", i), "%s is no key for %s; write it as a secret", o.Keys[i].Kind, s.Algs[0])
		}
	} else if public {
		fits := func(key crypto.PublicKey) bool {
			return slices.ContainsFunc(s.Algs, func(alg string) bool { return jwtFits(alg, key) })
		}
		if s.Key.Source == "jwks-by-kid" {
			v.byKid = newKeyAPI(&o, s.Key, fits, f)
		}
		if v.byKid == nil || len(o.Secrets)+len(o.Keys) > 0 {
			v.public, v.jwks = newPublicKeys(o, s.Key, strings.Join(s.Algs, ", "), fits, f)
		}
	}
	if s.Claims != nil {
		v.claims = *s.Claims
		v.claims.Iss = resolve(v.claims.Iss, "issuer", o.Settings, f)
		v.claims.Aud = resolve(v.claims.Aud, "audience", o.Settings, f)
		v.claims.Email = resolve(v.claims.Email, "email", o.Settings, f)
		if v.claims.IatMaxAge < 0 || v.claims.IatFuture < 0 {
			f.Add("claims", "iat_max_age %d, iat_future %d; seconds are wanted", v.claims.IatMaxAge, v.claims.IatFuture)
		}
	}
	if h := s.BodyHash; h != nil {
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
	return v
}

// textBody is the encoding of a claim that is the body itself.
const textBody = "text"

// of returns what the claim must be for a body.
func (h *BodyHash) of(body []byte) string {
	if h.Encoding == textBody {
		return string(body)
	}
	return string(encode(h.Encoding, nil, sumBody(bodyHashes[h.Algorithm], nil, body)))
}

func (h *BodyHash) what() string {
	switch {
	case h.Encoding == textBody:
		return "text"
	case h.Algorithm != "":
		return "SHA-" + strings.TrimPrefix(h.Algorithm, "sha")
	}
	return "SHA-256"
}

// resolve puts operators' settings in the place of "@name".
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

func jwtFits(alg string, key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return alg[1] == 'S' && (alg[0] == 'R' || alg[0] == 'P')
	case *ecdsa.PublicKey:
		return jwtCurves[alg] == k.Params().Name
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

func (v *jsonToken) covers() (c Coverage) {
	c.Body = v.scheme.JWT.Detached || v.scheme.BodyHash != nil
	c.Content = c.Body || v.scheme.JWT.In == "body"
	return c
}

func (v *jsonToken) describe() string {
	text := fmt.Sprintf("JSON Web Token (%s) in %s", strings.Join(v.scheme.Algs, ", "), v.at.label)
	switch {
	case v.scheme.JWT.Detached:
		text += " over the body"
	case v.scheme.BodyHash != nil:
		text += " with the body's " + v.scheme.BodyHash.what() + " in " + v.scheme.BodyHash.Claim
	case v.scheme.JWT.In == "body": // the claims are the content
	default:
		text += " (the body is not covered)"
	}
	return text
}

func (v *jsonToken) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "jwt"}
	values, err := v.set.find(r.Text())
	if err != nil {
		return out, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	text, err := v.at.text(r, values)
	if err != nil {
		return out, err
	}
	text, ok := cutWord(text, v.scheme.JWT.Prefix)
	if !ok && !v.scheme.JWT.PrefixOptional {
		return out, fmt.Errorf("%s: %w: it does not begin with %s", v.at.label, ErrMalformed, v.scheme.JWT.Prefix)
	}
	malformed := func(what string) error { return fmt.Errorf("%s: %w: %s", v.at.label, ErrMalformed, what) }
	parts := strings.SplitN(text, ".", 4)
	most := maxJWT
	if h := v.scheme.BodyHash; h != nil && h.Encoding == textBody {
		most = maxTextJWT
	}
	if len(parts) != 3 || len(text) > most {
		return out, malformed("no token of three parts")
	}
	head, ok := decode("base64url", parts[0])
	fields := map[string]json.RawMessage{}
	if !ok || json.Unmarshal(head, &fields) != nil {
		return out, malformed("its header is not JSON")
	}
	if _, ok := fields["crit"]; ok {
		return out, malformed("it demands extensions (crit)")
	}
	alg, _ := claimText(fields["alg"])
	kid, _ := claimText(fields["kid"])
	if !slices.Contains(v.scheme.Algs, alg) {
		return out, fmt.Errorf("%s: alg %s is not allowed; %s is wanted: %w", v.at.label,
			Printable(alg), strings.Join(v.scheme.Algs, " or "), ErrMismatch)
	}
	if v.scheme.RequireKid && kid == "" {
		return out, fmt.Errorf("%s: kid: %w", v.at.label, ErrMissing)
	}
	var payload []byte
	if v.scheme.JWT.Detached {
		if parts[1] != "" {
			return out, malformed("its middle part should be empty")
		}
		parts[1] = base64.RawURLEncoding.EncodeToString(r.Body)
	} else if payload, ok = decode("base64url", parts[1]); !ok {
		return out, malformed("its claims are not base64url")
	}
	sig, ok := decode("base64url", parts[2])
	if !ok {
		return out, malformed("its signature is not base64url")
	}
	out.KeyID, err = v.checkSignature(ctx, r, alg, kid, parts[0]+"."+parts[1], sig)
	out.Signed = signedHash([]byte(parts[0] + "." + parts[1]))
	if err != nil || v.scheme.JWT.Detached {
		return out, err
	}
	claims := map[string]json.RawMessage{}
	if json.Unmarshal(payload, &claims) != nil {
		return out, malformed("its claims are not JSON")
	}
	if err := v.checkClaims(claims, r); err != nil {
		return out, fmt.Errorf("%s: %w", v.at.label, err)
	}
	if v.scheme.JWT.In == "body" { // the claims are all there is to read
		out.Content = string(payload)
	}
	if out.Subject, _ = claimText(claims["sub"]); len(v.claims.Email) > 0 {
		out.Subject, _ = claimText(claims["email"])
	}
	return out, nil
}

func (v *jsonToken) checkSignature(ctx context.Context, r *gaff.Request, alg, kid, input string, sig []byte) (string, error) {
	hash := jwtAlgs[alg]
	for i := range v.secrets {
		m := hmac.New(hash.New, v.secrets[i].key)
		m.Write([]byte(input))
		if hmac.Equal(m.Sum(nil), sig) {
			return v.secrets[i].id, nil
		}
	}
	keys := v.public
	if v.jwks != nil {
		var err error
		if keys, err = v.jwks.current(ctx); err != nil {
			return "", err
		}
	}
	known, id := tryJWT(keys, alg, kid, input, sig, v.scheme.RequireKid)
	if id == "" && v.byKid != nil && keyID.MatchString(kid) {
		key, err := v.byKid.get(ctx, kid, r.RemoteAddr)
		if errors.Is(err, errUnknown) {
			return "", fmt.Errorf("%s: kid: %w any key: %w", v.at.label, ErrMismatch, err)
		}
		if err != nil {
			return "", err
		}
		known, id = tryJWT([]publicKey{key}, alg, kid, input, sig, true)
	}
	if id == "" && v.jwks != nil {
		renewed, err := v.jwks.renewed(ctx, keys, r.RemoteAddr)
		if err != nil {
			return "", err
		}
		known, id = tryJWT(renewed, alg, kid, input, sig, v.scheme.RequireKid)
	}
	switch {
	case id != "":
		return id, nil
	case !known && len(v.secrets) == 0:
		return "", fmt.Errorf("%s: kid %s: %w any key", v.at.label, Printable(kid), ErrMismatch)
	}
	return "", fmt.Errorf("%s: signature: %w", v.at.label, ErrMismatch)
}

// tryJWT tries the keys of the token's kid; without one, or where no key has it and that
// is allowed, all of them. known reports whether there was a key to try.
func tryJWT(keys []publicKey, alg, kid, input string, sig []byte, strict bool) (known bool, id string) {
	named := kid != "" && (strict || slices.ContainsFunc(keys, func(k publicKey) bool { return k.kid == kid }))
	for i := range keys {
		k := &keys[i]
		if named && k.kid != kid || k.alg != "" && k.alg != alg || !jwtFits(alg, k.key) {
			continue
		}
		known = true
		if jwtVerify(alg, k.key, input, sig) {
			return true, k.id
		}
	}
	return known, ""
}

func jwtVerify(alg string, key crypto.PublicKey, input string, sig []byte) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if alg[0] == 'P' {
			return rsa.VerifyPSS(k, jwtAlgs[alg], digest(jwtAlgs[alg], []byte(input)), sig,
				&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(k, jwtAlgs[alg], digest(jwtAlgs[alg], []byte(input)), sig) == nil
	case *ecdsa.PublicKey:
		size := curves[k.Params().Name].size
		if len(sig) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(sig[:size]), new(big.Int).SetBytes(sig[size:])
		return ecdsa.Verify(k, digest(jwtAlgs[alg], []byte(input)), r, s)
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize && ed25519.Verify(k, []byte(input), sig)
	}
	return false
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

func (v *jsonToken) checkClaims(claims map[string]json.RawMessage, r *gaff.Request) error {
	oneOf := func(name string, allowed Texts) error {
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
	if err := oneOf("iss", v.claims.Iss); err != nil {
		return err
	}
	if err := oneOf("aud", v.claims.Aud); err != nil {
		return err
	}
	if len(v.claims.Email) > 0 {
		if err := oneOf("email", v.claims.Email); err != nil {
			return err
		}
		if verified := string(claims["email_verified"]); verified != "true" && verified != `"true"` {
			return fmt.Errorf("email_verified: %w: true is wanted", ErrMismatch)
		}
	}
	if v.claims.SubURL {
		address := v.url
		if address == "" {
			address = r.URL
		}
		if err := oneOf("sub", Texts{address}); err != nil {
			return err
		}
	}
	if h := v.scheme.BodyHash; h != nil {
		got, ok := claimText(claims[h.Claim])
		if !ok || got == "" {
			return fmt.Errorf("%s: %w", h.Claim, ErrMissing)
		}
		want := h.of(r.Body)
		if h.Encoding == "base64" || h.Encoding == "base64url" { // libraries differ in padding
			got, want = strings.TrimRight(got, "="), strings.TrimRight(want, "=")
		}
		if subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
			return fmt.Errorf("%s: %w the body", h.Claim, ErrMismatch)
		}
	}
	return v.checkTimes(claims, r.ReceivedAt)
}

// checkTimes comes last, so that ErrStale says that all else was right.
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

const signedFor = 5 * time.Minute // how long a token of our own making is valid

func (v *jsonToken) sign(r *gaff.Request, at time.Time) error {
	if len(v.secrets) == 0 {
		return fmt.Errorf("the private key for %s is the sender's", v.scheme.Algs[0])
	}
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
		if claims["sub"] = r.URL; v.url != "" {
			claims["sub"] = v.url
		}
	}
	if h := v.scheme.BodyHash; h != nil {
		claims[h.Claim] = h.of(r.Body)
	}
	alg := v.scheme.Algs[0]
	head := `{"alg":"` + alg + `","typ":"JWT"}`
	payload, err := json.Marshal(claims)
	if err != nil {
		return err
	}
	middle := base64.RawURLEncoding.EncodeToString(payload)
	if v.scheme.JWT.Detached {
		middle = base64.RawURLEncoding.EncodeToString(r.Body)
	}
	input := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + middle
	m := hmac.New(jwtAlgs[alg].New, v.secrets[0].key)
	m.Write([]byte(input))
	if v.scheme.JWT.Detached {
		input = strings.TrimSuffix(input, middle)
	}
	prefix := v.scheme.JWT.Prefix
	if v.scheme.JWT.PrefixOptional { // then the sender leaves it out
		prefix = ""
	}
	return v.at.put(r, v.scheme.JWT.Pointer, prefix+input+"."+base64.RawURLEncoding.EncodeToString(m.Sum(nil)), false)
}
