package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"gaff/jobs"
)

// JobLimit bounds the jobs of a provider, model, project or user, over all nodes.
type JobLimit struct {
	// Concurrency is how many jobs may be under way, Rate how many submits a second may be sent; zero: no
	// bound.
	Concurrency int     `yaml:"concurrency"`
	Rate        float64 `yaml:"rate"`
}

// jobLimits returns the limits of a scope of jobs.LimitScopes, by name or pattern.
func (l *Limits) jobLimits(scope string) map[string]JobLimit {
	switch scope {
	case "provider":
		return l.Provider
	case "model":
		return l.Model
	case "project":
		return l.Project
	}
	return l.User
}

// checkJobLimits reports limits that cannot be used.
func (l *Limits) checkJobLimits(k *checker) {
	for _, scope := range jobs.LimitScopes {
		limits := l.jobLimits(scope)
		for _, name := range slices.Sorted(maps.Keys(limits)) {
			path, limit := "limits."+scope+"."+name, limits[name]
			switch {
			case strings.Contains(strings.TrimSuffix(name, "*"), "*") || name == "":
				k.report(path, "", "must be a name, or a pattern that ends in *")
			case limit.Concurrency < 0 || limit.Concurrency > 100_000:
				k.report(path+".concurrency", strconv.Itoa(limit.Concurrency), "must be 1 to 100000, or 0 for no bound")
			case !(limit.Rate >= 0 && limit.Rate <= 10_000) || limit.Rate > 0 && limit.Rate < 1e-4:
				k.report(path+".rate", strconv.FormatFloat(limit.Rate, 'g', -1, 64), "must be submits a second from 0.0001 to 10000, or 0 for no bound")
			case limit == JobLimit{}:
				k.report(path, "", "has neither concurrency: nor rate:")
			}
		}
	}
}

// JobLimit returns the limit of a provider, model, project or user: that of its name, else that of the
// longest pattern that matches.
func (c *Config) JobLimit(scope, name string) jobs.Limit {
	limits := c.Limits.jobLimits(scope)
	if limit, ok := limits[name]; ok {
		return jobs.Limit(limit)
	}
	best, found := JobLimit{}, -1
	for pattern, limit := range limits {
		prefix, ok := strings.CutSuffix(pattern, "*")
		if ok && strings.HasPrefix(name, prefix) && len(prefix) > found {
			best, found = limit, len(prefix)
		}
	}
	return jobs.Limit(best)
}

// LimitedNames returns the names with a limit of their own, sorted; patterns are left out.
func (c *Config) LimitedNames() (keys []jobs.LimitKey) {
	for _, scope := range jobs.LimitScopes {
		for _, name := range slices.Sorted(maps.Keys(c.Limits.jobLimits(scope))) {
			if !strings.HasSuffix(name, "*") {
				keys = append(keys, jobs.LimitKey{Scope: scope, Name: name})
			}
		}
	}
	return keys
}
