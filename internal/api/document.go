package api

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"gaff/client"
	"gaff/destination"
	"gaff/internal/sorting"
	"gaff/internal/wire"
)

// tags describe the groups of operations, in the order in which a reader wants them.
var tags = []*huma.Tag{
	{Name: "events", Description: "Webhooks that were received and verified, and the events that gaff emitted itself."},
	{Name: "scheduled-events", Description: "Events of your application that are published at a later time."},
	{Name: "deliveries", Description: "One event for one handler or destination, with its attempts."},
	{Name: "rejections", Description: "Requests that were rejected, and why."},
	{Name: "issues", Description: "Failures in groups: acknowledge, resolve, ignore, retry."},
	{Name: "alerts", Description: "What needs an operator's attention."},
	{Name: "alert-channels", Description: "The channels to operators: email, chat services, destinations."},
	{Name: "bulk", Description: "Retry, replay or rescue everything that matches."},
	{Name: "jobs", Description: "Work at a provider: submitted, polled, settled."},
	{Name: "callback-secrets", Description: "The secrets that sign the webhooks passed on to jobs' callback URLs."},
	{Name: "media", Description: "The files that jobs produced, and gaff's copies of them."},
	{Name: "workflows", Description: "The definitions of the workflows."},
	{Name: "runs", Description: "Runs of workflows and their steps."},
	{Name: "projects", Description: "Groups of jobs, media and runs."},
	{Name: "sources", Description: "The senders that this gateway receives webhooks from."},
	{Name: "destinations", Description: "Where events are forwarded to."},
	{Name: "pull", Description: "Deliveries for clients that fetch them."},
	{Name: "subscriptions", Description: "Positions in the log of events, as of gaff listen."},
	{Name: "stream", Description: "Every change as a server-sent event."},
	{Name: "stats", Description: "Counts and latencies."},
	{Name: "health", Description: "The state of this node."},
	{Name: "settings", Description: "The settings in force."},
	{Name: "me", Description: "The caller."},
	{Name: "keys", Description: "API keys."},
	{Name: "sessions", Description: "Browsers that are logged in to the console."},
	{Name: "tokens", Description: "Short-lived tokens for pages in a browser."},
	{Name: "login-links", Description: "Links that log a browser in once."},
	{Name: "erasures", Description: "Deletes everything of a user, a project, a job or an event."},
	{Name: "compact", Description: "Gives the free space of the database back."},
	{Name: "secrets", Description: "The encryption of the secrets in the database."},
	{Name: "audit", Description: "Who changed what, and when."},
	{Name: "webhooks", Description: "The webhook-logs collection, as applications of Payload CMS read it."},
}

// mount registers every route and returns the document about them.
func (s *server) mount(mux *http.ServeMux) *huma.OpenAPI {
	config := huma.DefaultConfig("gaff", s.o.Version)
	config.Info.Description = "Webhooks, jobs and media of a gaff gateway. Every operation needs a token: `Authorization: Bearer …`."
	config.Servers = []*huma.Server{
		{URL: "/", Description: "The gateway that serves this document"},
		{URL: "http://127.0.0.1:3000", Description: "A gateway on this machine"},
	}
	config.Tags = tags
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil // no $schema links in answers
	config.Transformers = []huma.Transformer{tellFaults}
	config.Components = &huma.Components{
		Schemas:         huma.NewMapRegistry("#/components/schemas/", schemaName),
		SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}},
	}
	for document, described := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[destination.Duration](): reflect.TypeFor[durationText](),
		reflect.TypeFor[wire.Text]():            reflect.TypeFor[*string](),
		reflect.TypeFor[wire.Time]():            reflect.TypeFor[*time.Time](),
		reflect.TypeFor[wire.JSON]():            reflect.TypeFor[json.RawMessage](),
		reflect.TypeFor[wire.Object]():          reflect.TypeFor[map[string]any](),
		reflect.TypeFor[wire.Envelope]():        reflect.TypeFor[client.Envelope](),
	} {
		config.Components.Schemas.RegisterTypeAlias(document, described)
	}
	api := humago.New(mux, config)
	api.UseMiddleware(s.admitOperation, rejectUnknown(api))
	for _, r := range s.routes() {
		describeReach(&r.op)
		r.register(s, mux, api, r.op)
	}
	doc := api.OpenAPI()
	describeProblems(doc)
	describeNulls(doc.Components.Schemas)
	return doc
}

// durationText describes durations, so that an error names their member.
type durationText string

// Schema describes the text in the OpenAPI document.
func (durationText) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Pattern: `^(0|([0-9.]+(ns|us|µs|ms|s|m|h))+)$`, PatternDescription: "a duration such as 15s or 2m"}
	s.PrecomputeMessages()
	return s
}

// admitOperation lets a request through to its operation if the caller has the role.
func (s *server) admitOperation(ctx huma.Context, next func(huma.Context)) {
	needed, ok := ctx.Operation().Metadata[roleKey].(Role)
	if !ok {
		needed = Admin
	}
	r, w := humago.Unwrap(ctx)
	if limit, ok := ctx.Operation().Metadata[timeKey].(time.Duration); ok {
		within, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		r, ctx = r.WithContext(within), huma.WithContext(ctx, within)
	}
	if s.admit(w, r, ctx.Operation().OperationID, needed, reachOf(ctx.Operation())) {
		next(badRequests{ctx})
	}
}

// schemaName names a list after its items, JobList, and the parts of an envelope EnvelopeJob.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	named := t
	if t.Kind() == reflect.Pointer {
		named = t.Elem()
	}
	if envelope := reflect.TypeFor[client.Envelope](); named.PkgPath() == envelope.PkgPath() && named != envelope {
		return "Envelope" + name // the API has documents of the same names
	}
	if item, ok := strings.CutPrefix(name, "List"); ok && item != "" && t.Kind() == reflect.Struct {
		return item + "List"
	}
	return name
}

// describeNulls marks what huma has no tag for: members that are an object or null, and null among
// the values of an enumeration.
func describeNulls(schemas huma.Registry) {
	for name, schema := range schemas.Map() {
		nullable := nullableObjects(schemas.TypeFromRef("#/components/schemas/" + name))
		for member, s := range schema.Properties {
			switch {
			case s.Ref != "" && nullable[member]:
				schema.Properties[member] = &huma.Schema{Description: s.Description, AnyOf: []*huma.Schema{{Ref: s.Ref}, {Type: "null"}}}
			case s.Nullable && len(s.Enum) > 0 && !slices.Contains(s.Enum, nil):
				s.Enum = append(s.Enum, nil)
			}
		}
	}
}

// nullableObjects returns the members of a document that are an object or null.
func nullableObjects(t reflect.Type) map[string]bool {
	members := map[string]bool{}
	if t == nil || t.Kind() != reflect.Struct {
		return members
	}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		pointer := f.Type.Kind() == reflect.Pointer && !strings.Contains(options, "omit")
		members[name] = pointer || f.Type == reflect.TypeFor[wire.Envelope]()
	}
	return members
}

// describeProblems adds the failures that every operation can have. Invalid parameters are a 400, as
// badRequests answers them, not huma's 422.
func describeProblems(doc *huma.OpenAPI) {
	for _, item := range doc.Paths {
		for _, op := range operations(item) {
			if res := op.Responses["422"]; res != nil {
				delete(op.Responses, "422")
				res.Description = http.StatusText(http.StatusBadRequest)
				op.Responses["400"] = res
			}
			if status, ok := op.Metadata[alsoKey].(int); ok {
				op.Responses[strconv.Itoa(status)] = op.Responses[strconv.Itoa(op.DefaultStatus)]
			}
			if op.Responses["default"] == nil && op.Path != logsPath {
				op.Responses["default"] = response("Any other failure", "application/problem+json", &huma.Schema{Ref: "#/components/schemas/ErrorModel"})
			}
		}
	}
}

// operations returns the operations of a path by method.
func operations(item *huma.PathItem) map[string]*huma.Operation {
	ops := map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete}
	maps.DeleteFunc(ops, func(_ string, op *huma.Operation) bool { return op == nil })
	return ops
}

//go:embed docs.html
var docsHTML string

type docsOperation struct{ Method, Path, Summary, Description string }

// docs answers with a page that lists the operations. It loads nothing from other hosts,
// and its policy allows nothing else.
func docs(doc *huma.OpenAPI) http.HandlerFunc {
	var ops []docsOperation
	for path, item := range doc.Paths {
		for method, op := range operations(item) {
			ops = append(ops, docsOperation{method, path, op.Summary, op.Description})
		}
	}
	sorting.By(ops, func(a, b docsOperation) int {
		return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method)
	})
	page := docsPage(ops)
	_, style, _ := strings.Cut(docsHTML, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		_, _ = w.Write(page)
	}
}
