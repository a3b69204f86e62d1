package workflow

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	bounds "gaff/internal/cel"
)

// expression is a checked expression.
type expression struct {
	text    string
	program cel.Program
	// refs are the steps whose values it reads, media whether it reads any files.
	refs []string
	out  *cel.Type
}

// exprError is what is wrong with an expression, at a rune of its text.
type exprError struct {
	offset  int
	problem string
}

func (e *exprError) Error() string { return e.problem }

// parseExpression checks an expression; want, if not nil, is the type that it must have.
func parseExpression(env *cel.Env, text string, want *cel.Type) (*expression, error) {
	if len(text) > maxExpression {
		return nil, &exprError{0, fmt.Sprintf("the expression is longer than %d bytes", maxExpression)}
	}
	if strings.TrimSpace(text) == "" {
		return nil, &exprError{0, "the expression is empty"}
	}
	checked, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		first := issues.Errors()[0]
		return nil, &exprError{offsetOf(text, first.Location.Line(), first.Location.Column()), explain(env, first.Message)}
	}
	out := checked.OutputType()
	if want != nil && !want.IsAssignableType(out) && !out.IsExactType(cel.DynType) {
		return nil, &exprError{0, fmt.Sprintf("this gives %s; %s is wanted", out, want)}
	}
	program, err := env.Program(checked, bounds.Limits(expressionCost)...)
	if err != nil {
		return nil, &exprError{0, err.Error()}
	}
	return &expression{text: text, program: program, refs: references(checked.NativeRep()), out: out}, nil
}

// references are the steps that an expression names.
func references(a *ast.AST) (names []string) {
	for _, e := range ast.MatchDescendants(ast.NavigateAST(a), ast.KindMatcher(ast.SelectKind)) {
		sel := e.AsSelect()
		if op := sel.Operand(); op.Kind() == ast.IdentKind && op.AsIdent() == "steps" && !slices.Contains(names, sel.FieldName()) {
			names = append(names, sel.FieldName())
		}
	}
	slices.Sort(names)
	return names
}

func offsetOf(text string, line, column int) int {
	offset := 0
	for range line - 1 {
		rest := string([]rune(text)[offset:])
		i := strings.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		offset += len([]rune(rest[:i])) + 1
	}
	return offset + max(column, 0)
}

var undeclared = regexp.MustCompile(`^(undeclared reference to|undefined field) '([^']*)'`)

// explain turns the checker's message into one that says what there is.
func explain(env *cel.Env, message string) string {
	message = strings.ReplaceAll(message, " (in container '')", "")
	found := undeclared.FindStringSubmatch(message)
	if found == nil {
		return message
	}
	var known []string
	if found[1] == "undeclared reference to" {
		for _, v := range env.Variables() {
			if !strings.Contains(v.Name(), ".") && strings.ToLower(v.Name()) == v.Name() {
				known = append(known, v.Name())
			}
		}
	} else {
		for _, object := range []string{typeSteps, typeInput, typeStep, typeItem, typeMedia, typeRun, typeProject, typeEvent} {
			names, _ := env.CELTypeProvider().FindStructFieldNames(object)
			known = append(known, names...)
		}
	}
	if near := nearest(found[2], known); near != "" {
		return message + "; did you mean " + near + "?"
	}
	return message
}

// nearest is the name that a misspelled one was meant to be; empty if none is near.
func nearest(name string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(name, k); d < least && d < len(k) && k != name {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of letters to change between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// eval computes the expression. Its errors are for people.
func (e *expression) eval(vars map[string]any) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %v", shorten(e.text), p)
		}
	}()
	val, err := bounds.Run(context.Background(), e.program, vars)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shorten(e.text), err)
	}
	out, err = native(val, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shorten(e.text), err)
	}
	return out, nil
}

func shorten(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 80 {
		return strings.ToValidUTF8(text[:79], "") + "…"
	}
	return text
}

// native turns a value of CEL into what encodes as JSON.
func native(val ref.Val, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("the value nests too deep")
	}
	switch v := val.(type) {
	case nil, types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		return uint64(v), nil
	case types.Double:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, errors.New("the value is no finite number")
		}
		return float64(v), nil
	case types.String:
		return string(v), nil
	case types.Bytes:
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp:
		return v.Time.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		return v.Duration.String(), nil
	case *types.Optional:
		if !v.HasValue() {
			return nil, nil
		}
		return native(v.GetValue(), depth+1)
	case traits.Mapper:
		m := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.(types.String)
			if !ok {
				return nil, fmt.Errorf("a map's keys must be text; one is %s", key.Type().TypeName())
			}
			value, err := native(v.Get(key), depth+1)
			if err != nil {
				return nil, err
			}
			m[string(name)] = value
		}
		return m, nil
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			value, err := native(it.Next(), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	case *types.Err:
		return nil, v
	}
	return nil, fmt.Errorf("a %s cannot be used as a value", val.Type().TypeName())
}
