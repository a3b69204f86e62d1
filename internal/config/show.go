package config

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"gaff/sender"
)

// FlagInfo describes the flag of a setting.
type FlagInfo struct {
	// Name is the setting's, the key in [LoadOptions.Flags].
	Name string
	// Flag is without dashes. Help says what it sets, and the default if it is not empty.
	Flag, Help string
}

// Flags lists the settings that have a flag, in the order of [Config]. Secrets have none: every
// user of the machine can read command lines. The list must not be changed.
var Flags = sync.OnceValue(func() []FlagInfo {
	var list []FlagInfo
	for _, s := range settingsOf(Default()) {
		if s.flag == "" {
			continue
		}
		help := s.help + " [" + s.name + "]"
		if value := s.display(); value != "" {
			help += " (default " + value + ")"
		}
		list = append(list, FlagInfo{Name: s.name, Flag: s.flag, Help: help})
	}
	return list
})

// Setting is a value as [Config.Settings] shows it.
type Setting struct {
	Name string `json:"name"`
	// Value is without secrets.
	Value string `json:"value"`
	// From says where the value was set; "default" if it was not.
	From string `json:"from"`
	Help string `json:"help,omitempty"`
}

// Settings lists every setting of the server with its value, secrets redacted, and where it was
// set. Of channels, sources and destinations it lists the values that were set.
func (c *Config) Settings() []Setting {
	var list []Setting
	defaults := map[string]string{}
	for _, s := range settingsOf(Default()) {
		defaults[s.name] = s.display()
	}
	for _, s := range settingsOf(c) {
		if s.clientOnly() {
			continue
		}
		origin := c.origin(s.name)
		if value := s.display(); origin == "default" && value != defaults[s.name] {
			origin = "the command" // such as gaff dev
		}
		list = append(list, Setting{s.name, s.display(), origin, s.help})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Alerts.Channels)) {
		channel := c.Alerts.Channels[name]
		list = c.show(list, "alerts.channels."+name, reflect.ValueOf(&channel).Elem())
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		source := c.Sources[name]
		list = c.show(list, "sources."+name, reflect.ValueOf(&source).Elem())
	}
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		destination := c.Destinations[name]
		list = c.show(list, "destinations."+name, reflect.ValueOf(&destination).Elem())
	}
	return list
}

func (c *Config) origin(name string) string {
	if from := c.origins[name]; from != "" {
		return from
	}
	return "default"
}

// show appends the fields of a struct that were set.
func (c *Config) show(list []Setting, path string, v reflect.Value) []Setting {
	for _, f := range fieldsOf(v) {
		name := path + "." + f.key
		add := func(name, value string) { list = append(list, Setting{Name: name, Value: value, From: c.origin(name)}) }
		value := reflect.ValueOf(f.ptr).Elem()
		if value.IsZero() && (c.origins[name] == "" || value.Kind() == reflect.Pointer) {
			continue
		}
		switch p := f.ptr.(type) {
		case **sender.Description:
			add(name, (*p).Kind)
		case **sender.Jobs:
			add(name, "set")
		case **Retry, **AlertEmail, **Redact:
			list = c.show(list, name, value.Elem())
		case *map[string]string, *map[string]Secret:
			// Some values are tokens, and nothing says which.
			for _, key := range slices.Sorted(maps.Keys(keysOf(value))) {
				add(name+"."+key, "[redacted]")
			}
		default:
			if text := f.display(); text != "" {
				add(name, text)
			}
		}
	}
	return list
}

func keysOf(m reflect.Value) map[string]bool {
	keys := make(map[string]bool, m.Len())
	for _, key := range m.MapKeys() {
		keys[key.String()] = true
	}
	return keys
}

// Show writes [Config.Settings] as a table.
func (c *Config) Show(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tVALUE\tFROM")
	for _, s := range c.Settings() {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", s.Name, printable(s.Value), s.From)
	}
	return tw.Flush()
}

// printable replaces control characters, which could change a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, text)
}
