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

// The types and operations of the Python client are generated from the OpenAPI document.
func TestPythonIsCurrent(t *testing.T) {
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
	b.WriteString(`"""The JSON documents of gaff's HTTP API.

Generated from internal/api/openapi.yaml by go test ./internal/api -update. Do not edit.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict
`)
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		schema := doc.Components.Schemas[name]
		members := map[string]pyMember{}
		for member, property := range schema.Properties {
			members[member] = pyMember{property, slices.Contains(schema.Required, member)}
		}
		writeTypedDict(&b, name, members)
	}
	writePyOperations(&b, doc.Paths)
	path := filepath.Join("..", "..", "clients", "python", "src", "gaff", "api.py")
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

// pyKeywords cannot be names of members of a class.
var pyKeywords = strings.Fields("and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield None True False")

type pyMember struct {
	schema   tsSchema
	required bool
}

// writeTypedDict writes a class, or a call if a member's name is a keyword or has signs that Python does not allow.
func writeTypedDict(b *strings.Builder, name string, members map[string]pyMember) {
	names := slices.Sorted(maps.Keys(members))
	plain := !slices.ContainsFunc(names, func(n string) bool { return strings.ContainsAny(n, "-$. ") || slices.Contains(pyKeywords, n) })
	typeOf := func(m pyMember) string {
		if m.required {
			return m.schema.python()
		}
		return "NotRequired[" + m.schema.python() + "]"
	}
	if !plain {
		fmt.Fprintf(b, "\n\n%s = TypedDict(\n    %q,\n    {\n", name, name)
		for _, n := range names {
			fmt.Fprintf(b, "        %q: %q,\n", n, typeOf(members[n]))
		}
		b.WriteString("    },\n)\n")
		return
	}
	fmt.Fprintf(b, "\n\nclass %s(TypedDict):\n", name)
	for _, n := range names {
		if doc := members[n].schema.Description; doc != "" {
			fmt.Fprintf(b, "    # %s\n", strings.ReplaceAll(doc, "\n", " "))
		}
		fmt.Fprintf(b, "    %s: %s\n", n, typeOf(members[n]))
	}
	if len(names) == 0 {
		b.WriteString("    pass\n")
	}
}

// writePyOperations writes the queries of the operations, and their methods and paths.
func writePyOperations(b *strings.Builder, paths map[string]map[string]tsOperation) {
	targets := map[string][2]string{}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for method, op := range paths[path] {
			targets[op.OperationID] = [2]string{strings.ToUpper(method), path}
		}
	}
	ids := slices.Sorted(maps.Keys(targets))
	for _, id := range ids {
		query := map[string]pyMember{}
		for _, p := range paths[targets[id][1]][strings.ToLower(targets[id][0])].Parameters {
			if p.In == "query" {
				p.Schema.Description = p.Description
				query[p.Name] = pyMember{p.Schema, p.Required}
			}
		}
		if len(query) > 0 {
			writeTypedDict(b, pyClass(id)+"Query", query)
		}
	}
	b.WriteString("\n\n# The method and path of each operation, by its operationId.\nOPERATIONS: dict[str, tuple[str, str]] = {\n")
	for _, id := range ids {
		fmt.Fprintf(b, "    %q: (%q, %q),\n", id, targets[id][0], targets[id][1])
	}
	b.WriteString("}\n")
}

// pyClass writes list-jobs as ListJobs.
func pyClass(id string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(id, "-") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// python writes the type of a schema.
func (s tsSchema) python() string {
	switch {
	case s.Ref != "":
		return s.Ref[strings.LastIndex(s.Ref, "/")+1:]
	case len(s.AnyOf) > 0:
		return union(s.AnyOf, tsSchema.python)
	case len(s.Enum) > 0:
		return union(s.Enum, pyLiteral)
	}
	if types, ok := s.Type.([]any); ok {
		return union(types, func(name any) string { return s.pyOf(name.(string)) })
	}
	name, _ := s.Type.(string)
	return s.pyOf(name)
}

func pyLiteral(v any) string {
	if v == nil {
		return "None"
	}
	text, _ := json.Marshal(v)
	return "Literal[" + string(text) + "]"
}

// pyOf writes the type of a schema with one of its type names.
func (s tsSchema) pyOf(name string) string {
	switch name {
	case "string":
		return "str"
	case "boolean":
		return "bool"
	case "null":
		return "None"
	case "integer":
		return "int"
	case "number":
		return "float"
	case "array":
		if s.Items == nil {
			return "list[Any]"
		}
		return "list[" + s.Items.python() + "]"
	case "object":
		var values tsSchema
		if json.Unmarshal(s.AdditionalProperties, &values) != nil {
			return "dict[str, Any]"
		}
		return "dict[str, " + values.python() + "]"
	}
	return "Any"
}
