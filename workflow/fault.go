package workflow

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Fault is one error in a workflow definition.
type Fault struct {
	// File is as given to Parse. Line and Column count from 1; they are 0 if the definition
	// does not come from a file.
	File         string
	Line, Column int
	// Path names the part, such as "steps[2].when".
	Path    string
	Problem string
}

// String returns the fault in one line: "film.yaml:12:9: steps[2].when: …".
func (f Fault) String() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File + ":")
	}
	if f.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", f.Line, f.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	return b.String() + f.Problem
}

// Split separates the problem from what to do about it, which may be empty.
func (f Fault) Split() (problem, hint string) {
	for _, separator := range []string{"; ", ": want "} {
		at := strings.Index(f.Problem, separator)
		// Quoted values are not split.
		if at > 0 && strings.Count(f.Problem[:at], `"`)%2 == 0 {
			return f.Problem[:at], strings.TrimPrefix(strings.TrimPrefix(f.Problem[at:], "; "), ": ")
		}
	}
	return f.Problem, ""
}

// Faults are all errors in a workflow definition, as one error.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// positions has the positions of the values of a file by their path.
type positions map[string]*token.Token

func (at positions) walk(path string, node ast.Node, depth int) {
	if node == nil || depth > maxDepth {
		return
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		at[path] = n.GetToken()
		for _, value := range n.Values {
			at.walk(path, value, depth+1)
		}
	case *ast.MappingValueNode:
		if at[path] == nil {
			at[path] = n.Key.GetToken()
		}
		key := strings.Trim(n.Key.String(), `"'`)
		sub := join(path, key)
		at.walk(sub, n.Value, depth+1)
		// A fault of a whole mapping is reported at its key.
		if _, ok := n.Value.(ast.ScalarNode); !ok {
			at[sub] = n.Key.GetToken()
		}
	case *ast.SequenceNode:
		at[path] = n.GetToken()
		for i, value := range n.Values {
			at.walk(path+"["+strconv.Itoa(i)+"]", value, depth+1)
		}
	case *ast.LiteralNode:
		at[path] = n.GetToken()
	case *ast.AnchorNode:
		at.walk(path, n.Value, depth+1)
	case *ast.TagNode:
		at.walk(path, n.Value, depth+1)
	default:
		at[path] = n.GetToken()
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// place returns the position of a rune of the string at path; of its start for offset -1.
func (at positions) place(path string, text string, offset int) (line, column int) {
	tok := at[path]
	for tok == nil {
		// The innermost value with a position.
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			if tok = at[""]; tok == nil {
				return 0, 0
			}
			break
		}
		path, offset = path[:cut], -1
		tok = at[path]
	}
	line, column = tok.Position.Line, tok.Position.Column
	if offset < 0 {
		return line, column
	}
	runes := []rune(text)
	offset = min(offset, len(runes))
	switch tok.Type {
	case token.DoubleQuoteType, token.SingleQuoteType:
		return line, column + 1 + offset
	case token.LiteralType, token.FoldedType:
		before := string(runes[:offset])
		breaks := strings.Count(before, "\n")
		last := before[strings.LastIndexByte(before, '\n')+1:]
		indent := 1
		if tok.Next != nil {
			lines := strings.Split(tok.Next.Origin, "\n")
			for _, l := range lines {
				if trimmed := strings.TrimLeft(l, " "); trimmed != "" {
					indent = len(l) - len(trimmed) + 1
					break
				}
			}
		}
		return line + 1 + breaks, indent + len([]rune(last))
	}
	return line, column + offset
}

// yamlError splits a message of goccy/go-yaml: "[3:5] unknown field "x"\n excerpt".
func yamlError(err error) (line, column int, problem string) {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if rest, ok := strings.CutPrefix(text, "["); ok {
		place, message, ok := strings.Cut(rest, "] ")
		if ok {
			if n, _ := fmt.Sscanf(place, "%d:%d", &line, &column); n == 2 {
				text = message
			}
		}
	}
	if name, ok := strings.CutPrefix(text, "unknown field "); ok {
		text = name + " is not a key here; \"gaff workflows schema\" lists the keys"
	}
	return line, column, text
}
