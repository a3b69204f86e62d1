package verify

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// encodings of signatures. encode appends; decode is strict: one text for one value
// (but for the case of hex digits), no white space.
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

// notEncoded does not repeat the text: a sender set up wrongly may have put its secret
// there.
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

// mismatch tells a signature that fits no key from a text that is none.
func mismatch(label, encoding string, sig string) error {
	if _, ok := decode(encoding, sig); !ok {
		return notEncoded(label, encoding, sig)
	}
	return fmt.Errorf("%s: %w: another key, or the signed content was changed on its way%s", label, ErrMismatch, hexCase(encoding, sig))
}

// hexCase is a remark about a text of hex digits that are not of the encoding's case: one
// signature has one spelling.
func hexCase(encoding, text string) string {
	switch {
	case encoding == "hex" && text != strings.ToLower(text):
		return "; its hex digits are upper case, which is encoding: hex-upper"
	case encoding == "hex-upper" && text != strings.ToUpper(text):
		return "; its hex digits are lower case, which is encoding: hex"
	}
	return ""
}
