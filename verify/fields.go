package verify

import (
	"fmt"

	"gaff/internal/jsonscan"
)

// Fields reads values out of JSON by pointers, without decoding the document: one pass
// over the bytes, whatever the number of pointers.
type Fields struct {
	set   pointers
	names []string
	index []int
}

// NewFields readies pointers (RFC 6901), such as "/data/id". An empty one is never found.
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
// texts, which may be no UTF-8. The document must be JSON as a whole.
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

// Raw returns the values at the pointers as they stand in the document, nil where there is
// none.
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
