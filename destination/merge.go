package destination

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"gaff"
)

// Merge applies a JSON merge patch (RFC 7396) to a spec.
func Merge(s *Spec, patch []byte) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if text, err = MergeJSON(text, patch); err != nil {
		return err
	}
	next, err := ReadSpec(text)
	if err == nil {
		*s = next
	}
	return err
}

// MergeJSON applies a JSON merge patch to a JSON document.
func MergeJSON(text, patch []byte) ([]byte, error) {
	changes, err := decode(patch)
	if _, ok := changes.(map[string]any); err != nil || !ok {
		return nil, fmt.Errorf("%w: the body is not a JSON object", gaff.ErrInvalid)
	}
	all, err := decode(text)
	if err != nil {
		return nil, err
	}
	return json.Marshal(mergePatch(all, changes))
}

// decode reads one JSON value, with numbers as they were written.
func decode(text []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

// mergePatch is the function of RFC 7396, section 2. It changes target.
func mergePatch(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	into, ok := target.(map[string]any)
	if !ok {
		into = map[string]any{}
	}
	for name, change := range changes {
		if change == nil {
			delete(into, name)
		} else {
			into[name] = mergePatch(into[name], change)
		}
	}
	return into
}
