package api

import (
	"cmp"
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/stale"
)

// route is one operation: its description and the function that registers it.
type route struct {
	op       huma.Operation
	register func(*server, *http.ServeMux, huma.API, huma.Operation)
}

// output is an answer that has a body only. The body's type is not a parameter, for the reason that request gives.
type output struct{ Body any }

// full describes an operation with a body whose handler returns the whole output: status, headers and body.
func full[I, O any](method, path, id string, role Role, summary string, handler func(context.Context, *I) (*O, error), options ...option) route {
	return whole(operation(method, path, id, role, summary, options), typeOf[I](), func(ctx context.Context, in any) (*O, error) { return handler(ctx, in.(*I)) })
}

func whole[O any](op huma.Operation, input reflect.Type, handler call[O]) route {
	return route{op, func(s *server, _ *http.ServeMux, api huma.API, op huma.Operation) {
		form := describeInput(api, &op, input)
		registerWithBody(api, op, form, answering(s, op, handler))
	}}
}

// answering gives a handler what it needs of its operation, and turns its errors into answers.
func answering[O any](s *server, op huma.Operation, handler call[O]) call[O] {
	stales := mayBeStale(op)
	return func(ctx context.Context, in any) (*O, error) {
		if stales {
			ctx = stale.Allow(ctx)
		}
		out, err := handler(ctx, in)
		if err != nil {
			return nil, s.failure(err)
		}
		return out, nil
	}
}

// mayBeStale reports whether an operation lists or counts, so that a replica may answer it.
func mayBeStale(op huma.Operation) bool {
	return op.Method == http.MethodGet && (strings.HasPrefix(op.OperationID, "list-") || op.OperationID == "search" || strings.HasPrefix(op.Path, "/api/v1/stats"))
}

func body[I, B any](method, path, id string, role Role, summary string, handler func(context.Context, *I) (B, error), options []option) route {
	return document(operation(method, path, id, role, summary, options), typeOf[I](), typeOf[B](), func(ctx context.Context, in any) (any, error) { return handler(ctx, in.(*I)) })
}

// document describes an operation by its types, which are not parameters: there is one copy of it, not one for each operation.
func document(op huma.Operation, input, answer reflect.Type, handler func(context.Context, any) (any, error)) route {
	whole := func(ctx context.Context, in any) (*output, error) {
		b, err := handler(ctx, in)
		return &output{b}, err
	}
	return route{op, func(s *server, _ *http.ServeMux, api huma.API, op huma.Operation) {
		form := describeInput(api, &op, input)
		status := strconv.Itoa(cmp.Or(op.DefaultStatus, http.StatusOK))
		schema := api.OpenAPI().Components.Schemas.Schema(answer, true, op.OperationID+"Response")
		op.Responses = map[string]*huma.Response{status: {Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}}
		if form.body == nil {
			register(api, op, answering(s, op, whole))
		} else {
			registerWithBody(api, op, form, answering(s, op, whole))
		}
	}}
}

func get[I, B any](path, id string, role Role, summary string, handler func(context.Context, *I) (B, error), options ...option) route {
	return body(http.MethodGet, path, id, role, summary, handler, options)
}

func post[I, B any](path, id string, role Role, summary string, handler func(context.Context, *I) (B, error), options ...option) route {
	return body(http.MethodPost, path, id, role, summary, handler, options)
}

func put[I, B any](path, id string, role Role, summary string, handler func(context.Context, *I) (B, error), options ...option) route {
	return body(http.MethodPut, path, id, role, summary, handler, options)
}

func patch[I, B any](path, id string, role Role, summary string, handler func(context.Context, *I) (B, error), options ...option) route {
	return body(http.MethodPatch, path, id, role, summary, handler, options)
}

// remove describes a DELETE that answers without a body.
func remove[I any](path, id string, role Role, summary string, handler func(context.Context, *I) error, options ...option) route {
	return nothing(operation(http.MethodDelete, path, id, role, summary, options), typeOf[I](), func(ctx context.Context, in any) (*struct{}, error) { return nil, handler(ctx, in.(*I)) })
}

func nothing(op huma.Operation, input reflect.Type, handler call[struct{}]) route {
	return route{op, func(s *server, _ *http.ServeMux, api huma.API, op huma.Operation) {
		describeInput(api, &op, input)
		register(api, op, answering(s, op, handler))
	}}
}

// end describes a DELETE that answers with what it ended.
func end[I, B any](path, id string, role Role, summary string, handler func(context.Context, *I) (B, error), options ...option) route {
	return body(http.MethodDelete, path, id, role, summary, handler, options)
}

// raw describes an operation whose handler writes the answer itself; describe completes the
// description.
func raw(method, path, id string, role Role, summary string, handler func(*server, http.ResponseWriter, *http.Request), describe func(huma.API, *huma.Operation)) route {
	return route{operation(method, path, id, role, summary, nil), func(s *server, mux *http.ServeMux, api huma.API, op huma.Operation) {
		describe(api, &op)
		s.handle(mux, api, op, func(w http.ResponseWriter, r *http.Request) { handler(s, w, r) })
	}}
}

// handle registers a handler at the operation's path, and at the same path with a slash at its
// end, and documents it.
func (s *server) handle(mux *http.ServeMux, api huma.API, op huma.Operation, h http.HandlerFunc) {
	role, reach := op.Metadata[roleKey].(Role), reachOf(&op)
	guarded := func(w http.ResponseWriter, r *http.Request) {
		if s.admit(w, r, op.OperationID, role, reach) {
			r.Body = http.MaxBytesReader(w, r.Body, op.MaxBodyBytes-1)
			h(w, r)
		}
	}
	mux.HandleFunc(op.Method+" "+op.Path, guarded)
	if op.Path == logsPath {
		mux.HandleFunc(op.Method+" "+op.Path+"/{$}", guarded)
	}
	for _, status := range op.Errors {
		code := strconv.Itoa(status)
		if op.Responses[code] == nil {
			op.Responses[code] = response(http.StatusText(status), "application/problem+json", schemaOf[ErrorModel](api))
		}
	}
	api.OpenAPI().AddOperation(&op)
}

// Keys of an operation's metadata: the role that it needs, how long it may take, and its second
// status of success.
const (
	roleKey = "role"
	timeKey = "time"
	alsoKey = "also"
)

// operation is the common part of a description.
func operation(method, path, id string, role Role, summary string, options []option) huma.Operation {
	tag, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/v1/"), "/")
	failures := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	if strings.Contains(path, "{") {
		failures = append(failures, http.StatusNotFound)
	}
	if method != http.MethodGet {
		failures = append(failures, http.StatusConflict)
	}
	if method != http.MethodGet && method != http.MethodDelete {
		failures = append(failures, http.StatusRequestEntityTooLarge)
	}
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag},
		Description: "Needs the role " + role.String() + ".",
		Security:    []map[string][]string{{"token": {}}}, Metadata: map[string]any{roleKey: role}, Errors: failures,
		MaxBodyBytes: bodyLimit(maxBody),
	}
	for _, o := range options {
		o(&op)
	}
	return op
}

// option changes the description of an operation.
type option func(*huma.Operation)

// answers sets the status of success.
func answers(status int) option { return func(op *huma.Operation) { op.DefaultStatus = status } }

// fails adds statuses of failures.
func fails(statuses ...int) option {
	return func(op *huma.Operation) {
		for _, status := range statuses {
			if !slices.Contains(op.Errors, status) {
				op.Errors = append(op.Errors, status)
			}
		}
	}
}

// accepts bounds the body, in bytes, and gives a slow client 30 seconds to send it.
func accepts(bytes int64) option {
	return func(op *huma.Operation) { op.MaxBodyBytes, op.BodyReadTimeout = bodyLimit(bytes), 30*time.Second }
}

// within bounds how long the operation may take.
func within(d time.Duration) option { return func(op *huma.Operation) { op.Metadata[timeKey] = d } }

// also adds a status of success, with the same document.
func also(status int) option {
	return func(op *huma.Operation) { op.Metadata[alsoKey] = status }
}

// says adds to the description.
func says(text string) option { return func(op *huma.Operation) { op.Description += " " + text } }

// bodyLimit is an operation's MaxBodyBytes for bodies of up to so many bytes: huma rejects one of
// exactly that size.
func bodyLimit(bytes int64) int64 { return bytes + 1 }

func response(description, contentType string, schema *huma.Schema) *huma.Response {
	return &huma.Response{Description: description, Content: map[string]*huma.MediaType{contentType: {Schema: schema}}}
}

func schemaOf[T any](api huma.API) *huma.Schema {
	return api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

func queryParam(name, doc string, schema *huma.Schema) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: schema}
}

func idParam() []*huma.Param {
	return []*huma.Param{{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}}
}

// Inputs that several operations have.
type (
	noInput struct{}
	idInput struct {
		ID string `path:"id" maxLength:"128"`
	}
	// anyIDInput is for ids that applications choose themselves.
	anyIDInput struct {
		ID string `path:"id" maxLength:"1024"`
	}
	nameInput struct {
		Name string `path:"name" maxLength:"64"`
	}
)
