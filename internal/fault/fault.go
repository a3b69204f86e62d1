// Package fault collects what is wrong with a configuration.
package fault

import (
	"errors"
	"fmt"
)

// List is what is wrong with a configuration, each with the path of its field.
type List []error

// Add appends a fault of the field at path.
func (l *List) Add(path, format string, args ...any) {
	*l = append(*l, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
}

// OneOf appends that the value at path is missing, or not among those that are wanted.
func (l *List) OneOf(path, value, wanted string) {
	if value == "" {
		l.Add(path, "missing; one of %s is wanted", wanted)
		return
	}
	l.Add(path, "%q is not known; one of %s is wanted", value, wanted)
}

// Err returns all faults joined, nil if there are none.
func (l List) Err() error { return errors.Join(l...) }
