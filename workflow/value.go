package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// value is a value of a definition that may hold expressions.
type value interface {
	eval(vars map[string]any) (any, error)
	refs() []string
}

type (
	constant struct{ v any }
	whole    struct{ *expression } // ${ expression } alone: its value, of any type
	mixed    []any                 // of string and *expression: a text
	object   map[string]value
	list     []value
)

func (c constant) eval(map[string]any) (any, error) { return c.v, nil }

func (constant) refs() []string { return nil }

func (w whole) refs() []string { return w.expression.refs }

func (m mixed) eval(vars map[string]any) (any, error) {
	var b strings.Builder
	for _, part := range m {
		if text, ok := part.(string); ok {
			b.WriteString(text)
			continue
		}
		v, err := part.(*expression).eval(vars)
		if err != nil {
			return nil, err
		}
		b.WriteString(asText(v))
	}
	return b.String(), nil
}

func (m mixed) refs() (names []string) {
	for _, part := range m {
		if e, ok := part.(*expression); ok {
			names = append(names, e.refs...)
		}
	}
	return names
}

func (o object) eval(vars map[string]any) (any, error) {
	m := map[string]any{}
	for key, v := range o {
		var err error
		if m[key], err = v.eval(vars); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (o object) refs() (names []string) {
	for _, v := range o {
		names = append(names, v.refs()...)
	}
	return names
}

func (l list) eval(vars map[string]any) (any, error) {
	items := make([]any, len(l))
	for i, v := range l {
		var err error
		if items[i], err = v.eval(vars); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func (l list) refs() (names []string) {
	for _, v := range l {
		names = append(names, v.refs()...)
	}
	return names
}

// asText writes a value into a text.
func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	text, err := encode(v)
	if err != nil {
		return ""
	}
	return string(text)
}

// piece is a part of a text: an expression, if expr is set, that begins at a rune.
type piece struct {
	text   string
	expr   bool
	offset int
}

// pieces takes a text with ${ … } apart. $${ is a plain ${.
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
				return nil, &exprError{i, "the ${ has no }"}
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

// closing finds the brace that ends an expression, past braces and texts inside; -1 if
// there is none.
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

// decode reads JSON as expressions see it: whole numbers as integers.
func decode(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil
	}
	return numbers(v)
}

// numbers replaces the numbers of a decoded value by those that expressions know.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case map[string]any:
		for key, value := range v {
			v[key] = numbers(value)
		}
	case []any:
		for i, value := range v {
			v[i] = numbers(value)
		}
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
		return float64(v)
	case int:
		return int64(v)
	}
	return v
}

// encode writes a value as JSON, within the bound of a step's values.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	if b.Len() > MaxValue {
		return nil, fmt.Errorf("the value has %d bytes; at most %d are kept", b.Len(), MaxValue)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
