package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/schema"
	"gaff/internal/wire"
)

// schemasOf returns the schemas of a source, which the configuration has checked; nil without any.
func schemasOf(set config.Source) *gaff.Schemas {
	if len(set.Schemas) == 0 {
		return nil
	}
	byType := map[string]*schema.Schema{}
	for eventType, of := range set.Schemas {
		if compiled, err := schema.New([]byte(of.Text)); err == nil {
			byType[eventType] = compiled
		}
	}
	return &gaff.Schemas{
		Refuse: set.OnViolation == config.ViolationRefuse,
		Validate: func(eventType string, data []byte) *gaff.SchemaViolation {
			name := eventType
			of := byType[name]
			if of == nil {
				name = "*"
				if of = byType[name]; of == nil {
					return nil
				}
			}
			problems, more := of.Validate(data)
			if len(problems) == 0 {
				return nil
			}
			return &gaff.SchemaViolation{Schema: name, Problems: problems, More: more}
		},
	}
}

// replaceSchemas sets the schemas of a patch as they are: merged with the stored ones, they would be
// schemas that nobody wrote.
func replaceSchemas(spec *wire.SourceSpec, patch []byte) error {
	var given struct {
		Schemas map[string]wire.JSON `json:"schemas"`
	}
	if err := json.Unmarshal(patch, &given); err != nil {
		return fmt.Errorf("%w: schemas: want an object of event types and their JSON Schemas", gaff.ErrInvalid)
	}
	for eventType, text := range given.Schemas {
		if text != nil {
			spec.Schemas[eventType] = text
		}
	}
	if given.Schemas != nil && len(spec.Schemas) == 0 {
		spec.Schemas, spec.OnViolation = nil, "" // it has no meaning without a schema
	}
	return nil
}

// describeSchemas describes the schemas of a source to people.
func describeSchemas(set config.Source) string {
	types := slices.Sorted(maps.Keys(set.Schemas))
	effect := "violations are stored and marked"
	if set.OnViolation == config.ViolationRefuse {
		effect = "violations are answered 422"
	}
	shown := strings.Join(types[:min(len(types), 10)], ", ")
	if more := len(types) - 10; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return "for " + shown + "; " + effect
}
