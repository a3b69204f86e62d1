package verify

import (
	"errors"

	"gaff"
	"gaff/internal/fault"
)

// Reader reads texts at several places of requests, with one scan of a body for all of
// them.
type Reader struct {
	set    pointers
	places []place
}

// Add adds a place and returns its number for [Reading.Text]. A nil location has no text. Faults have
// paths that begin with path.
func (rd *Reader) Add(l *Location, path string, f *fault.List) int {
	rd.places = append(rd.places, newPlace(l, path, &rd.set, f))
	return len(rd.places) - 1
}

// AddExact is like [Reader.Add] for a text that identifies something: different values have
// different texts, which may be invalid UTF-8.
func (rd *Reader) AddExact(l *Location, path string, f *fault.List) int {
	n := rd.Add(l, path, f)
	rd.places[n].identify()
	return n
}

// Label returns the name of a place, for errors.
func (rd *Reader) Label(n int) string { return rd.places[n].label }

// Read scans the text of r's body, or content in its place if that is not nil. Places in a
// body that is not JSON have no text.
func (rd *Reader) Read(r *gaff.Request, content []byte) Reading {
	if content == nil {
		content = r.Text()
	}
	values, _ := rd.set.find(content)
	return Reading{rd, r, values}
}

// Reading is what a [Reader] found in one request.
type Reading struct {
	rd     *Reader
	r      *gaff.Request
	values [][]byte
}

// Text returns the text at a place. The error is [ErrMissing] for a missing or empty text,
// [ErrAmbiguous] for several texts, [ErrMalformed] for one that cannot be read.
func (g Reading) Text(n int) (string, error) { return g.rd.places[n].read(g.r, g.values) }

// Holds reports whether a place has a value, a text or another.
func (g Reading) Holds(n int) bool {
	p := g.rd.places[n]
	if p.in == "json" && len(g.values) > p.index && g.values[p.index] != nil {
		return true
	}
	_, err := g.Text(n)
	return !errors.Is(err, ErrMissing)
}
