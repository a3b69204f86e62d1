package workflow

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"

	bounds "gaff/internal/cel"
)

// Bounds of one expression: its length in bytes, and its work in CEL's units (about one for
// each operation or ten bytes handled). Those of its memory and time are internal/cel's.
const (
	maxExpression  = 4 << 10
	expressionCost = 1_000_000
)

// Names of the object types in expressions.
const (
	typeInput   = "gaff.Input"
	typeSteps   = "gaff.Steps"
	typeStep    = "gaff.Step"
	typeItem    = "gaff.Item"
	typeMedia   = "gaff.Media"
	typeRun     = "gaff.Run"
	typeProject = "gaff.Project"
	typeEvent   = "gaff.Event"
)

// objectFields are the fields of those that are the same in every workflow.
var objectFields = map[string]map[string]*cel.Type{
	typeStep: {
		"status": cel.StringType, "result": cel.DynType, "error": cel.StringType, "job": cel.StringType, "cost": cel.DoubleType,
		"media": cel.ListType(cel.ObjectType(typeMedia)), "items": cel.ListType(cel.ObjectType(typeItem)),
	},
	typeItem: {
		"index": cel.IntType, "status": cel.StringType, "result": cel.DynType, "error": cel.StringType, "job": cel.StringType,
		"cost": cel.DoubleType, "media": cel.ListType(cel.ObjectType(typeMedia)), "item": cel.DynType,
	},
	typeMedia: {
		"id": cel.StringType, "job": cel.StringType, "url": cel.StringType, "storedUrl": cel.StringType,
		"mediaType": cel.StringType, "contentType": cel.StringType, "size": cel.IntType, "sha256": cel.StringType,
		"metadata": cel.DynType,
	},
	typeRun: {
		"id": cel.StringType, "workflow": cel.StringType, "projectId": cel.StringType, "userId": cel.StringType,
		"createdAt": cel.TimestampType, "cost": cel.DoubleType,
	},
	typeProject: {"id": cel.StringType, "name": cel.StringType, "owner": cel.StringType, "metadata": cel.DynType},
	typeEvent: {
		"id": cel.StringType, "source": cel.StringType, "type": cel.StringType, "webhookId": cel.StringType,
		"correlationId": cel.StringType, "receivedAt": cel.TimestampType, "data": cel.DynType,
	},
}

// objects gives the checker the fields of our types; their values are maps.
type objects struct {
	types.Provider
	fields map[string]map[string]*cel.Type
}

func (o *objects) FindStructType(name string) (*types.Type, bool) {
	if o.fields[name] != nil {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return o.Provider.FindStructType(name)
}

func (o *objects) FindStructFieldNames(name string) ([]string, bool) {
	if fields := o.fields[name]; fields != nil {
		return slices.Sorted(maps.Keys(fields)), true
	}
	return o.Provider.FindStructFieldNames(name)
}

func (o *objects) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	fields := o.fields[name]
	if fields == nil {
		return o.Provider.FindStructFieldType(name, field)
	}
	t := fields[field]
	if t == nil {
		return nil, false
	}
	return &types.FieldType{
		Type: t,
		IsSet: func(target any) bool {
			m, ok := target.(map[string]any)
			return ok && m[field] != nil
		},
		GetFrom: func(target any) (any, error) {
			m, ok := target.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("no field %s here", field)
			}
			return m[field], nil
		},
	}, true
}

// baseEnv is the language, without our variables: made once, for it takes a while.
var baseEnv = sync.OnceValues(func() (*cel.Env, error) {
	options := append(bounds.Functions(), bounds.Lists()...)
	return cel.NewEnv(append(options, ext.Math(), ext.Encoders(), cel.CrossTypeNumericComparisons(true))...)
})

// language makes the environments of one workflow.
type language struct {
	base   *cel.Env
	fields map[string]map[string]*cel.Type
}

func newLanguage(w *Workflow) (*language, error) {
	base, err := baseEnv()
	if err != nil {
		return nil, err
	}
	l := &language{base: base, fields: maps.Clone(objectFields)}
	inputs, steps := map[string]*cel.Type{}, map[string]*cel.Type{}
	for _, in := range w.Inputs {
		inputs[in.Name] = inputType(in.Type, in.Items)
	}
	for _, st := range w.Steps {
		steps[st.Name] = cel.ObjectType(typeStep)
	}
	l.fields[typeInput], l.fields[typeSteps] = inputs, steps
	return l, nil
}

func inputType(name, items string) *cel.Type {
	switch name {
	case "", "string":
		return cel.StringType
	case "number":
		return cel.DynType // 1 and 1.5 are both numbers
	case "integer":
		return cel.IntType
	case "boolean":
		return cel.BoolType
	case "list":
		if items == "" {
			return cel.ListType(cel.DynType)
		}
		return cel.ListType(inputType(items, ""))
	case "object":
		return cel.MapType(cel.StringType, cel.DynType)
	}
	return cel.DynType
}

// Variables of the places where expressions stand.
var (
	runVariables = map[string]*cel.Type{
		"input": cel.ObjectType(typeInput), "steps": cel.ObjectType(typeSteps), "run": cel.ObjectType(typeRun),
		"project": cel.ObjectType(typeProject),
	}
	eventVariables = map[string]*cel.Type{"event": cel.ObjectType(typeEvent)}
)

// env is an environment with these variables.
func (l *language) env(variables ...map[string]*cel.Type) (*cel.Env, error) {
	options := []cel.EnvOption{cel.CustomTypeProvider(&objects{l.base.CELTypeProvider(), l.fields})}
	for _, set := range variables {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			options = append(options, cel.Variable(name, set[name]))
		}
	}
	return l.base.Extend(options...)
}

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

// decode reads JSON as expressions see it: whole numbers as integers.
func decode(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil
	}
	return numbers(v)
}

// numbers replaces the numbers of a decoded value by those that expressions know.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case map[string]any:
		for key, value := range v {
			v[key] = numbers(value)
		}
	case []any:
		for i, value := range v {
			v[i] = numbers(value)
		}
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
		return float64(v)
	case int:
		return int64(v)
	}
	return v
}

// encode writes a value as JSON, within the bound of a step's values.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	if b.Len() > MaxValue {
		return nil, fmt.Errorf("the value has %d bytes; at most %d are kept", b.Len(), MaxValue)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// value is a value of a definition that may hold expressions.
type value interface {
	eval(vars map[string]any) (any, error)
	refs() []string
}

type (
	constant struct{ v any }
	whole    struct{ *expression } // ${ expression } alone: its value, of any type
	mixed    []any                 // of string and *expression: a text
	object   map[string]value
	list     []value
)

func (c constant) eval(map[string]any) (any, error) { return c.v, nil }
func (constant) refs() []string                     { return nil }
func (w whole) refs() []string                      { return w.expression.refs }

func (m mixed) eval(vars map[string]any) (any, error) {
	var b strings.Builder
	for _, part := range m {
		if text, ok := part.(string); ok {
			b.WriteString(text)
			continue
		}
		v, err := part.(*expression).eval(vars)
		if err != nil {
			return nil, err
		}
		b.WriteString(asText(v))
	}
	return b.String(), nil
}

func (m mixed) refs() (names []string) {
	for _, part := range m {
		if e, ok := part.(*expression); ok {
			names = append(names, e.refs...)
		}
	}
	return names
}

func (o object) eval(vars map[string]any) (any, error) {
	m := map[string]any{}
	for key, v := range o {
		var err error
		if m[key], err = v.eval(vars); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (o object) refs() (names []string) {
	for _, v := range o {
		names = append(names, v.refs()...)
	}
	return names
}

func (l list) eval(vars map[string]any) (any, error) {
	items := make([]any, len(l))
	for i, v := range l {
		var err error
		if items[i], err = v.eval(vars); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func (l list) refs() (names []string) {
	for _, v := range l {
		names = append(names, v.refs()...)
	}
	return names
}

// asText writes a value into a text.
func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	text, err := encode(v)
	if err != nil {
		return ""
	}
	return string(text)
}

// piece is a part of a text: an expression, if expr is set, that begins at a rune.
type piece struct {
	text   string
	expr   bool
	offset int
}

// pieces takes a text with ${ … } apart. $${ is a plain ${.
func pieces(text string) (parts []piece, err error) {
	runes := []rune(text)
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			parts = append(parts, piece{text: plain.String()})
			plain.Reset()
		}
	}
	at := func(i int, s string) bool {
		r := []rune(s)
		return i+len(r) <= len(runes) && slices.Equal(runes[i:i+len(r)], r)
	}
	for i := 0; i < len(runes); {
		switch {
		case at(i, "$${"):
			plain.WriteString("${")
			i += 3
		case at(i, "${"):
			flush()
			end := closing(runes, i+2)
			if end < 0 {
				return nil, &exprError{i, "the ${ has no }"}
			}
			parts = append(parts, piece{string(runes[i+2 : end]), true, i + 2})
			i = end + 1
		default:
			plain.WriteRune(runes[i])
			i++
		}
	}
	flush()
	return parts, nil
}

// closing finds the brace that ends an expression, past braces and texts inside; -1 if
// there is none.
func closing(runes []rune, i int) int {
	depth := 0
	for ; i < len(runes); i++ {
		switch runes[i] {
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i
			}
			depth--
		case '"', '\'':
			quote := runes[i]
			for i++; i < len(runes) && runes[i] != quote; i++ {
				if runes[i] == '\\' {
					i++
				}
			}
		}
	}
	return -1
}
