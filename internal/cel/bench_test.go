package cel_test

import (
	"testing"

	"gaff/internal/cel"
)

// BenchmarkFilter is a destination's filter on one event.
func BenchmarkFilter(b *testing.B) {
	e, err := cel.CompileBool(`type.startsWith("generation.") && data.status == "OK" && data.images.exists(i, i.width > 512)`, "type", "data")
	if err != nil {
		b.Fatal(err)
	}
	vars := map[string]any{"type": "generation.completed", "data": map[string]any{
		"status": "OK", "images": []any{map[string]any{"width": 256.0}, map[string]any{"width": 1024.0}},
	}}
	for b.Loop() {
		if ok, err := e.Bool(vars); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}
