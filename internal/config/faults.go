package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Fault is one fault of a configuration.
type Fault struct {
	// Name is the setting's, or the path in the file: "sources.shop.retry.first".
	Name string
	// Value is the text that was set; empty for secrets and if nothing was.
	Value string
	// From says where it was set: "environment", ".env:3", "gaff.yaml:12", "--addr".
	From string
	// Problem says why the value cannot work, and what would.
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

// Faults are all faults of a configuration, as an error.
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

// checker collects the faults of values that were read. Check methods point to the field; the
// checker knows its name, and where it was set.
type checker struct {
	path    string            // of the struct that is checked; empty: the configuration
	fields  map[any]setting   // by the pointer to the field
	origins map[string]string // of the configuration
	faults  *Faults
}

func newChecker(c *Config) *checker {
	k := &checker{fields: map[any]setting{}, origins: c.origins, faults: new(Faults)}
	for _, s := range settingsOf(c) {
		k.fields[s.ptr] = s
	}
	return k
}

// below returns a checker of a struct that is at path in the file, for the same faults.
func (k *checker) below(path string, ptr any) *checker {
	inner := &checker{path: path, fields: map[any]setting{}, origins: k.origins, faults: k.faults}
	inner.add(path, reflect.ValueOf(ptr).Elem())
	return inner
}

// add names the fields of a struct, and of those that it points to.
func (k *checker) add(path string, v reflect.Value) {
	for _, f := range fieldsOf(v) {
		name := path + "." + f.key
		k.fields[f.ptr] = setting{f, name}
		if p := reflect.ValueOf(f.ptr).Elem(); p.Kind() == reflect.Pointer && !p.IsNil() && p.Elem().Kind() == reflect.Struct {
			k.add(name, p.Elem())
		}
	}
}

// value reports the value that ptr points to; nothing if problem is nil.
func (k *checker) value(ptr any, problem error) {
	if problem == nil {
		return
	}
	s := k.fields[ptr]
	value := ""
	if !s.secret() {
		value = s.display()
	}
	k.report(s.name, value, problem.Error())
}

// part reports a part of the field that ptr points to: at is its path in the field, such as ".a".
func (k *checker) part(ptr any, at, value, problem string) {
	k.report(k.fields[ptr].name+at, value, problem)
}

// report reports a fault by its name. It was set at the line of the nearest path that has one.
func (k *checker) report(name, value, problem string) {
	from, at := "", name
	for from == "" && at != "" {
		from = k.origins[at]
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
	*k.faults = append(*k.faults, Fault{Name: name, Value: value, From: from, Problem: problem})
}
