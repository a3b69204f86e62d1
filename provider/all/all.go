// Package all lists the providers that gaff has. It is the only place that names them.
package all

import (
	"slices"
	"strings"

	"gaff/provider"
	"gaff/provider/fal"
	"gaff/provider/lastframe"
)

// providers are in the order of lists for people. The first one is the default.
var providers = []provider.Provider{
	fal.Provider,
	lastframe.Provider,
}

// Providers returns all providers.
func Providers() []provider.Provider { return slices.Clone(providers) }

// Default returns the provider of a submit that names none.
func Default() provider.Provider { return providers[0] }

// Find returns a provider by its name.
func Find(name string) (provider.Provider, bool) {
	for _, p := range providers {
		if p.Name == name {
			return p, true
		}
	}
	return provider.Provider{}, false
}

// Names returns the names of all providers.
func Names() []string {
	var names []string
	for _, p := range providers {
		names = append(names, p.Name)
	}
	return names
}

// Choice lists the names for help texts, such as "one, two or three".
func Choice() string { return join(Names(), " or ") }

func join(names []string, last string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	n := len(names) - 1
	return strings.Join(names[:n], ", ") + last + names[n]
}

// Titles lists the titles for help texts, such as "One, Two and Three".
func Titles() string {
	var titles []string
	for _, p := range providers {
		titles = append(titles, p.Title)
	}
	return join(titles, " and ")
}

// Settings returns the settings of all providers.
func Settings() (list []provider.Setting) {
	for _, p := range providers {
		list = append(list, p.Settings...)
	}
	return list
}
