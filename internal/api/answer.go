package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/redact"
	"gaff/internal/wire"
	"gaff/jobs"
)

// guard wraps every handler: limits, headers, and the answer after a panic.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &tracked{ResponseWriter: w}
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // the value of the panic, not an error; net/http compares it so too
				panic(p)
			}
			s.o.Log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", redact.Panic(p), "stack", string(debug.Stack()))
			if t.started {
				// A partial answer must not look complete.
				panic(http.ErrAbortHandler)
			}
			rejectWith(w, r, http.StatusInternalServerError, "something went wrong; see the gateway's log")
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

// tracked records whether an answer has begun.
type tracked struct {
	http.ResponseWriter
	started bool
	status  int // 0 until the answer begins
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

// mayBeEmpty are the parameters that may be empty: positions to continue from.
var mayBeEmpty = map[string]bool{"cursor": true, "after": true, "lastEventId": true}

// checkQuery rejects parameters that would be ignored: without a filter, a list shows more than the
// caller wants, and a bulk retry changes more.
func checkQuery(path, raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return errors.New("the query cannot be read: parameters are joined by & and escaped as %XX")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 && !(name == "id" && path == mediaZipPath) {
			return fmt.Errorf("parameter %.60q is given %d times; give it once", name, len(values[name]))
		}
		if values.Get(name) == "" && !mayBeEmpty[name] && !isLogsPath(path) {
			return fmt.Errorf("parameter %.60q is empty: give it a value, or leave it out", name)
		}
	}
	return nil
}

// isLogsPath reports whether a path belongs to the collection of Payload's clients.
func isLogsPath(path string) bool { return path == logsPath || strings.HasPrefix(path, logsPath+"/") }

// notFound answers requests with an unknown path or method.
func notFound(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
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

// rejectWith answers with an error in the form of the path: the one for Payload's clients has its own
// form.
func rejectWith(w http.ResponseWriter, r *http.Request, status int, detail string) {
	if isLogsPath(r.URL.Path) {
		answer(w, status, wire.NewWebhookLogError(detail))
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = wire.Write(w, ErrorModel{huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail}, hintOf(status, r.URL.Path)})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = wire.Write(w, body)
}

// denial returns why the caller may not do something; status 0 means that the caller may.
func (s *server) denial(r *http.Request, operation string, needed Role, reach access.Reach) (status int, detail string) {
	id, ok := s.o.Authorizer.Authorize(r)
	ok = ok && !(id.Via == access.ViaSession && access.ForeignPage(r))
	if n := noteOf(r.Context()); ok && n != nil {
		n.who = id
	}
	switch {
	case !ok && errors.Is(id.Err, access.ErrTooMany):
		return http.StatusTooManyRequests, id.Err.Error()
	case !ok && id.Err != nil:
		return http.StatusServiceUnavailable, "keys and sessions cannot be read just now; see the gateway's log"
	case !ok:
		return http.StatusUnauthorized, "a token is needed: Authorization: Bearer …"
	case id.Role < needed:
		return http.StatusForbidden, fmt.Sprintf("this needs the role %s; %s is %s", needed, id.Name, id.Role)
	case !id.Scope.Allows(operation, reach):
		return http.StatusForbidden, fmt.Sprintf("%s is limited to %s, and may not call %s", id.Name, id.Scope, operation)
	}
	return 0, ""
}

// admit reports whether the caller has a role, and answers the request if not. operation is its name
// in the audit log.
func (s *server) admit(w http.ResponseWriter, r *http.Request, operation string, needed Role, reach access.Reach) bool {
	if n := noteOf(r.Context()); n != nil {
		n.action = operation
		if sensitive[operation] {
			n.reads = operation
		}
	}
	status, detail := s.denial(r, operation, needed, reach)
	if s.overRate(w, r) {
		return false
	}
	if status == 0 {
		return true
	}
	if n := noteOf(r.Context()); status == http.StatusForbidden && n != nil && s.o.Guard != nil {
		kind := access.DeniedScope
		if n.who.Role < needed {
			kind = access.DeniedRole
		}
		s.o.Guard.Refused(kind, n.who, operation)
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

// overRate counts the request for the rate of the caller's key, and answers it if there are too many.
func (s *server) overRate(w http.ResponseWriter, r *http.Request) bool {
	n := noteOf(r.Context())
	if s.o.Guard == nil || n == nil {
		return false
	}
	wait := s.o.Guard.Take(r.Context(), n.who)
	if wait == 0 {
		return false
	}
	n.action = "" // of a flood, the audit log has nothing
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	rejectWith(w, r, http.StatusTooManyRequests, fmt.Sprintf("%s may make %d requests a second; retry later, or create a key with a higher rate", n.who.Name, n.who.Rate))
	return true
}

// badRequests answers 400 to parameters that fail validation, as to all other invalid
// parameters; huma's 422 is about the content of a body.
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

// tellFaults adds the validation errors to the detail, which people read.
func tellFaults(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if full, is := v.(*ErrorModel); is {
		m, ok = &full.ErrorModel, true
	}
	if ok && m.Status == http.StatusRequestEntityTooLarge && ctx != nil {
		m.Detail = tooLarge(ctx.Operation().MaxBodyBytes - 1)
	}
	if !ok {
		return v, nil
	}
	if m.Status != http.StatusUnprocessableEntity {
		return hinted(ctx, m), nil
	}
	m.Status, m.Title = http.StatusBadRequest, http.StatusText(http.StatusBadRequest)
	var faults []string
	for _, e := range m.Errors {
		_, name, inside := strings.Cut(e.Location, ".") // "query.limit"
		if !inside {
			name = "the " + e.Location
		}
		faults = append(faults, name+": "+e.Message+given(name, inside, e.Value))
	}
	slices.Sort(faults)
	m.Detail, m.Errors = strings.Join(faults, "; "), nil
	return hinted(ctx, m), nil
}

// given returns the rejected value of a parameter or member, such as ", not 0"; empty for whole
// documents, for missing values and for secrets.
func given(name string, inside bool, value any) string {
	const most = 60 // runes
	if lower := strings.ToLower(name); !inside || strings.Contains(lower, "secret") || strings.Contains(lower, "token") || strings.Contains(lower, "headers") {
		return ""
	}
	switch v := value.(type) {
	case string:
		if v == "" {
			return ""
		}
		if runes := []rune(v); len(runes) > most {
			v = string(runes[:most]) + "…"
		}
		return fmt.Sprintf(", not %q", v)
	case bool, int, int64, float64:
		return fmt.Sprintf(", not %v", v)
	}
	return ""
}

func tooLarge(limit int64) string { return fmt.Sprintf("the body is larger than %d bytes", limit) }

// failure returns the HTTP error of an error.
func (s *server) failure(err error) huma.StatusError {
	if known, ok := errors.AsType[huma.StatusError](err); ok {
		return known
	}
	if full, ok := errors.AsType[*jobs.BudgetError](err); ok {
		return huma.NewError(http.StatusPaymentRequired, full.Error())
	}
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
	return huma.Error500InternalServerError("something went wrong; see the gateway's log")
}

// reject answers a raw operation with an error.
func (s *server) reject(w http.ResponseWriter, r *http.Request, err error) {
	failure := s.failure(err)
	rejectWith(w, r, failure.GetStatus(), failure.Error())
}
