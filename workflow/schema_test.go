package workflow_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gaff/workflow"
)

// The schema for editors has the same keys as the parser.
func TestSchemaHasTheParsersKeys(t *testing.T) {
	t.Parallel()
	type object struct {
		Properties           map[string]json.RawMessage `json:"properties"`
		Required             []string                   `json:"required"`
		AdditionalProperties *bool                      `json:"additionalProperties"`
	}
	var doc struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal(workflow.Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	parts := maps.Clone(doc.Defs)
	parts["Workflow"] = doc.object
	for _, typ := range []reflect.Type{
		reflect.TypeFor[workflow.Workflow](), reflect.TypeFor[workflow.Input](), reflect.TypeFor[workflow.Trigger](),
		reflect.TypeFor[workflow.Schedule](), reflect.TypeFor[workflow.Step](), reflect.TypeFor[workflow.Submit](),
		reflect.TypeFor[workflow.WaitFor](), reflect.TypeFor[workflow.HTTP](), reflect.TypeFor[workflow.Approve](),
		reflect.TypeFor[workflow.Emit](), reflect.TypeFor[workflow.Retry](), reflect.TypeFor[workflow.Candidate](),
	} {
		var keys []string
		for i := range typ.NumField() {
			yaml, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			stored, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if yaml == "" || yaml != stored {
				t.Errorf("%s.%s: is %q in YAML and %q in JSON", typ.Name(), typ.Field(i).Name, yaml, stored)
			}
			keys = append(keys, yaml)
		}
		slices.Sort(keys)
		part := parts[typ.Name()]
		if known := slices.Sorted(maps.Keys(part.Properties)); !slices.Equal(known, keys) {
			t.Errorf("%s has the keys %v, the schema %v", typ.Name(), keys, known)
		}
		if part.AdditionalProperties == nil || *part.AdditionalProperties {
			t.Errorf("%s: the schema allows keys that there are not", typ.Name())
		}
	}
}
