package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"gaff/internal/jsonpointer"
)

// SetJSON returns the document with a value at a JSON pointer. Missing objects on the way
// are created.
func SetJSON(doc []byte, pointer string, value any) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		return nil, errors.New("the body is not JSON, and the signature belongs in it")
	}
	tokens, err := jsonpointer.Parse(pointer)
	if err != nil {
		return nil, err
	}
	if err := putAt(root, tokens, value); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err = enc.Encode(root)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// empty is what holds a member: a list of one for the first item, else an object.
func empty(token string) any {
	if token == "0" {
		return []any{map[string]any{}}
	}
	return map[string]any{}
}

func putAt(at any, tokens []string, value any) error {
	last := len(tokens) == 1
	switch at := at.(type) {
	case map[string]any:
		if last {
			at[tokens[0]] = value
			return nil
		}
		if at[tokens[0]] == nil {
			at[tokens[0]] = empty(tokens[1])
		}
		return putAt(at[tokens[0]], tokens[1:], value)
	case []any:
		i, err := strconv.Atoi(tokens[0])
		if err != nil || i < 0 || i >= len(at) {
			return fmt.Errorf("the body has no item %s, and the signature belongs in it", tokens[0])
		}
		if last {
			at[i] = value
			return nil
		}
		return putAt(at[i], tokens[1:], value)
	}
	return fmt.Errorf("the body has no object for %s, and the signature belongs in it", tokens[0])
}
