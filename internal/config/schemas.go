package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"gaff/internal/jsonpointer"
	"gaff/internal/schema"
	"gaff/internal/suggest"
	"gaff/internal/yamlfile"
)

// Schema is the JSON Schema of an event type.
type Schema struct {
	// File is the file that it was read from; empty for one that is part of the source.
	File string
	Text string // JSON
}

// What happens to an event that violates the schema of its type.
const (
	ViolationWarn   = "warn"   // it is stored, and marked
	ViolationRefuse = "refuse" // its request is rejected
)

// maxSchemas is how many schemas a source can have.
const maxSchemas = 100

// checkSchemas reports faults beside those of the schemas themselves, which decodeSchema reports.
func (s *Source) checkSchemas(k *checker) {
	if words := []string{ViolationWarn, ViolationRefuse}; s.OnViolation != "" && !slices.Contains(words, s.OnViolation) {
		k.value(&s.OnViolation, errors.New("is not known"+suggest.Hint(s.OnViolation, words)+"; want warn or refuse"))
	}
	if s.OnViolation != "" && len(s.Schemas) == 0 {
		k.part(&s.OnViolation, "", s.OnViolation, "has no effect without schemas:")
	}
	if len(s.Schemas) > maxSchemas {
		k.part(&s.Schemas, "", "", fmt.Sprintf("has %d schemas, more than %d", len(s.Schemas), maxSchemas))
	}
	for _, eventType := range slices.Sorted(maps.Keys(s.Schemas)) {
		if eventType == "" || eventType != "*" && strings.Contains(eventType, "*") {
			k.part(&s.Schemas, "."+eventType, "", `is not an event type; write a type such as order.paid, or "*" for all types without a schema of their own`)
		}
	}
}

// decodeSchema reads a JSON Schema: the name of a file, or the schema itself.
func (l *loader) decodeSchema(name string, n ast.Node, to *Schema) {
	file, isText := n.(*ast.StringNode)
	if !isText {
		l.addSchema(name, "", n, to)
		return
	}
	if l.literal {
		l.fault(name, file.Value, l.at(n), "must be a JSON Schema; no file is read here")
		return
	}
	text, err := readSmall(l.path(strings.TrimPrefix(file.Value, "file:")))
	if err != nil {
		l.fault(name, file.Value, l.at(n), "the file cannot be read: "+reason(err))
		return
	}
	main := l.file
	l.file = strings.TrimPrefix(file.Value, "file:")
	defer func() { l.file = main }()
	parsed, err := yamlfile.Parse([]byte(text), maxFile)
	if err == nil && len(parsed.Docs) == 1 && parsed.Docs[0].Body != nil {
		l.addSchema(name, l.file, parsed.Docs[0].Body, to)
		return
	}
	if json.Valid([]byte(text)) { // such as JSON that is indented by tabs: only the lines of faults are unknown
		l.compile(name, l.file, func(string) string { return l.file }, []byte(text), to)
		return
	}
	if err != nil {
		l.yamlFault(err)
		return
	}
	l.fault(name, "", l.file, "is empty")
}

// addSchema reads a schema of a node.
func (l *loader) addSchema(name, file string, n ast.Node, to *Schema) {
	before, lines := len(l.faults), map[string]string{}
	value := l.jsonOf(name, "", n, lines)
	if len(l.faults) > before {
		return
	}
	text, err := json.Marshal(value)
	if err != nil {
		l.fault(name, "", l.at(n), err.Error())
		return
	}
	l.compile(name, file, func(pointer string) string {
		for { // the nearest part that has a line
			if line, ok := lines[pointer]; ok || pointer == "" {
				return line
			}
			pointer = pointer[:max(strings.LastIndexByte(pointer, '/'), 0)]
		}
	}, text, to)
}

// compile checks a schema; at returns the place of the part that a JSON pointer names.
func (l *loader) compile(name, file string, at func(pointer string) string, text []byte, to *Schema) {
	_, err := schema.New(text)
	if fault, ok := errors.AsType[*schema.Fault](err); ok {
		l.fault(name, file, at(fault.Pointer), "is not a JSON Schema: "+fault.Error())
		return
	}
	*to = Schema{File: file, Text: string(text)}
}

// jsonOf converts a node to a value for encoding/json, and records the line of each part.
func (l *loader) jsonOf(name, pointer string, n ast.Node, lines map[string]string) any {
	lines[pointer] = l.at(n)
	switch n := n.(type) {
	case ast.MapNode:
		object := map[string]any{}
		for pairs := n.MapRange(); pairs.Next(); {
			key, ok := text(pairs.Key())
			if !ok {
				l.fault(name, "", l.at(pairs.Key()), "a key here is not plain text; aliases and merges (<<) are not read")
				continue
			}
			at := pointer + "/" + jsonpointer.Escape(key)
			object[key] = l.jsonOf(name, at, pairs.Value(), lines)
			lines[at] = l.at(pairs.Key())
		}
		return object
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for i, item := range n.Values {
			list = append(list, l.jsonOf(name, pointer+"/"+strconv.Itoa(i), item, lines))
		}
		return list
	case *ast.BoolNode:
		return n.Value
	case *ast.NullNode:
		return nil
	case *ast.IntegerNode, *ast.FloatNode:
		if number := n.GetToken().Value; json.Valid([]byte(number)) {
			return json.Number(number)
		}
		l.fault(name, n.GetToken().Value, l.at(n), "is not a number of JSON")
		return nil
	}
	value, ok := text(n)
	if t := n.GetToken(); t != nil && t.Type == token.StringType && json.Valid([]byte(value)) {
		return json.Number(value) // 1e2, which the YAML library takes for a text
	}
	if !ok {
		l.fault(name, "", l.at(n), "is not a value of JSON: tags, anchors and aliases are not read here")
	}
	return value
}
