package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tsSchema is the part of a schema that TypeScript has types for.
type tsSchema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Description          string
	Enum                 []any
	Items                *tsSchema
	AnyOf                []tsSchema
	Properties           map[string]tsSchema
	Required             []string
	AdditionalProperties json.RawMessage
}

// The TypeScript types of the API's documents are generated from the OpenAPI document.
func TestTypeScriptIsCurrent(t *testing.T) {
	t.Parallel()
	var doc struct {
		Components struct{ Schemas map[string]tsSchema }
	}
	res := newFake(t).call(http.MethodGet, "/api/openapi.json", "", "")
	if err := json.Unmarshal([]byte(res.body), &doc); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("// Generated from internal/api/openapi.yaml by go test ./internal/api -update. Do not edit.\n\n/** The JSON documents of gaff's HTTP API. */\n")
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		schema := doc.Components.Schemas[name]
		fmt.Fprintf(&b, "\nexport interface %s {\n", name)
		for _, member := range slices.Sorted(maps.Keys(schema.Properties)) {
			property, optional := schema.Properties[member], ""
			if !slices.Contains(schema.Required, member) {
				optional = "?"
			}
			if property.Description != "" {
				fmt.Fprintf(&b, "  /** %s */\n", strings.ReplaceAll(property.Description, "*/", "*\\/"))
			}
			fmt.Fprintf(&b, "  %s%s: %s;\n", tsName(member), optional, property.typescript())
		}
		b.WriteString("}\n")
	}
	path := filepath.Join("..", "..", "clients", "typescript", "src", "api.ts")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Errorf("%s is not current; run go test ./internal/api -update", path)
	}
}

func tsName(member string) string {
	if strings.ContainsAny(member, "-$. ") {
		return fmt.Sprintf("%q", member)
	}
	return member
}

// typescript writes the type of a schema.
func (s tsSchema) typescript() string {
	switch {
	case s.Ref != "":
		return s.Ref[strings.LastIndex(s.Ref, "/")+1:]
	case len(s.AnyOf) > 0:
		return union(s.AnyOf, tsSchema.typescript)
	case len(s.Enum) > 0:
		return union(s.Enum, func(v any) string { text, _ := json.Marshal(v); return string(text) })
	}
	if types, ok := s.Type.([]any); ok {
		return union(types, func(name any) string { return s.of(name.(string)) })
	}
	name, _ := s.Type.(string)
	return s.of(name)
}

// of writes the type of a schema with one of its type names.
func (s tsSchema) of(name string) string {
	switch name {
	case "string", "boolean", "null":
		return name
	case "integer", "number":
		return "number"
	case "array":
		if s.Items == nil {
			return "unknown[]"
		}
		item := s.Items.typescript()
		if strings.Contains(item, " | ") {
			item = "(" + item + ")"
		}
		return item + "[]"
	case "object":
		var values tsSchema
		if json.Unmarshal(s.AdditionalProperties, &values) != nil {
			return "Record<string, unknown>"
		}
		return "Record<string, " + values.typescript() + ">"
	}
	return "unknown"
}

func union[T any](parts []T, write func(T) string) string {
	var texts []string
	for _, part := range parts {
		texts = append(texts, write(part))
	}
	return strings.Join(texts, " | ")
}
