// Package ui is the console: pages about a gateway, rendered on the server.
//
// A page is one file of markup (jobs.templ) and one of Go (jobs.go), which reads the page's data
// into one struct, the view. To add a page:
//
//   - write a view struct and a func (c *console) things(q *request) (templ.Component, error)
//     in things.go that fills it from the store, by queries that an index answers;
//   - write templ thingsPage(v thingsView) in things.templ, of the parts in parts.templ, and
//     run make generate;
//   - add its path to routes (routes.go), and to navigation if it belongs there;
//   - set q.live to the kinds of changes that should redraw it.
//
// A button is a form that posts to a path in routes, which names an operation of the API. The
// console itself changes nothing: roles and the audit log are the API's, and a program can do
// everything that the console can.
//
// Pages work without JavaScript. With it, static/app.js listens to the stream of changes and
// has htmx fetch the page's element #live again.
package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/inproc"
	"gaff/internal/redact"
	"gaff/internal/scoped"
	"gaff/jobs"
)

// Store has the queries of the pages.
type Store = scoped.Store

// Options of the console. All but the last group are required.
type Options struct {
	Store Store
	Guard *access.Guard
	// API is the handler of /api/, which the console's buttons call.
	API http.Handler
	// Sources describes the sources. Address returns the URL of a source. SampleTypes returns
	// the event types that a source's test button offers.
	Sources     func() []gaff.SourceInfo
	Address     func(source string) string
	SampleTypes func(source string) []string
	// Sample names a source whose samples make jobs.
	Sample string
	// SubmitURL returns the URL to submit to, with the webhook URL in it, of a source whose
	// service takes it with each request; empty for others.
	SubmitURL func(source, webhookURL string) string
	Log       *slog.Logger

	// Expected returns how long an unfinished job should take and when it should finish; zero
	// if unknown. If Expected is nil, no time is shown.
	Expected func(*jobs.Job) (takes time.Duration, at time.Time)
	// SSO logs users in at an identity provider; nil without one.
	SSO SSO
	// Workflows has the workflow definitions; nil without workflows.
	Workflows Workflows
	// Version is shown; empty means "dev".
	Version string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

type console struct {
	o       Options
	assets  assets
	cross   *http.CrossOriginProtection
	counts  countCache
	badges  badgeCache
	series  seriesCache
	silence silenceCache
	recent  generationsCache
	// canceled are scheduled events that were canceled a moment ago.
	canceled undoable
}

// New returns the handler of all paths except those of the API and of the sources. Without a
// session it serves the login page and nothing else.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	c := &console{o: o, assets: loadAssets(), cross: http.NewCrossOriginProtection()}
	mux := http.NewServeMux()
	c.routes(mux)
	return c.guard(mux)
}

// policy allows resources from this host only, and no inline scripts.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// maxForm bounds the forms that pages post, in bytes.
const maxForm = 64 << 10

// guard wraps all pages: it sets headers, checks the origin, and answers 500 if a page panics.
func (c *console) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // a panic value, not an error; net/http compares it so, too
				panic(p)
			}
			c.o.Log.Error("page panicked", "method", r.Method, "path", r.URL.Path, "panic", redact.Panic(p), "stack", string(debug.Stack()))
			http.Error(w, "internal error; see the gateway's log", http.StatusInternalServerError)
		}()
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		h.Set("Cache-Control", "no-store")
		if err := c.cross.Check(r); err != nil {
			http.Error(w, "cross-site request rejected: nothing was changed; use the console itself", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, formLimit(r.URL.Path))
		next.ServeHTTP(w, r)
	})
}

// request is one call of a page.
type request struct {
	*http.Request
	who access.Identity
	// store has only the rows that the user reaches.
	store Store
	now   time.Time
	// The page sets title (of the window), nav (its entry of the navigation) and live (the kinds
	// of changes that redraw it, such as "event,job").
	title, nav, live string
	// status is the HTTP status of the page; 0 means 200.
	status int
	// known are the query parameters that the page has read.
	known map[string]bool
	// seen is the newest change before the page was rendered. The page listens from there, so
	// that it misses no change.
	seen string
}

// query returns a query parameter without surrounding spaces.
func (q *request) query(name string) string {
	q.known[name] = true
	return strings.TrimSpace(q.URL.Query().Get(name))
}

// queries returns all values of a query parameter.
func (q *request) queries(name string) []string {
	q.known[name] = true
	return q.URL.Query()[name]
}

// ignored returns the query parameters that the page has not read.
func (q *request) ignored() (names []string) {
	for name := range q.URL.Query() {
		if !q.known[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// may reports whether the user has a role.
func (q *request) may(role access.Role) bool { return q.who.Role >= role }

// problem is an error with the status, title and text of its page.
type problem struct {
	status      int
	title, text string
}

func (p *problem) Error() string { return p.title + ": " + p.text }

func notThere(what, id string) error {
	return &problem{http.StatusNotFound, "Not found", fmt.Sprintf("There is no %s %s. Retention may have removed it, or the URL is incomplete.", what, visible(clip(id, 80)))}
}

// page serves one page to users who have the role, and reach it if they are limited, and the login
// page to users without a session.
func (c *console) page(p page) http.HandlerFunc {
	role, reach, make := p.role, p.reach, p.make
	return func(w http.ResponseWriter, r *http.Request) {
		q := &request{Request: r, now: c.o.Now(), known: map[string]bool{"cursor": true}}
		var ok bool
		if q.who, ok = c.o.Guard.AuthorizeScoped(r); !ok {
			c.untrusted(w, r, q.who.Err)
			return
		}
		if wait := c.o.Guard.Take(r.Context(), q.who); wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
			http.Error(w, "too many requests: the key of this session may make "+strconv.Itoa(q.who.Rate)+" a second; retry in a moment", http.StatusTooManyRequests)
			return
		}
		q.Request = r.WithContext(access.Taken(r.Context())) // the API's calls for the page are part of it
		q.store = scoped.Limit(c.o.Store, q.who.Scope)
		if q.who.Scope.Limited() && r.URL.Path == "/" && reach != 0 {
			http.Redirect(w, r, home(q.who.Scope), http.StatusSeeOther)
			return
		}
		var body templ.Component
		var err error
		if q.who.Role < role {
			c.o.Guard.Refused(access.DeniedRole, q.who, p.path)
			err = &problem{http.StatusForbidden, "Not allowed", notAllowed(role, q.who)}
		} else if !q.who.Scope.Allows("", reach) {
			c.o.Guard.Refused(access.DeniedScope, q.who, p.path)
			err = &problem{http.StatusForbidden, "Not allowed", "You are limited to " + visible(q.who.Scope.String()) + ", and this page shows more. The navigation has the pages that you reach."}
		} else if _, q.seen, _, err = c.o.Store.Changes(r.Context(), "", 1); err == nil {
			body, err = make(q)
		}
		if err != nil {
			body = c.failed(q, err)
		} else if op := payloads[p.path]; op != "" {
			c.o.Guard.NoteRead(r.Context(), access.Entry{
				Actor: q.who.Name, KeyID: q.who.KeyID, As: q.who.As, Role: q.who.Role, Via: q.who.Via, ViaID: q.who.ID, Address: c.o.Guard.Address(r),
				Action: op, Target: clip(q.PathValue("id"), 1024), Status: http.StatusOK,
			})
		}
		c.render(w, q, body)
	}
}

func notAllowed(needed access.Role, who access.Identity) string {
	return fmt.Sprintf("This needs the role %s; you are logged in as %s.", needed, who.Role)
}

// failed returns the page for an error.
func (c *console) failed(q *request, err error) templ.Component {
	p, ok := errors.AsType[*problem](err)
	switch {
	case ok:
	case errors.Is(err, gaff.ErrNotFound):
		p = &problem{http.StatusNotFound, "Not found", visible(err.Error())}
	case errors.Is(err, gaff.ErrInvalid):
		p = &problem{http.StatusBadRequest, "Invalid request", visible(err.Error())}
	case errors.Is(err, context.Canceled):
		p = &problem{499, "Gone", "The browser closed the connection."}
	case errors.Is(err, gaff.ErrUnavailable), errors.Is(err, gaff.ErrStopped):
		c.o.Log.Warn("page cannot be served now", "path", q.URL.Path, "error", err)
		p = &problem{http.StatusServiceUnavailable, "Unavailable", "The database does not answer: " + visible(err.Error())}
	default:
		c.o.Log.Error("page failed", "path", q.URL.Path, "error", err)
		p = &problem{http.StatusInternalServerError, "Internal error", "See the gateway's log."}
	}
	q.status, q.title, q.live = p.status, p.title, ""
	return problemPage(p.title, p.text)
}

// untrusted answers a request without a valid session.
func (c *console) untrusted(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, access.ErrTooMany):
		w.Header().Set("Retry-After", "60")
		http.Error(w, err.Error(), http.StatusTooManyRequests)
	case err != nil:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "cannot check the session: the database does not answer; retry", http.StatusServiceUnavailable)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		target := "/login"
		if next := r.URL.RequestURI(); next != "/" {
			target += "?next=" + url.QueryEscape(next)
		}
		if r.Header.Get("HX-Request") != "" {
			// A fragment must not become a login page within a page.
			w.Header().Set("HX-Redirect", target)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, target, http.StatusSeeOther)
	default:
		http.Error(w, "log in first", http.StatusUnauthorized)
	}
}

// render writes a whole page.
func (c *console) render(w http.ResponseWriter, q *request, body templ.Component) {
	v := layoutView{
		Title: q.title, Nav: q.nav, Live: q.live, Seen: q.seen, Who: q.who, URL: q.URL.RequestURI(), Theme: themeOf(q.Request), Version: c.o.Version,
		CSS: c.assets.url("app.css"), Start: c.assets.url("start.js"), Scripts: []string{c.assets.url("htmx.min.js"), c.assets.url("app.js"), c.assets.url("tables.js")}, Icon: c.assets.url("icon.svg"),
		Palette: c.assets.url("palette.js"), Viewer: c.assets.url("viewer.js"), Groups: c.navigationOf(q.who),
	}
	if q.who.Scope.Limited() {
		// The count of failed events is that of the whole gateway.
	} else if counts, err := c.counts.get(q.Context(), c.o.Store, q.now); err == nil {
		for _, s := range counts.Sources {
			v.Failing += s.Error
		}
		v.Badges = c.badges.get(q, v.Failing)
	}
	if q.status == 0 {
		v.Ignored = q.ignored()
	}
	v.Flash = takeFlash(w, q.Request)
	var b bytes.Buffer
	if err := layout(v).Render(templ.WithChildren(q.Context(), body), &b); err != nil {
		c.o.Log.Error("page not written", "path", q.URL.Path, "error", err)
		http.Error(w, "internal error; see the gateway's log", http.StatusInternalServerError)
		return
	}
	c.html(w, q.Request, max(q.status, http.StatusOK), b.Bytes())
}

func (c *console) html(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Add("Vary", "Accept-Encoding, Cookie")
	if acceptsGzip(r) && len(body) > 1<<10 {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(status)
		zip(w, body)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// answer is a response of the API.
type answer struct{ *inproc.Answer }

// call calls the API with the credentials of r. body may be nil.
func (c *console) call(r *http.Request, method, path string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(r.Context(), method, path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	// The API checks the request as the console received it: its cookie or token, its client,
	// and, for changes, the page that sent it. Reading needs no check of the page.
	names := []string{"Cookie", "Authorization", "User-Agent", "X-Forwarded-For", "X-Forwarded-Proto"}
	if method != http.MethodGet {
		names = append(names, "Origin", "Sec-Fetch-Site")
	}
	for _, name := range names {
		if values := r.Header.Values(name); len(values) > 0 {
			req.Header[name] = values
		}
	}
	req.Host, req.RemoteAddr, req.TLS = r.Host, r.RemoteAddr, r.TLS
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return answer{inproc.Ask(c.o.API, req)}, nil
}

// problemAnswer is a response with a problem that the console itself found.
func problemAnswer(status int, detail string) answer {
	body, _ := json.Marshal(map[string]string{"detail": detail})
	return answer{&inproc.Answer{Status: status, Body: body}}
}

// problem returns the reason of an error response.
func (a answer) problem() string {
	var p struct{ Detail, Title, Reason, Error string }
	_ = readJSON(a.Body, &p)
	for _, text := range []string{p.Detail, p.Reason, p.Title, p.Error} {
		if text != "" {
			return text
		}
	}
	return http.StatusText(a.Status)
}
