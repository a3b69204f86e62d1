package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gaff/internal/excerpt"
)

// CheckInput checks the input of a run and fills in the defaults. The error names all faults.
func (w *Workflow) CheckInput(input json.RawMessage) (json.RawMessage, error) {
	if len(input) > MaxInput {
		return nil, fmt.Errorf("the input has %d bytes; the maximum is %d", len(input), MaxInput)
	}
	given := map[string]any{}
	if len(input) > 0 && string(input) != "null" {
		m, ok := decode(input).(map[string]any)
		if !ok {
			return nil, errors.New("the input is not a JSON object")
		}
		given = m
	}
	var faults []error
	full := map[string]any{}
	for i := range w.Inputs {
		in := &w.Inputs[i]
		v, ok := given[in.Name]
		delete(given, in.Name)
		if !ok || v == nil {
			v = normal(in.Default)
		}
		v, err := in.accept(v)
		if err != nil {
			faults = append(faults, fmt.Errorf("input %s: %w", in.Name, err))
		}
		full[in.Name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		known := make([]string, len(w.Inputs))
		for i, in := range w.Inputs {
			known[i] = in.Name
		}
		faults = append(faults, fmt.Errorf("input %s: workflow %s has no such input; it has %s", excerpt.Line(name, 79), w.Name,
			strings.Join(append(known, "no other"), ", ")))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return encode(full)
}

// accept checks a value against the type and limits of an input.
func (in *Input) accept(v any) (any, error) {
	if v == nil {
		if in.Required {
			return nil, errors.New("is required")
		}
		return nil, nil
	}
	kind := in.Type
	if kind == "" {
		kind = "string"
	}
	if err := fits(kind, v); err != nil {
		return nil, err
	}
	if items, ok := v.([]any); ok && in.Items != "" {
		for i, item := range items {
			if err := fits(in.Items, item); err != nil {
				return nil, fmt.Errorf("[%d] %w", i, err)
			}
		}
	}
	if in.Max > 0 {
		size, what := 0.0, ""
		switch v := v.(type) {
		case string:
			size, what = float64(len([]rune(v))), " characters"
		case []any:
			size, what = float64(len(v)), " items"
		case int64:
			size = float64(v)
		case float64:
			size = v
		}
		if size > in.Max {
			return nil, fmt.Errorf("is %v%s; at most %v are allowed", size, what, in.Max)
		}
	}
	if len(in.Enum) > 0 && !slices.ContainsFunc(in.Enum, func(e any) bool { return asText(normal(e)) == asText(v) }) {
		return nil, fmt.Errorf("%s is not one of %s", excerpt.Line(asText(v), 79), asText(in.Enum))
	}
	return v, nil
}

func fits(kind string, v any) error {
	ok := true
	switch kind {
	case "string":
		_, ok = v.(string)
	case "number":
		_, whole := v.(int64)
		_, broken := v.(float64)
		ok = whole || broken
	case "integer":
		_, ok = v.(int64)
	case "boolean":
		_, ok = v.(bool)
	case "list":
		_, ok = v.([]any)
	case "object":
		_, ok = v.(map[string]any)
	}
	if !ok {
		return fmt.Errorf("%s is not of type %s", excerpt.Line(asText(v), 79), kind)
	}
	return nil
}

// normal converts a value of a YAML file or of Go to the types of decoded JSON.
func normal(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		return v
	}
	return decode(text)
}
