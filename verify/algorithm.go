package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"slices"
	"strings"
)

// algorithm is a way of signing. Exactly one of mac, keyed and public says how.
type algorithm struct {
	name   string
	title  string
	hash   func() hash.Hash // of mac and keyed
	mac    bool
	keyed  bool
	public crypto.Hash // of rsa and ecdsa; 0 for ed25519
}

var algorithms = []algorithm{
	{name: "hmac-sha1", title: "HMAC-SHA1", hash: sha1.New, mac: true},
	{name: "hmac-sha256", title: "HMAC-SHA256", hash: sha256.New, mac: true},
	{name: "hmac-sha384", title: "HMAC-SHA384", hash: sha512.New384, mac: true},
	{name: "hmac-sha512", title: "HMAC-SHA512", hash: sha512.New, mac: true},
	{name: "keyed-sha1", title: "SHA1 with the key inside", hash: sha1.New, keyed: true},
	{name: "keyed-sha256", title: "SHA256 with the key inside", hash: sha256.New, keyed: true},
	{name: "keyed-sha512", title: "SHA512 with the key inside", hash: sha512.New, keyed: true},
	{name: "ed25519", title: "Ed25519 signature"},
	{name: "ecdsa-p256-sha256", title: "ECDSA P-256 signature", public: crypto.SHA256},
	{name: "ecdsa-p384-sha384", title: "ECDSA P-384 signature", public: crypto.SHA384},
	{name: "ecdsa-p521-sha512", title: "ECDSA P-521 signature", public: crypto.SHA512},
	{name: "rsa-pkcs1-sha1", title: "RSA-SHA1 signature", public: crypto.SHA1},
	{name: "rsa-pkcs1-sha256", title: "RSA-SHA256 signature", public: crypto.SHA256},
	{name: "rsa-pkcs1-sha512", title: "RSA-SHA512 signature", public: crypto.SHA512},
}

func findAlgorithm(name string) (algorithm, bool) {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.name == name })
	if i < 0 {
		return algorithm{}, false
	}
	return algorithms[i], true
}

// symmetric reports whether the key that verifies can also sign.
func (a algorithm) symmetric() bool { return a.mac || a.keyed }

// fits reports whether the algorithm can use the key.
func (a algorithm) fits(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return a.name == "ed25519"
	case *ecdsa.PublicKey:
		return strings.HasPrefix(a.name, "ecdsa-"+strings.ToLower(strings.ReplaceAll(k.Params().Name, "-", ""))+"-")
	case *rsa.PublicKey:
		return strings.HasPrefix(a.name, "rsa-")
	}
	return false
}

// verifyPublic checks a signature with a public key that fits.
func (a algorithm) verifyPublic(key crypto.PublicKey, message, sig []byte) bool {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize && ed25519.Verify(k, message, sig)
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest(a.public, message), sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, a.public, digest(a.public, message), sig) == nil
	}
	return false
}

func digest(h crypto.Hash, message []byte) []byte {
	d := h.New()
	d.Write(message)
	return d.Sum(nil)
}

func mustAlgorithm(name string) algorithm {
	a, ok := findAlgorithm(name)
	if !ok {
		panic("verify: no algorithm " + name)
	}
	return a
}

// IsHMAC reports whether name is an HMAC among the algorithms.
func IsHMAC(name string) bool {
	a, ok := findAlgorithm(name)
	return ok && a.mac
}

// bufWriter collects the content for algorithms that need it whole.
type bufWriter struct{ b []byte }

func (w *bufWriter) text(s string) { w.b = append(w.b, s...) }

func (w *bufWriter) bytes(b []byte) { w.b = append(w.b, b...) }
