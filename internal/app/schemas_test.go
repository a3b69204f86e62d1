//go:build !slim

package app

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/schema"
)

func withSchema(text, onViolation string) config.Source {
	return config.Source{Schemas: map[string]config.Schema{"*": {Text: text}}, OnViolation: onViolation}
}

// A request of 5,000 events that are costly to validate takes no more time than one of four.
func TestSchemaEffortOfRequestIsBounded(t *testing.T) {
	s := schemasOf(withSchema(`{"$defs": {"n": {"type": "object", "properties": {"x": {"anyOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]}}}}, "not": {"$ref": "#/$defs/n"}}`, "warn"))
	costly := []byte(strings.Repeat(`{"x":`, 90) + "1" + strings.Repeat("}", 90))
	var spent gaff.SchemaEffort
	for i := range 5000 {
		var v *gaff.SchemaViolation
		var err error
		if v, spent, err = s.Validate(t.Context(), "a", costly, spent); err != nil || v == nil || !strings.Contains(v.String(), "was not validated") {
			t.Fatalf("event %d: %v, %v", i, v, err)
		}
	}
	if spent.Steps != schema.MaxAllSteps {
		t.Errorf("%d steps, want %d", spent.Steps, schema.MaxAllSteps)
	}
}

func TestBusyValidationStoresOrAnswersLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of, err := schema.New([]byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		s := &sourceSchemas{byType: map[string]*schema.Schema{"*": of}, share: schema.NewShare()}
		for range cap(s.share) {
			s.share <- struct{}{}
		}
		v, _, err := s.validate(t.Context(), "a", []byte(`{}`), gaff.SchemaEffort{})
		if err != nil || v == nil || v.Schema != "*" || v.String() != "the body was not validated: too many other events are being validated" {
			t.Errorf("warn: %v, %v", v, err)
		}
		s.refuse = true
		if v, _, err := s.validate(t.Context(), "a", []byte(`{}`), gaff.SchemaEffort{}); !errors.Is(err, schema.ErrBusy) {
			t.Errorf("refuse: %v, %v; a valid event must not be refused", v, err)
		}
	})
}
