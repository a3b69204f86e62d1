package verify

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// encode appends bytes in the encoding of a signature to dst.
func encode(name string, dst, b []byte) []byte {
	switch name {
	case "hex":
		return hex.AppendEncode(dst, b)
	case "hex-upper":
		from := len(dst)
		dst = hex.AppendEncode(dst, b)
		for i := from; i < len(dst); i++ {
			if dst[i] >= 'a' {
				dst[i] -= 'a' - 'A'
			}
		}
		return dst
	case "base64":
		return base64.StdEncoding.AppendEncode(dst, b)
	default:
		return base64.RawURLEncoding.AppendEncode(dst, b)
	}
}

// decode is strict: a value has one text, except for the case of hex digits, without white space.
func decode(name, text string) ([]byte, bool) {
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	var b []byte
	var err error
	switch name {
	case "hex", "hex-upper":
		b, err = hex.DecodeString(text)
	case "base64":
		b, err = base64.StdEncoding.Strict().DecodeString(text)
	default:
		b, err = base64.RawURLEncoding.Strict().DecodeString(text)
	}
	return b, err == nil
}

// notEncoded returns the error for a signature in another encoding. It does not quote the text,
// which may be a secret if the sender is set up wrongly.
func notEncoded(label, encoding, text string) error {
	return fmt.Errorf("%s: %w: its %d characters are not %s", label, ErrMalformed, len(text), encoding)
}

// cutWord cuts a prefix such as "Bearer ", which may be written in any case (RFC 9110).
func cutWord(text, prefix string) (rest string, ok bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

// mismatch returns the error for a text that is not the signature: malformed if it cannot be one.
func mismatch(label, encoding string, sig string) error {
	if _, ok := decode(encoding, sig); !ok {
		return notEncoded(label, encoding, sig)
	}
	return fmt.Errorf("%s: %w: another key, or the signed content was changed on its way%s", label, ErrMismatch, hexCase(encoding, sig))
}

// hexCase returns a hint for hex digits in the other case than the encoding's; else it is empty.
func hexCase(encoding, text string) string {
	switch {
	case encoding == "hex" && text != strings.ToLower(text):
		return "; its hex digits are upper case, which is encoding: hex-upper"
	case encoding == "hex-upper" && text != strings.ToUpper(text):
		return "; its hex digits are lower case, which is encoding: hex"
	}
	return ""
}
