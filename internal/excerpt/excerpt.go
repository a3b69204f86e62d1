// Package excerpt shortens texts for messages, lists and rows. Limits are in bytes; a character is
// never split.
package excerpt

import (
	"strings"
	"unicode/utf8"
)

// Prefix returns the first limit bytes of text, or fewer if the limit would split a character.
func Prefix[T string | []byte](text T, limit int) T {
	if len(text) <= limit {
		return text
	}
	for end := limit; end > max(limit-utf8.UTFMax, 0); end-- {
		if utf8.RuneStart(text[end]) {
			return text[:end]
		}
	}
	return text[:limit]
}

// Text returns text, or its first limit bytes and "…" if it is longer. Invalid UTF-8 is removed
// from a shortened text.
func Text(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(Prefix(text, limit), "") + "…"
}

// Line is [Text] for one line: each run of white space becomes a space.
func Line(text string, limit int) string { return Text(strings.Join(strings.Fields(text), " "), limit) }
