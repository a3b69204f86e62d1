// Package inspect serves a page on the loopback address of a laptop: the requests that came through
// "gaff listen", with the responses of the local program. They can be edited and sent to it again.
package inspect

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/a-h/templ"

	"gaff/internal/shell"
)

// Bounds of the history. The oldest exchanges are dropped.
const (
	maxExchanges = 200
	maxBytes     = 64 << 20
	// MaxResponse is how much of a response's body is shown, in bytes.
	MaxResponse = 64 << 10
	// maxShown is how much of a body is shown, and maxForm bounds a form with an edited one.
	maxShown = 1 << 20
	maxForm  = 4 << 20
	// atOnce is how many requests are sent again at once.
	atOnce = 4
)

// Exchange is a request that was sent to the local program, and its response.
type Exchange struct {
	N       int // its number, from 1
	Again   int // the number of the exchange that it repeats; 0 for an event
	Edited  bool
	At      time.Time
	EventID string
	Title   string // source:type
	Method  string
	// URL is that of the local program; empty if nothing was sent.
	URL    string
	Header http.Header
	Body   []byte

	Status         int // 0 without a response
	Error          string
	Took           time.Duration
	ResponseHeader http.Header
	Response       []byte // its first bytes
}

func (e *Exchange) size() int {
	n := len(e.Body) + len(e.Response) + 4096
	for _, header := range []http.Header{e.Header, e.ResponseHeader} {
		for name, values := range header {
			for _, value := range values {
				n += len(name) + len(value)
			}
		}
	}
	return n
}

// Inspector has the newest exchanges. Use [New].
type Inspector struct {
	send  func(ctx context.Context, e *Exchange)
	token string
	cross *http.CrossOriginProtection
	slots chan struct{}

	mu    sync.Mutex
	last  int
	bytes int
	all   []*Exchange // the oldest first; none changes
}

// New makes an inspector. send sends the request of an exchange to the local program and sets its
// response; nil: nothing can be sent again.
func New(send func(ctx context.Context, e *Exchange)) *Inspector {
	return &Inspector{send: send, token: rand.Text(), cross: http.NewCrossOriginProtection(), slots: make(chan struct{}, atOnce)}
}

// Path is where the page is. It has a secret, so that other users of the machine and other sites do not
// find it.
func (i *Inspector) Path() string { return "/" + i.token + "/" }

// Add adds an exchange, which must not change afterwards.
func (i *Inspector) Add(e *Exchange) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last++
	e.N = i.last
	i.all, i.bytes = append(i.all, e), i.bytes+e.size()
	for len(i.all) > 1 && (len(i.all) > maxExchanges || i.bytes > maxBytes) {
		i.bytes -= i.all[0].size()
		i.all = slices.Delete(i.all, 0, 1)
	}
}

func (i *Inspector) exchange(n int) *Exchange {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := slices.IndexFunc(i.all, func(e *Exchange) bool { return e.N == n })
	if at < 0 {
		return nil
	}
	return i.all[at]
}

func (i *Inspector) newest() []*Exchange {
	i.mu.Lock()
	defer i.mu.Unlock()
	list := slices.Clone(i.all)
	slices.Reverse(list)
	return list
}

const policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

//go:embed style.css
var style []byte

// Handler serves the page for requests to a loopback address. A request by another name for it is
// rejected: a site whose name leads to this machine (DNS rebinding) must not read the page.
func (i *Inspector) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{token}/{$}", i.list)
	mux.HandleFunc("GET /{token}/style.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write(style)
	})
	mux.HandleFunc("GET /{token}/{n}", i.show)
	mux.HandleFunc("POST /{token}/{n}", i.again)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		token, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch {
		case !loopback(r.Host):
			http.Error(w, "open the page by 127.0.0.1", http.StatusForbidden)
		case subtle.ConstantTimeCompare([]byte(token), []byte(i.token)) != 1:
			http.NotFound(w, r)
		case i.cross.Check(r) != nil:
			http.Error(w, "the request comes from another site", http.StatusForbidden)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// loopback reports whether the Host of a request is a loopback address, or localhost.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (i *Inspector) list(w http.ResponseWriter, r *http.Request) {
	render(w, r, http.StatusOK, listPage(i.newest()))
}

// view is the page of an exchange.
type view struct {
	*Exchange
	// Headers and Text are those of the form; Editable is false if the body cannot be a form's.
	Headers, Text  string
	Editable, Send bool
	Fault          string
}

func (i *Inspector) view(e *Exchange) view {
	v := view{Exchange: e, Send: i.send != nil && e.URL != ""}
	var b strings.Builder
	for _, name := range names(e.Header) {
		for _, value := range e.Header[name] {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	v.Headers = b.String()
	v.Text, v.Editable = editable(e.Body)
	v.Editable = v.Editable && strings.IndexFunc(strings.ReplaceAll(v.Headers, "\n", ""), shell.Steers) < 0 && utf8.ValidString(v.Headers)
	return v
}

func (i *Inspector) show(w http.ResponseWriter, r *http.Request) {
	e := i.find(w, r)
	if e != nil {
		render(w, r, http.StatusOK, exchangePage(i.view(e)))
	}
}

func (i *Inspector) find(w http.ResponseWriter, r *http.Request) *Exchange {
	n, _ := strconv.Atoi(r.PathValue("n"))
	e := i.exchange(n)
	if e == nil {
		http.Error(w, "there is no such request; the oldest ones are dropped", http.StatusNotFound)
	}
	return e
}

// again sends a request again, as it was or edited, and shows the new exchange.
func (i *Inspector) again(w http.ResponseWriter, r *http.Request) {
	e := i.find(w, r)
	if e == nil {
		return
	}
	v := i.view(e)
	if !v.Send {
		http.Error(w, "nothing can be sent again without --forward", http.StatusConflict)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form is invalid, or larger than 4 MiB", http.StatusBadRequest)
		return
	}
	next := &Exchange{
		Again: e.N, At: time.Now(), EventID: e.EventID, Title: e.Title, Method: e.Method, URL: e.URL, Header: e.Header.Clone(), Body: e.Body,
	}
	if r.PostFormValue("do") == "edited" && v.Editable {
		header, err := parseHeader(r.PostFormValue("headers"))
		if err != nil {
			v.Headers, v.Text, v.Fault = r.PostFormValue("headers"), r.PostFormValue("body"), err.Error()
			render(w, r, http.StatusBadRequest, exchangePage(v))
			return
		}
		next.Header = header
		if body := strings.ReplaceAll(r.PostFormValue("body"), "\r\n", "\n"); body != v.Text { // a form sends line ends as CRLF
			next.Body = []byte(body)
		}
		next.Edited = !bytes.Equal(next.Body, e.Body) || strings.ReplaceAll(r.PostFormValue("headers"), "\r\n", "\n") != v.Headers
	}
	select {
	case i.slots <- struct{}{}:
		defer func() { <-i.slots }()
	case <-r.Context().Done():
		return
	}
	i.send(r.Context(), next)
	i.Add(next)
	http.Redirect(w, r, i.Path()+strconv.Itoa(next.N), http.StatusSeeOther)
}

// parseHeader reads lines of the form "Name: value".
func parseHeader(text string) (http.Header, error) {
	header := http.Header{}
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return nil, fmt.Errorf("the header line %.60q is not \"Name: value\"", line)
		}
		header.Add(name, strings.TrimSpace(value))
	}
	return header, nil
}

// editable returns a body for a form; ok is false if a form cannot hold it.
func editable(body []byte) (text string, ok bool) {
	switch {
	case !utf8.Valid(body) || len(body) > maxShown:
		return "", false
	case strings.IndexFunc(string(body), steers) < 0:
		return strings.ReplaceAll(string(body), "\r\n", "\n"), true
	case json.Valid(body):
		return shell.EscapeJSON(strings.ReplaceAll(string(body), "\r\n", "\n")), true
	}
	return "", false
}

func steers(r rune) bool { return r != '\n' && r != '\t' && r != '\r' && shell.Steers(r) }

// shown returns a text for a page: characters that cannot be seen, or change how others are
// shown, as escapes.
func shown(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if strings.IndexFunc(text, steers) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if steers(r) {
			fmt.Fprintf(&b, `\u{%x}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// shownBody returns a body for a page: JSON is indented.
func shownBody(body []byte) string {
	if !utf8.Valid(body) {
		return fmt.Sprintf("%d bytes that are not text", len(body))
	}
	var out bytes.Buffer
	if len(body) <= maxShown && json.Indent(&out, body, "", "  ") == nil {
		return shown(out.String())
	}
	text := shown(string(body[:min(len(body), maxShown)]))
	if len(body) > maxShown {
		text += fmt.Sprintf("\n… %d bytes in all", len(body))
	}
	return text
}

func names(header http.Header) []string { return slices.Sorted(maps.Keys(header)) }

func clock(t time.Time) string { return t.Format("15:04:05") }

func took(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.Round(time.Millisecond).String()
}

// number is the page of an exchange, relative to the others.
func number(n int) templ.SafeURL { return templ.SafeURL(strconv.Itoa(n)) }

// kind returns the class of a status.
func kind(status int) string {
	switch {
	case status == 0:
		return "none"
	case status/100 == 2:
		return "ok"
	}
	return "bad"
}

func render(w http.ResponseWriter, r *http.Request, status int, page templ.Component) {
	var b bytes.Buffer
	if err := page.Render(r.Context(), &b); err != nil {
		http.Error(w, "the page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// Serve serves the page on a port of 127.0.0.1 until ctx ends; 0 is any free port. ready gets its URL.
func (i *Inspector) Serve(ctx context.Context, port int, ready func(url string)) error {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("the inspector cannot listen: %w", err)
	}
	server := &http.Server{Handler: i.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	go func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			_ = listener.Close()
		}
	}()
	ready("http://" + listener.Addr().String() + i.Path())
	return nil
}
