package safehttp

import (
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

var errLink error = loggedError("the link cannot be read")

// ParseLink parses a link to a file as browsers do: it escapes characters that a request must not
// contain, keeps existing escapes, and drops tabs, line breaks and the fragment. url.Parse alone
// would decode escapes beside a raw character, and so request another object.
func ParseLink(link string) (*url.URL, error) {
	link = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(link)
	link = strings.TrimFunc(link, func(r rune) bool { return r <= ' ' })
	scheme, rest, ok := strings.Cut(link, ":")
	if !ok || !isScheme(scheme) {
		return nil, errLink
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, hasQuery := strings.Cut(rest, "?")
	rest, ok = strings.CutPrefix(strings.ReplaceAll(rest, `\`, "/"), "//")
	if !ok {
		return nil, errLink
	}
	host, path, _ := strings.Cut(rest, "/")
	host, err := ascii(host)
	if err != nil {
		return nil, err
	}
	text := scheme + "://" + host + escape("/"+path, inPath)
	if hasQuery {
		text += "?" + escape(query, inQuery)
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errLink // its text may hold a key
	}
	return u, nil
}

// isScheme reports whether a text is a URL's scheme: a letter, then letters, digits, "+", "." and "-".
// Anything else before a colon, such as "?", is part of a relative link.
func isScheme(text string) bool {
	for i, c := range text {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9') && !strings.ContainsRune("+.-", c)) {
			return false
		}
	}
	return text != ""
}

// ascii returns a host with international names in Punycode.
func ascii(host string) (string, error) {
	for i := range len(host) {
		if host[i] < 0x80 {
			continue
		}
		name, port, hasPort := strings.Cut(host, ":")
		name, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", fmt.Errorf("%w: invalid host %.100q", errLink, host)
		}
		if hasPort {
			name += ":" + port
		}
		return name, nil
	}
	return host, nil
}

// Characters that stay unescaped in a path and in a query, besides letters, digits and escapes.
// Those of the path are the ones that url.URL sends unchanged.
const (
	inPath  = "-._~!$&'()*+,;=:@[]/"
	inQuery = "-._~!$&()*+,;=:@[]/?%^`{|}\\"
)

// escape escapes each byte that is not a letter, a digit or in kept. It also escapes a % that does
// not start an escape, unless % is in kept.
func escape(text, kept string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(kept, c) >= 0,
			c == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// location returns the target of a redirect, escaped as in a link.
func location(text string) string {
	text, _, _ = strings.Cut(text, "#")
	text, query, hasQuery := strings.Cut(text, "?")
	host := ""
	if i := strings.Index(text, "://"); i >= 0 {
		end := strings.IndexByte(text[i+3:], '/')
		if end < 0 {
			end = len(text) - i - 3
		}
		host, text = text[:i+3+end], text[i+3+end:]
	}
	text = host + escape(text, inPath)
	if hasQuery {
		text += "?" + escape(query, inQuery)
	}
	return text
}
