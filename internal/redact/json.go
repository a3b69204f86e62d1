package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
)

// maskedJSON replaces a secret in JSON.
var maskedJSON = []byte(`"` + Masked + `"`)

// JSON hides the values at the places "json:/POINTER" and, for forms that were made JSON,
// "form:NAME". Everything else stays as it was written. A document that cannot be read is
// masked from where its reading ended.
func JSON(doc []byte, places []string) []byte {
	var pointers [][]string
	for _, place := range places {
		switch kind, name, _ := strings.Cut(place, ":"); kind {
		case "json":
			pointers = append(pointers, split(name))
		case "form":
			pointers = append(pointers, []string{name})
		}
	}
	if len(pointers) == 0 {
		return doc
	}
	return (&masker{doc: doc, pointers: pointers}).run()
}

// Items returns the places for the items of a list that the body holds: what comes after
// "*" in a pointer.
func Items(places []string) (items []string) {
	for _, place := range places {
		if i := strings.LastIndex(place, "/*/"); i >= 0 && strings.HasPrefix(place, "json:") {
			place = "json:" + place[i+len("/*"):]
		}
		items = append(items, place)
	}
	return items
}

// split takes a JSON pointer apart (RFC 6901).
func split(pointer string) []string {
	if pointer == "" {
		return nil
	}
	parts := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, part := range parts {
		parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
	}
	return parts
}

// masker goes over a document token by token, so that a large one is not built in memory.
type masker struct {
	doc      []byte
	pointers [][]string

	out  bytes.Buffer
	done int      // how much of doc is in out
	path []string // of the value that comes next; "*" for an item of a list
	open []bool   // of each container that is open: whether it is an object
	key  bool     // whether the next token is a name
	hide int      // how many containers are open inside a value that is hidden
}

func (m *masker) run() []byte {
	dec := json.NewDecoder(bytes.NewReader(m.doc))
	dec.UseNumber()
	for {
		before := int(dec.InputOffset())
		token, err := dec.Token()
		switch {
		case errors.Is(err, io.EOF) && len(m.open) == 0:
			if m.done == 0 {
				return m.doc
			}
			m.out.Write(m.doc[m.done:])
			return m.out.Bytes()
		case err != nil:
			if m.hide == 0 {
				m.out.Write(m.doc[m.done:max(before, m.done)])
			}
			m.out.WriteString(Masked)
			return m.out.Bytes()
		}
		m.step(token, before, int(dec.InputOffset()))
	}
}

func (m *masker) step(token json.Token, before, after int) {
	switch delim, _ := token.(json.Delim); {
	case delim == '}' || delim == ']':
		m.open = m.open[:len(m.open)-1]
		if m.hide > 0 {
			if m.hide--; m.hide == 0 {
				m.done = after
			}
		}
		m.path = m.path[:len(m.path)-1]
		m.next()
	case m.key:
		m.path[len(m.path)-1], m.key = token.(string), false
	default:
		if hit := m.hide == 0 && m.secret(); hit {
			start := before + len(m.doc[before:after]) - len(bytes.TrimLeft(m.doc[before:after], " \t\r\n:,"))
			m.out.Write(m.doc[m.done:start])
			m.out.Write(maskedJSON)
			m.done = after
			if delim != 0 {
				m.hide = 1
			}
		} else if m.hide > 0 && delim != 0 {
			m.hide++
		}
		if delim == 0 {
			m.next()
			return
		}
		m.open = append(m.open, delim == '{')
		m.path = append(m.path, "*")
		m.key = delim == '{'
	}
}

// next is called after a value: in an object, a name follows.
func (m *masker) next() { m.key = len(m.open) > 0 && m.open[len(m.open)-1] }

// secret reports whether the value at m.path is hidden. Names are compared without case: a
// sender may have written one otherwise than expected, and was rejected for it. A number in a pointer hides each
// item of the list.
func (m *masker) secret() bool {
	return slices.ContainsFunc(m.pointers, func(p []string) bool {
		return slices.EqualFunc(p, m.path, func(want, got string) bool {
			return strings.EqualFold(want, got) || got == "*" && want != "" && strings.Trim(want, "0123456789") == ""
		})
	})
}
