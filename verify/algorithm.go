package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"hash"
	"slices"
	"strings"
	"sync"

	"gaff/internal/fault"
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

// secretKey is a symmetric key with its reusable digests.
type secretKey struct {
	id   string
	key  []byte
	pool *sync.Pool // of *macState
}

// macState is a computation in progress.
type macState struct {
	h    hash.Hash
	sum  []byte
	text []byte // the expected signature, encoded
	buf  []byte // text to be hashed
}

func (m *macState) feed(s string) {
	m.buf = append(m.buf[:0], s...)
	m.h.Write(m.buf)
}

// hashWriter writes to a digest.
type hashWriter struct{ *macState }

func (w hashWriter) text(s string) { w.feed(s) }

func (w hashWriter) bytes(b []byte) { w.h.Write(b) }

// bufWriter collects the content for algorithms that need it whole.
type bufWriter struct{ b []byte }

func (w *bufWriter) text(s string) { w.b = append(w.b, s...) }

func (w *bufWriter) bytes(b []byte) { w.b = append(w.b, b...) }

// secretKeys are the keys that a signature may be made with, in order.
type secretKeys []secretKey

func newSecretKey(key []byte, a algorithm) secretKey {
	return secretKey{id: fingerprint(key), key: key, pool: &sync.Pool{New: func() any {
		if a.keyed {
			return &macState{h: a.hash()}
		}
		return &macState{h: hmac.New(a.hash, key)}
	}}}
}

// match returns the name of the secret that made one of the signatures; empty if none did. write
// writes the signed content. The encoded signatures are compared, so a signature has one spelling
// and is not decoded.
func (keys secretKeys) match(encoding string, sigs []string, write func(key []byte, w writer) error) (string, error) {
	for i := range keys {
		k := &keys[i]
		m := k.pool.Get().(*macState)
		m.h.Reset()
		if err := write(k.key, hashWriter{m}); err != nil {
			k.pool.Put(m)
			return "", err
		}
		m.sum = m.h.Sum(m.sum[:0])
		m.text = encode(encoding, m.text[:0], m.sum)
		matched := false
		for _, sig := range sigs {
			if len(sig) == len(m.text) {
				m.buf = append(m.buf[:0], sig...)
				matched = subtle.ConstantTimeCompare(m.buf, m.text) == 1 || matched
			}
		}
		k.pool.Put(m)
		if matched {
			return k.id, nil
		}
	}
	return "", nil
}

func mustAlgorithm(name string) algorithm {
	a, ok := findAlgorithm(name)
	if !ok {
		panic("verify: no algorithm " + name)
	}
	return a
}

// sign returns the signature of a text under the first secret.
func (keys secretKeys) sign(encoding, text string) string {
	m := keys[0].pool.Get().(*macState)
	defer keys[0].pool.Put(m)
	m.h.Reset()
	m.feed(text)
	return string(encode(encoding, nil, m.h.Sum(nil)))
}

// IsHMAC reports whether name is an HMAC among the algorithms.
func IsHMAC(name string) bool {
	a, ok := findAlgorithm(name)
	return ok && a.mac
}

// HMAC computes HMACs with an operator's first secret.
type HMAC struct{ keys secretKeys }

// NewHMAC returns the HMAC of an algorithm (see [IsHMAC]) under secrets, at least one, of a
// format. If it adds faults, do not use what it returns.
func NewHMAC(algorithm string, format KeyFormat, secrets []string, f *fault.List) *HMAC {
	return &HMAC{newSecretKeys(Options{Secrets: secrets}, format, mustAlgorithm(algorithm), f)}
}

// Sign returns the HMAC of a text in an encoding.
func (h *HMAC) Sign(encoding, text string) string { return h.keys.sign(encoding, text) }
