package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxCanonicalDepth is how deep an input may be nested that is compared with others.
	maxCanonicalDepth = 100
	// maxExponent bounds the exponent of a number, so that numbers are compared exactly.
	maxExponent = 1_000_000
)

// errNotCanonical says that programs may read a text in different ways, such as one with two members of
// the same name.
var errNotCanonical = errors.New("the JSON has no canonical form")

// seedNames are the members of inputs that make a model's result repeatable.
var seedNames = []string{"seed", "noise_seed", "random_seed"}

// canonical writes JSON so that equal values have equal texts, as RFC 8785 does: members sorted by name,
// no white space, one form of strings. Numbers differ from the RFC: they stay exact, so that seeds of 64
// bits are not mistaken for each other. seeded reports whether a member of the name of a seed has a
// number that is not negative.
func canonical(text json.RawMessage) (out []byte, seeded bool, err error) {
	if !utf8.Valid(text) {
		return nil, false, errNotCanonical
	}
	c := &canonicalizer{dec: json.NewDecoder(bytes.NewReader(text))}
	c.dec.UseNumber()
	if out, err = c.value(nil, 0); err != nil {
		return nil, false, err
	}
	if _, err := c.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, false, errNotCanonical
	}
	return out, c.seeded, nil
}

type canonicalizer struct {
	dec    *json.Decoder
	seeded bool
}

// value appends the next value.
func (c *canonicalizer) value(out []byte, depth int) ([]byte, error) {
	token, err := c.dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		if depth >= maxCanonicalDepth {
			return nil, errNotCanonical
		}
		if t == '[' {
			return c.array(out, depth+1)
		}
		return c.object(out, depth+1)
	case json.Number:
		return appendNumber(out, string(t))
	case string:
		return appendString(out, t)
	case bool:
		return strconv.AppendBool(out, t), nil
	}
	return append(out, "null"...), nil
}

func (c *canonicalizer) array(out []byte, depth int) (_ []byte, err error) {
	out = append(out, '[')
	for first := true; c.dec.More(); first = false {
		if !first {
			out = append(out, ',')
		}
		if out, err = c.value(out, depth); err != nil {
			return nil, err
		}
	}
	_, err = c.dec.Token()
	return append(out, ']'), err
}

func (c *canonicalizer) object(out []byte, depth int) ([]byte, error) {
	members := map[string][]byte{}
	for c.dec.More() {
		token, err := c.dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string) // the decoder allows no other
		if _, twice := members[name]; twice {
			return nil, errNotCanonical
		}
		value, err := c.value(nil, depth)
		if err != nil {
			return nil, err
		}
		members[name] = value
		if slices.Contains(seedNames, strings.ToLower(name)) && value[0] >= '0' && value[0] <= '9' {
			c.seeded = true
		}
	}
	if _, err := c.dec.Token(); err != nil {
		return nil, err
	}
	out = append(out, '{')
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendString(out, name); err != nil {
			return nil, err
		}
		out = append(append(out, ':'), members[name]...)
	}
	return append(out, '}'), nil
}

// appendString appends a string. Half of a surrogate pair is read as U+FFFD, so that two strings with
// different halves would be equal.
func appendString(out []byte, s string) ([]byte, error) {
	if strings.ContainsRune(s, utf8.RuneError) {
		return nil, errNotCanonical
	}
	text, err := json.Marshal(s)
	return append(out, text...), err
}

// appendNumber appends a number as its digits and a power of ten: 1.0, 1 and 10e-1 are equal.
func appendNumber(out []byte, text string) ([]byte, error) {
	digits, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	power := 0
	if exponent != "" {
		var err error
		if power, err = strconv.Atoi(exponent); err != nil || power > maxExponent || power < -maxExponent {
			return nil, errNotCanonical
		}
	}
	digits, negative := strings.CutPrefix(digits, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	digits, power = whole+fraction, power-len(fraction)
	short := strings.TrimRight(digits, "0")
	power += len(digits) - len(short)
	short = strings.TrimLeft(short, "0")
	if short == "" {
		return append(out, '0'), nil
	}
	if negative {
		out = append(out, '-')
	}
	out = append(out, short...)
	if power != 0 {
		out = strconv.AppendInt(append(out, 'e'), int64(power), 10)
	}
	return out, nil
}
