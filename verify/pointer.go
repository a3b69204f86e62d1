package verify

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/jsonpointer"
	"gaff/internal/jsonscan"
)

const (
	maxPointers     = 64 // each is a bit of a scan's mask
	maxPointerDepth = 32 // bounds the scan's recursion
)

var errJSON = errors.New("the body is not JSON")

// pointers is a set of JSON pointers (RFC 6901) that are resolved in one pass over a document.
type pointers struct {
	list [][]string
}

// add adds a pointer to the set and returns its index.
func (p *pointers) add(text string) (int, error) {
	tokens, err := jsonpointer.Parse(text)
	if err != nil {
		return 0, err
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

// find returns the raw value at each pointer, nil if missing. The whole document must be valid JSON.
// Of duplicate members the last counts, as for most readers that get the document after gaff.
func (p *pointers) find(doc []byte) ([][]byte, error) {
	if len(p.list) == 0 {
		return nil, nil
	}
	s := scanner{Scanner: jsonscan.Scanner{Data: doc}, want: p.list, found: make([][]byte, len(p.list))}
	var all uint64 = 1<<len(p.list) - 1
	if len(p.list) == maxPointers {
		all = ^uint64(0)
	}
	if !s.value(all, 0) {
		return nil, errJSON
	}
	if s.Space(); s.Pos != len(doc) {
		return nil, errJSON
	}
	return s.found, nil
}

// findIn is find in the text of a request, which is not decoded for an empty set.
func (p *pointers) findIn(r *gaff.Request) ([][]byte, error) {
	if len(p.list) == 0 {
		return nil, nil
	}
	return p.find(r.Text())
}

// jsonText returns a raw value as text: a string's content, a number as written, true or false. ok
// is false for null, objects, arrays and missing values.
func jsonText(raw []byte) (string, bool) {
	if len(raw) == 0 {
		return "", false
	}
	switch raw[0] {
	case '"':
		return jsonscan.Unquote(raw), true
	case '{', '[', 'n':
		return "", false
	}
	return string(raw), true
}

// exactText is like jsonText, but different strings have different texts: a lone surrogate, which
// UTF-8 cannot encode, is written in three bytes like other characters.
func exactText(raw []byte) (string, bool) {
	if len(raw) > 0 && raw[0] == '"' {
		return jsonscan.UnquoteExact(raw), true
	}
	return jsonText(raw)
}

// scanner finds values by pointers without building the document.
type scanner struct {
	jsonscan.Scanner
	want  [][]string
	found [][]byte
}

// value reads one value at the depth; mask has the pointers that lead here.
func (s *scanner) value(mask uint64, depth int) bool {
	s.Space()
	if mask == 0 {
		return s.Skip()
	}
	start := s.Pos
	var deeper uint64
	for i, w := range s.want {
		if mask&(1<<i) != 0 && len(w) > depth {
			deeper |= 1 << i
		}
	}
	var ok bool
	switch c := s.Peek(); {
	case c == '{' && deeper != 0:
		ok = s.object(deeper, depth)
	case c == '[' && deeper != 0:
		ok = s.array(deeper, depth)
	default:
		ok = s.Skip()
	}
	if !ok {
		return false
	}
	for i := range s.want {
		if mask&^deeper&(1<<i) != 0 {
			s.found[i] = s.Data[start:s.Pos]
		}
	}
	return true
}

func (s *scanner) object(mask uint64, depth int) bool {
	s.Pos++
	if s.Space(); s.Peek() == '}' {
		s.Pos++
		return true
	}
	for {
		s.Space()
		from := s.Pos
		if !s.Text() {
			return false
		}
		name := s.Data[from:s.Pos]
		if s.Space(); s.Peek() != ':' {
			return false
		}
		s.Pos++
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
		s.Space()
		switch s.Peek() {
		case ',':
			s.Pos++
		case '}':
			s.Pos++
			return true
		default:
			return false
		}
	}
}

func (s *scanner) array(mask uint64, depth int) bool {
	s.Pos++
	if s.Space(); s.Peek() == ']' {
		s.Pos++
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
		s.Space()
		switch s.Peek() {
		case ',':
			s.Pos++
		case ']':
			s.Pos++
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
	return jsonscan.Unquote(raw) == want
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

// Printable quotes and shortens a text from a request, for errors that an operator reads.
func Printable(text string) string {
	const most = 48
	if len(text) > most {
		return strconv.Quote(excerpt.Prefix(text, most)) + "..."
	}
	return strconv.Quote(text)
}

// must adds a pointer that is a constant of the program.
func (p *pointers) must(text string) {
	if _, err := p.add(text); err != nil {
		panic("verify: " + err.Error())
	}
}
