package jsonscan

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
)

// Strict decodes a JSON document with encoding/json. A member that is not known, or a second value, is
// an error; errors are for the author of the document.
func Strict(text []byte, doc any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(doc)
	if err == nil {
		if _, end := dec.Token(); end != io.EOF {
			return errors.New("more than one JSON value")
		}
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return errors.New(wrongType(wrong))
	}
	return errors.New(wrongMember(text, doc) + strings.TrimPrefix(err.Error(), "json: "))
}

// wrongMember returns the name of the member that cannot be decoded, such as "timeout: ", since errors
// of the types' own methods do not have it. It is empty if each member alone is correct.
func wrongMember(text []byte, doc any) (name string) {
	_ = Members(text, func(member, value []byte) error {
		var unquoted string
		one := slices.Concat([]byte("{"), member, []byte(":"), value, []byte("}"))
		if json.Unmarshal(one, reflect.New(reflect.TypeOf(doc).Elem()).Interface()) == nil || json.Unmarshal(member, &unquoted) != nil {
			return nil
		}
		name = unquoted + ": "
		return ErrSyntax // ends the search
	})
	return name
}

// wrongType says in terms of JSON which member has a value of the wrong type.
func wrongType(e *json.UnmarshalTypeError) string {
	want := "an object"
	text := reflect.PointerTo(e.Type).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	switch kind := e.Type.Kind(); {
	case text || kind == reflect.String:
		want = "a text in quotation marks"
	case kind == reflect.Bool:
		want = "true or false"
	case kind >= reflect.Int && kind <= reflect.Uint64:
		want = "a whole number"
	case kind == reflect.Float32 || kind == reflect.Float64:
		want = "a number"
	case kind == reflect.Slice || kind == reflect.Array:
		want = "a list"
	}
	member := ""
	if e.Field != "" {
		member = e.Field + ": "
	}
	return member + "expected " + want + ", not " + e.Value
}
