package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gaff/jobs"
)

func TestLimitOfAJobIsThatOfTheNearestName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := `limits:
  workers: 32
  project: {"*": {concurrency: 4}, "film-*": {concurrency: 8, rate: 0.5}, film-1: {concurrency: 20}}
  model: {"fal-ai/veo3": {concurrency: 2}}
`
	if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[jobs.LimitKey]jobs.Limit{
		{Scope: "project", Name: "film-1"}:    {Concurrency: 20},
		{Scope: "project", Name: "film-2"}:    {Concurrency: 8, Rate: 0.5},
		{Scope: "project", Name: "shop"}:      {Concurrency: 4},
		{Scope: "model", Name: "fal-ai/veo3"}: {Concurrency: 2},
		{Scope: "model", Name: "fal-ai/flux"}: {},
		{Scope: "user", Name: "anna"}:         {},
	} {
		if got := c.JobLimit(key.Scope, key.Name); got != want {
			t.Errorf("%v: got %+v, want %+v", key, got, want)
		}
	}
	if c.Limits.Workers != 32 {
		t.Errorf("limits.workers is %d", c.Limits.Workers)
	}
}

func TestFaultsOfLimitsAreReported(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`limits: {project: {"*": {concurrency: -1}}}`: "limits.project.*.concurrency",
		`limits: {user: {"*": {rate: -1}}}`:           "limits.user.*.rate",
		`limits: {user: {"*": {rate: .nan}}}`:         "limits.user.*.rate",
		`limits: {user: {"*": {}}}`:                   "has neither concurrency: nor rate:",
		`limits: {model: {"a*b": {rate: 1}}}`:         "a pattern that ends in *",
		`limits: {model: {m: {burst: 1}}}`:            "burst",
		`limits: {lease: 1999ms}`:                     `limits.lease="1.999s" (gaff.yaml:1): must be at least 2s`,
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
