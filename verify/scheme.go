// Package verify checks who sent a webhook: signatures, shared tokens, JSON Web Tokens and
// certificates. How a sender signs is data, a [Scheme]; the same scheme signs, so that tests
// and the command line can act as the sender. Package sender has the schemes of known senders.
//
// The signed content is the raw body, secrets are compared in constant time, the algorithm
// comes from the scheme and never from the request, and ambiguous requests are rejected.
// docs/verification.md lists further choices with their reasons.
package verify

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Scheme describes how a sender signs: the generic model. It is read from JSON (the
// presets, vector files) and YAML (a source's "verify:" block) by the same names.
type Scheme struct {
	// Kind selects the verifier: signature, token, basic, jwt or code.
	Kind string `json:"kind" yaml:"kind"`
	// Name selects the verifier of kind code: standard-webhooks, twilio, aws-sns and others.
	Name string `json:"name,omitempty" yaml:"name,omitempty"`
	// HeaderPrefix is the beginning of the three header names of standard-webhooks. Empty means
	// "webhook-".
	HeaderPrefix string `json:"header_prefix,omitempty" yaml:"header_prefix,omitempty"`

	// Algorithm is, for kind signature: hmac-sha1, hmac-sha256, hmac-sha384, hmac-sha512,
	// keyed-sha1, keyed-sha256, keyed-sha512 (a plain digest with the key inside the content),
	// ed25519, ecdsa-p256-sha256, ecdsa-p384-sha384, ecdsa-p521-sha512, rsa-pkcs1-sha1, rsa-pkcs1-sha256, rsa-pkcs1-sha512.
	Algorithm string    `json:"algorithm,omitempty" yaml:"algorithm,omitempty"`
	Key       KeyFormat `json:"key,omitzero" yaml:"key,omitempty"`
	// Signed is the template of the signed bytes. {body}, {ts} (the timestamp's text
	// as sent), {id}, {url}, {method}, {key}, {nl}, {header:Name},
	// {json:/pointer}, {form:name}, {query:name}, {form_sorted} and {config:name} are
	// replaced by their values, {body_sha256_hex} (sha384, sha512; base64, base64url) by a digest, and
	// {url_unescaped} by the URL without the escapes that HubSpot decodes. Other text is literal.
	Signed string `json:"signed,omitempty" yaml:"signed,omitempty"`
	// Signature is the place of the signature, or a list of places, any of which may have the
	// right one.
	Signature Signatures `json:"signature,omitempty" yaml:"signature,omitempty"`
	// Encoding of the signature: hex, hex-upper, base64, base64url (unpadded).
	Encoding string `json:"encoding,omitempty" yaml:"encoding,omitempty"`
	// CoversBody false says that the sender's signature does not cover the body. Without it such a
	// scheme is rejected.
	CoversBody *bool      `json:"covers_body,omitempty" yaml:"covers_body,omitempty"`
	Timestamp  *Timestamp `json:"timestamp,omitempty" yaml:"timestamp,omitempty"`
	// Tolerance is how far the timestamp may be from the time of receipt. Nil: only the form of the
	// timestamp is checked.
	Tolerance *Tolerance `json:"tolerance,omitempty" yaml:"tolerance,omitempty"`
	// RequireHeaders lists headers that must have exactly these values, for every kind.
	RequireHeaders map[string]string `json:"require_headers,omitempty" yaml:"require_headers,omitempty"`

	// ID is the place of the request's id, the {id} of Signed. Nil: requests have no id.
	ID *Location `json:"id,omitempty" yaml:"id,omitempty"`

	// Token is the place of the shared token, for kind token.
	Token *Token `json:"token,omitempty" yaml:"token,omitempty"`

	// JWT and the fields after it are for kind jwt.
	JWT *JWT `json:"jwt,omitempty" yaml:"jwt,omitempty"`
	// Algs lists the allowed values of the token's alg: HS256, HS384, HS512, RS256,
	// RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA.
	Algs []string `json:"algs,omitempty" yaml:"algs,omitempty"`
	// RequireKid rejects tokens without kid.
	RequireKid bool      `json:"require_kid,omitempty" yaml:"require_kid,omitempty"`
	Claims     *Claims   `json:"claims,omitempty" yaml:"claims,omitempty"`
	BodyHash   *BodyHash `json:"body_hash,omitempty" yaml:"body_hash,omitempty"`

	// Content is the format of the body: "form" (fields become members), "form:NAME" (the field NAME
	// has the JSON) or "any". Empty: JSON.
	Content string `json:"content,omitempty" yaml:"content,omitempty"`
}

// KeyFormat is how the operator's text is decoded to a key.
type KeyFormat struct {
	// Decode is utf8 (the default), base64, hex, utf8-nfkd, or sha1 (the key is the
	// text's digest), for secrets.
	Decode string `json:"decode,omitempty" yaml:"decode,omitempty"`
	// StripPrefix lists prefixes of which one is removed, if present, before decoding.
	StripPrefix []string `json:"strip_prefix,omitempty" yaml:"strip_prefix,omitempty"`
	// Source is, for public keys: jwks, jwks-by-kid, hex, base64, spki_base64 or spki_pem.
	Source string `json:"source,omitempty" yaml:"source,omitempty"`
	// DefaultURL is the URL of the key set, unless the setting jwks_url is set.
	DefaultURL string `json:"default_url,omitempty" yaml:"default_url,omitempty"`
	// Or is another way in which the same secret becomes a key, for senders that changed
	// theirs: both keys verify, the first one that the secret fits signs. Nil: none.
	Or *KeyFormat `json:"or,omitempty" yaml:"or,omitempty"`
}

// Location is a place in a request that holds a text.
type Location struct {
	// In is header, json, form, query, body: the whole body is the text, or member: the
	// name of the body's first member that is not called Name.
	In string `json:"in" yaml:"in"`
	// Name is the header's, form field's or query parameter's name.
	Name string `json:"name,omitempty" yaml:"name,omitempty"`
	// Pointer is the JSON pointer into the body (RFC 6901), for json.
	Pointer string `json:"pointer,omitempty" yaml:"pointer,omitempty"`
	// Or is read if this place is empty. The text of And, if it has one, follows after a dot. Both
	// may be nil.
	Or  *Location `json:"or,omitempty" yaml:"or,omitempty"`
	And *Location `json:"and,omitempty" yaml:"and,omitempty"`
}

// Signature is a place of a signature and how it is written there.
type Signature struct {
	Location `yaml:",inline"`
	// Format is raw (the default), prefixed, kv, list, tagged or positional.
	Format string `json:"format,omitempty" yaml:"format,omitempty"`
	// Prefix precedes the signature, for prefixed.
	Prefix string `json:"prefix,omitempty" yaml:"prefix,omitempty"`
	// PairSep is, for kv, the set of characters that separate pairs; "," if empty.
	PairSep string `json:"pair_sep,omitempty" yaml:"pair_sep,omitempty"`
	// KVSep separates key and value, for kv; "=" if empty.
	KVSep string `json:"kv_sep,omitempty" yaml:"kv_sep,omitempty"`
	// SigKeys are the keys that hold signatures, for kv.
	SigKeys []string `json:"sig_keys,omitempty" yaml:"sig_keys,omitempty"`
	// ItemSep separates items, for list, tagged and positional.
	ItemSep string `json:"item_sep,omitempty" yaml:"item_sep,omitempty"`
	// TagSep separates an item's tag from its signature, for list (the first one
	// counts) and tagged (any that ends a tag).
	TagSep string `json:"tag_sep,omitempty" yaml:"tag_sep,omitempty"`
	// AcceptTags are the tags that are looked at, for list; others are skipped.
	AcceptTags []string `json:"accept_tags,omitempty" yaml:"accept_tags,omitempty"`
	// TagRegex is what a whole tag must match, for tagged.
	TagRegex string `json:"tag_regex,omitempty" yaml:"tag_regex,omitempty"`
	// TSKey is, for positional, the name by which Timestamp.Key refers to the first item.
	TSKey string `json:"ts_key,omitempty" yaml:"ts_key,omitempty"`
}

// Signatures is one signature's place or several. In a file, a list or a single one.
type Signatures []Signature

// UnmarshalJSON takes an object or a list of objects.
func (s *Signatures) UnmarshalJSON(text []byte) error {
	if t := bytes.TrimSpace(text); len(t) > 0 && t[0] == '{' {
		one := make([]Signature, 1)
		if err := strictJSON(text, &one[0]); err != nil {
			return err
		}
		*s = one
		return nil
	}
	var list []Signature
	if err := strictJSON(text, &list); err != nil {
		return err
	}
	*s = list
	return nil
}

// MarshalJSON writes a single place as an object.
func (s Signatures) MarshalJSON() ([]byte, error) {
	if len(s) == 1 {
		return json.Marshal(s[0])
	}
	return json.Marshal([]Signature(s))
}

// UnmarshalYAML takes a mapping or a sequence of mappings.
func (s *Signatures) UnmarshalYAML(unmarshal func(any) error) error {
	var items []any
	if unmarshal(&items) == nil {
		var list []Signature
		if err := unmarshal(&list); err != nil {
			return err
		}
		*s = list
		return nil
	}
	one := make([]Signature, 1)
	if err := unmarshal(&one[0]); err != nil {
		return err
	}
	*s = one
	return nil
}

// Timestamp is the place of the time of sending.
type Timestamp struct {
	// Location.In is header, json, form, query, or signature: a field of the
	// signature's own text.
	Location `yaml:",inline"`
	// Key is the field's name if In is signature.
	Key string `json:"key,omitempty" yaml:"key,omitempty"`
	// Unit is s (the default), ms, rfc3339, or http-date, which may be seconds, too.
	Unit string `json:"unit,omitempty" yaml:"unit,omitempty"`
}

// Tolerance is how old a timestamp may be and how far ahead, in seconds, inclusive.
type Tolerance struct {
	Past int64 `json:"past" yaml:"past"`
	// Future nil means the same as Past: both directions are always checked.
	Future *int64 `json:"future,omitempty" yaml:"future,omitempty"`
}

// Token is the place of a shared token.
type Token struct {
	Location `yaml:",inline"`
	// Prefix precedes the token, such as "Bearer ".
	Prefix string `json:"prefix,omitempty" yaml:"prefix,omitempty"`
}

// JWT is the place of a JSON Web Token.
type JWT struct {
	Location       `yaml:",inline"`
	Prefix         string `json:"prefix,omitempty" yaml:"prefix,omitempty"`
	PrefixOptional bool   `json:"prefix_optional,omitempty" yaml:"prefix_optional,omitempty"`
	// Detached: the payload is the body, and the token's middle part is empty.
	Detached bool `json:"detached,omitempty" yaml:"detached,omitempty"`
}

// Claims says what a token's claims must be. Texts that begin with "@" name an
// operator's setting; true means the setting of the same purpose.
type Claims struct {
	// Iss lists the allowed issuers; the setting is "issuer".
	Iss Texts `json:"iss,omitempty" yaml:"iss,omitempty"`
	// Aud lists the allowed audiences; the setting is "audience".
	Aud Texts `json:"aud,omitempty" yaml:"aud,omitempty"`
	// Email lists the allowed values of email, which must then be verified; the
	// setting is "email".
	Email Texts `json:"email,omitempty" yaml:"email,omitempty"`
	// SubURL: sub must be the request's URL.
	SubURL bool `json:"sub_url,omitempty" yaml:"sub_url,omitempty"`
	// RequireExp rejects a token that never expires. exp and nbf are always checked if
	// present.
	RequireExp bool `json:"require_exp,omitempty" yaml:"require_exp,omitempty"`
	// IatMaxAge and IatFuture bound iat, in seconds; zero IatMaxAge: not checked.
	IatMaxAge int64 `json:"iat_max_age,omitempty" yaml:"iat_max_age,omitempty"`
	IatFuture int64 `json:"iat_future,omitempty" yaml:"iat_future,omitempty"`
}

// BodyHash is the claim that binds a token to the body.
type BodyHash struct {
	Claim string `json:"claim" yaml:"claim"`
	// Encoding of the body's digest is hex, base64 or base64url; text: the claim is the body.
	Encoding string `json:"encoding" yaml:"encoding"`
	// Algorithm of the digest is sha256 (the default), sha384 or sha512.
	Algorithm string `json:"algorithm,omitempty" yaml:"algorithm,omitempty"`
}

// fromSetting represents "true" in a list of texts.
const fromSetting = "@"

// Texts is a list of allowed texts. In a file: a text, a list, or true, which means
// the operator's setting.
type Texts []string

// UnmarshalJSON takes a text, a list of texts or true.
func (t *Texts) UnmarshalJSON(text []byte) error {
	return t.decode(func(v any) error { return json.Unmarshal(text, v) })
}

// UnmarshalYAML takes a text, a list of texts or true.
func (t *Texts) UnmarshalYAML(unmarshal func(any) error) error { return t.decode(unmarshal) }

func (t *Texts) decode(decode func(any) error) error {
	var list []string
	if decode(&list) == nil {
		*t = list
		return nil
	}
	var yes bool
	if decode(&yes) == nil {
		*t = nil
		if yes {
			*t = Texts{fromSetting}
		}
		return nil
	}
	var one string
	if err := decode(&one); err != nil {
		return errors.New("must be a text, a list of texts, or true")
	}
	*t = Texts{one}
	return nil
}

// MarshalJSON writes what [Texts.UnmarshalJSON] reads.
func (t Texts) MarshalJSON() ([]byte, error) {
	if len(t) == 1 && t[0] == fromSetting {
		return []byte("true"), nil
	}
	return json.Marshal([]string(t))
}

// fetchesKeys reports whether the sender's keys may come from the setting jwks_url.
func (s *Scheme) fetchesKeys() bool {
	return s.Key.Source == "jwks" || s.Key.Source == "jwks-by-kid" || s.Kind == "code" && s.Name == "standard-webhooks"
}

func strictJSON(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
