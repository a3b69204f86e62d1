package verify

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"gaff/internal/fault"
)

// decodeSecret returns the key bytes of an operator's text.
func decodeSecret(text string, f KeyFormat) ([]byte, error) {
	if text == "" {
		return nil, errors.New("empty; a secret is wanted")
	}
	if strings.TrimSpace(text) != text {
		return nil, errors.New("begins or ends with white space; remove it")
	}
	for _, p := range f.StripPrefix {
		if rest, ok := strings.CutPrefix(text, p); ok {
			text = rest
			break
		}
	}
	var key []byte
	var err error
	switch f.Decode {
	case "", "utf8":
		key = []byte(text)
	case "utf8-nfkd":
		key = norm.NFKD.Bytes([]byte(text))
	case "sha1":
		key = sha1Key(text)
	case "base64":
		if key, err = decodeBase64(text); err != nil {
			return nil, errors.New("not base64; copy the whole secret as the sender shows it")
		}
	case "hex":
		if key, err = hex.DecodeString(text); err != nil {
			return nil, errors.New("not hex; copy the whole secret as the sender shows it")
		}
	}
	if len(key) == 0 {
		return nil, errors.New("empty after its prefix; a secret is wanted")
	}
	return key, nil
}

// decodeBase64 accepts both alphabets, padded or not, as people paste them.
func decodeBase64(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("line break inside base64")
	}
	return base64.RawStdEncoding.DecodeString(text)
}

func newSecretKeys(o Options, format KeyFormat, a algorithm, f *fault.List) secretKeys {
	path := "key"
	for p := &format; p != nil; p = p.Or {
		if !slices.Contains([]string{"", "utf8", "base64", "hex", "utf8-nfkd", "sha1"}, p.Decode) {
			f.OneOf(path+".decode", p.Decode, "utf8, base64, hex, utf8-nfkd, sha1")
			return nil
		}
		path += ".or"
	}
	if len(o.Secrets) == 0 {
		f.Add("secrets", "missing; the secret that the sender signs with is wanted")
	}
	var keys secretKeys
	for i, text := range o.Secrets {
		list, err := decodeSecrets(text, format)
		if err != nil {
			f.Add(fmt.Sprintf("secrets[%d]", i), "%v", err)
			continue
		}
		id := ""
		for _, key := range list {
			k := newSecretKey(key, a)
			if id = cmp.Or(id, k.id); k.id != id {
				k.id = id // one secret has one name, whichever of its keys verifies
			}
			keys = append(keys, k)
		}
	}
	return keys
}

// decodeSecrets returns the keys of a secret in a format and its alternatives, at least one. The
// error is the first format's.
func decodeSecrets(text string, f KeyFormat) (keys [][]byte, first error) {
	for p := &f; p != nil; p = p.Or {
		key, err := decodeSecret(text, *p)
		switch {
		case err == nil && !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) }):
			keys = append(keys, key)
		case err != nil && first == nil:
			first = err
		}
		if err == nil && slices.ContainsFunc(p.StripPrefix, func(prefix string) bool { return strings.HasPrefix(text, prefix) }) {
			break // the prefix determines the format
		}
	}
	if len(keys) > 0 {
		return keys, nil
	}
	return nil, first
}

func sha1Key(text string) []byte {
	sum := sha1.Sum([]byte(text))
	return sum[:]
}
