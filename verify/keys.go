package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gaff/internal/fault"
)

// Key is a key other than a plain secret text.
type Key struct {
	// Kind is one of
	//
	//	basic                              Username and Password
	//	ed25519_hex, ed25519_base64        a public key of 32 bytes (base64 maybe after whpk_)
	//	ed25519_seed_hex, ed25519_seed_base64   a private key as its seed (base64 maybe
	//	                                   after whsk_): verifies and signs
	//	spki_base64, spki_pem              a public key in X.509 form
	//	jwks                               a JWKS document
	Kind               string
	Value              string
	Username, Password string
}

// publicKey is a parsed key, with its name for operators.
type publicKey struct {
	id   string
	kid  string
	alg  string // a JWK's alg; empty if missing
	key  crypto.PublicKey
	priv ed25519.PrivateKey // nil if only the sender has it
}

// fingerprint returns a name for a key that does not reveal it: 32 bits of a hash.
func fingerprint(key []byte) string {
	h := sha256.New()
	h.Write([]byte("gaff key"))
	h.Write(key)
	return hex.EncodeToString(h.Sum(nil)[:4])
}

// parseKey returns the public keys of one configured key.
func parseKey(k Key) ([]publicKey, error) {
	one := func(key crypto.PublicKey, id []byte) ([]publicKey, error) {
		if err := checkKey(key); err != nil {
			return nil, err
		}
		return []publicKey{{id: fingerprint(id), key: key}}, nil
	}
	switch k.Kind {
	case "ed25519_hex":
		b, err := hex.DecodeString(k.Value)
		if err != nil {
			return nil, errors.New("not hex; 64 hex digits are wanted")
		}
		return one(ed25519.PublicKey(b), b)
	case "ed25519_base64":
		b, err := decodeBase64(strings.TrimPrefix(k.Value, "whpk_"))
		if err != nil {
			return nil, errors.New("not base64; an Ed25519 public key is wanted")
		}
		return one(ed25519.PublicKey(b), b)
	case "ed25519_seed_hex", "ed25519_seed_base64":
		b, err := hex.DecodeString(k.Value)
		if k.Kind == "ed25519_seed_base64" {
			b, err = decodeBase64(strings.TrimPrefix(k.Value, "whsk_"))
		}
		if len(b) == ed25519.PrivateKeySize { // the seed, then the public key
			b = b[:ed25519.SeedSize]
		}
		if err != nil || len(b) != ed25519.SeedSize {
			return nil, errors.New("no Ed25519 private key; its seed of 32 bytes is wanted")
		}
		priv := ed25519.NewKeyFromSeed(b)
		pub := priv.Public().(ed25519.PublicKey)
		keys, err := one(pub, pub)
		if err == nil {
			keys[0].priv = priv
		}
		return keys, err
	case "spki_base64":
		b, err := decodeBase64(strings.Join(strings.Fields(k.Value), ""))
		if err != nil {
			return nil, errors.New("not base64; a public key in X.509 form is wanted")
		}
		return parseSPKI(b, one)
	case "spki_pem":
		block, _ := pem.Decode([]byte(k.Value))
		if block == nil {
			return nil, errors.New("no PEM block; one of -----BEGIN PUBLIC KEY----- is wanted")
		}
		return parseSPKI(block.Bytes, one)
	case "jwks":
		return parseJWKS([]byte(k.Value))
	}
	return nil, fmt.Errorf("kind %q is not a public key's; one of ed25519_hex, ed25519_base64, spki_base64, spki_pem, jwks is wanted", k.Kind)
}

func parseSPKI(der []byte, one func(crypto.PublicKey, []byte) ([]publicKey, error)) ([]publicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("no public key in X.509 form (SubjectPublicKeyInfo)")
	}
	return one(key, der)
}

// smallOrder are the encodings, without the sign bit, of the points of small order: anyone can
// create a valid signature for them.
var smallOrder = func() (points [][]byte) {
	for _, text := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		p, err := hex.DecodeString(text)
		if err != nil {
			panic(err)
		}
		points = append(points, p)
	}
	return points
}()

// curves are those that an ECDSA key may be on.
var curves = []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}

// checkKey rejects keys that are unusable or insecure.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return fmt.Errorf("%d bytes; an Ed25519 public key has 32", len(k))
		}
		bare := bytes.Clone(k)
		bare[31] &= 0x7f
		for _, p := range smallOrder {
			if bytes.Equal(bare, p) {
				return errors.New("a point of small order: anyone can sign for it")
			}
		}
	case *ecdsa.PublicKey:
		if !slices.Contains(curves, k.Curve) {
			return fmt.Errorf("a key on %s; one on P-256, P-384 or P-521 is wanted", k.Params().Name)
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < 2048 || bits > maxRSABits {
			return fmt.Errorf("an RSA key of %d bits; 2048 to %d are wanted", bits, maxRSABits)
		}
		if k.E < 3 || k.E%2 == 0 {
			return errors.New("an RSA key with an impossible exponent")
		}
	default:
		return errors.New("neither Ed25519 nor ECDSA nor RSA")
	}
	return nil
}

// keyKinds maps KeyFormat.Source to the kind of [Key] of a plain text.
var keyKinds = map[string]string{
	"hex": "ed25519_hex", "base64": "ed25519_base64", "spki_base64": "spki_base64", "spki_pem": "spki_pem",
}

// newPublicKeys returns the configured keys that fit the algorithm, or without any the key set to
// fetch.
func newPublicKeys(o Options, format KeyFormat, name string, fits func(crypto.PublicKey) bool, f *fault.List) ([]publicKey, *JWKS) {
	fetched := format.Source == "jwks" || format.Source == "jwks-by-kid"
	if _, ok := keyKinds[format.Source]; !ok && !fetched {
		f.OneOf("key.source", format.Source, "jwks, jwks-by-kid, hex, base64, spki_base64, spki_pem")
		return nil, nil
	}
	var keys []Key
	var paths []string
	for i, text := range o.Secrets {
		path := fmt.Sprintf("secrets[%d]", i)
		kind := keyKinds[format.Source]
		if fetched {
			if kind = "jwks"; !strings.HasPrefix(text, "{") {
				f.Add(path, "not used: the sender's keys are public; remove it, or give a JWKS document")
				continue
			}
		}
		keys, paths = append(keys, Key{Kind: kind, Value: text}), append(paths, path)
	}
	for i, k := range o.Keys {
		keys, paths = append(keys, k), append(paths, fmt.Sprintf("keys[%d]", i))
	}
	var public []publicKey
	for i, k := range keys {
		if k.Value == "" {
			f.Add(paths[i], "empty; a public key is wanted")
			continue
		}
		list, err := parseKey(k)
		if err != nil {
			f.Add(paths[i], "%v", err)
			continue
		}
		before := len(public)
		for _, p := range list {
			if fits(p.key) {
				public = append(public, p)
			}
		}
		if len(public) == before {
			f.Add(paths[i], "no key for %s in it", name)
		}
	}
	if len(keys) > 0 || len(o.Secrets) > 0 {
		return public, nil
	}
	address := o.Settings["jwks_url"]
	if address == "" && format.Source == "jwks" {
		address = format.DefaultURL
	}
	switch {
	case !fetched:
		f.Add("secrets", "missing; the sender's public key is wanted (%s)", format.Source)
	case o.JWKS != nil:
		return nil, o.JWKS
	case address != "":
		return nil, NewJWKS(address, JWKSOptions{Client: o.Client})
	case format.Source == "jwks-by-kid":
		f.Add("secrets", "missing; the sender hands out its keys one by one for API credentials: the API secret is wanted here, and settings.client_id (or the keys as a JWKS document)")
	default:
		f.Add("settings.jwks_url", "missing; the address of the sender's JWKS is wanted")
	}
	return nil, nil
}

// Fingerprint returns the name of a secret in [gaff.Verification.KeyID]; empty if the scheme cannot
// use it.
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
