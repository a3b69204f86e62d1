package cel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// Type is the type of a variable or value.
type Type = cel.Type

// Types of variables and values.
var (
	Any    = cel.DynType
	Bool   = cel.BoolType
	Int    = cel.IntType
	Double = cel.DoubleType
	String = cel.StringType
	Time   = cel.TimestampType
)

// List returns the type of a list.
func List(items *Type) *Type { return cel.ListType(items) }

// Map returns the type of a map whose keys are strings.
func Map(values *Type) *Type { return cel.MapType(cel.StringType, values) }

// Object returns the type of an object in [Objects].
func Object(name string) *Type { return cel.ObjectType(name) }

// ItemType returns the type of a list's items; Any if t is not a list.
func ItemType(t *Type) *Type {
	if t.Kind() == cel.ListKind && len(t.Parameters()) == 1 {
		return t.Parameters()[0]
	}
	return Any
}

// Objects are the fields of object types by type name. Their values are maps.
type Objects map[string]map[string]*Type

// Variables are the types of variables by name.
type Variables = map[string]*Type

// Env has the functions, types and variables that an expression can use.
type Env struct {
	env       *cel.Env
	variables []string // the names, sorted
	fields    []string // the names of all fields of the objects
}

// base has the functions, without variables. It is shared because it is slow to make.
var base = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(slices.Concat(textFunctions(), listFunctions(), []cel.EnvOption{
		cel.ParserRecursionLimit(maxExprDepth), cel.ExpressionNestingDepthLimit(maxExprDepth),
		cel.CustomTypeAdapter(adapter{types.DefaultTypeAdapter}),
		ext.Math(), ext.Encoders(), cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true),
	})...)
})

// NewEnv returns an environment with these variables. Objects may be nil.
func NewEnv(objects Objects, variables ...Variables) (*Env, error) {
	common, err := base()
	if err != nil {
		return nil, fmt.Errorf("expression language: %w", err)
	}
	e := &Env{}
	var options []cel.EnvOption
	if objects != nil {
		options = append(options, cel.CustomTypeProvider(&provider{common.CELTypeProvider(), objects}))
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			e.fields = append(e.fields, slices.Sorted(maps.Keys(objects[name]))...)
		}
	}
	for _, set := range variables {
		for name, t := range set {
			options = append(options, cel.Variable(name, t))
			e.variables = append(e.variables, name)
		}
	}
	slices.Sort(e.variables)
	if e.env, err = common.Extend(options...); err != nil {
		return nil, fmt.Errorf("expression language: %w", err)
	}
	return e, nil
}

// provider gives CEL's checker the fields of objects.
type provider struct {
	types.Provider
	objects Objects
}

func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if p.objects[name] != nil {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	if fields := p.objects[name]; fields != nil {
		return slices.Sorted(maps.Keys(fields)), true
	}
	return p.Provider.FindStructFieldNames(name)
}

func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	fields := p.objects[name]
	if fields == nil {
		return p.Provider.FindStructFieldType(name, field)
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
				return nil, fmt.Errorf("unknown field %s", field)
			}
			return m[field], nil
		},
	}, true
}

// typeName returns the name of a type for people.
func typeName(t *Type) string {
	if t.IsExactType(Bool) {
		return "true or false"
	}
	return strings.ReplaceAll(t.String(), "dyn", "any")
}
