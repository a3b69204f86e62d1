package sender

import (
	_ "embed"
	"encoding/json"
	"maps"
	"slices"
	"sync"
)

//go:embed presets.json
var presetsFile []byte

// presets are descriptions as JSON, by name. Each use decodes a copy, so that callers cannot change
// each other's.
var presets = sync.OnceValue(func() map[string]json.RawMessage {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(presetsFile, &all); err != nil {
		panic("sender: presets.json: " + err.Error())
	}
	return all
})

// Preset returns the description of a sender, such as "stripe"; ok is false if no preset has
// this name.
func Preset(name string) (d Description, ok bool) {
	text, ok := presets()[name]
	if !ok {
		return Description{}, false
	}
	if err := strictJSON(text, &d); err != nil {
		panic("sender: presets.json: " + name + ": " + err.Error())
	}
	return d, true
}

// Presets returns the names of all presets, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets())) }
