package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gaff/internal/suggest"
)

// maxFile bounds each file that is read here, in bytes.
const maxFile = 1 << 20

// layer is one environment.
type layer struct {
	vars   map[string]string
	origin func(name string) string
	file   bool // it is .env
}

// path makes a relative path one of the working folder.
func (l *loader) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(l.dir, name)
}

// environment reads the layers.
func (l *loader) environment(environ []string) {
	own := make(map[string]string, len(environ))
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok {
			own[name] = value
		}
	}
	l.layers = append(l.layers, layer{own, func(string) string { return "environment" }, false})

	const dotEnv = ".env"
	// Only a regular file is ours: a folder ".env" is a usual place of Python environments.
	if info, err := os.Stat(l.path(dotEnv)); err == nil && info.Mode().IsRegular() {
		text, err := readSmall(l.path(dotEnv))
		if err != nil {
			l.fault(dotEnv, "", "", "cannot be read: "+reason(err))
		}
		vars, bad := parseDotEnv(text)
		for _, b := range bad {
			l.fault("", "", fmt.Sprintf("%s:%d", dotEnv, b.line), b.problem)
		}
		values, lines := make(map[string]string), make(map[string]int)
		for _, v := range vars {
			values[v.name], lines[v.name] = v.value, v.line
		}
		l.layers = append(l.layers, layer{values, func(name string) string {
			return fmt.Sprintf("%s:%d", dotEnv, lines[name])
		}, true})
	}
}

// likely returns the setting that a variable was meant to be: one that differs by a letter or two, or
// the same words without one (the first and the last), or without GAFF_ before it; empty if
// no setting is like it.
func likely(name string, names []string, known map[string]bool) string {
	if bare := strings.TrimPrefix(name, "GAFF_"); bare != name && known[bare] {
		return bare
	}
	if near := suggest.Nearest(name, names); near != "" {
		return near
	}
	words := strings.Split(name, "_")
	for _, setting := range names {
		parts := strings.Split(setting, "_")
		if len(words) < 2 || len(words) >= len(parts) || words[0] != parts[0] || words[0] == "GAFF" {
			continue
		}
		if !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(parts, w) }) {
			return setting
		}
	}
	return ""
}

// warnUnknown finds variables that neither a setting nor a reference of the file reads, and that are likely misspelled: those that
// begin with GAFF_, and those of .env that are nearly a setting's name.
func (l *loader) warnUnknown() {
	known := make(map[string]bool)
	var names []string
	for _, s := range settingsOf(l.c) {
		for i, name := range s.env {
			if i == 0 {
				names = append(names, name)
			}
			known[name] = true
			known[name+"_FILE"] = s.secret()
		}
	}
	var unknown []string
	for _, layer := range l.layers {
		for name := range layer.vars {
			ours := strings.HasPrefix(name, "GAFF_") && !strings.HasPrefix(name, "GAFF_TEST_")
			near := layer.file && !strings.HasPrefix(name, "GAFF_") && likely(name, names, known) != ""
			if (ours || near) && !known[name] && !l.referred[strings.TrimSuffix(name, "_FILE")] {
				unknown = append(unknown, name)
			}
		}
	}
	slices.Sort(unknown)
	for _, name := range slices.Compact(unknown) {
		hint := ""
		if meant := likely(name, names, known); meant != "" {
			hint = "; did you mean " + meant + "?"
		}
		l.c.Warnings = append(l.c.Warnings, name+" is not a setting and was not read"+hint)
	}
}

// lookup finds a variable in the real environment, then in .env. An empty variable hides the
// one in .env and counts as not set.
//
// A secret may be in the file that NAME_FILE names. The error says why that file could not be
// used; its value is the path.
func (l *loader) lookup(name string, secret bool) (value, from string, err *Fault) {
	for _, layer := range l.layers {
		value, set := layer.vars[name]
		if secret {
			if path := layer.vars[name+"_FILE"]; path != "" {
				f := Fault{Name: name + "_FILE", Value: path, From: layer.origin(name + "_FILE")}
				if value != "" {
					f.Problem = "is set beside " + name + "; keep one of the two"
					return "", "", &f
				}
				text, err := readSecret(l.path(path))
				if err != nil {
					f.Problem = reason(err)
					return "", "", &f
				}
				return text, f.From + " (" + f.Name + ")", nil
			}
		}
		if set {
			return value, layer.origin(name), nil
		}
	}
	return "", "", nil
}

func (l *loader) fromEnvironment(s *setting) {
	for i, name := range s.env {
		value, from, bad := l.lookup(name, s.secret())
		if bad != nil {
			l.faults = append(l.faults, *bad)
			return
		}
		if value == "" {
			continue
		}
		if i > 0 {
			from += " (" + name + ")"
		}
		l.set(s.name, &s.field, value, from)
		return
	}
}

// resolve returns the value that "env:NAME" or "file:/path" refers to; another text is the value.
func (l *loader) resolve(name, ref, from string) (string, bool) {
	if l.literal && (strings.HasPrefix(ref, "env:") || strings.HasPrefix(ref, "file:")) {
		l.fault(name, ref, from, "is a reference, which only gaff.yaml may have; send the value itself")
		return "", false
	}
	if variable, ok := strings.CutPrefix(ref, "env:"); ok {
		l.referred[variable] = true
		value, _, bad := l.lookup(variable, true)
		switch {
		case bad != nil:
			l.fault(name, ref, from, fmt.Sprintf("%s=%q: %s", bad.Name, bad.Value, bad.Problem))
			return "", false
		case value == "":
			l.fault(name, ref, from, fmt.Sprintf("the environment variable %s is not set", variable))
			return "", false
		}
		return value, true
	}
	if path, ok := strings.CutPrefix(ref, "file:"); ok {
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(l.path(l.file)), path)
		}
		value, err := readSecret(path)
		if err != nil {
			l.fault(name, ref, from, err.Error())
			return "", false
		}
		return value, true
	}
	return ref, true
}

// A secret of fewer bytes than shortSecret beside one of at least longSecret is hardly intended.
const shortSecret, longSecret = 8, 12

// warnFragments finds secrets that look like parts of one that contains a comma.
func (l *loader) warnFragments(settings []setting) {
	for _, s := range settings {
		list, several := s.ptr.(*[]Secret)
		if !several || !l.split[s.name] || s.guarded == "pairs" {
			continue
		}
		long := slices.ContainsFunc(*list, func(s Secret) bool { return len(s) >= longSecret })
		for i, secret := range *list {
			if long && len(secret) < shortSecret {
				l.c.Warnings = append(l.c.Warnings, fmt.Sprintf("%s was split at its commas, and secret %d of %d is only %d bytes long; "+
					`write a comma that belongs to a secret as \,`, s.name, i+1, len(*list), len(secret)))
			}
		}
	}
}

// readSmall reads a text file of bounded size.
func readSmall(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = errors.New("is larger than 1 MiB")
	}
	if err != nil {
		return "", err
	}
	return string(text), nil
}

// readSecret reads a secret's file. Line breaks at its end are not part of the secret:
// editors and echo add them.
func readSecret(path string) (string, error) {
	text, err := readSmall(path)
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %s", reason(err))
	}
	if text = strings.TrimRight(text, "\r\n"); text == "" {
		return "", errors.New("the file is empty")
	}
	return text, nil
}

// reason returns why a file could not be used, without its path, which the fault names.
func reason(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}
