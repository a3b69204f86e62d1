package cel

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// Piece is a part of a string: plain text or, if IsExpr is set, an expression that begins at
// the rune Offset.
type Piece struct {
	Text   string
	IsExpr bool
	Offset int
}

// Pieces splits a string at its ${ expressions }. $${ is a literal ${. The error is an [*Error].
func Pieces(text string) (parts []Piece, err error) {
	runes := []rune(text)
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			parts = append(parts, Piece{Text: plain.String()})
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
				return nil, &Error{Offset: i, Problem: "the ${ has no }"}
			}
			parts = append(parts, Piece{string(runes[i+2 : end]), true, i + 2})
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

// Template is a string with compiled ${ expressions }. It is safe for concurrent use.
type Template struct{ parts []templatePart }

type templatePart struct {
	text string
	expr *Expression // nil: plain text
}

// CompileTemplate compiles the expressions of a string. The error is an [*Error].
func (e *Env) CompileTemplate(text string, cost uint64) (*Template, error) {
	pieces, err := Pieces(text)
	if err != nil {
		return nil, err
	}
	t := &Template{}
	for _, p := range pieces {
		part := templatePart{text: p.Text}
		if p.IsExpr {
			if part.expr, err = e.Compile(p.Text, nil, cost); err != nil {
				if found, ok := errors.AsType[*Error](err); ok {
					found.Offset += p.Offset
				}
				return nil, err
			}
		}
		t.parts = append(t.parts, part)
	}
	return t, nil
}

// Text evaluates the template. escape is applied to the value of each expression; before is the
// text that precedes it.
func (t *Template) Text(variables map[string]any, escape func(value, before string) (string, error)) (string, error) {
	var b strings.Builder
	for _, part := range t.parts {
		if part.expr == nil {
			b.WriteString(part.text)
			continue
		}
		v, err := part.expr.Value(variables)
		if err != nil {
			return "", err
		}
		text, err := plainText(v)
		if err == nil && escape != nil {
			text, err = escape(text, b.String())
		}
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// plainText returns strings as they are, other values as JSON, and null as "".
func plainText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	text, err := json.Marshal(v)
	return string(text), err
}
