package app

import (
	"context"
	"encoding/json"
	"errors"
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
	s := &sourceSchemas{byType: map[string]*schema.Schema{}, share: schema.NewShare(), refuse: set.OnViolation == config.ViolationRefuse}
	for eventType, of := range set.Schemas {
		if compiled, err := schema.New([]byte(of.Text)); err == nil {
			s.byType[eventType] = compiled
		}
	}
	return &gaff.Schemas{Refuse: s.refuse, Validate: s.validate}
}

type sourceSchemas struct {
	byType map[string]*schema.Schema
	share  schema.Share
	refuse bool
}

func (s *sourceSchemas) validate(ctx context.Context, eventType string, data []byte, spent gaff.SchemaEffort) (*gaff.SchemaViolation, gaff.SchemaEffort, error) {
	name := eventType
	of := s.byType[name]
	if of == nil {
		name = "*"
		if of = s.byType[name]; of == nil {
			return nil, spent, nil
		}
	}
	problems, more, err := of.Validate(ctx, s.share, data, &spent)
	if errors.Is(err, schema.ErrBusy) && !s.refuse { // the event is stored in any case
		problems, err = []gaff.SchemaProblem{{Message: "was not validated: " + err.Error()}}, nil
	}
	if err != nil || len(problems) == 0 {
		return nil, spent, err
	}
	return &gaff.SchemaViolation{Schema: name, Problems: problems, More: more}, spent, nil
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
