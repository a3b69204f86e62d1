package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"gaff/internal/suggest"
	"gaff/sender"
	"gaff/verify"
)

// shape compares a block with the type that it is to be decoded into, and notes each key
// that the type has not and each value of another kind, with its whole path. It reports
// whether there was none. The YAML library finds them too, but tells no path.
func (l *loader) shape(path string, n ast.Node, t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if _, null := n.(*ast.NullNode); null {
		return true
	}
	list, isList := n.(*ast.SequenceNode)
	switch {
	case t == reflect.TypeFor[verify.Texts]() || t == reflect.TypeFor[sender.Pointers]():
		if isList {
			return l.items(path, list, reflect.TypeFor[string]())
		}
		_, ok := text(n)
		if !ok {
			l.fault(path, "", l.at(n), "must be a text or a list of texts")
		}
		return ok
	case t == reflect.TypeFor[verify.Signatures]() || t == reflect.TypeFor[sender.Challenges]():
		if isList {
			return l.items(path, list, t.Elem())
		}
		return l.shape(path, n, t.Elem())
	case t.Kind() == reflect.Slice:
		if !isList {
			l.fault(path, "", l.at(n), "must be a list, such as [a, b]")
			return false
		}
		return l.items(path, list, t.Elem())
	case t.Kind() == reflect.Map:
		ok := true
		l.each(path, n, func(_, inner string, n ast.Node) { ok = l.shape(inner, n, t.Elem()) && ok })
		return ok
	case t.Kind() == reflect.Struct:
		before := len(l.faults)
		fields := yamlFields(t)
		l.each(path, n, func(key, inner string, n ast.Node) {
			if field, known := fields[key]; known {
				l.shape(inner, n, field)
				return
			}
			names := slices.Sorted(maps.Keys(fields))
			hint := suggest.Hint(key, names)
			if hint == "" {
				hint = "; known here: " + strings.Join(names, ", ")
			}
			l.fault(inner, "", l.at(n), "unknown key"+hint)
		})
		return len(l.faults) == before
	}
	value, ok := text(n)
	if !ok {
		l.fault(path, "", l.at(n), wantText)
		return false
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			l.fault(path, value, l.at(n), "must be a whole number")
			return false
		}
	case reflect.Bool:
		if value != "true" && value != "false" {
			l.fault(path, value, l.at(n), "must be true or false")
			return false
		}
	}
	return true
}

func (l *loader) items(path string, list *ast.SequenceNode, t reflect.Type) bool {
	ok := true
	for i, n := range list.Values {
		ok = l.shape(fmt.Sprintf("%s[%d]", path, i), n, t) && ok
	}
	return ok
}

// yamlFields returns the keys of a struct with their types, inline ones included.
func yamlFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case strings.Contains(options, "inline"):
			maps.Copy(fields, yamlFields(f.Type))
		case name != "" && name != "-":
			fields[name] = f.Type
		}
	}
	return fields
}
