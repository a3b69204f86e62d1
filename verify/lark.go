package verify

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"gaff/internal/fault"

	"gaff"
)

// lark signs with the key in the content, and may encrypt the body with the same key.
type lark struct {
	*signature
	sealed *sealed
}

func newLark(s Scheme, o Options, f *fault.List) checker {
	base := Scheme{
		Kind: "signature", Algorithm: "keyed-sha256", Signed: "{ts}{header:X-Lark-Request-Nonce}{key}{body}", Encoding: "hex",
		Signature: Signatures{{Location: Location{In: "header", Name: "X-Lark-Signature"}, Format: "raw"}},
		Timestamp: &Timestamp{Location: Location{In: "header", Name: "X-Lark-Request-Timestamp"}},
		Tolerance: s.Tolerance,
	}
	return &lark{signature: newSignature(base, o, f), sealed: newSealed(o.Secrets)}
}

func (v *lark) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	out, err := v.signature.verify(ctx, r)
	if err == nil {
		out.Content = v.sealed.open(r.Text())
	}
	return out, err
}

// OpenLark returns a function that opens a body which Lark encrypted under one of the secrets;
// its result is empty if the body is not encrypted.
func OpenLark(secrets []string) func(body []byte) string { return newSealed(secrets).open }

// sealed decrypts bodies that are encrypted with one of the secrets.
type sealed struct {
	keys [][sha256.Size]byte
	set  pointers
}

func newSealed(secrets []string) *sealed {
	v := &sealed{}
	v.set.must("/encrypt")
	for _, secret := range secrets {
		v.keys = append(v.keys, sha256.Sum256([]byte(secret)))
	}
	return v
}

// open returns the decrypted JSON of a body; empty if the body is not encrypted.
func (v *sealed) open(body []byte) string {
	found, err := v.set.find(body)
	if err != nil {
		return ""
	}
	text, ok := claimText(found[0])
	if !ok {
		return ""
	}
	box, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	for _, key := range v.keys {
		if plain, ok := unseal(key[:], box); ok && ValidJSON(plain) == nil {
			return string(plain)
		}
	}
	return ""
}

// unseal decrypts AES-CBC with PKCS #7 padding. The initialization vector comes first.
func unseal(key, sealed []byte) ([]byte, bool) {
	if len(sealed) < 2*aes.BlockSize || len(sealed)%aes.BlockSize != 0 {
		return nil, false
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, false
	}
	plain := make([]byte, len(sealed)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, sealed[:aes.BlockSize]).CryptBlocks(plain, sealed[aes.BlockSize:])
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize {
		return nil, false
	}
	return plain[:len(plain)-pad], true
}

func (v *lark) sign(r *gaff.Request, at time.Time) error {
	if r.Header.Get("X-Lark-Request-Nonce") == "" {
		r.Header.Set("X-Lark-Request-Nonce", strconv.FormatInt(at.UnixNano(), 36))
	}
	return v.signature.sign(r, at)
}
