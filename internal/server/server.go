// Package server is the HTTP front: one listener, what it lets in and for how long, and
// who answers which address.
package server

import (
	"context"
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
	"gaff/internal/connlimit"
	"gaff/internal/linger"
)

// Options of a server. Ingest and API are required.
type Options struct {
	Ingest  http.Handler // below gaff.PathPrefix
	API     http.Handler // below /api/
	Console http.Handler // everything else; nil for none
	Metrics http.Handler // /metrics; nil for none
	// MetricsOpen lets callers read /metrics that are not Authorized.
	MetricsOpen bool
	// Others are served at the paths that they are named by: a path that ends in a slash is
	// all below it.
	Others map[string]http.Handler
	// Keyed serves what shows a key as fal's clients do, "Authorization: Key …", at any
	// address that is not below /api/; nil: nothing.
	Keyed http.Handler
	Media http.Handler // the links to files, below /media/{id}/; nil for none
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
}

// writeTimeout exceeds every wait for a commit, so that a sender hears how it went.
const writeTimeout = 30 * time.Second

// readyTime is how long a commit may take before the store counts as not ready: a probe is
// answered within two seconds even if the disk hangs.
const readyTime = 1500 * time.Millisecond

// managePath lies below the receiving addresses, but is the API's.
const managePath = gaff.PathPrefix + "manage"

// Handler joins the parts.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", o.API)
	for path, h := range o.Others {
		mux.Handle(path, h)
	}
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
	if o.Metrics != nil {
		mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
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
	if o.Media != nil {
		// The console has /media/{id} itself.
		for _, pattern := range []string{"/media/{id}/file", "/media/{id}/file/{name}", "/media/{id}/thumbnail"} {
			mux.Handle(pattern, o.Media)
		}
	}
	if o.Console != nil {
		mux.Handle("/", o.Console)
	}
	others := linger.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		switch {
		case p == managePath || p == managePath+"/":
			o.API.ServeHTTP(w, r)
		case !clean(p):
			// The mux would redirect, and a sender takes a redirect for a failure it must
			// not come back from.
			http.NotFound(w, r)
		case o.Keyed != nil && !strings.HasPrefix(p, "/api/") && showsKey(r):
			o.Keyed.ServeHTTP(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		if receiving(p) && p != managePath && p != managePath+"/" {
			o.Ingest.ServeHTTP(w, r) // which lingers by itself
			return
		}
		others.ServeHTTP(w, r)
	})
}

// receiving reports whether a path is meant for the receiving addresses: below their prefix,
// or where it leads to them without the slashes and dots that are too many. What is wrong
// with the rest of it is recorded there.
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
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
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
