// Package fault collects the faults of a configuration, each with the path of its field.
package fault

import (
	"fmt"
	"strings"
)

// Fault is a problem of one field of a configuration.
type Fault struct {
	// Path is the field's, such as "signature[1].name".
	Path string
	// Problem describes the fault and the right value. It never contains a secret.
	Problem string
}

// Error returns "path: problem".
func (f Fault) Error() string { return f.Path + ": " + f.Problem }

// List is the faults of a configuration. As an error it has one line for each fault.
type List []Fault

// Add appends a fault of the field at path.
func (l *List) Add(path, format string, args ...any) {
	*l = append(*l, Fault{path, fmt.Sprintf(format, args...)})
}

// OneOf appends that the value at path is missing, or is not one of the wanted values.
func (l *List) OneOf(path, value, wanted string) {
	if value == "" {
		l.Add(path, "missing; one of %s is wanted", wanted)
		return
	}
	l.Add(path, "%q is not known; one of %s is wanted", value, wanted)
}

// Error returns the faults, one a line.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, f := range l {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns the list as an error, nil if it is empty.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}
