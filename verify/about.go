package verify

import (
	"fmt"
	"slices"
	"strings"

	"gaff/internal/fault"
)

// Fingerprint is the name that a secret has as [gaff.Verification.KeyID] under a scheme;
// empty for what cannot be a key of it.
func Fingerprint(secret string, s Scheme) string {
	switch s.Kind {
	case "basic":
		return fingerprint([]byte(secret))
	case "token":
		key, err := decodeSecret(secret, KeyFormat{})
		if err != nil {
			return ""
		}
		return fingerprint(key)
	}
	source := s.Key.Source
	if s.Name == "travis" || s.Name == "paddle-classic" {
		source = "spki_pem"
	}
	if kind, public := keyKinds[source]; public || strings.HasPrefix(secret, "whpk_") {
		if !public {
			kind = "ed25519_base64"
		}
		keys, err := parseKey(Key{Kind: kind, Value: secret})
		if err != nil {
			return ""
		}
		return keys[0].id
	}
	format := s.Key
	switch s.Name {
	case "standard-webhooks":
		format = standardKey(s.Key)
	case "adyen":
		format = KeyFormat{Decode: "hex"}
	case "braintree":
		format = KeyFormat{Decode: "sha1"}
	}
	list, err := decodeSecrets(secret, format)
	if err != nil || s.Key.Source != "" {
		return ""
	}
	return fingerprint(list[0])
}

// NeedsSecret reports whether a scheme checks nothing without an operator's key.
func NeedsSecret(s Scheme) bool {
	switch s.Name {
	case "aws-sns", "paypal", "adobe":
		return s.Kind != "code"
	}
	return s.Key.Source != "jwks"
}

// RequiredSettings lists the settings without which [New] fails, in no order.
func (s Scheme) RequiredSettings() (list []string) {
	var o Options
	var f fault.List
	switch s.Kind {
	case "signature":
		newSignature(s, o, &f)
	case "jwt":
		newJWT(s, o, &f)
	case "code":
		newCode(s, o, &f)
	}
	for _, fault := range f {
		if name, ok := strings.CutPrefix(fault.Path, "settings."); ok && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	if s.Key.Source == "jwks-by-kid" {
		list = append(list, "client_id")
	}
	return list
}

// Summary says in a few words how a scheme verifies.
func (s Scheme) Summary() string {
	var text string
	switch s.Kind {
	case "signature":
		a, _ := findAlgorithm(s.Algorithm)
		text = a.title
	case "token":
		text = "shared token"
	case "basic":
		text = "HTTP basic"
	case "jwt":
		text = "JSON Web Token, " + strings.Join(s.Algs, " ")
	default:
		text = "code `" + s.Name + "`"
	}
	if s.Tolerance != nil {
		past, _ := s.Tolerance.window()
		text += fmt.Sprintf(", %d s", int(past.Seconds()))
	}
	return text
}

// CanSign reports whether a verifier of the scheme can sign: the key is shared.
func (s Scheme) CanSign() bool {
	switch s.Kind {
	case "signature":
		a, ok := findAlgorithm(s.Algorithm)
		return ok && a.symmetric() && len(s.Signature) > 0 && s.Signature[0].In != "body"
	case "token":
		return s.Token != nil && s.Token.In != "body"
	case "basic":
		return true
	case "jwt":
		return s.JWT != nil && s.JWT.In == "header" && len(s.Algs) > 0 && strings.HasPrefix(s.Algs[0], "HS")
	}
	switch s.Name {
	case "standard-webhooks", "twilio", "hook0", "contentful", "plivo", "braintree", "lark", "adyen", "msgraph", "dropbox-sign", "websub":
		return true
	}
	return false
}

// HasTime reports whether the scheme has a time that a tolerance applies to.
func (s Scheme) HasTime() bool {
	switch s.Kind {
	case "signature":
		return s.Timestamp != nil
	case "code":
		return !undated[s.Name]
	}
	return s.Kind == "jwt"
}
