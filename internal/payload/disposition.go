package payload

import (
	"bytes"
	"mime"
	"strings"
)

// dispositionParam returns a parameter of a part's Content-Disposition. Senders write names
// that mime.ParseMediaType refuses, such as a[] without quotes.
func dispositionParam(header, name string) (value string, ok bool) {
	if _, params, err := mime.ParseMediaType(header); err == nil {
		value, ok = params[name]
		return value, ok
	}
	value = param(header, name)
	return value, value != "" || strings.Contains(header, name+"=")
}

// boundary returns what parts the parts: as the content type says, if the body has it, else
// what its first line says.
func boundary(contentType string, body []byte) string {
	if _, params, err := mime.ParseMediaType(contentType); err == nil && has(body, params["boundary"]) {
		return params["boundary"]
	}
	if b := param(contentType, "boundary"); has(body, b) {
		return b
	}
	line, _, _ := bytes.Cut(bytes.TrimLeft(body, "\r\n"), []byte("\n"))
	if b, ok := bytes.CutPrefix(bytes.TrimRight(line, " \t\r"), []byte("--")); ok && len(b) > 0 && len(b) <= 70 {
		return string(b)
	}
	return ""
}

func has(body []byte, boundary string) bool {
	return boundary != "" && bytes.Contains(body, []byte("--"+boundary))
}
