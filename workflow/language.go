package workflow

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
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
