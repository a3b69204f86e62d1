package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"mime"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"gaff/internal/suggest"
	"gaff/internal/yamlfile"
	"gaff/sender"
	"gaff/verify"
)

// DefaultFile is the configuration file that is read from the working folder if
// [LoadOptions.File] names no other.
const DefaultFile = "gaff.yaml"

// maxFile bounds every file that is read here, in bytes.
const maxFile = 1 << 20

// LoadOptions says where a configuration comes from.
type LoadOptions struct {
	// Dir is the working folder: of .env, of gaff.yaml, and of relative paths in
	// NAME_FILE variables. Empty means the process's own.
	Dir string
	// Environ is the environment as os.Environ gives it.
	Environ []string
	// File is the configuration file, which must exist then. Empty: gaff.yaml in Dir, if
	// it exists.
	File string
	// Flags are the flags that were given, as text, by the name of their setting
	// ("GAFF_ADDR"); see [Flags].
	Flags map[string]string
}

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	// Name is the setting's, or the path in the file: "sources.shop.retry.first".
	Name string
	// Value is what it was set to; empty for secrets and where there is none.
	Value string
	// From is where it was set: "environment", ".env:3", "gaff.yaml:12", "--addr".
	From string
	// Problem says what is wrong and what would be right.
	Problem string
}

// String returns the fault in one line.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.Name)
	if f.Value != "" {
		fmt.Fprintf(&b, "=%q", f.Value)
	}
	if f.From != "" {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "(%s)", f.From)
	}
	return b.String() + ": " + f.Problem
}

// Faults are all that is wrong with a configuration, as an error.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	if len(f) == 1 {
		return "configuration: " + f[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration: %d faults:", len(f))
	for _, fault := range f {
		b.WriteString("\n  " + fault.String())
	}
	return b.String()
}

func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Load reads the configuration: flags over environment over file over defaults. A .env
// in the working folder counts as environment, under the real one.
//
// The error is a [Faults] that tells everything that is wrong. The configuration is
// returned even then, with what could be read: good for finding a running gateway, not
// for being one.
func Load(o LoadOptions) (*Config, error) {
	l := loader{dir: o.Dir, file: o.File, c: Default()}
	l.c.load = func() (*Config, error) { return Load(o) }
	l.c.origins = make(map[string]string)
	l.environment(o.Environ)
	l.readFile()
	for i := range settings {
		l.fromEnvironment(&settings[i])
	}
	for i := range settings {
		s := &settings[i]
		if text, given := o.Flags[s.name]; given {
			l.set(s, text, "--"+s.flag)
		}
	}
	if invalid, ok := errors.AsType[Faults](l.c.Validate()); ok {
		read := l.faults
		for _, f := range invalid {
			// What could not even be read was reported already.
			if !slices.ContainsFunc(read, func(known Fault) bool {
				return known.Name == f.Name || strings.HasPrefix(known.Name, f.Name+".") || strings.HasPrefix(f.Name, known.Name+".")
			}) {
				l.faults = append(l.faults, f)
			}
		}
	}
	l.c.warnPrivate()
	return l.c, l.faults.err()
}

type loader struct {
	dir, file string
	layers    []layer // the real environment, then .env
	c         *Config
	faults    Faults
}

// layer is one environment.
type layer struct {
	vars   map[string]string
	origin func(name string) string
	file   bool // it is .env
}

func (l *loader) fault(name, value, from, problem string) {
	l.faults = append(l.faults, Fault{Name: name, Value: value, From: from, Problem: problem})
}

// path makes a relative path one of the working folder.
func (l *loader) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(l.dir, name)
}

func (l *loader) environment(environ []string) {
	own := make(map[string]string, len(environ))
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok {
			own[name] = value
		}
	}
	l.layers = append(l.layers, layer{own, func(name string) string { return "environment" }, false})

	const dotEnv = ".env"
	// Anything but a plain file under this name is not meant for us: a folder ".env" is
	// a usual place of Python environments.
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
	l.warnUnknown()
}

// warnUnknown finds variables that no setting reads, and that are likely misspelled: those with
// GAFF_ in front, and those of .env that are nearly a setting's name.
func (l *loader) warnUnknown() {
	known := make(map[string]bool)
	var names []string
	for i := range settings {
		s := &settings[i]
		if s.fileOnly() {
			continue
		}
		names = append(names, s.name)
		for _, name := range append([]string{s.name}, s.aliases...) {
			known[name] = true
			known[name+"_FILE"] = s.secret()
		}
	}
	var unknown []string
	for _, layer := range l.layers {
		for name := range layer.vars {
			ours := strings.HasPrefix(name, "GAFF_") && !strings.HasPrefix(name, "GAFF_TEST_")
			near := layer.file && !strings.HasPrefix(name, "GAFF_") && suggest.Nearest(name, names) != ""
			if (ours || near) && !known[name] {
				unknown = append(unknown, name)
			}
		}
	}
	slices.Sort(unknown)
	for _, name := range slices.Compact(unknown) {
		l.c.Warnings = append(l.c.Warnings, name+" is no setting and was not read"+suggest.Hint(name, names))
	}
}

// lookup finds a variable: in the real environment, then in .env. A variable that is
// set to nothing hides the one in .env and counts as not set.
//
// A secret may stand in the file that NAME_FILE names. The error tells why that one
// could not be used; its value is the path.
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
	if s.fileOnly() {
		return
	}
	for _, name := range append([]string{s.name}, s.aliases...) {
		value, from, bad := l.lookup(name, s.secret())
		if bad != nil {
			l.faults = append(l.faults, *bad)
			return
		}
		if value == "" {
			continue
		}
		if name != s.name {
			from += " (" + name + ")"
		}
		l.set(s, value, from)
		return
	}
}

// set assigns a text to a setting, or notes the fault.
func (l *loader) set(s *setting, text, from string) {
	given := text
	if !s.secret() {
		text = strings.TrimSpace(text)
	}
	if s.norm != nil {
		text = s.norm(text)
	}
	if err := assign(s.field(l.c), text); err != nil {
		if s.secret() {
			given = ""
		}
		l.fault(s.name, given, from, err.Error())
		return
	}
	l.c.origins[s.name] = from
	if list, ok := s.field(l.c).(*[]Secret); ok && s.check == nil {
		l.warnFragments(s.name, *list)
	}
}

// A secret of fewer bytes than shortSecret beside one of at least longSecret is hardly meant.
const shortSecret, longSecret = 8, 12

// warnFragments finds secrets that look like parts of one that contains a comma.
func (l *loader) warnFragments(name string, secrets []Secret) {
	long := slices.ContainsFunc(secrets, func(s Secret) bool { return len(s) >= longSecret })
	for i, secret := range secrets {
		if long && len(secret) < shortSecret {
			l.c.Warnings = append(l.c.Warnings, fmt.Sprintf("%s was split at its commas, and secret %d of %d is only %d bytes long; "+
				`write a comma that belongs to a secret as \,`, name, i+1, len(secrets), len(secret)))
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

// reason is what went wrong with a file, without its path, which the fault names.
func reason(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

func (l *loader) readFile() {
	name := l.file
	if name == "" {
		name = DefaultFile
	}
	text, err := readSmall(l.path(name))
	if l.file == "" && errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(l.path("gaff.yml")); err == nil {
			l.c.Warnings = append(l.c.Warnings, "gaff.yml was not read; rename it "+DefaultFile)
		}
		return
	}
	l.file, l.c.File = name, name
	if err != nil {
		l.fault(name, "", "", "cannot be read: "+reason(err))
		return
	}
	file, err := yamlfile.Parse([]byte(text), maxFile)
	if err != nil {
		l.yamlFault("", err)
		return
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			l.fault("", "", l.at(doc.Body), `begins a second document; one is read: take the line "---" away`)
			return
		}
		body = doc.Body
	}
	if body == nil {
		return
	}
	keys := make(map[string]func(string, ast.Node))
	for i := range settings {
		s := &settings[i]
		if s.clientOnly {
			continue
		}
		group, _, nested := strings.Cut(s.key(), ".")
		if !nested {
			keys[group] = func(_ string, n ast.Node) { l.fileSetting(s, n) }
			continue
		}
		if keys[group] == nil {
			inner := make(map[string]func(string, ast.Node))
			for j := range settings {
				if sub, ok := strings.CutPrefix(settings[j].name, group+"."); ok {
					inner[sub] = func(_ string, n ast.Node) { l.fileSetting(&settings[j], n) }
				}
			}
			keys[group] = func(path string, n ast.Node) { l.mapping(path, n, inner) }
		}
	}
	keys["sources"] = func(path string, n ast.Node) {
		l.c.Sources = make(map[string]Source)
		l.each(path, n, func(name, path string, n ast.Node) { l.c.Sources[name] = l.source(path, n) })
	}
	keys["destinations"] = func(path string, n ast.Node) {
		l.c.Destinations = make(map[string]Destination)
		l.each(path, n, func(name, path string, n ast.Node) { l.c.Destinations[name] = l.destination(name, path, n) })
	}
	l.mapping("", body, keys)
}

// at is a node's place in the file.
func (l *loader) at(n ast.Node) string {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return fmt.Sprintf("%s:%d", l.file, t.Position.Line)
	}
	return l.file
}

// yamlFault notes what the YAML library found. Its error's own text shows the lines
// around the fault, which may hold secrets, so only message and line are taken.
func (l *loader) yamlFault(path string, err error) {
	from, problem := l.file, "cannot be read"
	if e, ok := errors.AsType[*yamlfile.Fault](err); ok {
		from, problem = fmt.Sprintf("%s:%d", l.file, e.Line), e.Problem
	} else if e, ok := errors.AsType[yaml.Error](err); ok {
		problem = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			from = fmt.Sprintf("%s:%d", l.file, t.Position.Line)
		}
	} else if path != "" {
		problem = err.Error()
	}
	l.fault(path, "", from, problem)
}

// each calls f for the pairs of a mapping and notes their places as origins.
func (l *loader) each(path string, n ast.Node, f func(key, path string, n ast.Node)) {
	if _, null := n.(*ast.NullNode); null {
		return
	}
	m, ok := n.(ast.MapNode)
	if !ok {
		l.fault(path, "", l.at(n), "must be a mapping: lines of the form name: value")
		return
	}
	for pairs := m.MapRange(); pairs.Next(); {
		key, ok := text(pairs.Key())
		if !ok {
			l.fault(path, "", l.at(pairs.Key()), "a key here is no plain text; aliases and merges (<<) are not read")
			continue
		}
		inner := key
		if path != "" {
			inner = path + "." + key
		}
		l.c.origins[inner] = l.at(pairs.Key())
		f(key, inner, pairs.Value())
	}
}

// mapping reads a mapping of which all keys are known.
func (l *loader) mapping(path string, n ast.Node, keys map[string]func(path string, n ast.Node)) {
	l.each(path, n, func(key, inner string, n ast.Node) {
		if read := keys[key]; read != nil {
			read(inner, n)
			return
		}
		names := slices.Sorted(maps.Keys(keys))
		hint := suggest.Hint(key, names)
		if hint == "" {
			hint = "; known here: " + strings.Join(names, ", ")
		}
		l.fault(inner, "", l.c.origins[inner], "unknown key"+hint)
	})
}

// text returns a scalar as written. Numbers and booleans keep their spelling, so a
// secret 007 stays one.
func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	case *ast.NullNode:
		return "", true
	}
	return "", false
}

// refText is text for places that take "env:NAME" and "file:/path": with a space after
// the colon, by which these become a mapping of one pair, they are meant all the same.
// The YAML library also takes them for one without a space, within {…[…]…}.
func refText(n ast.Node) (string, bool) {
	if m, ok := n.(ast.MapNode); ok {
		pairs := m.MapRange()
		if !pairs.Next() {
			return "", false
		}
		key, _ := text(pairs.Key())
		value, ok := text(pairs.Value())
		if !ok || key != "env" && key != "file" || pairs.Next() {
			return "", false
		}
		return key + ":" + value, true
	}
	return text(n)
}

const wantText = "must be a text; lists, mappings, tags, anchors and aliases are not read here"

// fileSetting reads one setting of the table.
func (l *loader) fileSetting(s *setting, n ast.Node) {
	if _, null := n.(*ast.NullNode); null {
		return
	}
	from := l.at(n)
	switch field := s.field(l.c).(type) {
	case *[]Secret:
		if list, ok := l.secrets(s.name, n, true); ok {
			*field, l.c.origins[s.name] = list, from
		}
		return
	case *[]string:
		if list, ok := n.(*ast.SequenceNode); ok {
			var items []string
			for _, item := range list.Values {
				one, ok := text(item)
				if !ok {
					l.fault(s.name, "", l.at(item), wantText)
					return
				}
				items = append(items, one)
			}
			l.set(s, strings.Join(items, ","), from)
			return
		}
	}
	read := text
	if s.secret() {
		read = refText
	}
	value, ok := read(n)
	if !ok {
		l.fault(s.name, "", from, wantText)
		return
	}
	if s.secret() {
		if value, ok = l.resolve(s.name, value, from); !ok {
			return
		}
	}
	l.set(s, value, from)
}

// secrets reads a secret or a list of them. split also takes a single text apart at
// its commas.
func (l *loader) secrets(path string, n ast.Node, split bool) (secrets []Secret, ok bool) {
	nodes := []ast.Node{n}
	if list, isList := n.(*ast.SequenceNode); isList {
		nodes, split = list.Values, false
	} else if _, null := n.(*ast.NullNode); null {
		return nil, true
	}
	ok = true
	for i, n := range nodes {
		name := path
		if len(nodes) > 1 {
			name = fmt.Sprintf("%s[%d]", path, i)
		}
		one, isText := refText(n)
		if !isText {
			l.fault(name, "", l.at(n), wantText)
			ok = false
			continue
		}
		one, resolved := l.resolve(name, one, l.at(n))
		switch {
		case !resolved:
			ok = false
		case split:
			if err := assign(&secrets, one); err != nil {
				l.fault(name, "", l.at(n), err.Error())
				ok = false
			}
			l.warnFragments(name, secrets)
		case strings.TrimSpace(one) == "":
			l.fault(name, "", l.at(n), "is empty; an empty secret proves nothing: take it away or set it")
			ok = false
		default:
			secrets = append(secrets, Secret(one))
		}
	}
	return secrets, ok
}

// resolve reads what "env:NAME" and "file:/path" refer to; any other text is itself.
func (l *loader) resolve(name, ref, from string) (string, bool) {
	if variable, ok := strings.CutPrefix(ref, "env:"); ok {
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

func (l *loader) source(path string, n ast.Node) (src Source) {
	set := func(field any) func(string, ast.Node) {
		return func(path string, n ast.Node) {
			if _, null := n.(*ast.NullNode); null {
				return
			}
			value, ok := text(n)
			if !ok {
				l.fault(path, "", l.at(n), wantText)
			} else if err := assign(field, value); err != nil {
				l.fault(path, value, l.at(n), err.Error())
			}
		}
	}
	texts := func(to *map[string]string, resolve bool) func(string, ast.Node) {
		return func(path string, n ast.Node) {
			*to = make(map[string]string)
			l.each(path, n, func(key, path string, n ast.Node) {
				value, ok := refText(n)
				if !ok {
					l.fault(path, "", l.at(n), wantText)
					return
				}
				if resolve {
					if value, ok = l.resolve(path, value, l.at(n)); !ok {
						return
					}
				}
				(*to)[key] = value
			})
		}
	}
	// lists reads a list of texts, or one text with commas.
	lists := func(to *[]string) func(string, ast.Node) {
		return func(path string, n ast.Node) {
			nodes := []ast.Node{n}
			if list, ok := n.(*ast.SequenceNode); ok {
				nodes = list.Values
			}
			*to = nil
			for _, n := range nodes {
				one, ok := text(n)
				if !ok {
					l.fault(path, "", l.at(n), wantText)
					return
				}
				var items []string
				if err := assign(&items, one); err != nil {
					l.fault(path, one, l.at(n), err.Error())
					return
				}
				*to = append(*to, items...)
			}
		}
	}
	// pointers reads a JSON pointer, or a list of which the first that finds something counts.
	pointers := func(to *sender.Pointers) func(string, ast.Node) {
		return func(path string, n ast.Node) {
			nodes := []ast.Node{n}
			if list, ok := n.(*ast.SequenceNode); ok {
				nodes = list.Values
			}
			*to = nil
			for _, n := range nodes {
				one, ok := text(n)
				if !ok {
					l.fault(path, "", l.at(n), wantText)
					return
				}
				if one != "" {
					*to = append(*to, one)
				}
			}
		}
	}
	jobs := func(path string, n ast.Node) {
		if src.Jobs != nil {
			l.fault(path, "", l.at(n), "jobs and effects are two names of one block; keep one of the two")
			return
		}
		if off, ok := text(n); ok && (off == "off" || off == "false") {
			src.NoJobs = true
			return
		}
		j := new(sender.Jobs)
		src.Jobs = j
		l.mapping(path, n, map[string]func(string, ast.Node){
			"id": pointers(&j.ID), "request_id": pointers(&j.ID), "job": pointers(&j.Job), "status": pointers(&j.Status),
			"error": pointers(&j.Error), "error_type": pointers(&j.ErrorType), "output": pointers(&j.Output), "project": pointers(&j.Project),
			"user": pointers(&j.User), "kind": pointers(&j.Kind), "words": texts(&j.Words, false),
		})
	}
	l.mapping(path, n, map[string]func(string, ast.Node){
		"preset": set(&src.Preset),
		"verify": func(path string, n ast.Node) {
			scheme := new(sender.Description)
			if !l.shape(path, n, reflect.TypeFor[sender.Description]()) {
				return
			}
			if err := yaml.NodeToValue(n, scheme, yaml.Strict()); err != nil {
				l.yamlFault(path, err)
				return
			}
			src.Verify = scheme
		},
		"secrets":     func(path string, n ast.Node) { src.Secrets, _ = l.secrets(path, n, false) },
		"settings":    texts(&src.Settings, true),
		"id":          set(&src.ID),
		"type":        set(&src.Type),
		"status":      set(&src.Status),
		"job":         set(&src.Job),
		"project":     set(&src.Project),
		"max_body":    set(&src.MaxBodyBytes),
		"accept_gzip": set(&src.AcceptGzip),
		"retry": func(path string, n ast.Node) {
			src.Retry = new(Retry)
			keys := make(map[string]func(string, ast.Node))
			for _, name := range retryNames {
				keys[name] = set(retryField(src.Retry, name))
			}
			l.mapping(path, n, keys)
		},
		"jobs":          jobs,
		"effects":       jobs,
		"allow":         lists(&src.Allow),
		"content_types": lists(&src.ContentTypes),
		"rate":          set(&src.Rate),
		"burst":         set(&src.Burst),
	})
	return src
}

// Validate reports every value that cannot work, as a [Faults].
func (c *Config) Validate() error {
	var faults Faults
	for i := range settings {
		s := &settings[i]
		if s.check == nil {
			continue
		}
		if err := s.check(c); err != nil {
			f := Fault{Name: s.name, From: c.origins[s.name], Problem: err.Error()}
			if !s.secret() {
				f.Value = display(s.field(c), false)
			}
			faults = append(faults, f)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		src := c.Sources[name]
		path := "sources." + name
		src.check(name, func(key, value, problem string) {
			full := path
			if key != "" {
				full += "." + key
			}
			from := c.origins[full]
			if from == "" {
				from = c.origins[path]
			}
			faults = append(faults, Fault{Name: full, Value: value, From: from, Problem: problem})
		})
	}
	c.checkDestinations(func(f Fault) { faults = append(faults, f) })
	return faults.err()
}

var nameSyntax = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

var jobStatuses = []string{"queued", "processing", "completed", "failed", "cancelled"}

// check reports what is wrong with a source; key is the path within it.
func (s *Source) check(name string, fault func(key, value, problem string)) {
	switch {
	case name == "manage" || name == "gaff":
		fault("", "", "this name is gaff's own; choose another")
	case !nameSyntax.MatchString(name):
		fault("", "", "is no name of a source: it begins with a lower case letter or a digit and has up to 64 of those, - and _")
	}
	if secret, own := sourceSecrets(name); own && name != customSource {
		for _, field := range []struct {
			key string
			set bool
		}{
			{"preset", s.Preset != ""}, {"verify", s.Verify != nil}, {"settings", len(s.Settings) > 0},
			{"id", s.ID != ""}, {"type", s.Type != ""}, {"status", s.Status != ""}, {"job", s.Job != ""},
			{"project", s.Project != ""}, {"jobs", s.Jobs != nil},
		} {
			if field.set {
				fault(field.key, "", "gaff knows how "+name+" signs and speaks; give a source of your own another name")
			}
		}
		if len(s.Secrets) > 0 {
			fault("secrets", "", "set "+secret+" instead")
		}
	} else if s.Preset != "" && s.Verify != nil {
		fault("verify", "", "preset is set too; keep one of the two")
	} else if s.Preset == "" && s.Verify == nil && !own {
		fault("verify", "", "is not set, and no preset: (such as stripe) either; one of them says how the sender signs")
	}
	s.checkVerifier(fault)
	pointers := []struct{ key, value string }{
		{"id", s.ID}, {"type", s.Type}, {"status", s.Status}, {"job", s.Job}, {"project", s.Project},
	}
	if e := s.Jobs; e != nil {
		for _, field := range [...]struct {
			key  string
			list sender.Pointers
		}{
			{"id", e.ID}, {"job", e.Job}, {"status", e.Status}, {"error", e.Error}, {"error_type", e.ErrorType},
			{"output", e.Output}, {"project", e.Project}, {"user", e.User}, {"kind", e.Kind},
		} {
			for _, p := range field.list {
				pointers = append(pointers, struct{ key, value string }{"jobs." + field.key, p})
			}
		}
		if len(e.ID)+len(e.Job) == 0 {
			fault("jobs.id", "", "is not set: where the body names the work is wanted, such as /id")
		}
		if len(e.Words) == 0 {
			fault("jobs.words", "", "is not set: what the sender's status words mean is wanted, such as {succeeded: completed, failed: failed}")
		}
		for _, word := range slices.Sorted(maps.Keys(e.Words)) {
			if !slices.Contains(jobStatuses, e.Words[word]) {
				fault("jobs.words."+word, e.Words[word], "must be one of "+strings.Join(jobStatuses, ", "))
			}
		}
	}
	if err := checkPrefixes(s.Allow); err != nil {
		fault("allow", "", err.Error())
	}
	if s.Rate < 0 || s.Rate > 1e6 || math.IsNaN(s.Rate) {
		fault("rate", strconv.FormatFloat(s.Rate, 'g', -1, 64), "must be requests a second, more than zero and at most a million")
	}
	if s.Burst < 0 || s.Burst > 0 && s.Rate == 0 {
		fault("burst", strconv.Itoa(s.Burst), "must be a number of requests, beside rate")
	}
	for _, kind := range s.ContentTypes {
		if t, _, err := mime.ParseMediaType(kind); err != nil || t != strings.ToLower(kind) || !strings.Contains(kind, "/") {
			fault("content_types", kind, "is no media type; write them like application/json")
		}
	}
	for _, p := range pointers {
		if !isPointer(p.value) {
			fault(p.key, p.value, "is no JSON pointer; write one like /data/id, with ~1 for / and ~0 for ~ in a name")
		}
	}
	if s.MaxBodyBytes < 0 {
		fault("max_body", formatSize(s.MaxBodyBytes), "must not be negative")
	}
	if s.Retry != nil {
		bad := checkRetry(*s.Retry)
		for _, key := range retryNames {
			if err := bad[key]; err != nil {
				fault("retry."+key, display(retryField(s.Retry, key), false), err.Error())
			}
		}
	}
}

// checkVerifier reports what is wrong with how the source is verified.
func (s *Source) checkVerifier(fault func(key, value, problem string)) {
	var scheme sender.Description
	switch {
	case s.Preset != "":
		var ok bool
		if scheme, ok = sender.Preset(s.Preset); !ok {
			hint := suggest.Hint(s.Preset, sender.Presets())
			if hint == "" {
				hint = "; known: " + strings.Join(sender.Presets(), ", ")
			}
			fault("preset", s.Preset, "is not known"+hint)
			return
		}
	case s.Verify != nil:
		scheme = *s.Verify
	default:
		return
	}
	o := verify.Options{Settings: s.Settings}
	for _, secret := range s.Secrets {
		o.Secrets = append(o.Secrets, string(secret))
	}
	for _, f := range scheme.Check(o) {
		key := f.Path
		switch {
		case key == "secrets" && len(s.Secrets) == 0:
			continue // a source without secrets is allowed: it refuses everything
		case !strings.HasPrefix(key, "secrets") && !strings.HasPrefix(key, "settings"):
			key = "verify." + key
		}
		fault(key, "", f.Problem)
	}
}

// isPointer tells whether text is a JSON pointer (RFC 6901); the empty one, which
// points at the whole body, is allowed as "not set".
func isPointer(text string) bool {
	if text == "" {
		return true
	}
	rest := strings.ReplaceAll(strings.ReplaceAll(text, "~0", ""), "~1", "")
	return text[0] == '/' && !strings.Contains(rest, "~")
}

// FlagInfo describes the flag of a setting.
type FlagInfo struct {
	// Name is the setting's, to be the key in [LoadOptions.Flags].
	Name string
	// Flag is without dashes; Help tells what it sets and, if that is not nothing, the
	// default.
	Flag, Help string
}

// Flags lists the settings that have a flag, in the order of the table. Secrets have
// none: command lines are seen by everyone on the machine.
func Flags() []FlagInfo {
	var list []FlagInfo
	def := Default()
	for i := range settings {
		s := &settings[i]
		if s.flag == "" {
			continue
		}
		help := s.help + " [" + s.name + "]"
		if value := display(s.field(def), s.guarded); value != "" {
			help += " (default " + value + ")"
		}
		list = append(list, FlagInfo{Name: s.name, Flag: s.flag, Help: help})
	}
	return list
}

// Setting is a value as [Config.Settings] shows it.
type Setting struct {
	Name string `json:"name"`
	// Value is without secrets.
	Value string `json:"value"`
	// From is where the value comes from; "default" where it was not set.
	From string `json:"from"`
	Help string `json:"help,omitempty"`
}

// Settings lists every setting of the server with its value, secrets redacted, and
// where the value comes from.
func (c *Config) Settings() []Setting {
	var list []Setting
	add := func(name, value, help string) {
		from := c.origins[name]
		if from == "" {
			from = "default"
		}
		list = append(list, Setting{name, value, from, help})
	}
	for i := range settings {
		if s := &settings[i]; !s.clientOnly {
			add(s.name, display(s.field(c), s.guarded), s.help)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		src := c.Sources[name]
		path := "sources." + name
		shown := func(key, value string) {
			if value != "" {
				add(path+"."+key, value, "")
			}
		}
		shown("preset", src.Preset)
		if src.Verify != nil {
			shown("verify", src.Verify.Kind)
		}
		shown("secrets", display(&src.Secrets, false))
		for _, key := range slices.Sorted(maps.Keys(src.Settings)) {
			// Some are tokens, and nothing tells which.
			shown("settings."+key, "[redacted]")
		}
		shown("id", src.ID)
		shown("type", src.Type)
		shown("status", src.Status)
		shown("job", src.Job)
		shown("project", src.Project)
		if src.MaxBodyBytes > 0 {
			shown("max_body", formatSize(src.MaxBodyBytes))
		}
		if src.AcceptGzip {
			shown("accept_gzip", "true")
		}
		if src.Retry != nil {
			for _, key := range retryNames {
				if c.origins[path+".retry."+key] != "" {
					shown("retry."+key, display(retryField(src.Retry, key), false))
				}
			}
		}
		if src.Jobs != nil {
			shown("jobs", "set")
		}
		shown("allow", strings.Join(src.Allow, ","))
		shown("content_types", strings.Join(src.ContentTypes, ","))
		if src.Rate > 0 {
			shown("rate", strconv.FormatFloat(src.Rate, 'g', -1, 64))
		}
		if src.Burst > 0 {
			shown("burst", strconv.Itoa(src.Burst))
		}
	}
	c.showDestinations(add)
	return list
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

// printable keeps control characters of a value from reaching a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, text)
}
