package verify

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"gaff"
)

// lark signs with the key inside the content, and may seal the body under the same key.
type lark struct {
	*signature
	keys [][sha256.Size]byte
	set  pointers
}

func newLark(s Scheme, o Options, f *faults) checker {
	base := Scheme{
		Kind: "signature", Algorithm: "keyed-sha256", Signed: "{ts}{header:X-Lark-Request-Nonce}{key}{body}", Encoding: "hex",
		Signature: Signatures{{Location: Location{In: "header", Name: "X-Lark-Signature"}, Format: "raw"}},
		Timestamp: &Timestamp{Location: Location{In: "header", Name: "X-Lark-Request-Timestamp"}},
		Tolerance: s.Tolerance,
	}
	v := &lark{signature: newSignature(base, o, f)}
	v.set.must("/encrypt")
	for _, secret := range o.Secrets {
		v.keys = append(v.keys, sha256.Sum256([]byte(secret)))
	}
	return v
}

func (v *lark) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	out, err := v.signature.verify(ctx, r)
	if err != nil {
		return out, err
	}
	found, err := v.set.find(r.Body)
	if err != nil {
		return out, nil
	}
	text, ok := claimText(found[0])
	if !ok {
		return out, nil
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return out, nil
	}
	for _, key := range v.keys {
		if plain, ok := unseal(key[:], sealed); ok && ValidJSON(plain) == nil {
			out.Content = string(plain)
			break
		}
	}
	return out, nil
}

// unseal undoes AES-CBC with PKCS #7; the initial vector comes first.
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
