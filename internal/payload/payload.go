// Package payload reads the bodies of requests as their senders meant them: it undoes
// Content-Encodings, decodes charsets and byte order marks, and reads forms. What it cannot
// decode it returns as it came.
package payload

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

var (
	utf16le = unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	utf16be = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	utf32le = utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)
	utf32be = utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM)
)

// marks are the byte order marks. That of UTF-32 begins as that of UTF-16 does.
var marks = []struct {
	mark string
	enc  encoding.Encoding // nil for UTF-8
}{
	{"\xef\xbb\xbf", nil},
	{"\xff\xfe\x00\x00", utf32le},
	{"\x00\x00\xfe\xff", utf32be},
	{"\xff\xfe", utf16le},
	{"\xfe\xff", utf16be},
}

// Text returns a body as UTF-8 without a byte order mark. A mark goes before the charset of
// the content type. A body of an unknown charset is returned as it is, and so is a
// body that is valid UTF-8, because many senders name a charset that they do not use.
//
// The values of an urlencoded form may be escaped bytes of the charset, and each part of a
// multipart form may have its own: those are decoded by [Field.Text].
func Text(contentType string, body []byte) []byte {
	if len(body) == 0 {
		return body
	}
	// The usual case, at no cost: ASCII at the start, and no charset to speak of.
	label := charset(contentType)
	if c := body[0]; c != 0 && c < 0x80 && (len(body) == 1 || body[1] != 0) && (label == "" || isUTF8(label)) {
		return body
	}
	if text, ok := unmark(body); ok {
		return text
	}
	if enc := zeros(body); enc != nil {
		if text, ok := strictly(enc, body); ok {
			return text
		}
	}
	if kind := mediaType(contentType); kind == formType || strings.HasPrefix(kind, "multipart/") {
		if _, wide := lookup(label).(wide); !wide {
			return body
		}
	}
	return Decode(label, body)
}

// unmark decodes a body that begins with a byte order mark.
func unmark(body []byte) (text []byte, ok bool) {
	for _, m := range marks {
		rest, found := bytes.CutPrefix(body, []byte(m.mark))
		if !found {
			continue
		}
		if m.enc != nil {
			if text, ok := strictly(m.enc, rest); ok {
				return text, true
			}
			continue
		}
		for found { // editors add one each time
			body = rest
			rest, found = bytes.CutPrefix(body, []byte(m.mark))
		}
		return body, true
	}
	return nil, false
}

// zeros recognizes JSON in UTF-16 or UTF-32 without a mark, by the zero bytes around its
// first bracket; nil for anything else.
func zeros(body []byte) encoding.Encoding {
	bracket := func(c byte) bool { return c == '{' || c == '[' }
	switch {
	case len(body) >= 4 && body[0] == 0 && body[1] == 0 && body[2] == 0 && bracket(body[3]):
		return utf32be
	case len(body) >= 4 && bracket(body[0]) && body[1] == 0 && body[2] == 0 && body[3] == 0:
		return utf32le
	case len(body) >= 2 && body[0] == 0 && bracket(body[1]):
		return utf16be
	case len(body) >= 2 && bracket(body[0]) && body[1] == 0:
		return utf16le
	}
	return nil
}

// strictly decodes what nothing but its bytes says to be in an encoding: it must be so as a
// whole.
func strictly(enc encoding.Encoding, body []byte) ([]byte, bool) {
	text, err := enc.NewDecoder().Bytes(body)
	return text, err == nil && !bytes.ContainsRune(text, utf8.RuneError)
}

// wide marks an encoding whose ASCII is not ASCII.
type wide struct {
	encoding.Encoding
	anyOrder bool // the label does not say which byte comes first
}

// Decode returns data of the named charset as UTF-8, or as it is if the name is unknown or
// the data is UTF-8 already.
func Decode(label string, data []byte) []byte {
	enc := lookup(label)
	if enc == nil {
		return data
	}
	valid := utf8.Valid(data)
	switch e := enc.(type) {
	case wide:
		if text, ok := unmark(data); ok {
			return text
		}
		if valid && bytes.IndexByte(data, 0) < 0 {
			return data
		}
		if e.anyOrder && len(data) > 1 && data[0] == 0 {
			if enc = utf16be; e.Encoding == utf32le {
				enc = utf32be
			}
		}
	case *charmap.Charmap:
		// Letters in a charset of single bytes do not happen to be UTF-8.
		if valid {
			return data
		}
	}
	text, err := enc.NewDecoder().Bytes(data)
	if err != nil || valid && bytes.ContainsRune(text, utf8.RuneError) {
		return data
	}
	return text
}

// more are charsets that the index of the web lacks.
var more = map[string]encoding.Encoding{
	"utf-16": wide{utf16le, true}, "utf16": wide{utf16le, true}, "ucs-2": wide{utf16le, true}, "unicode": wide{utf16le, true},
	"utf-16le": wide{utf16le, false}, "utf-16be": wide{utf16be, false}, "unicodefffe": wide{utf16be, false},
	"utf-32": wide{utf32le, true}, "utf32": wide{utf32le, true}, "ucs-4": wide{utf32le, true},
	"utf-32le": wide{utf32le, false}, "utf-32be": wide{utf32be, false},
}

// aliases are names that Windows and Java give to charsets of the web.
var aliases = map[string]string{
	"cp932": "shift_jis", "cp936": "gbk", "cp949": "euc-kr", "ms949": "euc-kr", "cp950": "big5", "cp54936": "gb18030",
	"latin-1": "iso-8859-1", "iso8859-15": "iso-8859-15", "ansi": "windows-1252", "sjis": "shift_jis",
}

func isUTF8(label string) bool {
	return strings.EqualFold(label, "utf-8") || strings.EqualFold(label, "utf8")
}

// lookup returns the encoding of a charset's name; nil for UTF-8 and for unknown ones.
func lookup(label string) encoding.Encoding {
	if label == "" || isUTF8(label) {
		return nil
	}
	label = strings.ReplaceAll(strings.ToLower(label), "utf_", "utf-")
	if enc, ok := more[label]; ok {
		return enc
	}
	if other, ok := aliases[label]; ok {
		label = other
	}
	enc, err := htmlindex.Get(label)
	if err != nil {
		if enc, err = ianaindex.IANA.Encoding(label); err != nil {
			return nil
		}
	}
	if enc == encoding.Replacement || enc == encoding.Nop || enc == unicode.UTF8 || enc == charmap.XUserDefined {
		return nil
	}
	return enc
}

// KnownCharset reports whether a text names a charset.
func KnownCharset(label string) bool { return isUTF8(label) || lookup(label) != nil }

// charset returns the charset that a content type names, however it is written; empty if
// it names none.
func charset(contentType string) string { return param(contentType, "charset") }

// param returns a parameter of a header in the form of a content type. It reads what
// mime.ParseMediaType refuses, too, such as values that would need quotes.
func param(header, name string) string {
	if strings.IndexByte(header, '=') < 0 { // the usual case
		return ""
	}
	for i := 0; i+len(name) < len(header); i++ {
		if !strings.EqualFold(header[i:i+len(name)], name) || i > 0 && strings.IndexByte("; \t,", header[i-1]) < 0 {
			continue
		}
		value, ok := strings.CutPrefix(strings.TrimLeft(header[i+len(name):], " \t"), "=")
		if !ok {
			continue
		}
		value = strings.TrimLeft(value, " \t")
		if quote := value; quote != "" && (quote[0] == '"' || quote[0] == '\'') {
			value, _, _ = strings.Cut(value[1:], quote[:1])
		} else if end := strings.IndexAny(value, ";,"); end >= 0 {
			value = value[:end]
		}
		return strings.TrimSpace(value)
	}
	return ""
}

// mediaType returns a content type without its parameters, in lower case.
func mediaType(contentType string) string {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(kind))
}
