package sqlstore

import (
	"net/http"
	"strings"

	"gaff"
)

// encodeRequest stores a request in the format of HTTP/1, so that header bytes that are not
// UTF-8 survive. Lines that begin with a colon are gaff's.
func encodeRequest(r *gaff.Request, v gaff.Verification, project string) []byte {
	b := make([]byte, 0, 512)
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.URL...)
	b = append(b, '\n')
	for _, line := range [...]struct{ name, value string }{
		{":remote ", r.RemoteAddr}, {":scheme ", v.Scheme}, {":key ", v.KeyID},
		{":subject ", v.Subject}, {":dialect ", v.Dialect}, {":project ", project},
	} {
		if line.value != "" {
			b = append(b, line.name...)
			b = append(b, oneLine(line.value)...)
			b = append(b, '\n')
		}
	}
	for _, place := range v.Secrets {
		b = append(b, ":secret "...)
		b = append(b, oneLine(place)...)
		b = append(b, '\n')
	}
	return encodeHeader(b, r.Header)
}

func encodeHeader(b []byte, header http.Header) []byte {
	for name, values := range header {
		for _, value := range values {
			b = append(b, name...)
			b = append(b, ':', ' ')
			b = append(b, oneLine(value)...)
			b = append(b, '\n')
		}
	}
	return b
}

// oneLine replaces line breaks. HTTP allows none in a header, but a caller of the library may
// pass one.
func oneLine(value string) string {
	if strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, '\r') >= 0 {
		return strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
	}
	return value
}

func decodeRequest(b []byte) (r *gaff.Request, v gaff.Verification, project string) {
	r = &gaff.Request{}
	line, rest, _ := strings.Cut(string(b), "\n")
	r.Method, r.URL, _ = strings.Cut(line, " ")
	for strings.HasPrefix(rest, ":") {
		line, rest, _ = strings.Cut(rest, "\n")
		name, value, _ := strings.Cut(line, " ")
		switch name {
		case ":remote":
			r.RemoteAddr = value
		case ":scheme":
			v.Scheme = value
		case ":key":
			v.KeyID = value
		case ":subject":
			v.Subject = value
		case ":dialect":
			v.Dialect = value
		case ":project":
			project = value
		case ":secret":
			v.Secrets = append(v.Secrets, value)
		}
	}
	r.Header = decodeHeader(rest)
	return r, v, project
}

func decodeHeader(text string) http.Header {
	header := http.Header{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if ok {
			header[name] = append(header[name], value)
		}
	}
	return header
}
