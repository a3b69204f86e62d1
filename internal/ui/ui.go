// Package ui is the console: pages about a gateway, made on the server.
//
// A page is one file of markup (jobs.templ) and one of Go (jobs.go), which reads what is
// shown into one struct, the view. To add a page:
//
//   - write a view struct and a func (c *console) things(q *request) (templ.Component, error)
//     in things.go that fills it from the store, by queries that an index answers;
//   - write templ thingsPage(v thingsView) in things.templ, of the parts in parts.templ, and
//     run make generate;
//   - name its address in routes (routes.go), and in navigation if it belongs there;
//   - set q.live to the kinds of changes that should redraw it.
//
// A button is a form that posts to an address in routes, which names the operation of the
// API that it stands for: the console changes nothing by itself, so roles and the audit
// log are the API's, and whatever can be done here can be done by a program.
//
// Pages work without JavaScript. With it, static/app.js listens to the stream of changes and
// lets htmx fetch the page's part #live anew.
package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/inproc"
	"gaff/internal/redact"
	"gaff/internal/stats"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// Store is what the pages read.
type Store interface {
	gaff.Reader
	jobs.Reader
	stats.Store
	runs.Reader
}

// Options of the console. All but the last group are required.
type Options struct {
	Store Store
	Guard *access.Guard
	// API is the handler of /api/, which does what the console's buttons ask for.
	API http.Handler
	// Sources describes the sources, Address where a source's sender sends to, SampleTypes
	// the event types that a source's test button offers.
	Sources     func() []gaff.SourceInfo
	Address     func(source string) string
	SampleTypes func(source string) []string
	Log         *slog.Logger

	// Expected tells when an unfinished job should be done, zero where that is not known; nil:
	// it never is.
	Expected func(*jobs.Job) (takes time.Duration, at time.Time)
	// Workflows tells of the workflows; nil: there are none.
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
	series  seriesCache
	silence silenceCache
}

// New returns the handler of everything that is not the API's or a receiving address.
// Whoever is not logged in sees the login page and nothing else.
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

// policy lets nothing in from elsewhere, and no script but our own files.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// maxForm bounds the forms that pages post, in bytes.
const maxForm = 64 << 10

// guard is around everything: headers, and an answer when a page panics.
func (c *console) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // what was panicked with, not an error; net/http compares it so too
				panic(p)
			}
			c.o.Log.Error("page panicked", "method", r.Method, "path", r.URL.Path, "panic", redact.Panic(p), "stack", string(debug.Stack()))
			http.Error(w, "something went wrong; the gateway's log tells more", http.StatusInternalServerError)
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
			http.Error(w, "this was sent by a page of another site, so nothing was done; go back and use the console itself", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

// request is one call of a page.
type request struct {
	*http.Request
	who access.Identity
	now time.Time
	// title, nav and live are the page's to set: what the window is called, which entry of
	// the navigation it belongs to, and the kinds of changes that redraw it ("event,job").
	title, nav, live string
	// status is what is answered with the page; 0 means 200.
	status int
	// seen is the newest change before the page was made: the page follows from there, so
	// that nothing falls between its making and its listening.
	seen string
}

// query is a parameter of the address, without spaces around it.
func (q *request) query(name string) string { return strings.TrimSpace(q.URL.Query().Get(name)) }

// may reports whether who asks may do what needs a role.
func (q *request) may(role access.Role) bool { return q.who.Role >= role }

// problem is an error with the page that tells of it.
type problem struct {
	status      int
	title, text string
}

func (p *problem) Error() string { return p.title + ": " + p.text }

func notThere(what, id string) error {
	return &problem{http.StatusNotFound, "Not found", fmt.Sprintf("There is no %s %s. It may have been removed by the retention, or the address is not whole.", what, visible(clip(id, 80)))}
}

// page serves one page to those who have the role, and the login to strangers.
func (c *console) page(role access.Role, make func(*request) (templ.Component, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := &request{Request: r, now: c.o.Now()}
		var ok bool
		if q.who, ok = c.o.Guard.Authorize(r); !ok {
			c.untrusted(w, r, q.who.Err)
			return
		}
		var body templ.Component
		var err error
		if q.who.Role < role {
			err = &problem{http.StatusForbidden, "Not allowed", notAllowed(role, q.who)}
		} else if _, q.seen, _, err = c.o.Store.Changes(r.Context(), "", 1); err == nil {
			body, err = make(q)
		}
		if err != nil {
			body = c.failed(q, err)
		}
		c.render(w, q, body)
	}
}

func notAllowed(needed access.Role, who access.Identity) string {
	return fmt.Sprintf("This needs the role %s; you are logged in as %s.", needed, who.Role)
}

// failed turns an error into the page that tells of it.
func (c *console) failed(q *request, err error) templ.Component {
	p, ok := errors.AsType[*problem](err)
	switch {
	case ok:
	case errors.Is(err, gaff.ErrNotFound):
		p = &problem{http.StatusNotFound, "Not found", visible(err.Error())}
	case errors.Is(err, gaff.ErrInvalid):
		p = &problem{http.StatusBadRequest, "This cannot be shown", visible(err.Error())}
	case errors.Is(err, context.Canceled):
		p = &problem{499, "Gone", "The browser went away."}
	case errors.Is(err, gaff.ErrUnavailable), errors.Is(err, gaff.ErrStopped):
		c.o.Log.Warn("page cannot be served now", "path", q.URL.Path, "error", err)
		p = &problem{http.StatusServiceUnavailable, "Not just now", "The database cannot answer just now: " + visible(err.Error())}
	default:
		c.o.Log.Error("page failed", "path", q.URL.Path, "error", err)
		p = &problem{http.StatusInternalServerError, "Something went wrong", "The gateway's log tells more."}
	}
	q.status, q.title, q.live = p.status, p.title, ""
	return problemPage(p.title, p.text)
}

// untrusted answers someone who is not logged in.
func (c *console) untrusted(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, access.ErrTooMany):
		w.Header().Set("Retry-After", "60")
		http.Error(w, err.Error(), http.StatusTooManyRequests)
	case err != nil:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "the database cannot tell who you are just now; try again", http.StatusServiceUnavailable)
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
		CSS: c.assets.url("app.css"), HTMX: c.assets.url("htmx.min.js"), JS: c.assets.url("app.js"), Icon: c.assets.url("icon.svg"),
		Groups: navigation,
	}
	if counts, err := c.counts.get(q.Context(), c.o.Store, q.now); err == nil {
		for _, s := range counts.Sources {
			v.Failing += s.Error
		}
	}
	v.Flash = takeFlash(w, q.Request)
	var b bytes.Buffer
	if err := layout(v).Render(templ.WithChildren(q.Context(), body), &b); err != nil {
		c.o.Log.Error("page not written", "path", q.URL.Path, "error", err)
		http.Error(w, "something went wrong; the gateway's log tells more", http.StatusInternalServerError)
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

// answer is what the API said.
type answer struct{ *inproc.Answer }

// call has the API do something as whoever sent r. body may be nil.
func (c *console) call(r *http.Request, method, path string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(r.Context(), method, path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	// The API judges the request as it came: its cookie or token, its client, and, for
	// changes, the page it is from. What a page reads, its visitor may read from anywhere.
	names := []string{"Cookie", "Authorization", "User-Agent", "X-Forwarded-For"}
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

// problem reads why the API refused something.
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
