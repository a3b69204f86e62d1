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
	"unicode/utf8"
)

// Quote returns text as one word of a command. What could steer a terminal, end a
// bracketed paste or trigger completion is escaped, so the word can be pasted. No argument
// can hold a NUL byte: it becomes U+FFFD.
func Quote(text string) string {
	switch {
	case text != "" && strings.IndexFunc(text, needsQuotes) < 0:
		return text
	case utf8.ValidString(text) && strings.IndexFunc(text, steers) < 0:
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
		case steers(r) || r == '\'' || r == '!':
			octal(&b, string(r))
		default:
			b.WriteRune(r)
		}
		text = text[size:]
	}
	b.WriteString("'")
	return b.String()
}

// octal writes bytes in the one form that every locale reads alike.
func octal(b *strings.Builder, text string) {
	for i := range len(text) {
		fmt.Fprintf(b, `\%03o`, text[i])
	}
}

func needsQuotes(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letter && !strings.ContainsRune("_-+.,:/@%", r)
}

func steers(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Words joins the words of a command, each quoted.
func Words(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Quote(word)
	}
	return strings.Join(quoted, " ")
}

// MaxTyped is the longest body, in bytes, that [Curl] writes into the command.
const MaxTyped = 16 << 10

// A Request is what a command of [Curl] sends.
type Request struct {
	// Method is sent as it is.
	Method string
	// URL is a whole address. It must be an address of the gateway's own configuration:
	// the Host that a sender sent may name anyone's server.
	URL    string
	Header map[string][]string
	Body   []byte
	// File is read if Body is longer than MaxTyped.
	File string
}

// Curl returns the command that sends r. Headers that curl or the connection sets are left
// out, and so are names that HTTP does not allow.
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
		b.WriteString(next + "-H Content-Type:") // without it curl says that it is a form
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

// headerNames lists in order the headers that a command repeats.
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

// notToken reports whether a character cannot be in the name of a header (RFC 9110, 5.6.2).
func notToken(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

// headerLine is what curl's option -H takes. A name with a colon alone would remove the header.
func headerLine(name, value string) string {
	value = lineBreaks.Replace(value) // strings.Map would change bytes that are not UTF-8
	if strings.TrimSpace(value) == "" {
		return name + ";"
	}
	return name + ": " + value
}
