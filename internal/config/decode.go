package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"gaff/internal/suggest"
	"gaff/sender"
	"gaff/verify"
)

// Texts for nodes of another kind than the field's.
const (
	wantText    = "must be a text; lists, mappings, tags, anchors and aliases are not read here"
	wantTexts   = "must be a text or a list of texts"
	wantList    = "must be a list, such as [a, b]"
	wantMapping = "must be a mapping: lines of the form name: value"
)

// decode reads a node into a field, and reports each fault with its path. (The decoder of the YAML
// library reports only the first one, without its path.) name is the field's in faults.
func (l *loader) decode(name string, n ast.Node, f *field) {
	if _, null := n.(*ast.NullNode); null {
		return
	}
	v := reflect.ValueOf(f.ptr).Elem()
	switch p := f.ptr.(type) {
	case *[]Secret:
		l.decodeSecrets(name, n, p, f.env != nil)
		return
	case *verify.Texts: // a text, a list or true
		var list []string
		if l.decodeSlice(name, n, reflect.ValueOf(&list).Elem(), listOrOne) {
			if err := yaml.NodeToValue(n, p); err != nil {
				l.fault(name, "", l.at(n), wantTexts)
			}
		}
		return
	case *sender.Pointers:
		if one, ok := text(n); ok && one == "" {
			return
		}
	case *Candidate:
		if l.decodeCandidate(name, n, p) {
			return
		}
	case *Schema:
		l.decodeSchema(name, n, p)
		return
	case **sender.Description:
		before := len(l.faults)
		*p = new(sender.Description)
		l.decodeStruct(name, n, v.Elem())
		if len(l.faults) > before { // its check would find more faults than it has
			*p = nil
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		l.decodeStruct(name, n, v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		l.decode(name, n, &field{ptr: v.Interface(), ref: f.ref})
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		l.each(name, n, func(key, path string, n ast.Node) {
			before, item := len(l.faults), reflect.New(v.Type().Elem())
			l.decode(path, n, &field{ptr: item.Interface(), ref: f.ref || f.secret()})
			if item.Elem().Kind() != reflect.String || len(l.faults) == before {
				v.SetMapIndex(reflect.ValueOf(key), item.Elem())
			}
		})
	case reflect.Slice:
		l.decodeSlice(name, n, v, f.listMode())
	default:
		l.decodeText(name, n, f)
	}
}

// decodeText reads a text, number or boolean.
func (l *loader) decodeText(name string, n ast.Node, f *field) {
	read := text
	if f.ref {
		read = refText
	}
	value, ok := read(n)
	if !ok {
		l.fault(name, "", l.at(n), wantText)
		return
	}
	if f.ref {
		if value, ok = l.resolve(name, value, l.at(n)); !ok {
			return
		}
	}
	l.set(name, f, value, l.at(n))
}

// listMode says which nodes a list is read from.
type listMode string

const (
	listOnly   listMode = ""       // a list
	listOrOne  listMode = "one"    // a list, or one item
	listCommas listMode = "commas" // a list of texts, or one text; each is split at its commas
)

func (f *field) listMode() listMode {
	switch f.ptr.(type) {
	case *verify.Signatures, *sender.Challenges, *sender.Pointers:
		return listOrOne
	}
	return listMode(f.list)
}

// decodeSlice reads a list. It reports whether it found no fault.
func (l *loader) decodeSlice(name string, n ast.Node, v reflect.Value, mode listMode) bool {
	before := len(l.faults)
	list, isList := n.(*ast.SequenceNode)
	nodes := []ast.Node{n}
	_, isText := text(n)
	switch {
	case isList:
		nodes = list.Values
	case mode == listOnly:
		l.fault(name, "", l.at(n), wantList)
		return false
	case mode == listOrOne && v.Type().Elem().Kind() == reflect.String && !isText:
		l.fault(name, "", l.at(n), wantTexts)
		return false
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(nodes)))
	for i, n := range nodes {
		path := name
		if isList && mode != listCommas {
			path = fmt.Sprintf("%s[%d]", name, i)
		}
		item := reflect.New(v.Type().Elem())
		l.decode(path, n, &field{ptr: item.Interface()})
		if mode != listCommas {
			v.Set(reflect.Append(v, item.Elem()))
			continue
		}
		for _, one := range splitList(item.Elem().String()) {
			v.Set(reflect.Append(v, reflect.ValueOf(one)))
		}
	}
	l.c.origins[name] = l.at(n)
	return len(l.faults) == before
}

// decodeSecrets reads a secret or a list of them. split also splits a single text at its commas.
func (l *loader) decodeSecrets(name string, n ast.Node, to *[]Secret, split bool) {
	nodes := []ast.Node{n}
	if list, isList := n.(*ast.SequenceNode); isList {
		nodes, split = list.Values, false
	}
	before := len(l.faults)
	var secrets []Secret
	for i, n := range nodes {
		path := name
		if len(nodes) > 1 {
			path = fmt.Sprintf("%s[%d]", name, i)
		}
		one, ok := refText(n)
		if !ok {
			l.fault(path, "", l.at(n), wantText)
			continue
		}
		one, ok = l.resolve(path, one, l.at(n))
		switch {
		case !ok: // reported
		case split:
			if err := assign(&secrets, one); err != nil {
				l.fault(path, "", l.at(n), err.Error())
			}
			l.split[name] = true
		case strings.TrimSpace(one) == "":
			l.fault(path, "", l.at(n), "is empty; an empty secret verifies nothing: remove it or set it")
		default:
			secrets = append(secrets, Secret(one))
		}
	}
	*to = secrets
	if len(l.faults) == before {
		l.c.origins[name] = l.at(n)
	}
}

// ownKeys is a struct with values that its tags cannot describe.
type ownKeys interface {
	// readKey reads the value of a key. It reports false for values that the tags describe.
	readKey(key string, n ast.Node) bool
}

// decodeStruct reads a mapping into a struct. Unknown keys are faults.
func (l *loader) decodeStruct(name string, n ast.Node, v reflect.Value) {
	byKey, names := map[string]*field{}, []string{}
	for _, f := range fieldsOf(v) {
		for _, key := range []string{f.key, f.alias} {
			if key != "" {
				byKey[key], names = &f, append(names, key)
			}
		}
	}
	read := map[*field]string{} // the key of each field
	l.each(name, n, func(key, path string, n ast.Node) {
		f, known := byKey[key]
		if !known {
			l.unknownKey(key, path, names)
			return
		}
		if first, twice := read[f]; twice {
			l.fault(path, "", l.at(n), fmt.Sprintf("%s and %s are two names of one key; keep one of the two", first, key))
			return
		}
		read[f] = key
		if own, ok := v.Addr().Interface().(ownKeys); ok && own.readKey(f.key, n) {
			return
		}
		if f.env != nil {
			path = f.env[0]
		}
		l.decode(path, n, f)
	})
}

func (l *loader) unknownKey(key, path string, known []string) {
	slices.Sort(known)
	hint := suggest.Hint(key, known)
	if hint == "" {
		hint = "; known here: " + strings.Join(known, ", ")
	}
	l.fault(path, "", l.c.origins[path], "unknown key"+hint)
}

// each calls f for the pairs of a mapping, and records their places as origins.
func (l *loader) each(path string, n ast.Node, f func(key, path string, n ast.Node)) {
	m, ok := n.(ast.MapNode)
	if !ok {
		l.fault(path, "", l.at(n), wantMapping)
		return
	}
	for pairs := m.MapRange(); pairs.Next(); {
		key, ok := text(pairs.Key())
		if !ok {
			l.fault(path, "", l.at(pairs.Key()), "a key here is not plain text; aliases and merges (<<) are not read")
			continue
		}
		inner := key
		if path != "" {
			inner = path + "." + key
		}
		l.c.origins[inner] = l.at(pairs.Key())
		f(key, inner, pairs.Value())
	}
}

// text returns a scalar as written. Numbers and booleans keep their spelling: a secret 007 stays
// one.
func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	case *ast.NullNode:
		return "", true
	}
	return "", false
}

// refText is text for values that may be "env:NAME" or "file:/path". With a space after the colon
// these are a mapping of one pair in YAML; they mean the same. (The YAML library also reads such a
// mapping without the space, within {…[…]…}.)
func refText(n ast.Node) (string, bool) {
	if m, ok := n.(ast.MapNode); ok {
		pairs := m.MapRange()
		if !pairs.Next() {
			return "", false
		}
		key, _ := text(pairs.Key())
		value, ok := text(pairs.Value())
		if !ok || key != "env" && key != "file" || pairs.Next() {
			return "", false
		}
		return key + ":" + value, true
	}
	return text(n)
}
