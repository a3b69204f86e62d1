package verify

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JoinExactly joins texts so that different lists have different results. If a part contains the
// separator, the lengths of the parts follow.
func JoinExactly(parts []string, sep string) string {
	text := strings.Join(parts, sep)
	if strings.Count(text, sep) == len(parts)-1 {
		return text
	}
	return text + lengths(parts, sep)
}

func lengths(parts []string, sep string) (text string) {
	for _, part := range parts {
		text += sep + strconv.Itoa(len(part))
	}
	return text
}

// JoinID joins the parts of an id by dots and omits empty parts at the end. Different ids have
// different texts, for any parts.
func JoinID(parts []string) string {
	for len(parts) > 0 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	gap := slices.Contains(parts, "")
	present := slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return part == "" })
	text := strings.Join(present, ".")
	if gap || strings.Count(text, ".") != len(present)-1 {
		text += lengths(parts, ".")
	}
	return text
}

// ExactID returns an id that was decoded from a document. If the decoder replaced invalid
// characters in it, ExactID reads it at its pointer, so that two ids do not become one.
func ExactID(decoded string, doc []byte, pointer string) string {
	if !strings.ContainsRune(decoded, utf8.RuneError) {
		return decoded
	}
	f, err := NewFields(pointer)
	if err != nil {
		return decoded
	}
	if texts, err := f.Read(doc); err == nil && texts[0] != "" {
		return texts[0]
	}
	return decoded
}
