// Package tunnel gives a gateway on a developer's machine a public address, by ngrok. Only
// the receiving paths are served through it: a client that finds the address can send
// webhooks, which are verified as always, and do nothing else.
package tunnel

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"gaff"
	"gaff/internal/connlimit"
)

// Options of a tunnel. Token is required.
type Options struct {
	// Token is the authtoken of an ngrok account, NGROK_AUTH_TOKEN.
	Token string
	// Domain is one of the account's, NGROK_DOMAIN. Empty: ngrok gives one.
	Domain string
	// Deadline is how long it may take to open. Zero means 15 s.
	Deadline time.Duration
	Log      *slog.Logger

	// connectURL and connectCAs lead to another service than ngrok's, in tests.
	connectURL string
	connectCAs *x509.CertPool
}

// Tunnel is an open tunnel. It mends itself when the network goes and comes back.
type Tunnel struct {
	listener net.Listener
	url      string
	end      func() // disconnects
}

// URL is the public base, such as "https://example.ngrok.app".
func (t *Tunnel) URL() string { return t.url }

// Close ends the tunnel.
func (t *Tunnel) Close() {
	_ = t.listener.Close()
	t.end()
}

// ServeOptions limit the requests from the tunnel.
type ServeOptions struct {
	MaxHeaderBytes                          int
	HeaderTimeout, ReadTimeout, IdleTimeout time.Duration
	Connections                             int
	Log                                     *slog.Logger
}

// Serve passes requests from the tunnel to ingest until ctx ends.
func (t *Tunnel) Serve(ctx context.Context, ingest http.Handler, o ServeOptions) error {
	return serve(ctx, t.listener, ingest, o)
}

const (
	writeTimeout = 30 * time.Second
	stopPatience = 5 * time.Second
)

func serve(ctx context.Context, ln net.Listener, ingest http.Handler, o ServeOptions) error {
	srv := &http.Server{
		Handler: Handler(ingest), MaxHeaderBytes: o.MaxHeaderBytes, ReadHeaderTimeout: o.HeaderTimeout, ReadTimeout: o.ReadTimeout,
		IdleTimeout: o.IdleTimeout, WriteTimeout: writeTimeout, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	limited := connlimit.New(ln, connlimit.Options{Max: o.Connections})
	srv.ConnState = limited.ConnState
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(limited) }()
	select {
	case err := <-ended:
		return fmt.Errorf("the tunnel has ended: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close()
	}
	<-ended //nolint:errcheck // it says that it was shut down
	return nil
}

// Handler passes the receiving paths to ingest, and answers 404 for all others: the console
// and the API are not for untrusted clients, not even with a token.
func Handler(ingest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A slash too many is served, as it is without a tunnel.
		rest, ok := strings.CutPrefix(path.Clean(r.URL.Path), gaff.PathPrefix)
		source, _, _ := strings.Cut(rest, "/")
		if !ok || source == "" || strings.EqualFold(source, "manage") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"error":"Not found"}` + "\n"))
			return
		}
		ingest.ServeHTTP(w, r)
	})
}
