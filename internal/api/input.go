package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Every operation describes what it takes by the fields of a type of its own, with huma's tags. huma
// itself sees one of these two, since the compiler makes a copy of huma.Register, 22 KB with its
// tables, for each type of input: huma reads and validates the body, an inputForm reads the rest.
type (
	request struct{ input any }

	requestWithBody struct {
		input       any
		contentType string
		RawBody     []byte `contentType:"application/octet-stream"`
	}
)

// Resolve reads the parameters; huma calls it before the handler.
func (r *request) Resolve(ctx huma.Context) (problems []error) {
	r.input, problems = formOf(ctx).read(ctx)
	return problems
}

// Resolve reads the parameters; huma has read the body.
func (r *requestWithBody) Resolve(ctx huma.Context) (problems []error) {
	r.contentType = ctx.Header("Content-Type")
	r.input, problems = formOf(ctx).read(ctx)
	return problems
}

// inputForm reads requests into values of a type. Fields are parameters of the path, the query or
// the header, or the Body.
type inputForm struct {
	of      reflect.Type
	params  []param
	body    []int // index of the field Body; nil without one
	schemas huma.Registry
	decode  func(contentType string, data []byte, v any) error
}

type param struct {
	field              []int
	in, name, fallback string
	required           bool
	schema             *huma.Schema
}

// formKey is the key of an operation's inputForm in its metadata.
const formKey = "form"

func formOf(ctx huma.Context) *inputForm {
	form, _ := ctx.Operation().Metadata[formKey].(*inputForm)
	return form
}

// describeInput adds the parameters and the body of an input to an operation.
func describeInput(api huma.API, op *huma.Operation, of reflect.Type) *inputForm {
	form := &inputForm{of: of, schemas: api.OpenAPI().Components.Schemas, decode: api.Unmarshal}
	for _, f := range reflect.VisibleFields(of) {
		if f.Name == "Body" {
			form.body = f.Index
			describeBody(op, form.schemas, of, f)
		} else if p, ok := paramOf(form.schemas, f); ok {
			form.params = append(form.params, p)
			op.Parameters = append(op.Parameters, p.describe())
		}
	}
	if len(form.params) > 0 {
		op.Errors = append(op.Errors, http.StatusUnprocessableEntity)
	}
	op.Metadata[formKey] = form
	return form
}

// paramOf reads the tags of a field; ok is false for one that is not a parameter. It panics for a type
// that setParam does not know, so that a wrong operation fails when it is registered.
func paramOf(schemas huma.Registry, f reflect.StructField) (p param, ok bool) {
	for _, in := range [...]string{"path", "query", "header"} {
		if name := f.Tag.Get(in); name != "" {
			if kind := f.Type.Kind(); kind != reflect.String && kind != reflect.Bool && kind != reflect.Int {
				panic("parameter " + name + " is a " + kind.String() + ", want a string, bool or int")
			}
			return param{f.Index, in, name, f.Tag.Get("default"), in == "path" || f.Tag.Get("required") == "true", huma.SchemaFromField(schemas, f, "")}, true
		}
	}
	return param{}, false
}

func (p param) describe() *huma.Param {
	described := &huma.Param{Name: p.name, In: p.in, Required: p.required, Schema: p.schema, Description: p.schema.Description}
	if p.in == "query" {
		described.Explode = new(bool)
	}
	return described
}

// describeBody describes the body, unless the operation has described it before.
func describeBody(op *huma.Operation, schemas huma.Registry, input reflect.Type, body reflect.StructField) {
	if op.RequestBody == nil {
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{}}
	}
	hint := op.OperationID + "Request"
	if input.Name() != "" {
		hint = input.Name() + body.Name
	}
	if content := op.RequestBody.Content; content["application/json"] == nil {
		content["application/json"] = &huma.MediaType{Schema: huma.SchemaFromField(schemas, body, hint)}
	}
	op.RequestBody.Required = body.Type.Kind() != reflect.Pointer
	op.BodyReadTimeout = cmp.Or(op.BodyReadTimeout, 5*time.Second)
}

// rejectUnknown answers a query that has parameters which the operation does not have.
func rejectUnknown(api huma.API) func(ctx huma.Context, next func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if problems := formOf(ctx).unknown(ctx); len(problems) > 0 {
			_ = huma.WriteErr(api, ctx, http.StatusUnprocessableEntity, "validation failed", problems...)
			return
		}
		next(ctx)
	}
}

func (f *inputForm) unknown(ctx huma.Context) (problems []error) {
	url := ctx.URL()
	for name := range url.Query() {
		if !slices.ContainsFunc(f.params, func(p param) bool { return p.in == "query" && p.name == name }) {
			problems = append(problems, &huma.ErrorDetail{Message: "unknown query parameter", Location: "query." + name, Value: ""})
		}
	}
	return problems
}

// read returns a pointer to a value of the form's type with the parameters of a request.
func (f *inputForm) read(ctx huma.Context) (input any, problems []error) {
	in := reflect.New(f.of)
	path, result := huma.NewPathBuffer(nil, 0), &huma.ValidateResult{}
	for _, p := range f.params {
		path.Reset()
		path.Push(p.in)
		path.Push(p.name)
		text := cmp.Or(p.text(ctx), p.fallback)
		if text == "" {
			if p.required {
				result.Add(path, "", "required "+p.in+" parameter is missing")
			}
			continue
		}
		value, err := setParam(in.Elem().FieldByIndex(p.field), text)
		if err != nil {
			result.Add(path, text, err.Error())
			continue
		}
		huma.Validate(f.schemas, p.schema, path, huma.ModeWriteToServer, value, result)
	}
	return in.Interface(), result.Errors
}

func (p param) text(ctx huma.Context) string {
	switch p.in {
	case "path":
		return ctx.Param(p.name)
	case "query":
		return ctx.Query(p.name)
	default:
		return ctx.Header(p.name)
	}
}

// setParam sets a field to the value that a text has.
func setParam(field reflect.Value, text string) (value any, err error) {
	switch field.Kind() {
	case reflect.Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return nil, errors.New("invalid boolean")
		}
		field.SetBool(v)
		return v, nil
	case reflect.Int:
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errors.New("invalid integer")
		}
		field.SetInt(v)
		return v, nil
	default:
		field.SetString(text)
		return text, nil
	}
}

// readBody decodes a body, which huma has validated, and sets the defaults of its members.
func (f *inputForm) readBody(r *requestWithBody) error {
	if len(r.RawBody) == 0 {
		return nil // huma rejects it if the operation needs one
	}
	body := reflect.ValueOf(r.input).Elem().FieldByIndex(f.body)
	if err := f.decode(cmp.Or(r.contentType, "application/json"), r.RawBody, body.Addr().Interface()); err != nil {
		return huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Message: err.Error(), Location: "body", Value: string(r.RawBody)})
	}
	if body = reflect.Indirect(body); body.Kind() != reflect.Struct {
		return nil
	}
	for _, field := range reflect.VisibleFields(body.Type()) {
		member, fallback := body.FieldByIndex(field.Index), field.Tag.Get("default")
		if fallback != "" && member.IsZero() {
			if err := json.Unmarshal([]byte(fallback), member.Addr().Interface()); err != nil {
				return err
			}
		}
	}
	return nil
}

// call is a handler that does not know the type of its input.
type call[O any] func(ctx context.Context, input any) (*O, error)

// register registers an operation without a body.
func register[O any](api huma.API, op huma.Operation, handler call[O]) {
	huma.Register(api, op, func(ctx context.Context, r *request) (*O, error) { return handler(ctx, r.input) })
}

// registerWithBody registers an operation that has described its body.
func registerWithBody[O any](api huma.API, op huma.Operation, form *inputForm, handler call[O]) {
	required := op.RequestBody.Required
	huma.Register(api, op, func(ctx context.Context, r *requestWithBody) (*O, error) {
		if err := form.readBody(r); err != nil {
			return nil, err
		}
		return handler(ctx, r.input)
	})
	// huma has described what it saw: bytes.
	delete(op.RequestBody.Content, "application/octet-stream")
	op.RequestBody.Required = required
}
