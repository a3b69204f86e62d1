package described

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed catalogue/*.yaml examples/*.yaml
var catalogue embed.FS

// Catalogue returns the names of the embedded descriptions, sorted.
func Catalogue() []string {
	files, _ := fs.Glob(catalogue, "catalogue/*.yaml") // the pattern is valid
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(path.Base(f), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// Text returns an embedded description as it is written; ok is false for an unknown name.
func Text(name string) (text []byte, ok bool) {
	if !slices.Contains(Catalogue(), name) {
		return nil, false
	}
	text, err := catalogue.ReadFile("catalogue/" + name + ".yaml")
	return text, err == nil
}

// Find returns an embedded description; ok is false for an unknown name.
func Find(name string) (d *Description, ok bool) {
	text, ok := Text(name)
	if !ok {
		return nil, false
	}
	d = &Description{}
	if err := yaml.UnmarshalWithOptions(text, d, yaml.Strict()); err != nil {
		panic("described: " + name + ": " + err.Error())
	}
	return d, true
}

// ExamplesOf returns the examples of an embedded description.
func ExamplesOf(name string) (*Examples, error) {
	text, err := catalogue.ReadFile("examples/" + name + ".yaml")
	if err != nil {
		return nil, err
	}
	return ReadExamples(text)
}
