package ui

import (
	"bytes"
	"go/format"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/a-h/templ/generator"
	"github.com/a-h/templ/parser/v2"
)

// The files that templ makes are kept, so that a build needs no generator; this test reports when
// they are stale.
func TestGeneratedFilesAreFresh(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob("*.templ")
	if err != nil || len(sources) < 4 {
		t.Fatalf("%v %v", sources, err)
	}
	for _, name := range sources {
		tpl, err := parser.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		var made bytes.Buffer
		if _, err := generator.Generate(tpl, &made, generator.WithFileName(name)); err != nil {
			t.Fatal(err)
		}
		want, err := format.Source(made.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(strings.TrimSuffix(name, ".templ") + "_templ.go")
		if err != nil {
			t.Fatal(err)
		}
		if plain(got) != plain(want) {
			t.Errorf("%s was changed: run make generate", name)
		}
	}
}

// plain leaves the version's line out, which the program writes and the library does not.
func plain(text []byte) string {
	var lines []string
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "// templ: version:") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
