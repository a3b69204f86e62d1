package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gaff/jobs"
)

func TestFirstMatchingReuseEntryCounts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "reuse:\n  - {model: fal-ai/flux/*, provider: fal, within: 7d}\n  - {project: film, without_seed: true}\n"
	if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[[3]string]jobs.ReuseRule{
		{"fal", "fal-ai/flux/dev", "film"}: {Within: 7 * 24 * time.Hour},
		{"other", "fal-ai/flux/dev", ""}:   {},
		{"other", "m", "film"}:             {Within: 24 * time.Hour, WithoutSeed: true},
		{"fal", "fal-ai/flux", ""}:         {},
	} {
		if got, ok := c.ReuseOf(name[0], name[1], name[2]); got != want || ok != (want != jobs.ReuseRule{}) {
			t.Errorf("%v: got %+v, %t; want %+v", name, got, ok, want)
		}
	}
}

func TestFaultsOfReuseAreReported(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"reuse: [{provider: fal}]":              "has neither model: nor project:",
		"reuse: [{model: m, within: 900d}]":     "reuse[0].within",
		"reuse: [{model: m, without_seeds: 1}]": "without_seeds",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(LoadOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
