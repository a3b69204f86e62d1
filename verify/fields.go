package verify

import (
	"fmt"

	"gaff/internal/jsonscan"
)

// Fields reads values from JSON by pointers. It scans the bytes once, for any number of pointers,
// and does not decode the document.
type Fields struct {
	set   pointers
	names []string
	index []int
}

// NewFields parses pointers (RFC 6901), such as "/data/id". An empty one finds nothing.
func NewFields(list ...string) (*Fields, error) {
	f := &Fields{names: list}
	for _, text := range list {
		at := -1
		if text != "" {
			var err error
			if at, err = f.set.addOnce(text); err != nil {
				return nil, err
			}
		}
		f.index = append(f.index, at)
	}
	return f, nil
}

// Read returns the texts at the pointers, in their order: a string's content, a number
// as written, true or false; empty for anything else. Different strings have different
// texts, which may be invalid UTF-8. The whole document must be JSON.
func (f *Fields) Read(doc []byte) ([]string, error) {
	found, err := f.set.find(doc)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(f.index))
	for i, at := range f.index {
		if at >= 0 {
			texts[i], _ = exactText(found[at])
		}
	}
	return texts, nil
}

// Raw returns the values at the pointers as written in the document, nil if missing.
func (f *Fields) Raw(doc []byte) ([][]byte, error) {
	found, err := f.set.find(doc)
	if err != nil {
		return nil, err
	}
	values := make([][]byte, len(f.index))
	for i, at := range f.index {
		if at >= 0 {
			values[i] = found[at]
		}
	}
	return values, nil
}

// ValidJSON returns an error if doc is not JSON.
func ValidJSON(doc []byte) error {
	s := jsonscan.Scanner{Data: doc}
	if !s.Skip() {
		return errJSON
	}
	if s.Space(); s.Pos != len(doc) {
		return fmt.Errorf("%w: something follows it", errJSON)
	}
	return nil
}
