package verify

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
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

// parseTime reads a timestamp strictly: digits without sign or leading zero, RFC 3339 in
// full, or a date as HTTP writes it. Lenience would let bytes move between the timestamp and its neighbours.
func parseTime(text, unit string) (time.Time, bool) {
	if unit == "http-date" && strings.HasSuffix(text, "GMT") {
		at, err := time.Parse(http.TimeFormat, text)
		return at, err == nil && at.Format(http.TimeFormat) == text
	}
	if unit == "rfc3339" {
		const shape = "0000-00-00T00:00:00"
		if len(text) < len(shape)+1 || len(text) > maxTimestamp {
			return time.Time{}, false
		}
		for i := range len(shape) {
			if digit := text[i] >= '0' && text[i] <= '9'; digit != (shape[i] == '0') || !digit && text[i] != shape[i] {
				return time.Time{}, false
			}
		}
		if strings.ContainsRune(text, ',') {
			return time.Time{}, false
		}
		at, err := time.Parse(time.RFC3339Nano, text)
		return at, err == nil
	}
	if text == "" || len(text) > 15 || text[0] == '0' && len(text) > 1 {
		return time.Time{}, false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return time.Time{}, false
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	if unit == "ms" {
		return time.UnixMilli(n), true
	}
	return time.Unix(n, 0), true
}

// fresh reports whether at is within the window around now, both ends included.
func fresh(at, now time.Time, past, future time.Duration) bool {
	return !at.Before(now.Add(-past)) && !at.After(now.Add(future))
}

// formatTime is the reverse of parseTime.
func formatTime(at time.Time, unit string) string {
	switch unit {
	case "ms":
		return strconv.FormatInt(at.UnixMilli(), 10)
	case "http-date":
		return at.UTC().Format(http.TimeFormat)
	case "rfc3339":
		return at.UTC().Format(time.RFC3339Nano)
	}
	return strconv.FormatInt(at.Unix(), 10)
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

// judge checks a timestamp against the tolerance, if there is one.
func judge(t *Tolerance, text, unit string, now time.Time) error {
	at, ok := parseTime(text, unit)
	if !ok {
		return fmt.Errorf("timestamp %s: %w", Printable(text), ErrMalformed)
	}
	if t == nil {
		return nil
	}
	if unit == "s" {
		now = now.Truncate(time.Second)
	}
	if past, future := t.window(); !fresh(at, now, past, future) {
		return fmt.Errorf("timestamp %s: %w of %s around %s", Printable(text), ErrStale, past, now.UTC().Format(time.RFC3339))
	}
	return nil
}
