package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"gaff/internal/yamlfile"
)

// readFile reads the configuration file into the configuration.
func (l *loader) readFile() {
	name := l.file
	if name == "" {
		name = DefaultFile
	}
	text, err := readSmall(l.path(name))
	if l.file == "" && errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(l.path("gaff.yml")); err == nil {
			l.c.Warnings = append(l.c.Warnings, "gaff.yml was not read; rename it "+DefaultFile)
		}
		return
	}
	l.file, l.c.File = name, name
	if err != nil {
		l.fault(name, "", "", "cannot be read: "+reason(err))
		return
	}
	file, err := yamlfile.Parse([]byte(text), maxFile)
	if err != nil {
		l.yamlFault(err)
		return
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			l.fault("", "", l.at(doc.Body), `begins a second document; only one is read: remove the line "---"`)
			return
		}
		body = doc.Body
	}
	if body != nil {
		l.decodeStruct("", body, reflect.ValueOf(l.c).Elem())
	}
}

// at returns the place of a node in the file.
func (l *loader) at(n ast.Node) string {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return fmt.Sprintf("%s:%d", l.file, t.Position.Line)
	}
	return l.file
}

// yamlFault reports an error of the YAML library. Its own text shows the lines around the fault,
// which may contain secrets, so only message and line are taken.
func (l *loader) yamlFault(err error) {
	from, problem := l.file, "cannot be read"
	if e, ok := errors.AsType[*yamlfile.Fault](err); ok {
		from, problem = fmt.Sprintf("%s:%d", l.file, e.Line), e.Problem
	} else if e, ok := errors.AsType[yaml.Error](err); ok {
		problem = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			from = fmt.Sprintf("%s:%d", l.file, t.Position.Line)
		}
	}
	l.fault("", "", from, problem)
}
