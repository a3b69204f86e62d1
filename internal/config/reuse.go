package config

import (
	"fmt"
	"strings"
	"time"

	"gaff/jobs"
)

// ReuseEntry is a line of reuse:, which says that results of earlier jobs answer equal submits.
type ReuseEntry struct {
	// Provider and Project are names; empty: all. Model is a model, or a pattern that ends in *; empty:
	// all.
	Provider string `yaml:"provider"`
	Model    string `yaml:"model"`
	Project  string `yaml:"project"`
	// Within is how old a result may be; zero: a day.
	Within time.Duration `yaml:"within"`
	// WithoutSeed allows it for inputs that have no seed.
	WithoutSeed bool `yaml:"without_seed"`
}

const (
	reuseWithin    = 24 * time.Hour
	maxReuseWithin = 366 * 24 * time.Hour
)

// checkReuse reports entries that cannot be used.
func (c *Config) checkReuse(k *checker) {
	for i, e := range c.Reuse {
		path := fmt.Sprintf("reuse[%d]", i)
		if e.Model == "" && e.Project == "" {
			k.report(path, "", "has neither model: nor project:; results are reused for those that are named, and model: \"*\" is all")
		}
		if e.Within < 0 || e.Within > maxReuseWithin {
			k.report(path+".within", e.Within.String(), "must be a duration from 1s to 366d, or 0 for a day")
		}
	}
}

// ReuseOf returns the rule of the first entry of reuse: that matches.
func (c *Config) ReuseOf(provider, model, project string) (rule jobs.ReuseRule, ok bool) {
	for _, e := range c.Reuse {
		if e.Provider != "" && e.Provider != provider || e.Project != "" && e.Project != project || !matchesModel(e.Model, model) {
			continue
		}
		rule = jobs.ReuseRule{Within: e.Within, WithoutSeed: e.WithoutSeed}
		if rule.Within == 0 {
			rule.Within = reuseWithin
		}
		return rule, true
	}
	return rule, false
}

// matchesModel reports whether a model is the one of an entry, which may be a pattern that ends in *;
// empty: all.
func matchesModel(entry, model string) bool {
	prefix, pattern := strings.CutSuffix(entry, "*")
	return entry == "" || entry == model || pattern && strings.HasPrefix(model, prefix)
}
