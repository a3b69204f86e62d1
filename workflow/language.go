package workflow

import (
	"maps"

	"gaff/internal/cel"
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

// commonObjects are the object types that are the same in every workflow.
var commonObjects = cel.Objects{
	typeStep: {
		"status": cel.String, "result": cel.Any, "error": cel.String, "job": cel.String, "cost": cel.Double,
		"media": cel.List(cel.Object(typeMedia)), "items": cel.List(cel.Object(typeItem)),
	},
	typeItem: {
		"index": cel.Int, "status": cel.String, "result": cel.Any, "error": cel.String, "job": cel.String,
		"cost": cel.Double, "media": cel.List(cel.Object(typeMedia)), "item": cel.Any,
	},
	typeMedia: {
		"id": cel.String, "job": cel.String, "url": cel.String, "storedUrl": cel.String, "mediaType": cel.String,
		"contentType": cel.String, "size": cel.Int, "sha256": cel.String, "metadata": cel.Any,
	},
	typeRun: {
		"id": cel.String, "workflow": cel.String, "projectId": cel.String, "userId": cel.String,
		"createdAt": cel.Time, "cost": cel.Double,
	},
	typeProject: {"id": cel.String, "name": cel.String, "owner": cel.String, "metadata": cel.Any},
	typeEvent: {
		"id": cel.String, "source": cel.String, "type": cel.String, "webhookId": cel.String,
		"correlationId": cel.String, "receivedAt": cel.Time, "data": cel.Any,
	},
}

// Variables of expressions, by the place of the expression.
var (
	runVariables = cel.Variables{
		"input": cel.Object(typeInput), "steps": cel.Object(typeSteps), "run": cel.Object(typeRun), "project": cel.Object(typeProject),
	}
	eventVariables    = cel.Variables{"event": cel.Object(typeEvent)}
	secretVariables   = cel.Variables{"secrets": cel.Map(cel.String)}
	scheduleVariables = cel.Variables{"scheduled": cel.Time}
)

// language is the object types of one workflow: the common ones, its inputs and its steps.
type language cel.Objects

func newLanguage(w *Workflow) language {
	l := language(maps.Clone(commonObjects))
	inputs, steps := map[string]*cel.Type{}, map[string]*cel.Type{}
	for _, in := range w.Inputs {
		inputs[in.Name] = inputType(in.Type, in.Items)
	}
	for _, st := range w.Steps {
		steps[st.Name] = cel.Object(typeStep)
	}
	l[typeInput], l[typeSteps] = inputs, steps
	return l
}

// env returns an environment with these variables.
func (l language) env(variables ...cel.Variables) (*cel.Env, error) {
	return cel.NewEnv(cel.Objects(l), variables...)
}

func inputType(name, items string) *cel.Type {
	switch name {
	case "", "string":
		return cel.String
	case "number":
		return cel.Any // an integer or a float
	case "integer":
		return cel.Int
	case "boolean":
		return cel.Bool
	case "list":
		if items == "" {
			return cel.List(cel.Any)
		}
		return cel.List(inputType(items, ""))
	case "object":
		return cel.Map(cel.Any)
	}
	return cel.Any
}
