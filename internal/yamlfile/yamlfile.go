// Package yamlfile parses YAML files within bounds: what a parser or a decoder would make of
// a file is measured before it is made.
package yamlfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// MaxDepth is how deep a file may nest.
	MaxDepth = 64
	// maxNodes and maxBytes bound a file with each alias replaced by what it refers to.
	maxNodes = 100_000
	maxBytes = 4 << 20
)

// Fault is a problem of a file, with its position.
type Fault struct {
	Line, Column int
	Problem      string
}

func (f *Fault) Error() string { return fmt.Sprintf("[%d:%d] %s", f.Line, f.Column, f.Problem) }

// Parse is goccy's parser for files of at most limit bytes. A file that is longer, nests
// deeper than [MaxDepth], or is too large with its aliases expanded is refused with a
// [*Fault]; the parser's own errors are returned as they are.
func Parse(text []byte, limit int) (*ast.File, error) {
	if len(text) > limit {
		return nil, &Fault{1, 1, fmt.Sprintf("the file is longer than %d KiB", limit>>10)}
	}
	tokens := lexer.Tokenize(string(text))
	if f := depth(tokens); f != nil {
		return nil, f
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, tabs(err)
	}
	for _, doc := range file.Docs {
		m := measure{anchors: map[string]size{}}
		total := m.of(doc.Body, 0)
		if m.fault == nil && (total.nodes > maxNodes || total.bytes > maxBytes) {
			m.fault = fault(doc.Body.GetToken(), "the file is too large with its aliases expanded; use fewer aliases")
		}
		if m.fault != nil {
			return nil, m.fault
		}
	}
	return file, nil
}

// tabs puts the parser's errors about tabs, of which it has several, into plain words.
func tabs(err error) error {
	e, ok := errors.AsType[yaml.Error](err)
	if ok && (strings.Contains(e.GetMessage(), "tab character") || strings.Contains(e.GetMessage(), `\t`) || strings.Contains(e.GetMessage(), "\t")) {
		return fault(e.GetToken(), "a tab is not allowed here; indent with spaces")
	}
	return err
}

func fault(at *token.Token, problem string) *Fault {
	if at == nil || at.Position == nil {
		return &Fault{1, 1, problem}
	}
	return &Fault{at.Position.Line, at.Position.Column, problem}
}

// depth refuses what the parser, which is recursive, would go too deep for: brackets, block
// indentation, and properties (anchors and tags) before one value.
func depth(tokens token.Tokens) *Fault {
	flow, properties := 0, 0
	var columns []int // of the blocks that are open
	for i, t := range tokens {
		column := t.Position.Column
		switch t.Type {
		case token.AnchorType, token.TagType:
			properties++
		case token.SequenceStartType, token.MappingStartType:
			flow, properties = flow+1, 0
		case token.SequenceEndType, token.MappingEndType:
			flow, properties = max(flow-1, 0), 0
		case token.CollectEntryType, token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			properties = 0
			if t.Type == token.MappingValueType && i > 0 {
				column = tokens[i-1].Position.Column
			}
			if flow > 0 || t.Type == token.CollectEntryType {
				break
			}
			for len(columns) > 0 && columns[len(columns)-1] > column {
				columns = columns[:len(columns)-1]
			}
			if len(columns) == 0 || columns[len(columns)-1] < column {
				columns = append(columns, column)
			}
		}
		if flow+len(columns) > MaxDepth || properties > MaxDepth {
			return fault(t, fmt.Sprintf("nested deeper than %d levels", MaxDepth))
		}
	}
	return nil
}

// size is how large a node is with its aliases expanded. Neither number overflows: no sum
// goes over the bounds by more than the file's own size.
type size struct{ nodes, bytes int }

func (s *size) add(more size) {
	s.nodes = min(s.nodes+more.nodes, 2*maxNodes)
	s.bytes = min(s.bytes+more.bytes, 2*maxBytes)
}

type measure struct {
	anchors map[string]size
	fault   *Fault
}

// of measures a node; depth is that of the node. Aliases count as the anchors before them.
func (m *measure) of(n ast.Node, depth int) size {
	s := size{nodes: 1}
	if n == nil || m.fault != nil {
		return s
	}
	if depth > 4*MaxDepth { // a mapping's pair and key are levels of the tree, too
		m.fault = fault(n.GetToken(), fmt.Sprintf("nested deeper than %d levels", MaxDepth))
		return s
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			s.add(m.of(v, depth+1))
		}
	case *ast.MappingValueNode:
		s.add(m.of(n.Key, depth+1))
		s.add(m.of(n.Value, depth+1))
	case *ast.MappingKeyNode:
		s.add(m.of(n.Value, depth+1))
	case *ast.SequenceNode:
		for _, v := range n.Values {
			s.add(m.of(v, depth+1))
		}
	case *ast.AnchorNode:
		s.add(m.of(n.Value, depth+1))
		m.anchors[n.Name.GetToken().Value] = s
	case *ast.TagNode:
		s.add(m.of(n.Value, depth+1))
	case *ast.AliasNode:
		s.add(m.anchors[n.Value.GetToken().Value])
	default:
		if t := n.GetToken(); t != nil {
			s.bytes = len(t.Value)
		}
	}
	return s
}
