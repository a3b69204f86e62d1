// Package api is how people's programs look into a gateway and repair: JSON resources
// below /api/v1/, the address that the webhook-logs collection of Payload CMS has, and a
// stream of changes. Operations are described once, in code; the OpenAPI document is
// made of them (openapi.yaml is checked by a test).
package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"gaff"
	"gaff/pipeline"
)

// Role is what someone may do. Each includes those before it.
type Role int

// Viewers read; operators also retry, replay and cancel; admins also delete and manage
// keys.
const (
	NoRole Role = iota
	Viewer
	Operator
	Admin
)

var roleNames = [...]string{"none", "viewer", "operator", "admin"}

// String returns the role's name in lower case.
func (r Role) String() string { return roleNames[r] }

// Identity is who asks.
type Identity struct {
	Name string
	Role Role
}

// Authorizer tells who asks; ok is false for a stranger.
type Authorizer interface {
	Authorize(r *http.Request) (id Identity, ok bool)
}

// StaticToken is an Authorizer with one admin token.
type StaticToken string

// Authorize compares in constant time.
func (t StaticToken) Authorize(r *http.Request) (Identity, bool) {
	scheme, sent, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if t == "" || !strings.EqualFold(scheme, "Bearer") {
		return Identity{}, false
	}
	// Hashes have one length, so that not even the token's can be measured.
	a, b := sha256.Sum256([]byte(t)), sha256.Sum256([]byte(strings.TrimSpace(sent)))
	return Identity{"admin", Admin}, subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Store is what the API reads.
type Store interface {
	gaff.Reader
	pipeline.Reader
}

// Gateway is what the API changes; a *gaff.Gateway is one.
type Gateway interface {
	RetryNow(ctx context.Context, eventID string) error
	Retry(ctx context.Context, eventOrDelivery string) ([]string, error)
	Replay(ctx context.Context, eventID string) ([]string, error)
	Cancel(ctx context.Context, deliveryID string) error
	Sources() []gaff.SourceInfo
}

// Options of the API. All but Address are required.
type Options struct {
	Store      Store
	Gateway    Gateway
	Authorizer Authorizer
	Log        *slog.Logger
	// Address returns where a source's sender sends to; nil: the path alone.
	Address func(source string) string
	// Version is shown in the OpenAPI document; empty means "dev".
	Version string
}

// maxBody bounds the bodies of requests to the API, in bytes.
const maxBody = 64 << 10

type server struct {
	o       Options
	streams chan struct{} // a place for each open stream
}

// New returns the handler of everything below /api/ that is not a receiving address.
func New(o Options) http.Handler {
	if o.Address == nil {
		o.Address = func(source string) string { return gaff.PathPrefix + source }
	}
	s := &server{o: o, streams: make(chan struct{}, maxStreams)}
	mux := http.NewServeMux()
	describe(mux, s)
	mux.Handle("GET "+managePath, s.may(Viewer, http.HandlerFunc(s.listLogs)))
	mux.Handle("POST "+managePath, s.may(Operator, http.HandlerFunc(s.retryLog)))
	mux.Handle("GET /api/v1/stream", s.may(Viewer, http.HandlerFunc(s.stream)))
	mux.Handle("GET /api/v1/events/{id}/body", s.may(Viewer, http.HandlerFunc(s.eventBody)))
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "there is no "+r.Method+" "+r.URL.Path+"; GET /api/docs lists what there is")
	})
	return s.guard(mux)
}

const managePath = "/api/v1/webhooks/manage"

// guard is around everything: limits, headers, and an answer when a handler panics.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.o.Log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			problem(w, http.StatusInternalServerError, "something went wrong; the log tells more")
		}()
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		// A slash at the end is served, as on the receiving addresses.
		if trimmed := strings.TrimSuffix(r.URL.Path, "/"); trimmed == managePath {
			r.URL.Path = trimmed
		}
		next.ServeHTTP(w, r)
	})
}

type problemDoc struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problemDoc{http.StatusText(status), status, detail})
}

// denial says why someone may not do something; status 0 means that he may.
func (s *server) denial(r *http.Request, needed Role) (status int, detail string) {
	id, ok := s.o.Authorizer.Authorize(r)
	switch {
	case !ok:
		return http.StatusUnauthorized, "a token is needed: Authorization: Bearer …"
	case id.Role < needed:
		return http.StatusForbidden, fmt.Sprintf("this needs the role %s; %s is %s", needed, id.Name, id.Role)
	}
	return 0, ""
}

// may lets a request through that has a role, for handlers outside huma.
func (s *server) may(needed Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, detail := s.denial(r, needed)
		switch {
		case status == 0:
			next.ServeHTTP(w, r)
			return
		case status == http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", `Bearer realm="gaff"`)
		}
		if r.URL.Path == managePath {
			answer(w, status, map[string]any{"error": detail})
			return
		}
		problem(w, status, detail)
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

const roleKey = "role"

// describe registers every operation and the document about them.
func describe(mux *http.ServeMux, s *server) huma.API {
	version := s.o.Version
	if version == "" {
		version = "dev"
	}
	config := huma.DefaultConfig("gaff", version)
	config.Info.Description = "Webhook logs, jobs and media of a gaff gateway. Everything needs a token: `Authorization: Bearer …`."
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "/api/openapi", "", ""
	config.CreateHooks = nil // no $schema links in answers
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	api := humago.New(mux, config)
	api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
		needed, ok := ctx.Operation().Metadata[roleKey].(Role)
		if !ok {
			needed = Admin
		}
		r, _ := humago.Unwrap(ctx)
		if status, detail := s.denial(r, needed); status != 0 {
			if status == http.StatusUnauthorized {
				ctx.SetHeader("WWW-Authenticate", `Bearer realm="gaff"`)
			}
			_ = huma.WriteErr(api, ctx, status, detail)
			return
		}
		next(ctx)
	})
	s.describeEvents(api)
	s.describeDeliveries(api)
	s.describeResults(api)
	s.describeOverview(api)
	mux.HandleFunc("GET /api/docs", docs(api.OpenAPI()))
	return api
}

// operation is the common part of a description.
func operation(method, path, id, summary string, role Role) huma.Operation {
	tag, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/v1/"), "/")
	return huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag},
		Description: "Needs the role " + role.String() + ".",
		Security:    []map[string][]string{{"token": {}}}, Metadata: map[string]any{roleKey: role},
		Errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable},
	}
}

// failure turns the vocabulary's errors into HTTP's.
func (s *server) failure(err error) error {
	switch {
	case errors.Is(err, gaff.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, gaff.ErrInvalid):
		return huma.Error400BadRequest(err.Error())
	case errors.Is(err, gaff.ErrConflict):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, gaff.ErrUnavailable), errors.Is(err, gaff.ErrStopped):
		s.o.Log.Warn("request cannot be served now", "error", err)
		return huma.Error503ServiceUnavailable("the database cannot answer just now: " + err.Error())
	case errors.Is(err, context.Canceled):
		return huma.NewError(499, "the caller went away")
	}
	s.o.Log.Error("request failed", "error", err)
	return huma.Error500InternalServerError("something went wrong; the log tells more")
}

// Paging is a part of every list's input; exported, since huma passes over fields that are not.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many to return."`
	Cursor string `query:"cursor" doc:"The nextCursor of the former page."`
}

func (c Paging) page() gaff.Cursor { return gaff.Cursor{After: c.Cursor, Limit: c.Limit} }

type list[T any] struct {
	Docs       []T     `json:"docs" nullable:"false"`
	NextCursor *string `json:"nextCursor" doc:"Where the next page begins; null on the last one."`
}

type output[T any] struct{ Body T }

// listOf turns a page of rows into a list of documents.
func listOf[R, D any](page gaff.Page[R], doc func(R) D) *output[list[D]] {
	out := &output[list[D]]{Body: list[D]{Docs: []D{}}}
	for _, row := range page.Items {
		out.Body.Docs = append(out.Body.Docs, doc(row))
	}
	if page.Next != "" {
		out.Body.NextCursor = &page.Next
	}
	return out
}

// moment reads a time, or a duration as that long ago.
func moment(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if d, err := time.ParseDuration(days + "h"); err == nil && d >= 0 {
			return time.Now().Add(-24 * d), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return time.Time{}, huma.Error400BadRequest(fmt.Sprintf("%s: %.40q is no time; write 2026-01-31T12:00:00Z, or 24h or 7d for that long ago", name, text))
	}
	return time.Now().Add(-d), nil
}

// stamp writes times as JavaScript's toISOString does; the zero time is null.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format("2006-01-02T15:04:05.000Z")
	return &text
}

func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// rawJSON passes JSON through as it is. It is described as any value.
type rawJSON json.RawMessage

func (r rawJSON) MarshalJSON() ([]byte, error) {
	if len(r) == 0 {
		return []byte("null"), nil
	}
	return json.RawMessage(r), nil
}

func (rawJSON) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

//go:embed docs.html
var docsHTML string

var docsPage = template.Must(template.New("docs").Parse(docsHTML))

type docsOperation struct{ Method, Path, Summary, Role string }

// docs answers with a page that lists the operations. It needs nothing from elsewhere.
func docs(doc *huma.OpenAPI) http.HandlerFunc {
	var ops []docsOperation
	for path, item := range doc.Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete} {
			if op != nil {
				ops = append(ops, docsOperation{method, path, op.Summary, op.Description})
			}
		}
	}
	for _, extra := range []docsOperation{
		{"GET", managePath, "Webhook logs, in the envelope of Payload CMS", "Needs the role viewer."},
		{"POST", managePath, `Try a failed webhook again, now: {"webhookLogId":"evt_…"}`, "Needs the role operator."},
		{"GET", "/api/v1/stream", "Server-sent events: every change of an event, job or media row", "Needs the role viewer."},
		{"GET", "/api/v1/events/{id}/body", "The exact bytes of a webhook's body", "Needs the role viewer."},
	} {
		ops = append(ops, extra)
	}
	slices.SortFunc(ops, func(a, b docsOperation) int {
		return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method)
	})
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
		_ = docsPage.Execute(w, ops)
	}
}
