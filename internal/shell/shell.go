// Package shell writes commands that people copy into a shell. The parts of a command may
// come from untrusted senders, so every command offered for copying is built here.
//
// The commands are for bash and zsh: they use $'…' and <(…).
package shell

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Quote returns text as one word of a command. It escapes characters that control a terminal, end
// a bracketed paste or trigger completion, so the word can be pasted. A NUL byte, which no argument
// can contain, becomes U+FFFD.
func Quote(text string) string {
	switch {
	case text != "" && strings.IndexFunc(text, needsQuotes) < 0:
		return text
	case utf8.ValidString(text) && strings.IndexFunc(text, Steers) < 0:
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for text != "" {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1: // a byte that is not UTF-8
			octal(&b, text[:1])
		case r == 0:
			octal(&b, "\uFFFD")
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\\':
			b.WriteString(`\\`)
		case Steers(r) || r == '\'' || r == '!':
			octal(&b, string(r))
		default:
			b.WriteRune(r)
		}
		text = text[size:]
	}
	b.WriteString("'")
	return b.String()
}

// octal writes bytes as octal escapes, which do not depend on the locale.
func octal(b *strings.Builder, text string) {
	for i := range len(text) {
		fmt.Fprintf(b, `\%03o`, text[i])
	}
}

func needsQuotes(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letter && !strings.ContainsRune("_-+.,:/@%", r)
}

// Steers reports whether a terminal or a page could take a character as a command, show nothing for it,
// or reorder text by it: control characters, format characters and separators of lines.
func Steers(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// EscapeJSON writes the characters of a JSON text that Steers reports as escapes, which does not change
// its value. Line breaks and tabs, which are between values, stay.
func EscapeJSON(text string) string {
	var b strings.Builder
	for _, r := range text {
		if !Steers(r) || strings.ContainsRune("\r\n\t", r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// Words joins words into a command and quotes each.
func Words(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Quote(word)
	}
	return strings.Join(quoted, " ")
}

// MaxTyped is the longest body, in bytes, that [Curl] writes into the command.
const MaxTyped = 16 << 10

// Request is the request of a [Curl] command.
type Request struct {
	// Method is sent unchanged.
	Method string
	// URL must be a complete URL from the gateway's configuration: the Host of a received
	// request may name any server.
	URL    string
	Header map[string][]string
	Body   []byte
	// File is read if Body is longer than MaxTyped.
	File string
}

// Curl returns the command that sends r. It omits headers that curl or the connection sets, and
// names that HTTP does not allow.
func Curl(r Request) string {
	var b strings.Builder
	b.WriteString("curl -X " + Quote(r.Method))
	if strings.ContainsAny(r.URL, "[]{}") {
		b.WriteString(" --globoff")
	}
	b.WriteString(" " + Quote(r.URL))
	const next = " \\\n  "
	hasType := false
	for _, name := range headerNames(r.Header) {
		hasType = hasType || strings.EqualFold(name, "Content-Type")
		for _, value := range r.Header[name] {
			b.WriteString(next + "-H " + Quote(headerLine(name, value)))
		}
	}
	if len(r.Body) == 0 {
		return b.String()
	}
	if !hasType {
		b.WriteString(next + "-H Content-Type:") // without it curl sends the type of a form
	}
	switch {
	case len(r.Body) > MaxTyped:
		b.WriteString(next + "--data-binary " + Quote("@"+r.File))
	case !utf8.Valid(r.Body) || slices.Contains(r.Body, 0):
		fmt.Fprintf(&b, "%s--data-binary @- < <(base64 -d <<< %s)", next, Quote(base64.StdEncoding.EncodeToString(r.Body)))
	default:
		b.WriteString(next + "--data-raw " + Quote(string(r.Body)))
	}
	return b.String()
}

// headerNames returns the names of the headers to send, sorted.
func headerNames(header map[string][]string) []string {
	var names []string
	for name := range header {
		switch strings.ToLower(name) {
		case "content-length", "host", "connection", "accept-encoding", "user-agent", "accept", "transfer-encoding", "expect":
			continue
		}
		// curl reads a file if a header begins with @.
		if name != "" && strings.IndexFunc(name, notToken) < 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// notToken reports whether a character is not allowed in a header's name (RFC 9110, 5.6.2).
func notToken(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

// headerLine returns the argument of curl's -H. A name with only a colon would remove the header.
func headerLine(name, value string) string {
	value = lineBreaks.Replace(value) // strings.Map would change invalid UTF-8
	if strings.TrimSpace(value) == "" {
		return name + ";"
	}
	return name + ": " + value
}
