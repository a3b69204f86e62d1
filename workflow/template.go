package workflow

import (
	"slices"
	"strings"

	"gaff/internal/cel"
)

// piece is a part of a string: plain text or, if expr is set, an expression that begins at
// the rune offset.
type piece struct {
	text   string
	expr   bool
	offset int
}

// pieces splits a string at its ${ expressions }. $${ is a literal ${.
func pieces(text string) (parts []piece, err error) {
	runes := []rune(text)
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			parts = append(parts, piece{text: plain.String()})
			plain.Reset()
		}
	}
	at := func(i int, s string) bool {
		r := []rune(s)
		return i+len(r) <= len(runes) && slices.Equal(runes[i:i+len(r)], r)
	}
	for i := 0; i < len(runes); {
		switch {
		case at(i, "$${"):
			plain.WriteString("${")
			i += 3
		case at(i, "${"):
			flush()
			end := closing(runes, i+2)
			if end < 0 {
				return nil, &cel.Error{Offset: i, Problem: "the ${ has no }"}
			}
			parts = append(parts, piece{string(runes[i+2 : end]), true, i + 2})
			i = end + 1
		default:
			plain.WriteRune(runes[i])
			i++
		}
	}
	flush()
	return parts, nil
}

// closing returns the index of the brace that ends an expression, skipping nested braces and
// string literals; -1 if missing.
func closing(runes []rune, i int) int {
	depth := 0
	for ; i < len(runes); i++ {
		switch runes[i] {
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i
			}
			depth--
		case '"', '\'':
			quote := runes[i]
			for i++; i < len(runes) && runes[i] != quote; i++ {
				if runes[i] == '\\' {
					i++
				}
			}
		}
	}
	return -1
}
