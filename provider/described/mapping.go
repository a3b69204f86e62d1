package described

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"gaff/internal/cel"
)

// mappings has an environment for each variable that a mapping may have.
var mappings = map[string]func() (*cel.Env, error){}

func init() {
	for _, name := range []string{"input", "result"} {
		mappings[name] = sync.OnceValues(func() (*cel.Env, error) { return cel.NewEnv(nil, cel.Variables{name: cel.Any}) })
	}
}

// compileMapping compiles an expression with one variable, input or result.
func compileMapping(expression, variable string) (*cel.Expression, error) {
	env := mappings[variable]
	if env == nil {
		return nil, fmt.Errorf("unknown variable %q", variable)
	}
	e, err := env()
	if err != nil {
		return nil, err
	}
	return e.Compile(expression, nil, cel.StepCost)
}

// CheckMapping returns the mistake in an expression of [Map].
func CheckMapping(expression, variable string) error {
	_, err := compileMapping(expression, variable)
	return err
}

// Map evaluates an expression with one variable, input or result, to JSON. As in the body of a
// description, a list of objects as an input is merged, and a null removes a member.
func Map(expression, variable string, value json.RawMessage) (json.RawMessage, error) {
	e, err := compileMapping(expression, variable)
	if err != nil {
		return nil, err
	}
	v, err := e.Value(map[string]any{variable: decode(value)})
	if err != nil {
		return nil, err
	}
	if variable == "input" {
		if v, err = merged(v); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, errors.New("its value cannot be written as JSON")
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
