// Package schema validates JSON by JSON Schemas (drafts 4 to 2020-12), within bounds: nothing is
// loaded from elsewhere, patterns are RE2, and neither schema nor value can use unlimited time or
// memory.
package schema

// Fault is a mistake in a schema.
type Fault struct {
	// Pointer is the JSON pointer of the part with the mistake; empty for the whole schema.
	Pointer string
	Problem string
}

// Error returns the pointer and the problem.
func (f *Fault) Error() string {
	if f.Pointer == "" {
		return f.Problem
	}
	return "at " + f.Pointer + ": " + f.Problem
}
