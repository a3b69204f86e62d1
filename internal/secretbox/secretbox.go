// Package secretbox encrypts the secrets that are stored in the database, with age
// (https://age-encryption.org).
package secretbox

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// prefix begins an encrypted text.
const prefix = "age-encrypted:"

// Encrypted reports whether a stored text is encrypted.
func Encrypted(text string) bool { return strings.HasPrefix(text, prefix) }

// Box encrypts with its first key, and decrypts with all.
type Box struct{ keys []*age.X25519Identity }

// New reads keys as [NewKey] makes them. Without keys it returns nil: nothing is encrypted.
func New(keys []string) (*Box, error) {
	if len(keys) == 0 {
		return nil, nil //nolint:nilnil // encryption is off
	}
	b := &Box{}
	for i, text := range keys {
		key, err := age.ParseX25519Identity(strings.TrimSpace(text))
		if err != nil {
			// The error of age may quote the key.
			return nil, fmt.Errorf("key %d of %d is not a key such as AGE-SECRET-KEY-1…; gaff secrets key makes one", i+1, len(keys))
		}
		b.keys = append(b.keys, key)
	}
	return b, nil
}

// NewKey makes a key.
func NewKey() (string, error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	return key.String(), nil
}

// Seal encrypts a text with the first key.
func (b *Box) Seal(text string) (string, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, b.keys[0].Recipient())
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return "", fmt.Errorf("encrypt a secret: %w", err)
	}
	return prefix + base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

// ErrNoKey reports a text that is encrypted with another key.
var ErrNoKey = errors.New("none of the keys decrypts it")

// Open decrypts a text. current is set if it was encrypted with the first key.
func (b *Box) Open(text string) (plain string, current bool, err error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, prefix))
	if err != nil {
		return "", false, errors.New("the encrypted text is damaged")
	}
	for i, key := range b.keys {
		r, err := age.Decrypt(bytes.NewReader(raw), key)
		if _, other := errors.AsType[*age.NoIdentityMatchError](err); other {
			continue
		}
		if err != nil {
			return "", false, errors.New("the encrypted text is damaged")
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return "", false, errors.New("the encrypted text is damaged")
		}
		return string(text), i == 0, nil
	}
	return "", false, ErrNoKey
}
