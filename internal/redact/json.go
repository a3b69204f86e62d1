package redact

import (
	"bytes"
	"slices"
	"strings"

	"gaff/internal/jsonpointer"
	"gaff/internal/jsonscan"
)

// maskedJSON replaces a secret in JSON.
var maskedJSON = []byte(`"` + Masked + `"`)

// JSON masks the values at the places "json:/POINTER" and, for forms converted to JSON,
// "form:NAME". Everything else stays unchanged. An invalid document is masked from the first
// error on.
func JSON(doc []byte, places []string) []byte {
	var pointers [][]string
	for _, place := range places {
		switch kind, name, _ := strings.Cut(place, ":"); kind {
		case "json":
			pointers = append(pointers, jsonpointer.Tokens(name))
		case "form":
			pointers = append(pointers, []string{name})
		}
	}
	if len(pointers) == 0 {
		return doc
	}
	return (&masker{scan: jsonscan.Scanner{Data: doc}, pointers: pointers}).run()
}

// Items returns the places within the items of the body's list: the rest of each pointer after
// "*".
func Items(places []string) (items []string) {
	for _, place := range places {
		if i := strings.LastIndex(place, "/*/"); i >= 0 && strings.HasPrefix(place, "json:") {
			place = "json:" + place[i+len("/*"):]
		}
		items = append(items, place)
	}
	return items
}

// masker masks a document in one pass. It decodes only values on the way of a pointer.
type masker struct {
	scan     jsonscan.Scanner
	pointers [][]string

	out  bytes.Buffer
	done int // bytes of the document that are in out
}

func (m *masker) run() []byte {
	doc := m.scan.Data
	for m.scan.Space(); m.scan.Pos < len(doc); m.scan.Space() {
		if !m.value(m.pointers) {
			m.out.Write(doc[m.done:max(m.scan.Pos, m.done)])
			m.out.WriteString(Masked)
			return m.out.Bytes()
		}
	}
	if m.done == 0 {
		return doc
	}
	m.out.Write(doc[m.done:])
	return m.out.Bytes()
}

// value scans one value, and masks it if one of the pointers ends here. It returns false for
// invalid JSON; the scanner is then not past the text that may be shown.
func (m *masker) value(pointers [][]string) bool {
	s := &m.scan
	s.Space()
	from := s.Pos
	switch c := s.Peek(); {
	case slices.ContainsFunc(pointers, func(p []string) bool { return len(p) == 0 }):
		m.out.Write(s.Data[m.done:from])
		m.out.Write(maskedJSON)
		ok := s.Skip()
		if !ok {
			s.Pos = from
		}
		m.done = max(s.Pos, m.done)
		return ok
	case len(pointers) > 0 && c == '{':
		return m.container('}', func() bool {
			from := s.Pos
			if !s.Member() {
				return false
			}
			var name string
			return m.value(within(pointers, func(want string) bool {
				if name == "" {
					name = memberName(s.Data[from:s.Pos])
				}
				return strings.EqualFold(want, name)
			}))
		})
	case len(pointers) > 0 && c == '[':
		items := within(pointers, func(want string) bool {
			return want == "*" || want != "" && strings.Trim(want, "0123456789") == ""
		})
		return m.container(']', func() bool { return m.value(items) })
	}
	return s.Skip()
}

// container scans an object or a list.
func (m *masker) container(end byte, one func() bool) bool {
	s := &m.scan
	s.Pos++
	if s.Space(); s.Peek() == end {
		s.Pos++
		return true
	}
	for {
		s.Space()
		if !one() {
			return false
		}
		switch s.Space(); s.Peek() {
		case ',':
			s.Pos++
		case end:
			s.Pos++
			return true
		default:
			return false
		}
	}
}

// within returns the rest of the pointers that lead into a part. Names are compared
// case-insensitively: a request may have been rejected because of a different spelling. A number
// in a pointer masks each item of the list.
func within(pointers [][]string, leads func(want string) bool) (rest [][]string) {
	for _, p := range pointers {
		if leads(p[0]) {
			rest = append(rest, p[1:])
		}
	}
	return rest
}

// memberName returns the name in the text of a member up to its colon.
func memberName(text []byte) string {
	return jsonscan.Unquote(text[:bytes.LastIndexByte(text, '"')+1])
}
