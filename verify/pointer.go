package verify

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxPointers     = 64     // a bit each in a scan's mask
	maxPointerDepth = 32     // bounds the scan's recursion
	maxJSONDepth    = 10_000 // what encoding/json reads, too
)

var errJSON = errors.New("the body is not JSON")

// pointers is a set of JSON pointers (RFC 6901) that one pass over a document resolves.
type pointers struct {
	list [][]string
}

// add puts a pointer into the set and returns its place.
func (p *pointers) add(text string) (int, error) {
	if text == "" || text[0] != '/' {
		return 0, fmt.Errorf("%q is no JSON pointer; one such as /data/id is wanted", text)
	}
	tokens := strings.Split(text[1:], "/")
	for i, t := range tokens {
		for j := 0; j < len(t); j++ {
			if t[j] == '~' && (j+1 == len(t) || t[j+1] != '0' && t[j+1] != '1') {
				return 0, fmt.Errorf("%q has a lone ~; write ~0 for it", text)
			}
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
	}
	if len(tokens) > maxPointerDepth {
		return 0, fmt.Errorf("%q is deeper than %d", text, maxPointerDepth)
	}
	if len(p.list) == maxPointers {
		return 0, fmt.Errorf("more than %d JSON pointers", maxPointers)
	}
	p.list = append(p.list, tokens)
	return len(p.list) - 1, nil
}

// addOnce is add for a pointer that may be in the set already.
func (p *pointers) addOnce(text string) (int, error) {
	before := len(p.list)
	i, err := p.add(text)
	if err != nil {
		return 0, err
	}
	for j := range before {
		if slices.Equal(p.list[j], p.list[i]) {
			p.list = p.list[:before]
			return j, nil
		}
	}
	return i, nil
}

// find returns the raw value at each pointer, nil where there is none. The document
// must be valid JSON as a whole. Of members that stand twice the last counts, as it
// does for most readers that will see the document after us.
func (p *pointers) find(doc []byte) ([][]byte, error) {
	if len(p.list) == 0 {
		return nil, nil
	}
	s := scanner{data: doc, want: p.list, found: make([][]byte, len(p.list))}
	var all uint64 = 1<<len(p.list) - 1
	if len(p.list) == maxPointers {
		all = ^uint64(0)
	}
	if !s.value(all, 0) {
		return nil, errJSON
	}
	if s.space(); s.pos != len(doc) {
		return nil, errJSON
	}
	return s.found, nil
}

// jsonText returns a raw value as text: a string's content, a number as written, true
// or false. Null, objects, arrays and absent values have none.
func jsonText(raw []byte) (string, bool) {
	if len(raw) == 0 {
		return "", false
	}
	switch raw[0] {
	case '"':
		return unquote(raw), true
	case '{', '[', 'n':
		return "", false
	}
	return string(raw), true
}

// exactText is jsonText of which two different strings have different texts: half of a
// surrogate pair, which UTF-8 cannot say, is written in three bytes as any other character.
func exactText(raw []byte) (string, bool) {
	if len(raw) > 0 && raw[0] == '"' {
		return unescape(raw, true), true
	}
	return jsonText(raw)
}

// unquote returns the content of a string that the scanner has found to be valid. Bytes
// that are not UTF-8 stay as they are: signed content must not change by being read.
func unquote(raw []byte) string { return unescape(raw, false) }

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

// scanner reads JSON without building it.
type scanner struct {
	data  []byte
	pos   int
	want  [][]string
	found [][]byte
	nest  [maxJSONDepth/8 + 1]byte // a bit for each open container: set in an object
}

// value reads one value at the depth; mask has the pointers that lead here.
func (s *scanner) value(mask uint64, depth int) bool {
	s.space()
	if mask == 0 {
		return s.skip()
	}
	start := s.pos
	var deeper uint64
	for i, w := range s.want {
		if mask&(1<<i) != 0 && len(w) > depth {
			deeper |= 1 << i
		}
	}
	var ok bool
	switch c := s.peek(); {
	case c == '{' && deeper != 0:
		ok = s.object(deeper, depth)
	case c == '[' && deeper != 0:
		ok = s.array(deeper, depth)
	default:
		ok = s.skip()
	}
	if !ok {
		return false
	}
	for i := range s.want {
		if mask&^deeper&(1<<i) != 0 {
			s.found[i] = s.data[start:s.pos]
		}
	}
	return true
}

func (s *scanner) object(mask uint64, depth int) bool {
	s.pos++
	if s.space(); s.peek() == '}' {
		s.pos++
		return true
	}
	for {
		s.space()
		from := s.pos
		if !s.str() {
			return false
		}
		name := s.data[from:s.pos]
		if s.space(); s.peek() != ':' {
			return false
		}
		s.pos++
		var child uint64
		for i, w := range s.want {
			if mask&(1<<i) != 0 && nameIs(name, w[depth]) {
				child |= 1 << i
				s.found[i] = nil
			}
		}
		if !s.value(child, depth+1) {
			return false
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return true
		default:
			return false
		}
	}
}

func (s *scanner) array(mask uint64, depth int) bool {
	s.pos++
	if s.space(); s.peek() == ']' {
		s.pos++
		return true
	}
	for n := 0; ; n++ {
		var child uint64
		for i, w := range s.want {
			if mask&(1<<i) != 0 && indexIs(w[depth], n) {
				child |= 1 << i
			}
		}
		if !s.value(child, depth+1) {
			return false
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return true
		default:
			return false
		}
	}
}

func nameIs(raw []byte, want string) bool {
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == want
	}
	return unquote(raw) == want
}

func indexIs(token string, n int) bool {
	if len(token) == 1 {
		return n < 10 && token[0] == byte('0'+n)
	}
	if n < 10 {
		return false
	}
	return strconv.Itoa(n) == token
}

// skip reads one value of any depth without recursion.
func (s *scanner) skip() bool {
	open := 0
	for {
		s.space()
		switch c := s.peek(); {
		case c == '{' || c == '[':
			if open == maxJSONDepth {
				return false
			}
			s.pos++
			s.setNest(open, c == '{')
			open++
			s.space()
			if p := s.peek(); c == '{' && p == '}' || c == '[' && p == ']' {
				s.pos++
				open--
				break
			}
			if c == '{' && !s.member() {
				return false
			}
			continue
		case c == '"':
			if !s.str() {
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
			s.space()
			object := s.inObject(open - 1)
			switch c := s.peek(); {
			case c == ',':
				s.pos++
				if object && !s.member() {
					return false
				}
				break closing
			case c == '}' && object, c == ']' && !object:
				s.pos++
				open--
			default:
				return false
			}
		}
	}
}

func (s *scanner) setNest(level int, object bool) {
	if object {
		s.nest[level/8] |= 1 << (level % 8)
	} else {
		s.nest[level/8] &^= 1 << (level % 8)
	}
}

func (s *scanner) inObject(level int) bool { return s.nest[level/8]&(1<<(level%8)) != 0 }

// member reads a member's name and the colon.
func (s *scanner) member() bool {
	s.space()
	if !s.str() {
		return false
	}
	if s.space(); s.peek() != ':' {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end; no value begins with it.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) word(w string) bool {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return false
	}
	s.pos += len(w)
	return true
}

func (s *scanner) str() bool {
	if s.peek() != '"' {
		return false
	}
	for i := s.pos + 1; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return true
		case c < 0x20:
			return false
		case c == '\\':
			i++
			if i == len(s.data) {
				return false
			}
			switch s.data[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if len(s.data)-i < 5 {
					return false
				}
				for _, h := range s.data[i+1 : i+5] {
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

func (s *scanner) number() bool {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return false
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return false
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		return s.digits()
	}
	return true
}

func (s *scanner) digits() bool {
	from := s.pos
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > from
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// printable cuts a stranger's text down to what an operator may be shown in an error.
func printable(text string) string {
	const most = 48
	if len(text) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		return strconv.Quote(text[:cut]) + "..."
	}
	return strconv.Quote(text)
}

// must adds a pointer that is part of the program.
func (p *pointers) must(text string) {
	if _, err := p.add(text); err != nil {
		panic("verify: " + err.Error())
	}
}
