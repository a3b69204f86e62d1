package workflow

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Fault is one thing that is wrong with a workflow.
type Fault struct {
	// File is as it was given; Line and Column count from 1 and are 0 where the definition
	// was no file.
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

// Faults is all that is wrong with a workflow, as an error.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// positions tells where the values of a file stand, by their path.
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
		// A problem with the whole of a part is shown at its key.
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

// place is where a sign of a text stands in the file: the offset-th rune of the value at path.
func (at positions) place(path string, text string, offset int) (line, column int) {
	tok := at[path]
	for tok == nil {
		// The nearest part that there is.
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

// yamlError takes goccy's message apart: "[3:5] unknown field "x"\n excerpt".
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
		text = name + " is no key here; \"gaff workflows schema\" tells which there are"
	}
	return line, column, text
}
