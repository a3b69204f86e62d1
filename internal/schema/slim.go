//go:build slim

package schema

import (
	"context"

	"gaff"
)

// Schema validates values. The slim build has none.
type Schema struct{}

// New returns a *Fault that names the full build.
func New([]byte) (*Schema, error) {
	return nil, &Fault{"", "JSON Schemas need a build of gaff with them, and this one was built without (tag slim): run the full build"}
}

// Validate is never called: New returns no Schema.
func (*Schema) Validate(context.Context, Share, []byte, *gaff.SchemaEffort) (list []gaff.SchemaProblem, more int, err error) {
	return nil, 0, nil
}
