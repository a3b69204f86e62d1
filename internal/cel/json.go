package cel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

var jsonType = reflect.TypeFor[*structpb.Value]()

// decode turns CEL's JSON value into Go's, numbers as json.Number.
func decode(v any) (any, error) {
	pb, ok := v.(*structpb.Value)
	if !ok {
		return nil, fmt.Errorf("%T is no JSON value", v)
	}
	text, err := protojson.Marshal(pb)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var out any
	err = dec.Decode(&out)
	return out, err
}
