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

// tsOperation is the part of an operation that TypeScript has types for.
type tsOperation struct {
	OperationID string
	Summary     string
	Parameters  []struct {
		Name, In, Description string
		Required              bool
		Schema                tsSchema
	}
	RequestBody struct {
		Required bool
		Content  map[string]struct{ Schema tsSchema }
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema tsSchema }
	}
}

// The types and operations of the TypeScript client are generated from the OpenAPI document.
func TestTypeScriptIsCurrent(t *testing.T) {
	t.Parallel()
	var doc struct {
		Components struct{ Schemas map[string]tsSchema }
		Paths      map[string]map[string]tsOperation
	}
	res := newFake(t).call(http.MethodGet, "/api/openapi.json", "", "")
	if err := json.Unmarshal([]byte(res.body), &doc); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("// Generated from internal/api/openapi.yaml by go test ./internal/api -update. Do not edit.\n\n/** The JSON documents of gaff's HTTP API. */\n")
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		writeInterface(&b, name, doc.Components.Schemas[name])
	}
	writeOperations(&b, doc.Paths)
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

func writeInterface(b *strings.Builder, name string, schema tsSchema) {
	fmt.Fprintf(b, "\nexport interface %s {\n", name)
	for _, member := range slices.Sorted(maps.Keys(schema.Properties)) {
		property, optional := schema.Properties[member], ""
		if !slices.Contains(schema.Required, member) {
			optional = "?"
		}
		writeComment(b, "  ", property.Description)
		fmt.Fprintf(b, "  %s%s: %s;\n", tsName(member), optional, property.typescript())
	}
	b.WriteString("}\n")
}

func writeComment(b *strings.Builder, indent, text string) {
	if text != "" {
		fmt.Fprintf(b, "%s/** %s */\n", indent, strings.ReplaceAll(text, "*/", "*\\/"))
	}
}

// writeOperations writes the types of the operations that exchange JSON, and their methods and paths.
func writeOperations(b *strings.Builder, paths map[string]map[string]tsOperation) {
	type entry struct {
		method, path string
		op           tsOperation
	}
	byID := map[string]entry{}
	for path, methods := range paths {
		for method, op := range methods {
			byID[op.OperationID] = entry{strings.ToUpper(method), path, op}
		}
	}
	ids := slices.Sorted(maps.Keys(byID))
	b.WriteString("\n/** The operations of the API by operationId: query, body and answer of each. */\nexport interface Operations {\n")
	for _, id := range ids {
		op := byID[id].op
		writeComment(b, "  ", op.Summary)
		fmt.Fprintf(b, "  %q: { query: %s; body: %s; answer: %s };\n", id, op.query(), op.body(), op.answer())
	}
	b.WriteString("}\n\n/** The method and path of each operation. */\nexport const operations: { readonly [Id in keyof Operations]: readonly [method: string, path: string] } = {\n")
	for _, id := range ids {
		fmt.Fprintf(b, "  %q: [%q, %q],\n", id, byID[id].method, byID[id].path)
	}
	b.WriteString("};\n")
}

// query writes the type of the parameters of the query.
func (op tsOperation) query() string {
	var members []string
	for _, p := range op.Parameters {
		if p.In != "query" {
			continue
		}
		optional := "?"
		if p.Required {
			optional = ""
		}
		members = append(members, tsName(p.Name)+optional+": "+p.Schema.typescript())
	}
	if members == nil {
		return "undefined"
	}
	return "{ " + strings.Join(members, "; ") + " }"
}

// body writes the type of the request's document; undefined if it has none.
func (op tsOperation) body() string {
	content, ok := op.RequestBody.Content["application/merge-patch+json"]
	if !ok {
		content, ok = op.RequestBody.Content["application/json"]
	}
	switch {
	case !ok:
		return "undefined"
	case !op.RequestBody.Required:
		return content.Schema.typescript() + " | undefined"
	}
	return content.Schema.typescript()
}

// answer writes the type of the document of the first successful response.
func (op tsOperation) answer() string {
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		if !strings.HasPrefix(status, "2") {
			continue
		}
		if content, ok := op.Responses[status].Content["application/json"]; ok {
			return content.Schema.typescript()
		}
		return "undefined"
	}
	return "undefined"
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
