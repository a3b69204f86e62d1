package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
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
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// wrongType says in terms of JSON which member has a value of the wrong type.
func wrongType(e *json.UnmarshalTypeError) string {
	want := "an object"
	switch kind := e.Type.Kind(); {
	case kind == reflect.String:
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
