package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"gaff/internal/suggest"
	"gaff/jobs"
	"gaff/provider/all"
	"gaff/provider/described"
)

// Candidate is an entry of models: in the file, a provider and model that may do a job. It may also
// be written as one text, provider:model.
type Candidate struct {
	Provider string `yaml:"provider"`
	Model    string `yaml:"model"`
	// Input is an expression that builds the model's input from input, Result one that builds the
	// job's result from result; empty: they stay as they are.
	Input  string `yaml:"input"`
	Result string `yaml:"result"`
}

// decodeCandidate reads provider:model. It reports false for another form.
func (l *loader) decodeCandidate(name string, n ast.Node, c *Candidate) bool {
	value, ok := text(n)
	if !ok {
		return false
	}
	if c.Provider, c.Model, ok = strings.Cut(value, ":"); !ok {
		l.fault(name, value, l.at(n), "must be provider:model, such as "+exampleCandidate()+", or a mapping of provider, model, input and result")
	}
	l.c.origins[name] = l.at(n)
	return true
}

// exampleCandidate is a text for errors.
func exampleCandidate() string { return all.Default().Name + ":" + all.Default().Example }

// checkModels reports aliases that cannot be used.
func (c *Config) checkModels(k *checker) {
	known := slices.Concat(all.Names(), slices.Sorted(maps.Keys(c.Described)))
	for _, alias := range slices.Sorted(maps.Keys(c.Models)) {
		path := "models." + alias
		list := c.Models[alias]
		if alias == "" || len(alias) > 200 {
			k.report(path, "", "must be a name of 1 to 200 characters")
		}
		if len(list) == 0 || len(list) > jobs.MaxCandidates {
			k.report(path, "", fmt.Sprintf("has %d entries; want 1 to %d, such as %s", len(list), jobs.MaxCandidates, exampleCandidate()))
		}
		for i, one := range list {
			at := fmt.Sprintf("%s[%d]", path, i)
			if !slices.Contains(known, one.Provider) {
				hint := suggest.Hint(one.Provider, known)
				if hint == "" {
					hint = "; the providers are " + strings.Join(known, ", ")
				}
				k.report(at+".provider", one.Provider, "is not set up"+hint)
			}
			if one.Model == "" {
				k.report(at+".model", "", "is not set; set the provider's name for the work")
			}
			for _, e := range []struct{ variable, text string }{{"input", one.Input}, {"result", one.Result}} {
				if e.text == "" {
					continue
				}
				if err := described.CheckMapping(e.text, e.variable); err != nil {
					k.report(at+"."+e.variable, "", err.Error())
				}
			}
		}
	}
}

// Alias returns the candidates of an alias of models:; nil if it is unknown.
func (c *Config) Alias(name string) (list []jobs.Candidate) {
	for _, one := range c.Models[name] {
		list = append(list, jobs.Candidate(one))
	}
	return list
}
