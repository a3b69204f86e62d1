package verify

import (
	_ "embed"
	"encoding/json"
	"maps"
	"slices"
	"sync"
)

//go:embed presets.json
var presetsFile []byte

// presets are the kept schemes as JSON, by name. They are decoded at each use, so that
// no caller can change another's.
var presets = sync.OnceValue(func() map[string]json.RawMessage {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(presetsFile, &all); err != nil {
		panic("verify: presets.json: " + err.Error())
	}
	return all
})

// Preset returns the kept scheme of a sender, such as "stripe"; ok is false if there is
// none of that name.
func Preset(name string) (s Scheme, ok bool) {
	text, ok := presets()[name]
	if !ok {
		return Scheme{}, false
	}
	if err := strictJSON(text, &s); err != nil {
		panic("verify: presets.json: " + name + ": " + err.Error())
	}
	return s, true
}

// Presets returns the names of all kept schemes, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets())) }
