package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

const maxJWKSKeys = 100 // more are ignored: each one costs a verification

const maxRSABits = 8192

func init() { jose.MaxRSAModulusBits = maxRSABits } // read when a JWK is parsed

// parseJWKS returns the usable keys of a JWKS document. It is an error without any.
func parseJWKS(doc []byte) ([]publicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(doc, &set); err != nil {
		return nil, errors.New("no JWKS document: JSON with a list of keys is wanted")
	}
	var keys []publicKey
	var last error
	for _, raw := range set.Keys[:min(len(set.Keys), maxJWKSKeys)] {
		k, err := parseJWK(raw)
		if err != nil {
			last = err
			continue
		}
		keys = append(keys, k)
	}
	switch {
	case len(keys) > 0:
		return keys, nil
	case last != nil:
		return nil, fmt.Errorf("no usable key in the JWKS: %w", last)
	default:
		return nil, errors.New("no key in the JWKS")
	}
}

// jsonWebKey has the members of a JSON Web Key that verification needs. Others, such as
// certificates or a private part, must not make a key unusable.
type jsonWebKey struct {
	Kty    string   `json:"kty"`
	Crv    string   `json:"crv,omitempty"`
	X      string   `json:"x,omitempty"`
	Y      string   `json:"y,omitempty"`
	N      string   `json:"n,omitempty"`
	E      string   `json:"e,omitempty"`
	Kid    string   `json:"kid,omitempty"`
	Use    string   `json:"use,omitempty"`
	Alg    string   `json:"alg,omitempty"`
	KeyOps []string `json:"key_ops,omitempty"`
}

func parseJWK(raw []byte) (publicKey, error) {
	var k jsonWebKey
	if err := json.Unmarshal(raw, &k); err != nil {
		return publicKey{}, errors.New("a key that is not readable")
	}
	if k.Use != "" && k.Use != "sig" {
		return publicKey{}, fmt.Errorf("a key for use %s", Printable(k.Use))
	}
	if len(k.KeyOps) > 0 && !slices.Contains(k.KeyOps, "verify") {
		return publicKey{}, errors.New("a key whose key_ops lack verify")
	}
	for _, number := range []*string{&k.X, &k.Y, &k.N, &k.E} { // some senders write plain base64
		*number = base64URL.Replace(strings.TrimRight(*number, "="))
	}
	text, err := json.Marshal(k)
	if err != nil {
		return publicKey{}, err
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(text); err != nil {
		return publicKey{}, fmt.Errorf("a key of type %s: %s", Printable(strings.TrimSpace(k.Kty+" "+k.Crv)), strings.TrimPrefix(err.Error(), "go-jose/go-jose: "))
	}
	if err := checkKey(key.Key); err != nil {
		return publicKey{}, err
	}
	out := publicKey{id: key.KeyID, kid: key.KeyID, alg: key.Algorithm, key: key.Key}
	if out.id == "" {
		id, err := keyBytes(key.Key)
		if err != nil {
			return publicKey{}, err
		}
		out.id = fingerprint(id)
	}
	return out, nil
}

// base64URL replaces the characters of plain base64 by those of base64url.
var base64URL = strings.NewReplacer("+", "-", "/", "_")

// keyBytes returns the bytes that a key without a name is named after.
func keyBytes(key crypto.PublicKey) ([]byte, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return k.Bytes()
	case *rsa.PublicKey:
		return k.N.Bytes(), nil
	case ed25519.PublicKey:
		return k, nil
	}
	return nil, errors.New("neither Ed25519 nor ECDSA nor RSA")
}
