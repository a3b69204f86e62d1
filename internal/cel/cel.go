// Package cel evaluates expressions that people write in settings: which events a
// destination takes, what a workflow's step depends on. The language is CEL (cel.dev): no
// loops, no side effects, and bounded cost, memory and time, so that no expression can hold
// anything up.
package cel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

const (
	// MaxLength bounds an expression, in bytes.
	MaxLength = 4 << 10
	// costLimit bounds one evaluation, in CEL's units: about a field access each.
	costLimit = 100_000
)

// Expression is a compiled text. It may be used by many goroutines at once.
type Expression struct {
	text string
	prg  cel.Program
}

// Compile checks an expression over variables of any type. The error is for the person who
// wrote it.
func Compile(text string, vars ...string) (*Expression, error) {
	return compile(text, false, vars)
}

// CompileBool is [Compile] for a condition: what cannot be true or false is refused.
func CompileBool(text string, vars ...string) (*Expression, error) {
	return compile(text, true, vars)
}

func compile(text string, condition bool, vars []string) (*Expression, error) {
	if len(text) > MaxLength {
		return nil, fmt.Errorf("the expression is longer than %d bytes", MaxLength)
	}
	options := append(Functions(), cel.CustomTypeAdapter(adapter{types.DefaultTypeAdapter}), cel.OptionalTypes())
	for _, name := range vars {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("expression: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		var lines []string
		for _, e := range issues.Errors() {
			lines = append(lines, fmt.Sprintf("%s (at %d:%d)", e.Message, e.Location.Line(), e.Location.Column()+1))
		}
		known := slices.Clone(vars)
		slices.Sort(known)
		return nil, fmt.Errorf("%s; the variables are %s", strings.Join(lines, "; "), strings.Join(known, ", "))
	}
	if t := ast.OutputType(); condition && !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("the expression gives %s, not true or false", t)
	}
	prg, err := env.Program(ast, Limits(costLimit)...)
	if err != nil {
		return nil, fmt.Errorf("expression: %w", err)
	}
	return &Expression{text, prg}, nil
}

// String returns the expression as it was written.
func (e *Expression) String() string { return e.text }

// ErrNoValue is wrapped by errors about a field that is not there, for callers to whom that
// is an answer.
var ErrNoValue = errors.New("no such value")

// Bool evaluates a condition. Values are as encoding/json decodes them, with or without
// json.Number.
func (e *Expression) Bool(vars map[string]any) (bool, error) {
	v, err := e.eval(vars)
	if err != nil {
		return false, err
	}
	b, ok := v.Value().(bool)
	if !ok {
		return false, fmt.Errorf("%s: gave %s, not true or false", clip(e.text), v.Type().TypeName())
	}
	return b, nil
}

// Value evaluates an expression to what encoding/json can write.
func (e *Expression) Value(vars map[string]any) (any, error) {
	v, err := e.eval(vars)
	if err != nil {
		return nil, err
	}
	text, err := v.ConvertToNative(jsonType)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clip(e.text), err)
	}
	return decode(text)
}

func (e *Expression) eval(vars map[string]any) (v ref.Val, err error) {
	defer safely(&err)
	v, err = Run(context.Background(), e.prg, vars)
	if err == nil {
		return v, nil
	}
	if strings.HasPrefix(err.Error(), "no such key") || strings.HasPrefix(err.Error(), "no such attribute") {
		return nil, fmt.Errorf("%s: %w: %w", clip(e.text), ErrNoValue, err)
	}
	return nil, fmt.Errorf("%s: %w", clip(e.text), err)
}

func clip(text string) string {
	if len(text) > 80 {
		return text[:77] + "..."
	}
	return text
}

// adapter takes what encoding/json decodes as it is: nothing is copied, and numbers that no
// float holds exactly stay exact.
type adapter struct{ types.Adapter }

func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return types.Int(n)
		}
		f, err := v.Float64()
		if err != nil {
			return types.NewErr("number %s is too large", v)
		}
		return types.Double(f)
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	}
	return a.Adapter.NativeToValue(v)
}
