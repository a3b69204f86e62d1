// Package jsonscan reads JSON (RFC 8259) value by value without building it: no allocation
// per value for any document.
package jsonscan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const maxDepth = 10_000 // the same as encoding/json

// ErrSyntax is for text that is not JSON.
var ErrSyntax = errors.New("not valid JSON")

// Scanner reads JSON without building it. Set Data and start at Pos 0.
type Scanner struct {
	Data []byte
	Pos  int
	nest [maxDepth/8 + 1]byte // a bit for each open container: set in an object
}

// Members calls yield for each member of an object, with its name in quotes and its value
// without the space around it, until yield returns an error. Both are parts of raw. The values
// are valid JSON.
func Members(raw []byte, yield func(name, value []byte) error) error {
	s := Scanner{Data: raw}
	return s.members(yield)
}

// Object is Members for a document: it returns [ErrSyntax] if anything follows the object.
func Object(doc []byte, yield func(name, value []byte) error) error {
	s := Scanner{Data: doc}
	if err := s.members(yield); err != nil {
		return err
	}
	if s.Space(); s.Pos != len(doc) {
		return ErrSyntax
	}
	return nil
}

func (s *Scanner) members(yield func(name, value []byte) error) error {
	s.Space()
	if s.Peek() != '{' {
		return ErrSyntax
	}
	return s.each('}', func() error {
		from := s.Pos
		if !s.Text() {
			return ErrSyntax
		}
		name := s.Data[from:s.Pos]
		if s.Space(); s.Peek() != ':' {
			return ErrSyntax
		}
		s.Pos++
		value, err := s.raw()
		if err != nil {
			return err
		}
		return yield(name, value)
	})
}

// Items calls yield for each item of a list, as Members does.
func Items(raw []byte, yield func(value []byte) error) error {
	s := Scanner{Data: raw}
	s.Space()
	if s.Peek() != '[' {
		return ErrSyntax
	}
	return s.each(']', func() error {
		value, err := s.raw()
		if err != nil {
			return err
		}
		return yield(value)
	})
}

// each reads a container to its end; the scanner is at its opening bracket.
func (s *Scanner) each(end byte, one func() error) error {
	s.Pos++
	if s.Space(); s.Peek() == end {
		s.Pos++
		return nil
	}
	for {
		s.Space()
		if err := one(); err != nil {
			return err
		}
		switch s.Space(); s.Peek() {
		case ',':
			s.Pos++
		case end:
			s.Pos++
			return nil
		default:
			return ErrSyntax
		}
	}
}

func (s *Scanner) raw() ([]byte, error) {
	s.Space()
	from := s.Pos
	if !s.Skip() {
		return nil, ErrSyntax
	}
	return s.Data[from:s.Pos:s.Pos], nil
}

// Valid reports whether doc is one JSON value.
func Valid(doc []byte) bool {
	s := Scanner{Data: doc}
	if !s.Skip() {
		return false
	}
	s.Space()
	return s.Pos == len(doc)
}

// Unquote returns the content of a string that the scanner has found to be valid. Bytes
// that are not UTF-8 stay as they are: signed content must not change by being read.
func Unquote(raw []byte) string { return unescape(raw, false) }

// UnquoteExact is Unquote of which two different strings have different texts: half of a
// surrogate pair, which UTF-8 cannot express, is written in three bytes as any other character.
func UnquoteExact(raw []byte) string { return unescape(raw, true) }

func unescape(raw []byte, exact bool) string {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	out := make([]byte, 0, len(inner))
	for i := 0; i < len(inner); i++ {
		if inner[i] != '\\' {
			out = append(out, inner[i])
			continue
		}
		i++
		switch c := inner[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hexRune(inner[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				pair := unicode.ReplacementChar
				if rest := inner[i+1:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
					pair = utf16.DecodeRune(r, hexRune(rest[2:]))
				}
				if pair != unicode.ReplacementChar {
					i += 6
				} else if exact {
					out = append(out, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0xbf, 0x80|byte(r)&0x3f)
					continue
				}
				r = pair
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

func hexRune(digits []byte) rune {
	var r rune
	for _, c := range digits[:4] {
		switch {
		case c <= '9':
			c -= '0'
		case c <= 'F':
			c -= 'A' - 10
		default:
			c -= 'a' - 10
		}
		r = r<<4 | rune(c)
	}
	return r
}

// Skip reads one value of any depth without recursion; false if it is not valid.
func (s *Scanner) Skip() bool {
	open := 0
	for {
		s.Space()
		switch c := s.Peek(); {
		case c == '{' || c == '[':
			if open == maxDepth {
				return false
			}
			s.Pos++
			s.setNest(open, c == '{')
			open++
			s.Space()
			if p := s.Peek(); c == '{' && p == '}' || c == '[' && p == ']' {
				s.Pos++
				open--
				break
			}
			if c == '{' && !s.Member() {
				return false
			}
			continue
		case c == '"':
			if !s.Text() {
				return false
			}
		case c == '-' || c >= '0' && c <= '9':
			if !s.number() {
				return false
			}
		case c == 't':
			if !s.word("true") {
				return false
			}
		case c == 'f':
			if !s.word("false") {
				return false
			}
		case c == 'n':
			if !s.word("null") {
				return false
			}
		default:
			return false
		}
	closing:
		for {
			if open == 0 {
				return true
			}
			s.Space()
			object := s.inObject(open - 1)
			switch c := s.Peek(); {
			case c == ',':
				s.Pos++
				if object && !s.Member() {
					return false
				}
				break closing
			case c == '}' && object, c == ']' && !object:
				s.Pos++
				open--
			default:
				return false
			}
		}
	}
}

func (s *Scanner) setNest(level int, object bool) {
	if object {
		s.nest[level/8] |= 1 << (level % 8)
	} else {
		s.nest[level/8] &^= 1 << (level % 8)
	}
}

func (s *Scanner) inObject(level int) bool { return s.nest[level/8]&(1<<(level%8)) != 0 }

// Member reads a member's name and the colon.
func (s *Scanner) Member() bool {
	s.Space()
	if !s.Text() {
		return false
	}
	if s.Space(); s.Peek() != ':' {
		return false
	}
	s.Pos++
	return true
}

// Space passes over white space.
func (s *Scanner) Space() {
	for s.Pos < len(s.Data) {
		switch s.Data[s.Pos] {
		case ' ', '\t', '\n', '\r':
			s.Pos++
		default:
			return
		}
	}
}

// Peek returns the next byte, 0 at the end; no value begins with it.
func (s *Scanner) Peek() byte {
	if s.Pos < len(s.Data) {
		return s.Data[s.Pos]
	}
	return 0
}

func (s *Scanner) word(w string) bool {
	if len(s.Data)-s.Pos < len(w) || string(s.Data[s.Pos:s.Pos+len(w)]) != w {
		return false
	}
	s.Pos += len(w)
	return true
}

// Text reads a string; false, without moving, if it is not valid.
func (s *Scanner) Text() bool {
	if s.Peek() != '"' {
		return false
	}
	for i := s.Pos + 1; i < len(s.Data); i++ {
		if i += plain(s.Data[i:]); i == len(s.Data) {
			return false
		}
		switch c := s.Data[i]; {
		case c == '"':
			s.Pos = i + 1
			return true
		case c < 0x20:
			return false
		case c == '\\':
			i++
			if i == len(s.Data) {
				return false
			}
			switch s.Data[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if len(s.Data)-i < 5 {
					return false
				}
				for _, h := range s.Data[i+1 : i+5] {
					if !isHex(h) {
						return false
					}
				}
				i += 4
			default:
				return false
			}
		}
	}
	return false
}

// plain returns how many bytes of text come before the first that a string does not have as it is: a
// quote, a backslash or a control character. It reads eight bytes at a time, as most of a long body is
// in strings. Of each mask the lowest bit is exact, and no other is read.
func plain(text []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; len(text)-i >= 8; i += 8 {
		word := binary.LittleEndian.Uint64(text[i:])
		quote, backslash := word^ones*'"', word^ones*'\\'
		found := (quote-ones)&^quote | (backslash-ones)&^backslash | (word-ones*0x20)&^word
		if found &= highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(text) && text[i] != '"' && text[i] != '\\' && text[i] >= 0x20; i++ {
	}
	return i
}

func (s *Scanner) number() bool {
	if s.Peek() == '-' {
		s.Pos++
	}
	if s.Peek() == '0' {
		s.Pos++
	} else if !s.digits() {
		return false
	}
	if s.Peek() == '.' {
		s.Pos++
		if !s.digits() {
			return false
		}
	}
	if c := s.Peek(); c == 'e' || c == 'E' {
		s.Pos++
		if c := s.Peek(); c == '+' || c == '-' {
			s.Pos++
		}
		return s.digits()
	}
	return true
}

func (s *Scanner) digits() bool {
	from := s.Pos
	for s.Pos < len(s.Data) && s.Data[s.Pos] >= '0' && s.Data[s.Pos] <= '9' {
		s.Pos++
	}
	return s.Pos > from
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
