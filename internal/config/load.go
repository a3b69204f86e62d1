package config

import (
	"errors"
	"slices"
	"strings"
)

// DefaultFile is the configuration file that is read from the working folder if
// [LoadOptions.File] names no other.
const DefaultFile = "gaff.yaml"

// LoadOptions says where a configuration comes from.
type LoadOptions struct {
	// Dir is the working folder: of .env, of gaff.yaml, and of relative paths in
	// NAME_FILE variables. Empty means the process's own.
	Dir string
	// Environ is the environment as os.Environ returns it.
	Environ []string
	// File is the configuration file, which must exist then. Empty: gaff.yaml in Dir, if
	// it exists.
	File string
	// Flags are the flags that were given, as text, by the name of their setting
	// ("GAFF_ADDR"); see [Flags].
	Flags map[string]string
}

// Load reads the configuration: flags over environment over file over defaults. A .env
// in the working folder counts as environment, below the real one.
//
// The error is a [Faults] with all faults. The configuration is returned beside it, with the
// values that could be read: enough to find a running gateway, not to run one.
func Load(o LoadOptions) (*Config, error) {
	l := loader{dir: o.Dir, file: o.File, c: Default(), split: map[string]bool{}, referred: map[string]bool{}}
	l.c.load = func() (*Config, error) { return Load(o) }
	l.c.origins = make(map[string]string)
	l.environment(o.Environ)
	l.readFile()
	l.readDescriptions()
	l.warnUnknown()
	settings := settingsOf(l.c)
	for i := range settings {
		l.fromEnvironment(&settings[i])
	}
	for i := range settings {
		s := &settings[i]
		if text, given := o.Flags[s.name]; given {
			l.set(s.name, &s.field, text, "--"+s.flag)
		}
	}
	l.c.normalize()
	if invalid, ok := errors.AsType[Faults](l.c.Validate()); ok {
		l.addUnread(invalid)
	}
	l.warnFragments(settings)
	l.c.warnPrivate()
	l.c.warnLogin()
	return l.c, l.faults.err()
}

type loader struct {
	dir, file string
	layers    []layer // the real environment, then .env
	c         *Config
	faults    Faults
	// split has the names of the secrets that were split at commas.
	split map[string]bool
	// referred has the variables that references of the file name.
	referred map[string]bool
	// literal makes references to variables and files faults.
	literal bool
}

func (l *loader) fault(name, value, from, problem string) {
	l.faults = append(l.faults, Fault{Name: name, Value: value, From: from, Problem: problem})
}

// addUnread adds the faults of values. A value that could not be read was reported already.
func (l *loader) addUnread(invalid Faults) {
	read := l.faults
	for _, f := range invalid {
		if !slices.ContainsFunc(read, func(known Fault) bool { return within(known.Name, f.Name) || within(f.Name, known.Name) }) {
			l.faults = append(l.faults, f)
		}
	}
}

// within reports whether a path is another one, or below it.
func within(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// set assigns a text to a field, or reports the fault.
func (l *loader) set(name string, f *field, text, from string) {
	given := text
	if f.env != nil && !f.secret() {
		text = strings.TrimSpace(text)
	}
	if err := f.assign(text); err != nil {
		if f.secret() {
			given = ""
		}
		l.fault(name, given, from, err.Error())
		return
	}
	l.c.origins[name] = from
	if _, several := f.ptr.(*[]Secret); several {
		l.split[name] = true
	}
}
