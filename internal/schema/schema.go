//go:build !slim

package schema

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"gaff"
	"gaff/internal/jsonpointer"
)

// Bounds of a schema, and of the validation of one value.
const (
	MaxBytes = 64 << 10
	// MaxDepth is how deep a schema may be nested.
	MaxDepth = 64
	// maxValueDepth is how deep a value may be nested. Each problem has its whole path.
	maxValueDepth = 100
	// MaxProblems is how many problems of a value are reported.
	MaxProblems = 20
	// MaxSteps is how many comparisons of a value with a part of the schema are made, and MaxAllSteps
	// how many for all events of a request.
	MaxSteps    = 300_000
	MaxAllSteps = 1_000_000
	// maxNumber is the longest number that is compared, and maxExponent its largest exponent: exact
	// arithmetic with 1e1000000 takes seconds.
	maxNumber   = 400
	maxExponent = 400
)

// tooLong is the problem of a number beyond maxNumber or maxExponent.
const tooLong = "is a number of more than 400 digits, which is not compared"

// location is the URL of the schema itself, for references in it.
const location = "schema:///schema.json"

// Schema validates values. It is safe for concurrent use.
type Schema struct {
	doc any
	// instances are compiled schemas that are not in use. Each counts the steps of its own value.
	instances chan *instance
}

// instance is a compiled schema with the number of steps that are left for the current value.
type instance struct {
	compiled *jsonschema.Schema
	left     int
}

// New compiles a schema. The error is a *Fault.
func New(text []byte) (*Schema, error) {
	if len(text) > MaxBytes {
		return nil, &Fault{"", fmt.Sprintf("the schema has %d bytes, more than %d", len(text), MaxBytes)}
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, &Fault{"", "the schema is not JSON: " + err.Error()}
	}
	if depth(doc, 0) > MaxDepth {
		return nil, &Fault{"", fmt.Sprintf("the schema is nested deeper than %d levels", MaxDepth)}
	}
	if path, ok := incomparable(doc, ""); !ok {
		return nil, &Fault{path, tooLong}
	}
	s := &Schema{doc: doc, instances: make(chan *instance, cap(running))}
	first, err := s.compile()
	if err != nil {
		return nil, err
	}
	s.instances <- first
	return s, nil
}

func depth(v any, at int) int {
	deepest := at
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			deepest = max(deepest, depth(item, at+1))
		}
	case []any:
		for _, item := range v {
			deepest = max(deepest, depth(item, at+1))
		}
	}
	return deepest
}

// nothing loads no schema.
type nothing struct{}

func (nothing) Load(url string) (any, error) {
	return nil, fmt.Errorf("%.200q is outside of the schema, and gaff loads nothing for it; copy it into $defs", url)
}

func (s *Schema) compile() (in *instance, err error) {
	defer func() { // a mistake of the library in an unusual schema must not end the process
		if p := recover(); p != nil {
			err = &Fault{"", "the schema cannot be compiled"}
		}
	}()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(nothing{})
	if err := c.AddResource(location, s.doc); err != nil {
		return nil, faultOf(err)
	}
	compiled, err := c.Compile(location)
	if err != nil {
		return nil, faultOf(err)
	}
	in = &instance{compiled: compiled}
	if err := in.countIn(reflect.ValueOf(compiled), map[*jsonschema.Schema]bool{}); err != nil {
		return nil, err
	}
	return in, nil
}

// faultOf describes an error of the compiler.
func faultOf(err error) *Fault {
	if e, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if list := problemsOf(e.Err); len(list) > 0 {
			return &Fault{list[0].Path, list[0].Message}
		}
	}
	if e, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return &Fault{"", e.Err.Error()}
	}
	text := strings.ReplaceAll(err.Error(), location, "")
	if e, ok := errors.AsType[*jsonschema.InvalidRegexError](err); ok {
		_, pointer, _ := strings.Cut(e.URL, "#")
		return &Fault{pointer, fmt.Sprintf("%.200q is not a regular expression of RE2: %v", e.Regex, e.Err)}
	}
	return &Fault{"", text}
}

// errSteps ends the validation of a value with too many steps.
var errSteps = errors.New("too many steps")

// countIn makes each part of a compiled schema count its steps: as a format, which is checked before
// the parts below it are.
func (in *instance) countIn(v reflect.Value, seen map[*jsonschema.Schema]bool) error {
	switch v.Kind() {
	case reflect.Pointer:
		part, ok := v.Interface().(*jsonschema.Schema)
		if !ok || part == nil || seen[part] {
			return nil
		}
		seen[part] = true
		if part.DynamicRef != nil || part.RecursiveRef != nil {
			return &Fault{"", "$dynamicRef and $recursiveRef are not supported; use $ref"}
		}
		in.countSteps(part, seen)
		for field, value := range v.Elem().Fields() {
			if !field.IsExported() {
				continue
			}
			if err := in.countIn(value, seen); err != nil {
				return err
			}
		}
	case reflect.Interface:
		return in.countIn(v.Elem(), seen)
	case reflect.Slice:
		for i := range v.Len() {
			if err := in.countIn(v.Index(i), seen); err != nil {
				return err
			}
		}
	case reflect.Map:
		for items := v.MapRange(); items.Next(); {
			if err := in.countIn(items.Value(), seen); err != nil {
				return err
			}
		}
	}
	return nil
}

func (in *instance) countSteps(part *jsonschema.Schema, seen map[*jsonschema.Schema]bool) {
	format, values := part.Format, 0
	if enum := part.Enum; enum != nil { // it is compared before the format: as a part of its own, after it
		compared := &jsonschema.Schema{DraftVersion: part.DraftVersion, Location: part.Location, Enum: enum}
		values, part.Enum, part.AllOf, seen[compared] = len(enum.Values), nil, append(slices.Clip(part.AllOf), compared), true
	}
	branches := 1 + len(part.AllOf) + len(part.AnyOf) + len(part.OneOf) + len(part.Required)/4
	for _, names := range part.DependentRequired {
		branches += len(names) / 4
	}
	counted := &jsonschema.Format{Validate: func(v any) error {
		steps := branches + values/64
		switch v := v.(type) {
		case map[string]any:
			steps += len(v) + values/4
			for name := range v {
				if len(part.PatternProperties) == 0 {
					break
				}
				steps += len(part.PatternProperties) * (1 + len(name)/64)
			}
		case []any:
			steps += len(v) + values/4
			if part.UniqueItems {
				steps += len(v) * min(len(v), 20)
			}
		case json.Number:
			steps += values / 4
		case string:
			if part.Pattern != nil {
				steps += len(v) / 64
			}
			if format != nil && format.Name == "regex" {
				steps += 8 * len(v)
			}
		}
		if in.left -= steps; in.left < 0 {
			panic(errSteps)
		}
		if format == nil {
			return nil
		}
		return format.Validate(v)
	}}
	if format != nil {
		counted.Name = format.Name
	}
	part.Format = counted
}

// Validate returns the problems of a value, at most MaxProblems, and the number of the others. A
// value that cannot be validated within the bounds has a problem that says so. spent is the effort
// for the events of the request so far, to which Validate adds. The error is ErrBusy, or that of ctx.
func (s *Schema) Validate(ctx context.Context, share Share, text []byte, spent *gaff.SchemaEffort) (list []gaff.SchemaProblem, more int, err error) {
	if spent.Steps >= MaxAllSteps {
		return unvalidated(overAll), 0, nil
	}
	if err := share.enter(ctx, spent); err != nil {
		return nil, 0, err
	}
	defer share.leave()
	list, more = s.problems(text, spent)
	return list, more, nil
}

// overAll is why an event is not validated after others of its request took all steps.
var overAll = fmt.Sprintf("the events of its request need more than %d comparisons", MaxAllSteps)

func unvalidated(why string) []gaff.SchemaProblem {
	return []gaff.SchemaProblem{{Message: "was not validated: " + why}}
}

// problems validates a value within the steps that are left.
func (s *Schema) problems(text []byte, spent *gaff.SchemaEffort) (list []gaff.SchemaProblem, more int) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return []gaff.SchemaProblem{{Message: "is not JSON"}}, 0
	}
	if path, ok := incomparable(value, ""); !ok {
		return []gaff.SchemaProblem{{Path: path, Message: tooLong}}, 0
	}
	if depth(value, 0) > maxValueDepth {
		return unvalidated(fmt.Sprintf("it is nested deeper than %d levels", maxValueDepth)), 0
	}
	var in *instance
	select {
	case in = <-s.instances:
	default:
		if in, err = s.compile(); err != nil {
			return []gaff.SchemaProblem{{Message: "the schema cannot be compiled"}}, 0
		}
	}
	steps := min(MaxSteps, MaxAllSteps-spent.Steps)
	in.left = steps
	defer func() {
		spent.Steps += steps - max(in.left, 0)
		select {
		case s.instances <- in:
		default:
		}
		switch p := recover(); {
		case p == nil:
		case p != any(errSteps):
			list, more = unvalidated("the validation failed"), 0
		case steps < MaxSteps:
			list, more = unvalidated(overAll), 0
		default:
			list, more = unvalidated(fmt.Sprintf("it needs more than %d comparisons", MaxSteps)), 0
		}
	}()
	list = problemsOf(in.compiled.Validate(value))
	return list[:min(len(list), MaxProblems)], max(len(list)-MaxProblems, 0)
}

// incomparable returns the path of a number that is too long to compare; ok is true without one.
func incomparable(v any, path string) (at string, ok bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, item := range v {
			if at, ok := incomparable(item, ""); !ok {
				return path + "/" + jsonpointer.Escape(name) + at, false
			}
		}
	case []any:
		for i, item := range v {
			if at, ok := incomparable(item, ""); !ok {
				return fmt.Sprintf("%s/%d%s", path, i, at), false
			}
		}
	case json.Number:
		return path, comparable(string(v))
	}
	return "", true
}

func comparable(number string) bool {
	if len(number) > maxNumber {
		return false
	}
	i := strings.IndexAny(number, "eE")
	if i < 0 {
		return true
	}
	exponent := 0
	for _, digit := range strings.TrimLeft(number[i+1:], "+-0") {
		if exponent = exponent*10 + int(digit-'0'); exponent > maxExponent {
			return false
		}
	}
	return true
}
