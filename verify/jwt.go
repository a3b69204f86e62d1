package verify

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gaff"
	"gaff/internal/fault"
)

// jwtAlgs are the values of alg that a scheme may allow.
var jwtAlgs = []jose.SignatureAlgorithm{
	jose.HS256, jose.HS384, jose.HS512, jose.RS256, jose.RS384, jose.RS512,
	jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// jwtCurves are the curves of the ES algorithms.
var jwtCurves = map[jose.SignatureAlgorithm]string{jose.ES256: "P-256", jose.ES384: "P-384", jose.ES512: "P-521"}

// Limits of tokens in bytes: of a whole token, of one that contains the body's text, and of a
// header in base64url. The header's limit also bounds how deep its JSON can nest, because go-jose
// decodes unknown members recursively.
const (
	maxJWT       = 32 << 10
	maxTextJWT   = 1 << 20
	maxJWTHeader = 16 << 10
)

// jsonToken is the kind jwt: a compact JWS (RFC 7515) of claims or, if detached, of the body.
// The token's alg must be one that the scheme allows, and each family of algorithms has its own
// keys, so a public key is never used as an HMAC secret.
type jsonToken struct {
	scheme  Scheme
	at      place
	set     pointers
	algs    []jose.SignatureAlgorithm
	secrets []tokenSecret
	public  []publicKey
	jwks    *JWKS
	byKid   *fetchCache[publicKey] // nil unless keys are fetched one by one
	claims  Claims                 // with the operator's settings
	url     string
}

// tokenSecret is a secret for the HS algorithms.
type tokenSecret struct {
	id  string
	key []byte
}

func newJWT(s Scheme, o Options, f *fault.List) *jsonToken {
	v := &jsonToken{scheme: s, url: o.Settings["url"]}
	if s.JWT == nil {
		f.Add("jwt", "missing; the token's place is wanted, such as in: header, name: Authorization")
		return v
	}
	v.at = newPlace(&s.JWT.Location, "jwt", &v.set, f)
	if shared, ok := v.newAlgs(f); ok {
		v.newKeys(shared, o, f)
	}
	v.newClaims(o, f)
	return v
}

// newAlgs checks the allowed algorithms. It reports whether they use shared secrets, and false
// if the keys cannot be checked.
func (v *jsonToken) newAlgs(f *fault.List) (shared, ok bool) {
	if len(v.scheme.Algs) == 0 {
		f.Add("algs", "missing; the allowed algorithms are wanted, such as [RS256]")
		return false, false
	}
	public := false
	for i, name := range v.scheme.Algs {
		alg := jose.SignatureAlgorithm(name)
		if !slices.Contains(jwtAlgs, alg) {
			known := make([]string, len(jwtAlgs))
			for i, alg := range jwtAlgs {
				known[i] = string(alg)
			}
			f.OneOf(fmt.Sprintf("algs[%d]", i), name, strings.Join(known, ", "))
		}
		v.algs = append(v.algs, alg)
		if strings.HasPrefix(name, "HS") {
			shared = true
		} else {
			public = true
		}
	}
	if shared && public {
		f.Add("algs", "HS algorithms beside public key ones; describe two sources")
		return shared, false
	}
	return shared, true
}

func (v *jsonToken) newKeys(shared bool, o Options, f *fault.List) {
	s := &v.scheme
	if shared {
		for _, k := range newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f) {
			v.secrets = append(v.secrets, tokenSecret{k.id, padHMACKey(k.key)})
		}
		if s.Key.Source != "" {
			f.Add("key.source", "is for public keys; %s takes key.decode", s.Algs[0])
		}
		for i := range o.Keys {
			f.Add(fmt.Sprintf("keys[%d]", i), "%s is not a key for %s; write it as a secret", o.Keys[i].Kind, s.Algs[0])
		}
		return
	}
	fits := func(key crypto.PublicKey) bool {
		return slices.ContainsFunc(v.algs, func(alg jose.SignatureAlgorithm) bool { return jwtFits(alg, key) })
	}
	if s.Key.Source == "jwks-by-kid" {
		v.byKid = newKeyAPI(&o, s.Key, fits, f)
	}
	if v.byKid == nil || len(o.Secrets)+len(o.Keys) > 0 {
		v.public, v.jwks = newPublicKeys(o, s.Key, strings.Join(s.Algs, ", "), fits, f)
	}
}

// padHMACKey returns a key of at least 64 bytes with the same HMACs. go-jose rejects keys that
// are shorter than the digest, and senders issue such secrets. HMAC itself pads keys with zeros
// to the block of its hash, which has at least 64 bytes.
func padHMACKey(key []byte) []byte {
	const digest = 64 // of SHA-512, the longest
	if len(key) >= digest {
		return key
	}
	return append(slices.Clone(key), make([]byte, digest-len(key))...)
}

func jwtFits(alg jose.SignatureAlgorithm, key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS")
	case *ecdsa.PublicKey:
		return jwtCurves[alg] == k.Params().Name
	case ed25519.PublicKey:
		return alg == jose.EdDSA
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
	text, err := v.text(r)
	if err != nil {
		return out, err
	}
	t, err := v.parse(text, r.Body)
	if err != nil {
		return out, fmt.Errorf("%s: %w", v.at.label, err)
	}
	if out.KeyID, err = v.checkSignature(ctx, r.RemoteAddr, t); err != nil {
		return out, err
	}
	out.Signed = signedHash([]byte(t.signed))
	if v.scheme.JWT.Detached {
		return out, nil
	}
	claims := map[string]json.RawMessage{}
	if json.Unmarshal(t.payload, &claims) != nil {
		return out, fmt.Errorf("%s: %w: its claims are not JSON", v.at.label, ErrMalformed)
	}
	if err := v.checkClaims(claims, r); err != nil {
		return out, fmt.Errorf("%s: %w", v.at.label, err)
	}
	if v.scheme.JWT.In == "body" { // the claims are the content
		out.Content = string(t.payload)
	}
	if out.Subject, _ = claimText(claims["sub"]); len(v.claims.Email) > 0 {
		out.Subject, _ = claimText(claims["email"])
	}
	return out, nil
}

// text returns the token in a request.
func (v *jsonToken) text(r *gaff.Request) (string, error) {
	values, err := v.set.findIn(r)
	if err != nil {
		return "", fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	text, err := v.at.text(r, values)
	if err != nil {
		return "", err
	}
	text, ok := cutWord(text, v.scheme.JWT.Prefix)
	if !ok && !v.scheme.JWT.PrefixOptional {
		return "", fmt.Errorf("%s: %w: it does not begin with %s", v.at.label, ErrMalformed, v.scheme.JWT.Prefix)
	}
	return text, nil
}

// parsedToken is a token whose signature is not verified yet.
type parsedToken struct {
	jws     *jose.JSONWebSignature
	alg     jose.SignatureAlgorithm
	kid     string
	payload []byte
	signed  string // the signed text
}

// verifies reports whether the token is signed with the key.
func (t *parsedToken) verifies(key any) bool {
	_, err := t.jws.Verify(key)
	return err == nil
}

// parse reads a token. A token has one spelling: go-jose is lenient about base64url, so the
// parts are checked first.
func (v *jsonToken) parse(text string, body []byte) (*parsedToken, error) {
	malformed := func(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }
	most := maxJWT
	if h := v.scheme.BodyHash; h != nil && h.Encoding == textBody {
		most = maxTextJWT
	}
	parts := strings.SplitN(text, ".", 4)
	if len(parts) != 3 || len(text) > most {
		return nil, malformed("no token of three parts")
	}
	if len(parts[0]) > maxJWTHeader {
		return nil, malformed(fmt.Sprintf("its header is longer than %d bytes", maxJWTHeader))
	}
	if _, ok := decode("base64url", parts[0]); !ok {
		return nil, malformed("its header is not JSON")
	}
	t := &parsedToken{signed: parts[0] + "." + parts[1]}
	var err error
	if v.scheme.JWT.Detached {
		if parts[1] != "" {
			return nil, malformed("its middle part should be empty")
		}
		t.payload = append([]byte{}, body...)
		t.signed += string(encode("base64url", nil, body))
		t.jws, err = jose.ParseDetached(text, t.payload, v.algs)
	} else {
		t.jws, err = jose.ParseSignedCompact(text, v.algs)
	}
	if other, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
		return nil, fmt.Errorf("alg %s is not allowed; %s is wanted: %w", Printable(string(other.Got)), strings.Join(v.scheme.Algs, " or "), ErrMismatch)
	}
	if _, ok := decode("base64url", parts[1]); !ok && !v.scheme.JWT.Detached {
		return nil, malformed("its claims are not base64url")
	}
	if _, ok := decode("base64url", parts[2]); !ok {
		return nil, malformed("its signature is not base64url")
	}
	if err != nil {
		return nil, malformed("its header is not JSON")
	}
	header := &t.jws.Signatures[0].Protected
	if _, ok := header.ExtraHeaders["crit"]; ok {
		return nil, malformed("it demands extensions (crit)")
	}
	if _, ok := header.ExtraHeaders["b64"]; ok {
		return nil, malformed("its payload is not base64url (b64)")
	}
	t.alg, t.kid = jose.SignatureAlgorithm(header.Algorithm), header.KeyID
	if v.scheme.RequireKid && t.kid == "" {
		return nil, fmt.Errorf("kid: %w", ErrMissing)
	}
	if !v.scheme.JWT.Detached {
		t.payload = t.jws.UnsafePayloadWithoutVerification()
	}
	return t, nil
}

// checkSignature returns the name of the key that signed the token. client is the address that
// the request came from.
func (v *jsonToken) checkSignature(ctx context.Context, client string, t *parsedToken) (string, error) {
	for i := range v.secrets {
		if t.verifies(v.secrets[i].key) {
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
	known, id := t.tryKeys(keys, v.scheme.RequireKid)
	if id == "" && v.byKid != nil && keyID.MatchString(t.kid) {
		key, err := v.byKid.get(ctx, t.kid, client)
		if errors.Is(err, errUnknown) {
			return "", fmt.Errorf("%s: kid: %w any key: %w", v.at.label, ErrMismatch, err)
		}
		if err != nil {
			return "", err
		}
		known, id = t.tryKeys([]publicKey{key}, true)
	}
	if id == "" && v.jwks != nil {
		renewed, err := v.jwks.renewed(ctx, keys, client)
		if err != nil {
			return "", err
		}
		known, id = t.tryKeys(renewed, v.scheme.RequireKid)
	}
	switch {
	case id != "":
		return id, nil
	case !known && len(v.secrets) == 0:
		return "", fmt.Errorf("%s: kid %s: %w any key", v.at.label, Printable(t.kid), ErrMismatch)
	}
	return "", fmt.Errorf("%s: signature: %w", v.at.label, ErrMismatch)
}

// tryKeys verifies the token with the keys that have its kid. If the token has no kid, or if
// unless strict no key has it, all keys are used. known reports whether there was a key to use.
func (t *parsedToken) tryKeys(keys []publicKey, strict bool) (known bool, id string) {
	named := t.kid != "" && (strict || slices.ContainsFunc(keys, func(k publicKey) bool { return k.kid == t.kid }))
	for i := range keys {
		k := &keys[i]
		if named && k.kid != t.kid || k.alg != "" && k.alg != string(t.alg) || !jwtFits(t.alg, k.key) {
			continue
		}
		known = true
		if t.verifies(k.key) {
			return true, k.id
		}
	}
	return known, ""
}

func (v *jsonToken) sign(r *gaff.Request, at time.Time) error {
	if len(v.secrets) == 0 {
		return fmt.Errorf("the private key for %s is the sender's", v.scheme.Algs[0])
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: v.algs[0], Key: v.secrets[0].key}, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return err
	}
	payload, serialize := r.Body, jose.JSONWebSignature.DetachedCompactSerialize
	if !v.scheme.JWT.Detached {
		serialize = jose.JSONWebSignature.CompactSerialize
		if payload, err = json.Marshal(v.claimsFor(r, at)); err != nil {
			return err
		}
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return err
	}
	token, err := serialize(*jws)
	if err != nil {
		return err
	}
	if !v.scheme.JWT.PrefixOptional { // else the sender leaves it out
		token = v.scheme.JWT.Prefix + token
	}
	return v.at.put(r, v.scheme.JWT.Pointer, token, false)
}
