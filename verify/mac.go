package verify

import (
	"crypto/hmac"
	"crypto/subtle"
	"hash"
	"sync"

	"gaff/internal/fault"
)

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

// sign returns the signature of a text under the first secret.
func (keys secretKeys) sign(encoding, text string) string {
	m := keys[0].pool.Get().(*macState)
	defer keys[0].pool.Put(m)
	m.h.Reset()
	m.feed(text)
	return string(encode(encoding, nil, m.h.Sum(nil)))
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
