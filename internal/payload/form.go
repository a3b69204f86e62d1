package payload

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	formType = "application/x-www-form-urlencoded"
	maxParts = 1000
	// maxFields bounds the fields of an urlencoded form: some forms are read before they are
	// verified, and a field of 4 bytes costs 200 of memory.
	maxFields = 10_000
	// maxNested bounds how deep multipart may stand in multipart.
	maxNested = 3
)

// Errors of [Form].
var (
	// ErrNoForm: the content type is not that of a form.
	ErrNoForm  = errors.New("not a form")
	errParts   = fmt.Errorf("the form has more than %d parts", maxParts)
	errFields  = fmt.Errorf("the form has more than %d fields", maxFields)
	errNoParts = errors.New("the multipart form cannot be read: its boundary is missing or it is cut off")
)

// Field is one field of a form.
type Field struct {
	Name string
	// Value has the bytes as sent, after the escapes or the transfer encoding: what a
	// signature covers.
	Value []byte
	// File is true for a part with a file name, even an empty one.
	File                  bool
	FileName, ContentType string
	// Broken is true for an urlencoded value with a % outside an escape; Value has it as
	// sent.
	Broken bool

	charset string
}

// Text is the value as UTF-8 without a byte order mark.
func (f *Field) Text() string {
	if text, ok := unmark(f.Value); ok {
		return string(text)
	}
	return string(Decode(f.charset, f.Value))
}

// JSON reports whether the part says that it is JSON: such a one is a field even if it has a
// file's name.
func (f *Field) JSON() bool {
	kind := mediaType(f.ContentType)
	return kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json") ||
		(kind == "" || kind == "application/octet-stream") && strings.HasSuffix(strings.ToLower(f.FileName), ".json")
}

// Form reads a form of either kind. A field's charset is that of its part, else the form's:
// of the content type, or of a field _charset_ or charset, as browsers and PayPal send it.
func Form(contentType string, body []byte) (fields []Field, err error) {
	body = Text(contentType, body)
	switch kind := mediaType(contentType); {
	case kind == formType:
		if fields, err = urlencoded(string(body)); err != nil {
			return nil, err
		}
	case kind == "multipart/form-data":
		if fields, err = parts(contentType, body, "", 0, nil); err != nil {
			return nil, err
		}
	default:
		return nil, ErrNoForm
	}
	label := charset(contentType)
	for _, f := range fields {
		if label == "" && (f.Name == "_charset_" || f.Name == "charset") && !f.File && KnownCharset(string(f.Value)) {
			label = string(f.Value)
		}
	}
	for i := range fields {
		f := &fields[i]
		if f.charset == "" {
			f.charset = label
		}
		if name := Decode(label, []byte(f.Name)); utf8.Valid(name) {
			f.Name = string(name)
		}
	}
	return fields, nil
}

// urlencoded reads as browsers do: a % outside an escape stays, and only & separates
// fields.
func urlencoded(text string) (fields []Field, err error) {
	for pair := range strings.SplitSeq(text, "&") {
		if pair == "" {
			continue
		}
		if len(fields) == maxFields {
			return nil, errFields
		}
		name, value, _ := strings.Cut(pair, "=")
		_, err := url.QueryUnescape(value)
		fields = append(fields, Field{Name: string(unescape(name)), Value: unescape(value), Broken: err != nil})
	}
	return fields, nil
}

func unescape(text string) []byte {
	return Unpercent(strings.ReplaceAll(strings.TrimRight(text, "\r\n"), "+", " "))
}

// Unpercent decodes percent-escapes and leaves other text unchanged.
func Unpercent(text string) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if b, err := url.PathUnescape(text[i : i+3]); err == nil {
				out = append(out, b...)
				i += 2
				continue
			}
		}
		out = append(out, text[i])
	}
	return out
}

// parts reads multipart. name is of the part around it.
func parts(contentType string, body []byte, name string, depth int, fields []Field) ([]Field, error) {
	r := multipart.NewReader(bytes.NewReader(body), boundary(contentType, body))
	for n := 0; ; n++ { // parts without a name count, too
		part, err := r.NextPart()
		if err == io.EOF { //nolint:errorlint // one that is cut off ends with a wrapped io.EOF
			return fields, nil
		}
		if err != nil {
			return nil, errNoParts
		}
		if n == maxParts || len(fields) == maxParts {
			return nil, errParts
		}
		f, err := readPart(part, part.Header)
		if err != nil {
			return nil, errNoParts
		}
		if f.Name == "" {
			f.Name = name
		}
		if strings.HasPrefix(mediaType(f.ContentType), "multipart/") && depth < maxNested {
			if fields, err = parts(f.ContentType, f.Value, f.Name, depth+1, fields); err != nil {
				return nil, err
			}
			continue
		}
		if f.Name != "" {
			fields = append(fields, f)
		}
	}
}

// readPart reads one part. Quoted-printable was undone by the reader.
func readPart(part io.Reader, header textproto.MIMEHeader) (Field, error) {
	f := Field{ContentType: header.Get("Content-Type")}
	f.charset = charset(f.ContentType)
	disposition := header.Get("Content-Disposition")
	f.Name, _ = dispositionParam(disposition, "name")
	f.FileName, f.File = dispositionParam(disposition, "filename")
	var err error
	if f.Value, err = io.ReadAll(part); err != nil {
		return f, err
	}
	if strings.EqualFold(strings.TrimSpace(header.Get("Content-Transfer-Encoding")), "base64") {
		if data, err := Base64(string(f.Value)); err == nil {
			f.Value = data
		}
	}
	return f, nil
}

// Base64 reads base64 of either alphabet, with or without its padding, and with white space.
func Base64(text string) ([]byte, error) {
	text = strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n', '\f':
			return -1
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return r
	}, text)
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
}
