package config

import (
	"reflect"
	"strings"

	"gaff/internal/redact"
	"gaff/provider/all"
)

// field is a field of a struct that can be set, as its tags describe it.
type field struct {
	key     string   // in the file; empty: not in the file
	alias   string   // another key in the file
	env     []string // environment variables; the first that is set counts
	flag    string   // without dashes; empty: no flag
	help    string
	preset  string // the default, as a text
	ptr     any    // points to the field
	bytes   bool   // an int64 that is written as a size
	list    string // the tag list
	ref     bool   // the value may be env:NAME or file:PATH
	guarded string // the tag secret
}

// fieldsOf lists the fields of an addressable struct that have the tag env or yaml, and those of
// structs in it with the option inline. A name that the struct has itself hides one of those.
func fieldsOf(v reflect.Value) []field {
	var list, inlined []field
	own := map[string]bool{}
	for t, value := range v.Fields() {
		if t.Type == reflect.TypeFor[provided]() {
			list = append(list, v.Addr().Interface().(*Config).providerFields()...)
			continue
		}
		if !t.IsExported() {
			continue
		}
		key, options, _ := strings.Cut(t.Tag.Get("yaml"), ",")
		if strings.Contains(options, "inline") {
			inlined = append(inlined, fieldsOf(value)...)
			continue
		}
		f := field{
			alias: t.Tag.Get("alias"), flag: t.Tag.Get("flag"), help: t.Tag.Get("help"), preset: t.Tag.Get("default"),
			ptr: value.Addr().Interface(), bytes: t.Tag.Get("unit") == "bytes", list: t.Tag.Get("list"),
			ref: t.Tag.Get("ref") == "true", guarded: t.Tag.Get("secret"),
		}
		if env := t.Tag.Get("env"); env != "" {
			f.env, f.list = strings.Split(env, ","), "commas"
			if key == "" {
				key = keyOf(f.env[0])
			}
		}
		if key != "-" {
			f.key = key
		}
		f.ref = f.ref || f.secret()
		if f.key != "" || f.env != nil {
			own[f.key] = true
			list = append(list, f)
		}
	}
	for _, f := range inlined {
		if !own[f.key] {
			list = append(list, f)
		}
	}
	return list
}

// keyOf returns the key in the file of a setting with an environment variable.
func keyOf(env string) string { return strings.TrimPrefix(strings.ToLower(env), "gaff_") }

// providerFields returns the settings that providers declare.
func (c *Config) providerFields() (list []field) {
	for _, s := range all.Settings() {
		f := field{key: keyOf(s.Name), env: []string{s.Name}, help: s.Help, ptr: c.provided(s), list: "commas"}
		f.ref = f.secret()
		list = append(list, f)
	}
	return list
}

// secret reports whether the value must not be shown.
func (f *field) secret() bool {
	switch f.ptr.(type) {
	case *Secret, *[]Secret, *map[string]Secret:
		return true
	}
	return f.guarded != ""
}

// assign parses a text into the field. Its errors do not quote the text.
func (f *field) assign(text string) error { return assign(f.value(), text) }

// display returns the value as assign reads it, without its secrets.
func (f *field) display() string {
	text := display(f.value())
	switch f.guarded {
	case "password":
		return redactURL(text)
	case "value":
		return Secret(text).String()
	case "path":
		return redact.Host(text) // of many receivers the path is the secret
	}
	return text
}

func (f *field) value() any {
	if p, ok := f.ptr.(*int64); ok && f.bytes {
		return (*size)(p)
	}
	return f.ptr
}

// setting is a field of [Config] or of a struct in it, with its name: the environment variable,
// or the path in the file if it has none.
type setting struct {
	field
	name string
}

// clientOnly reports whether the setting is for commands that use a running gateway.
func (s *setting) clientOnly() bool { return s.key == "" }

// settingsOf lists the settings of c. Those with names of their own are not
// among them: sources, destinations, channels of alerts.
func settingsOf(c *Config) (list []setting) {
	for _, f := range fieldsOf(reflect.ValueOf(c).Elem()) {
		value := reflect.ValueOf(f.ptr).Elem()
		switch {
		case f.env != nil:
			list = append(list, setting{f, f.env[0]})
		case value.Kind() == reflect.Struct:
			for _, inner := range fieldsOf(value) {
				if reflect.ValueOf(inner.ptr).Elem().Kind() != reflect.Map {
					list = append(list, setting{inner, f.key + "." + inner.key})
				}
			}
		}
	}
	return list
}
