// Package cel evaluates the expressions of settings and workflows: the filter of a
// destination, the condition of a step. The language is CEL (cel.dev). It has no loops and
// no side effects, and the package limits the cost, memory and time of each evaluation.
package cel

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types/ref"

	"gaff/internal/excerpt"
)

const (
	// MaxLength is the maximum length of an expression, in bytes.
	MaxLength = 4 << 10
	// FilterCost and StepCost limit one evaluation, in CEL's units: about one for each
	// operation or ten bytes processed. Filters run for every event, and get less.
	FilterCost = 100_000
	StepCost   = 1_000_000
)

// Expression is a compiled expression. It is safe for concurrent use.
type Expression struct {
	text    string
	checked *cel.Ast
	program cel.Program
}

// CompileBool compiles a condition over variables of any type, limited to [FilterCost]. The
// error is for the author of the condition.
func CompileBool(text string, variables ...string) (*Expression, error) {
	types := make(map[string]*Type, len(variables))
	for _, name := range variables {
		types[name] = Any
	}
	env, err := NewEnv(nil, types)
	if err != nil {
		return nil, err
	}
	return env.Compile(text, Bool, FilterCost)
}

// Compile checks an expression; want, unless nil, is the type that it must have. The error is
// an [*Error].
func (e *Env) Compile(text string, want *Type, cost uint64) (*Expression, error) {
	if len(text) > MaxLength {
		return nil, &Error{Problem: fmt.Sprintf("the expression is longer than %d bytes", MaxLength)}
	}
	if strings.TrimSpace(text) == "" {
		return nil, &Error{Problem: "the expression is empty"}
	}
	checked, issues := e.env.Compile(text)
	if issues.Err() != nil {
		return nil, e.explain(text, issues.Errors()[0])
	}
	if out := checked.OutputType(); want != nil && !want.IsAssignableType(out) && !out.IsExactType(Any) {
		return nil, &Error{Problem: fmt.Sprintf("the expression gives %s; want %s", typeName(out), typeName(want))}
	}
	program, err := e.env.Program(checked, limits(cost)...)
	if err != nil {
		return nil, &Error{Problem: err.Error()}
	}
	return &Expression{text, checked, program}, nil
}

// String returns the expression as it was written.
func (e *Expression) String() string { return e.text }

// Type returns the type of the value.
func (e *Expression) Type() *Type { return e.checked.OutputType() }

// Fields returns the names of the fields that the expression reads of a variable, sorted.
func (e *Expression) Fields(variable string) (names []string) {
	for _, n := range ast.MatchDescendants(ast.NavigateAST(e.checked.NativeRep()), ast.KindMatcher(ast.SelectKind)) {
		sel := n.AsSelect()
		if op := sel.Operand(); op.Kind() == ast.IdentKind && op.AsIdent() == variable {
			names = append(names, sel.FieldName())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Bool evaluates a condition. Variables are as encoding/json decodes them, with or without
// json.Number, or Go values of their types.
func (e *Expression) Bool(variables map[string]any) (bool, error) {
	v, err := e.Value(variables)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		text, _ := json.Marshal(v) // of Value, so it can be written
		return false, fmt.Errorf("%s gives %s; want true or false", excerpt.Line(e.text, 79), excerpt.Line(string(text), 79))
	}
	return b, nil
}

// Value evaluates the expression to a value that encoding/json can write: numbers as int64,
// uint64 or float64, times in RFC 3339, bytes in base64.
func (e *Expression) Value(variables map[string]any) (any, error) {
	v, err := e.run(variables)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", excerpt.Line(e.text, 79), err)
	}
	out, err := native(v, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", excerpt.Line(e.text, 79), err)
	}
	return out, nil
}

// run evaluates the expression within [MaxTime]. A panic of the evaluation becomes an error.
func (e *Expression) run(variables map[string]any) (v ref.Val, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeoutCause(context.Background(), MaxTime, fmt.Errorf("took longer than %s", MaxTime))
	defer cancel()
	v, _, err = e.program.ContextEval(ctx, variables)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return v, err
}
