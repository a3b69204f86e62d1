// Package api is how people's programs look into a gateway and repair: JSON resources
// below /api/v1/, the address that the webhook-logs collection of Payload CMS has, and a
// stream of changes. Operations are described once, in code; the OpenAPI document is
// made of them (openapi.yaml is checked by a test).
package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"gaff"
	"gaff/destination"
	"gaff/internal/access"
	"gaff/internal/redact"
	"gaff/internal/stats"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// Role and Identity are those of access, by the names that operations are described with.
type (
	Role     = access.Role
	Identity = access.Identity
)

// Roles: see access.
const (
	NoRole   = access.NoRole
	Viewer   = access.Viewer
	Operator = access.Operator
	Admin    = access.Admin
)

// Authorizer tells who asks; ok is false for a stranger. It is asked at every request, and
// again while a stream is open.
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
	return Identity{Name: "admin", Role: Admin, Via: access.ViaToken}, subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Store is what the API reads.
type Store interface {
	gaff.Reader
	jobs.Reader
	stats.Store
	runs.Reader
}

// Gateway is what the API changes; a *gaff.Gateway is one.
type Gateway interface {
	RetryNow(ctx context.Context, eventID string) error
	Retry(ctx context.Context, eventOrDelivery string) ([]string, error)
	Replay(ctx context.Context, eventID string) ([]string, error)
	Cancel(ctx context.Context, deliveryID string) error
	Sources() []gaff.SourceInfo
}

// Options of the API. Store, Gateway, Authorizer and Log are required.
type Options struct {
	Store      Store
	Gateway    Gateway
	Authorizer Authorizer
	Log        *slog.Logger
	// Address returns where a source's sender sends to; nil: the path alone.
	Address func(source string) string
	// Version is shown in the OpenAPI document; empty means "dev".
	Version string
	// Reload reads the sources' configuration again; nil: it cannot. changed are the
	// sources with something new, restart is what only a restart brings into force.
	Reload func(ctx context.Context) (changed, restart []string, err error)
	// HandedKey returns the key that a source's sender handed over in a handshake, empty
	// if none is kept; ForgetKey drops it. Nil: there are none.
	HandedKey func(ctx context.Context, source string) (string, error)
	RemoveKey func(ctx context.Context, source string) error
	// OpenKey has a source take a key from the sender's handshake for a while. Nil: it cannot.
	OpenKey func(ctx context.Context, source string, takes time.Duration) (until time.Time, err error)
	// Workflows starts runs and changes them; nil: there are none.
	Workflows Workflows
	// Media gives out and serves kept files; nil: none are kept.
	Media MediaFiles
	// Guard keeps keys, sessions and the audit log; nil: there are none.
	Guard *access.Guard
	// Forwarding keeps the destinations; nil: nothing is forwarded.
	Forwarding *destination.Manager
	// Jobs submits and cancels; nil: there are only those that webhooks tell of.
	Jobs Jobs
	// TestSource sends a signed sample of a type to a source; nil: there are no samples. Its
	// errors are gaff.ErrNotFound and gaff.ErrInvalid with what to do.
	TestSource func(ctx context.Context, source, eventType string) (SampleSent, error)
	// Ready returns nil when a webhook could be kept now; nil: it always can.
	Ready func(context.Context) error
	// Damaged is how many events with a damaged body were found; may be nil.
	Damaged func() int64
	// Settings are shown.
	Settings []Setting
	// Background runs a function beside requests, with a context that ends when the gateway
	// stops, which waits for it. Nil: nothing ends or awaits it.
	Background func(func(context.Context))
}

// MediaFiles are the kept copies of files.
type MediaFiles interface {
	// Links returns links that need no token, to the copy and to a small picture of it;
	// empty where there is none.
	Links(m *jobs.Media) (stored, thumbnail string)
	// Serve answers with one of the two. An error means that nothing was written.
	Serve(w http.ResponseWriter, r *http.Request, m *jobs.Media, thumbnail bool) error
	// Again asks for a copy that is not there.
	Again(ctx context.Context, id string) error
}

// maxBody bounds the bodies of requests to the API, in bytes, but for operations that say
// otherwise.
const maxBody = 64 << 10

type server struct {
	o       Options
	streams slots
	changes changeCache
	bulks   bulks
	began   time.Time
}

// New returns the handler of everything below /api/ that is not a receiving address.
func New(o Options) http.Handler {
	if o.Address == nil {
		o.Address = func(source string) string { return gaff.PathPrefix + source }
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Background == nil {
		o.Background = func(fn func(context.Context)) { go fn(context.Background()) }
	}
	s := &server{o: o, began: time.Now()}
	mux := http.NewServeMux()
	api := s.describe(mux)
	doc := api.OpenAPI()
	describeProblems(doc)
	serve := func(path, contentType string, body []byte, err error) {
		if err != nil {
			panic("api: " + path + ": " + err.Error()) // made of our own types alone
		}
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(body)
		})
	}
	text, err := json.Marshal(doc)
	serve("/api/openapi.json", "application/openapi+json", text, err)
	text, err = doc.YAML()
	serve("/api/openapi.yaml", "application/openapi+yaml", text, err)
	mux.HandleFunc("GET /api/docs", docs(doc))
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) { nowhere(mux, w, r) })
	return s.guard(mux)
}

const managePath = "/api/v1/webhooks/manage"

// guard is around everything: limits, headers, and an answer when a handler panics.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &tracked{ResponseWriter: w}
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // what was panicked with, not an error; net/http compares it so too
				panic(p)
			}
			s.o.Log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", redact.Panic(p), "stack", string(debug.Stack()))
			if t.started {
				// Half an answer must not look like a whole one.
				panic(http.ErrAbortHandler)
			}
			rejectWith(w, r, http.StatusInternalServerError, "something went wrong; the gateway's log tells more")
		}()
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		r, n := noted(r, w)
		defer func() { s.record(r, n, t.status) }()
		if err := checkQuery(r.URL.Path, r.URL.RawQuery); err != nil {
			rejectWith(w, r, http.StatusBadRequest, err.Error())
			return
		}
		next.ServeHTTP(t, r)
	})
}

// tracked knows whether an answer has begun.
type tracked struct {
	http.ResponseWriter
	started bool
	status  int // 0 until it is known
}

func (t *tracked) WriteHeader(status int) {
	if !t.started {
		t.started, t.status = true, status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(p []byte) (int, error) {
	if !t.started {
		t.started, t.status = true, http.StatusOK
	}
	return t.ResponseWriter.Write(p)
}

// Unwrap lets an http.ResponseController find the connection.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// mayBeEmpty are the parameters that an empty value changes nothing about: places to read on from.
var mayBeEmpty = map[string]bool{"cursor": true, "after": true, "lastEventId": true}

// checkQuery refuses parameters that would be dropped without a word: a filter that is
// left out shows more than was asked for, and a bulk retry by it would do more.
func checkQuery(path, raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return errors.New("the query cannot be read: parameters are joined by & and escaped as %XX")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			return fmt.Errorf("parameter %.60q is given %d times; give it once", name, len(values[name]))
		}
		if values.Get(name) == "" && !mayBeEmpty[name] && path != managePath && path != managePath+"/" {
			return fmt.Errorf("parameter %.60q is empty: give it a value, or leave it out", name)
		}
	}
	return nil
}

// nowhere answers for addresses, or methods of them, that there are not.
func nowhere(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range [...]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if _, pattern := mux.Handler(probe); pattern != "/api/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		rejectWith(w, r, http.StatusMethodNotAllowed, fmt.Sprintf("%.20q is not possible here; %s is", r.Method, strings.Join(allowed, ", ")))
		return
	}
	rejectWith(w, r, http.StatusNotFound, fmt.Sprintf("there is no %.200q; GET /api/docs lists what there is", r.URL.Path))
}

// rejectWith answers with an error, in the words of the address: the one for Payload's
// clients has its own.
func rejectWith(w http.ResponseWriter, r *http.Request, status int, detail string) {
	if strings.TrimSuffix(r.URL.Path, "/") == managePath {
		answer(w, status, map[string]any{"error": detail})
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = writeJSON(w, huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = writeJSON(w, body)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // as received; nosniff keeps browsers from reading it as a page
	return enc.Encode(v)
}

// denial says why someone may not do something; status 0 means that he may.
func (s *server) denial(r *http.Request, needed Role) (status int, detail string) {
	id, ok := s.o.Authorizer.Authorize(r)
	ok = ok && !(id.Via == access.ViaSession && access.ForeignPage(r))
	if n := noteOf(r.Context()); ok && n != nil {
		n.who = id
	}
	switch {
	case !ok && errors.Is(id.Err, access.ErrTooMany):
		return http.StatusTooManyRequests, id.Err.Error()
	case !ok && id.Err != nil:
		return http.StatusServiceUnavailable, "keys and sessions cannot be read just now; the gateway's log tells more"
	case !ok:
		return http.StatusUnauthorized, "a token is needed: Authorization: Bearer …"
	case id.Role < needed:
		return http.StatusForbidden, fmt.Sprintf("this needs the role %s; %s is %s", needed, id.Name, id.Role)
	}
	return 0, ""
}

// admit reports whether a request comes from someone with a role, and answers it if not.
// operation is what the audit log calls it.
func (s *server) admit(w http.ResponseWriter, r *http.Request, operation string, needed Role) bool {
	if n := noteOf(r.Context()); n != nil {
		n.action = operation
	}
	status, detail := s.denial(r, needed)
	if status == 0 {
		return true
	}
	switch status {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "60")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="gaff"`)
	}
	rejectWith(w, r, status, detail)
	return false
}

// Metadata of operations: the role that they need, and how long they may take.
const (
	roleKey = "role"
	timeKey = "time"
)

// describe registers every operation and the document about them.
func (s *server) describe(mux *http.ServeMux) huma.API {
	config := huma.DefaultConfig("gaff", s.o.Version)
	config.Info.Description = "Webhook logs, jobs and media of a gaff gateway. Everything needs a token: `Authorization: Bearer …`."
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil // no $schema links in answers
	config.RejectUnknownQueryParameters = true
	config.Transformers = []huma.Transformer{tellFaults}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	api := humago.New(mux, config)
	api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
		needed, ok := ctx.Operation().Metadata[roleKey].(Role)
		if !ok {
			needed = Admin
		}
		r, w := humago.Unwrap(ctx)
		if time, ok := ctx.Operation().Metadata[timeKey].(time.Duration); ok {
			within, cancel := context.WithTimeout(r.Context(), time)
			defer cancel()
			r, ctx = r.WithContext(within), huma.WithContext(ctx, within)
		}
		if s.admit(w, r, ctx.Operation().OperationID, needed) {
			next(badRequests{ctx})
		}
	})
	s.describeManage(mux, api)
	s.describeEvents(mux, api)
	s.describeDeliveries(api)
	s.describeResults(api)
	s.describeWorkflows(api)
	s.describeOverview(api)
	s.describeQuarantine(api)
	s.describeAccess(api)
	s.describeDestinations(api)
	s.describePull(mux, api)
	s.describeBulk(api)
	s.describeSetup(api)
	s.describeStats(api)
	s.describeMedia(mux, api)
	s.describeStream(mux, api)
	return api
}

// badRequests answers 400 to parameters that fail validation, as to all others that are
// no good; huma's 422 is about the content of a body.
type badRequests struct{ humaContext }

type humaContext = huma.Context

func (c badRequests) SetStatus(status int) {
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	c.humaContext.SetStatus(status)
}

// Unwrap lets humago find the request.
func (c badRequests) Unwrap() huma.Context { return c.humaContext }

// tellFaults puts what failed validation into the detail, where people read.
func tellFaults(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if ok && m.Status == http.StatusRequestEntityTooLarge && ctx != nil {
		m.Detail = tooLarge(ctx.Operation().MaxBodyBytes - 1)
	}
	if !ok || m.Status != http.StatusUnprocessableEntity {
		return v, nil
	}
	m.Status, m.Title = http.StatusBadRequest, http.StatusText(http.StatusBadRequest)
	var faults []string
	for _, e := range m.Errors {
		_, name, inside := strings.Cut(e.Location, ".") // "query.limit"
		if !inside {
			name = "the " + e.Location
		}
		faults = append(faults, name+": "+e.Message)
	}
	slices.Sort(faults)
	m.Detail, m.Errors = strings.Join(faults, "; "), nil
	return m, nil
}

func tooLarge(limit int64) string { return fmt.Sprintf("the body is larger than %d bytes", limit) }

// describeProblems corrects the document as badRequests corrects the answers.
func describeProblems(doc *huma.OpenAPI) {
	for _, item := range doc.Paths {
		for _, op := range operations(item) {
			if res := op.Responses["422"]; res != nil {
				delete(op.Responses, "422")
				res.Description = http.StatusText(http.StatusBadRequest)
				op.Responses["400"] = res
			}
		}
	}
}

// operations lists what an address can do, by method.
func operations(item *huma.PathItem) map[string]*huma.Operation {
	ops := map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete}
	maps.DeleteFunc(ops, func(_ string, op *huma.Operation) bool { return op == nil })
	return ops
}

// mount registers a handler that writes its answers itself, at the operation's address and
// any others, and documents it.
func (s *server) mount(mux *http.ServeMux, api huma.API, op huma.Operation, h http.HandlerFunc, others ...string) {
	needed := op.Metadata[roleKey].(Role)
	guarded := func(w http.ResponseWriter, r *http.Request) {
		if s.admit(w, r, op.OperationID, needed) {
			r.Body = http.MaxBytesReader(w, r.Body, op.MaxBodyBytes-1)
			h(w, r)
		}
	}
	for _, path := range append(others, op.Path) {
		mux.HandleFunc(op.Method+" "+path, guarded)
	}
	for _, status := range op.Errors {
		code := strconv.Itoa(status)
		if op.Responses[code] == nil {
			op.Responses[code] = response(http.StatusText(status), "application/problem+json", schemaOf[huma.ErrorModel](api))
		}
	}
	api.OpenAPI().AddOperation(&op)
}

func response(description, contentType string, schema *huma.Schema) *huma.Response {
	return &huma.Response{Description: description, Content: map[string]*huma.MediaType{contentType: {Schema: schema}}}
}

func schemaOf[T any](api huma.API) *huma.Schema {
	return api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}

func queryParam(name, doc string, schema *huma.Schema) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: schema}
}

// operation is the common part of a description.
func operation(method, path, id, summary string, role Role) huma.Operation {
	tag, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/v1/"), "/")
	failures := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}
	if strings.Contains(path, "{") {
		failures = append(failures, http.StatusNotFound)
	}
	if method != http.MethodGet {
		failures = append(failures, http.StatusConflict)
	}
	return huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag},
		Description: "Needs the role " + role.String() + ".",
		Security:    []map[string][]string{{"token": {}}}, Metadata: map[string]any{roleKey: role}, Errors: failures,
		MaxBodyBytes: takes(maxBody),
	}
}

// takes is an operation's MaxBodyBytes for bodies of up to so many bytes: huma refuses one of
// exactly that size.
func takes(bytes int64) int64 { return bytes + 1 }

// failure turns the vocabulary's errors into HTTP's.
func (s *server) failure(err error) huma.StatusError {
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

// cut takes a page out of rows that are few enough to be read whole. A cursor is the key of
// the last row before it.
func cut[R any](p Paging, rows []R, key func(R) string) (gaff.Page[R], error) {
	if p.Cursor != "" {
		i := slices.IndexFunc(rows, func(row R) bool { return key(row) == p.Cursor })
		if i < 0 {
			return gaff.Page[R]{}, huma.Error400BadRequest("cursor: the list has changed; begin again with the first page")
		}
		rows = rows[i+1:]
	}
	if p.Limit <= 0 || len(rows) <= p.Limit {
		return gaff.Page[R]{Items: rows}, nil
	}
	return gaff.Page[R]{Items: rows[:p.Limit], Next: key(rows[p.Limit-1])}, nil
}

type list[T any] struct {
	Docs       []T     `json:"docs" nullable:"false"`
	NextCursor *string `json:"nextCursor" doc:"Where the next page begins; null on the last one."`
}

type output[T any] struct{ Body T }

// cutList is cut and listOf in one, for rows whose reading may have failed.
func cutList[R, D any](s *server, p Paging, rows []R, err error, key func(R) string, doc func(R) D) (*output[list[D]], error) {
	if err != nil {
		return nil, s.failure(err)
	}
	page, err := cut(p, rows, key)
	if err != nil {
		return nil, err
	}
	return listOf(page, doc), nil
}

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

// longAgo is the longest duration that moment takes.
const longAgo = 100 * 365 * 24 * time.Hour

// moment reads a time, or a duration as that long ago.
func moment(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, perr := strconv.ParseUint(days, 10, 16)
		d, err = time.Duration(n)*24*time.Hour, perr
	}
	if err != nil || d < 0 || d > longAgo {
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

// MarshalJSON replaces what is no UTF-8 in texts: one such webhook would make the list
// that it stands in unreadable for strict readers.
func (r rawJSON) MarshalJSON() ([]byte, error) {
	if len(r) == 0 {
		return []byte("null"), nil
	}
	if !utf8.Valid(r) {
		return bytes.ToValidUTF8(r, []byte("\uFFFD")), nil
	}
	return r, nil
}

func (rawJSON) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

// optional is an object, or null.
type optional[T any] struct{ value *T }

func (o optional[T]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := writeJSON(&b, o.value)
	return b.Bytes(), err
}

func (optional[T]) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{r.Schema(reflect.TypeFor[T](), true, ""), {Type: "null"}}}
}

//go:embed docs.html
var docsHTML string

var docsPage = template.Must(template.New("docs").Parse(docsHTML))

type docsOperation struct{ Method, Path, Summary, Description string }

// docs answers with a page that lists the operations. It needs nothing from elsewhere,
// and the browser is told so.
func docs(doc *huma.OpenAPI) http.HandlerFunc {
	var ops []docsOperation
	for path, item := range doc.Paths {
		for method, op := range operations(item) {
			ops = append(ops, docsOperation{method, path, op.Summary, op.Description})
		}
	}
	slices.SortFunc(ops, func(a, b docsOperation) int {
		return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method)
	})
	var page bytes.Buffer
	if err := docsPage.Execute(&page, ops); err != nil {
		panic("api: docs page: " + err.Error()) // made of our own texts alone
	}
	_, style, _ := strings.Cut(docsHTML, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		_, _ = w.Write(page.Bytes())
	}
}
