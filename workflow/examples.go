package workflow

import (
	"embed"
	"path"
)

//go:embed examples/*.yaml
var examples embed.FS

// Examples returns the example workflows by file name, for "gaff dev" and as a start for new
// ones.
func Examples() map[string][]byte {
	out := map[string][]byte{}
	entries, err := examples.ReadDir("examples")
	if err != nil {
		panic("workflow: " + err.Error()) // embedded
	}
	for _, entry := range entries {
		text, err := examples.ReadFile(path.Join("examples", entry.Name()))
		if err != nil {
			panic("workflow: " + err.Error())
		}
		out[entry.Name()] = text
	}
	return out
}

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema of workflow files, for editors.
func Schema() []byte { return schema }
