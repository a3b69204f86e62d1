// Package server is the HTTP front of a listener: which requests it lets in, for how long, and
// who answers which address.
package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/connlimit"
	"gaff/internal/linger"
)

// Options of a server. Ingest and API are required.
type Options struct {
	Part    Part
	Ingest  http.Handler // below gaff.PathPrefix
	API     http.Handler // below /api/
	Console http.Handler // everything else; nil for none
	MCP     http.Handler // /mcp, the tools of agents; nil for none
	Metrics http.Handler // /metrics; nil for none
	// MetricsOpen lets callers read /metrics that are not Authorized.
	MetricsOpen bool
	// Others are served at the paths that they are named by: a path that ends in a slash is
	// all below it.
	Others map[string]http.Handler
	// Keyed serves requests with "Authorization: Key …", as clients of some providers send, at any
	// address that is not below /api/; nil: nothing.
	Keyed http.Handler
	Media http.Handler // the links to files, below /media/{id}/ and /files/; nil for none
	// PublicAPI reports whether the API answers a request on the public listener too; nil: none.
	PublicAPI func(*http.Request) bool
	// Authorized reports whether a request may read what needs a token.
	Authorized func(*http.Request) bool
	// Ready returns nil when a webhook could be kept now.
	Ready func(context.Context) error
	Log   *slog.Logger

	MaxHeaderBytes                          int
	HeaderTimeout, ReadTimeout, IdleTimeout time.Duration
	// Connections is how many may be open at once; more wait to be let in. One address has a
	// quarter of them, unless Proxy reports that it is a proxy's (nil: none is).
	Connections int
	Proxy       func(netip.Addr) bool

	// TLS is for a listener with TLS of its own; see [Certificate.Config]. Nil: plain HTTP.
	TLS *tls.Config
	// StrictTransport sends Strict-Transport-Security to clients that use HTTPS.
	StrictTransport bool
}

// writeTimeout exceeds every wait for a commit, so that a sender hears how it went.
const writeTimeout = 30 * time.Second

// readyTime is how long a commit may take before the store counts as not ready: a probe is
// answered within two seconds even if the disk hangs.
const readyTime = 1500 * time.Millisecond

// managePath lies below the receiving addresses, but is the API's.
const managePath = gaff.PathPrefix + "manage"

// Part says what a listener serves. Health and readiness are on each.
type Part int

const (
	// Everything is for the only listener.
	Everything Part = iota
	// Public is what senders and other outsiders need: the receiving paths without "manage", the
	// links to files, the proxies of providers, and of the API what browsers may read.
	Public
	// Admin is all but the receiving paths.
	Admin
)

// Handler returns the handler of one listener.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	handleProbes(mux, o)
	for path, h := range o.Others {
		mux.Handle(path, h)
	}
	if o.Media != nil {
		// The console itself serves /media/{id}.
		for _, pattern := range []string{"/media/{id}/file", "/media/{id}/file/{name}", "/media/{id}/thumbnail", "/files/{token}", "/files/{token}/thumbnail"} {
			mux.Handle(pattern, o.Media)
		}
	}
	if o.Part == Public {
		mux.HandleFunc("/", notFound)
		mux.HandleFunc("/api/v1/", func(w http.ResponseWriter, r *http.Request) {
			if o.PublicAPI == nil || !o.PublicAPI(r) {
				notFound(w, r)
				return
			}
			o.API.ServeHTTP(w, r)
		})
	} else {
		handleAdmin(mux, o)
	}
	others := linger.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		switch {
		case isManage(p) && o.Part != Public:
			o.API.ServeHTTP(w, r)
		case !clean(p) && o.Part != Public:
			// The mux would redirect, and a sender takes a redirect for a failure and may not
			// retry.
			http.NotFound(w, r)
		case isManage(p) || !clean(p):
			notFound(w, r)
		case o.Keyed != nil && !strings.HasPrefix(p, "/api/") && showsKey(r):
			o.Keyed.ServeHTTP(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	return strictTransport(o, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		switch {
		case !receiving(p) || isManage(p):
			others.ServeHTTP(w, r)
		case o.Part == Admin:
			answer(w, http.StatusNotFound, map[string]any{"error": "Not found", "reason": "webhooks are received on the public address, GAFF_ADDR"})
		default:
			o.Ingest.ServeHTTP(w, r) // which lingers by itself
		}
	}))
}

// isManage reports whether a path is that of the webhook logs, or below it: no source has this name.
func isManage(p string) bool {
	return p == managePath || strings.HasPrefix(p, managePath+"/") && clean(p)
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusNotFound, map[string]any{"error": "Not found"})
}

// strictTransport has browsers use only TLS for the host from now on, if o.StrictTransport is set
// and they do now. localhost is left out: other programs of this machine share the name.
func strictTransport(o Options, next http.Handler) http.Handler {
	if !o.StrictTransport {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, _ := strings.Cut(r.Host, ":"); access.OverTLS(r) && host != "localhost" && !strings.HasSuffix(host, ".localhost") {
			w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// handleProbes adds health and readiness.
func handleProbes(mux *http.ServeMux, o Options) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, map[string]any{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTime)
		defer cancel()
		if err := o.Ready(ctx); err != nil {
			w.Header().Set("Retry-After", "5")
			answer(w, http.StatusServiceUnavailable, map[string]any{"status": "unavailable", "reason": publicReason(err)})
			o.Log.Warn("not ready", "error", err)
			return
		}
		answer(w, http.StatusOK, map[string]any{"status": "ready"})
	})
}

// handleAdmin adds the API, the metrics and the console.
func handleAdmin(mux *http.ServeMux, o Options) {
	mux.Handle("/api/", o.API)
	if o.MCP != nil {
		mux.Handle("/mcp", o.MCP)
	}
	if o.Metrics != nil {
		mux.Handle("GET /metrics", MetricsHandler(o))
	}
	if o.Console != nil {
		mux.Handle("/", o.Console)
	}
}

// MetricsHandler serves o.Metrics to callers with a token, or to all if o.MetricsOpen is set.
func MetricsHandler(o Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The peer's address proves nothing: a proxy on this machine adds no header
		// unless configured to, and a page in a browser here may use another name for it.
		if !o.MetricsOpen && !o.Authorized(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="gaff"`)
			answer(w, http.StatusUnauthorized, map[string]any{
				"error": "a token is needed: Authorization: Bearer …; a key of the role viewer is enough, or set GAFF_METRICS_ACCESS=open",
			})
			return
		}
		o.Metrics.ServeHTTP(w, r)
	})
}

// receiving reports whether a path is meant for the receiving addresses: below their prefix,
// or where it leads to them without superfluous slashes and dots. Other faults of
// it are recorded there.
func receiving(p string) bool {
	return strings.HasPrefix(p, gaff.PathPrefix) || strings.HasPrefix(path.Clean(p)+"/", gaff.PathPrefix)
}

func showsKey(r *http.Request) bool {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Key")
}

// publicReason returns the store's error for a probe, without the paths that a driver's
// error may contain.
func publicReason(err error) string {
	if errors.Is(err, gaff.ErrUnavailable) {
		return "webhooks cannot be stored now; see the log"
	}
	return "not running"
}

func clean(p string) bool {
	want := path.Clean(p)
	if strings.HasSuffix(p, "/") && want != "/" {
		want += "/"
	}
	return p == want
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// Serve answers on ln until ctx ends, then lets running requests finish, for at most
// patience.
func Serve(ctx context.Context, ln net.Listener, o Options, patience time.Duration) error {
	// Streams end with base, so that they do not hold up the shutdown.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           Handler(o),
		ReadHeaderTimeout: o.HeaderTimeout, ReadTimeout: o.ReadTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: o.IdleTimeout, MaxHeaderBytes: o.MaxHeaderBytes,
		ErrorLog:    slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return base },
	}
	if o.Connections > 0 {
		limited := connlimit.New(ln, connlimit.Options{Max: o.Connections, Shared: o.Proxy})
		srv.ConnState, ln = limited.ConnState, limited
	}
	serve := srv.Serve
	if o.TLS != nil {
		// Limits of connections and of time count on one request a connection: no HTTP/2.
		srv.TLSConfig, srv.Protocols = o.TLS, new(http.Protocols)
		srv.Protocols.SetHTTP1(true)
		serve = func(ln net.Listener) error { return srv.ServeTLS(ln, "", "") }
	}
	failed := make(chan error, 1)
	go func() { failed <- serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	cancel()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer done()
	if err := srv.Shutdown(stop); err != nil {
		return errors.Join(fmt.Errorf("shut down: %w", err), srv.Close())
	}
	return nil
}
