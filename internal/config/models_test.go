package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gaff/jobs"
)

func TestModelsAreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := `models:
  image-fast: [fal:fal-ai/flux/schnell, {provider: replicate, model: "owner/name:v1", input: '{"prompt": input.prompt}', result: 'result.output'}]
providers:
  replicate: {secrets: {key: k}}
`
	if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := []jobs.Candidate{
		{Provider: "fal", Model: "fal-ai/flux/schnell"},
		{Provider: "replicate", Model: "owner/name:v1", Input: `{"prompt": input.prompt}`, Result: "result.output"},
	}
	if got := c.Alias("image-fast"); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := c.Alias("slow"); got != nil {
		t.Errorf("an unknown alias has %+v", got)
	}
}

func TestFaultsOfModelsAreReported(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"models:\n  fast: [flux]\n":            "must be provider:model",
		"models:\n  fast: [fall:m]\n":          `models.fast[0].provider="fall" (gaff.yaml:2): is not set up; did you mean fal?`,
		"models:\n  fast: []\n":                "models.fast (gaff.yaml:2): has 0 entries",
		"models:\n  fast: [{provider: fal}]\n": "models.fast[0].model (gaff.yaml:2): is not set",
		"models:\n  fast: [{provider: fal, model: m, input: 'inputs.prompt'}]\n": "undeclared reference to 'inputs'; did you mean input?",
		"models:\n  fast: [{provider: fal, model: m, inputs: 'x'}]\n":            "inputs",
	} {
		if got := faultsOf(t, map[string]string{"gaff.yaml": text}); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
