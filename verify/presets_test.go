package verify

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"sync"
)

// schemes are those of the presets, which are described in another package.
var schemes = sync.OnceValue(func() (all map[string]Scheme) {
	text, err := os.ReadFile("../sender/presets.json")
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		panic(err)
	}
	return all
})

// Preset returns the scheme of a preset.
func Preset(name string) (Scheme, bool) {
	s, ok := schemes()[name]
	return s, ok
}

// Presets returns the names of all presets, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(schemes())) }
