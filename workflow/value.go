package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"gaff/internal/cel"
)

// value is a value of a definition. Strings in it may contain expressions.
type value interface {
	eval(vars map[string]any) (any, error)
	// refs returns the steps that its expressions read, with duplicates.
	refs() []string
}

type (
	constant struct{ v any }
	computed struct{ *cel.Expression } // a string that is ${ expression } alone; its value has any type
	template []value                   // a string with expressions in it; its value is a string
	object   map[string]value
	list     []value
)

func (c constant) eval(map[string]any) (any, error)      { return c.v, nil }
func (constant) refs() []string                          { return nil }
func (c computed) eval(vars map[string]any) (any, error) { return c.Value(vars) }
func (c computed) refs() []string                        { return stepRefs(c.Expression) }
func (t template) refs() []string                        { return list(t).refs() }

func (t template) eval(vars map[string]any) (any, error) {
	var b strings.Builder
	for _, part := range t {
		v, err := part.eval(vars)
		if err != nil {
			return nil, err
		}
		b.WriteString(asText(v))
	}
	return b.String(), nil
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

// stepRefs returns the steps that an expression reads; none for nil.
func stepRefs(e *cel.Expression) []string {
	if e == nil {
		return nil
	}
	return e.Fields("steps")
}

// evalText evaluates v to a string; empty for nil.
func evalText(v value, vars map[string]any) (string, error) {
	if v == nil {
		return "", nil
	}
	out, err := v.eval(vars)
	return asText(out), err
}

// evalJSON evaluates v to JSON; nil for nil.
func evalJSON(v value, vars map[string]any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	out, err := v.eval(vars)
	if err != nil {
		return nil, err
	}
	return encode(out)
}

// asText returns strings as they are, other values as JSON, and null as "".
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

// decode parses JSON to the types that expressions use, with whole numbers as int64. It
// returns nil for invalid JSON.
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

// numbers replaces the numbers in a decoded value by int64 and float64.
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

// encode returns v as JSON, or an error if it exceeds MaxValue.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	if b.Len() > MaxValue {
		return nil, fmt.Errorf("the value has %d bytes; the maximum is %d", b.Len(), MaxValue)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
