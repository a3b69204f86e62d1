// Package testcode writes a stored event as a test in a language: code that signs it and posts it to an
// application, as gaff would. Every text that a sender chose is quoted for the language it is written in.
package testcode

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"gaff/internal/shell"
)

// Languages are the names that [Write] knows.
var Languages = []string{"go", "ts", "curl"}

// Extension returns the end of the name of a test's file.
func Extension(language string) string {
	return map[string]string{"go": "_test.go", "ts": ".test.ts", "curl": ".sh"}[language]
}

// MaxBody is the largest body that fits a test, in bytes.
const MaxBody = 256 << 10

// Write returns the test of an event. body is what a destination would be sent, eventID the event's id.
func Write(language, eventID string, body []byte) (string, error) {
	if len(body) > MaxBody {
		return "", fmt.Errorf("the event has %d bytes, too many for a test: at most %d", len(body), MaxBody)
	}
	name := strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return -1
	}, eventID)
	var template string
	var quote func(string) string
	switch language {
	case "go":
		template, quote = goTest, strconv.QuoteToASCII
	case "ts":
		template, quote = tsTest, script
	case "curl":
		template, quote = curlTest, shell.Quote
	default:
		return "", fmt.Errorf("unknown language %.20q: want %s", language, strings.Join(Languages, ", "))
	}
	// The texts are put in at once: what one contains is not searched for the next.
	return strings.NewReplacer("«NAME»", name, "«BODY»", quote(string(body)), "«ID»", quote("msg_"+name)).Replace(template), nil
}

// Known reports whether a language is known.
func Known(language string) bool { return slices.Contains(Languages, language) }

// script quotes a text for JavaScript and TypeScript.
func script(text string) string {
	quoted, _ := json.Marshal(strings.ToValidUTF8(text, "\uFFFD")) // a text: never fails; < > & and U+2028 are escaped
	return string(quoted)
}

//go:embed go.txt
var goTest string

//go:embed ts.txt
var tsTest string

//go:embed curl.txt
var curlTest string
