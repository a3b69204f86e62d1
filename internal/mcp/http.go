//go:build !slim

package mcp

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"gaff/internal/inproc"
)

const (
	// maxRequest bounds a message of an agent, in bytes.
	maxRequest = 1 << 20
	// peerHeader has the address of the agent's connection, for the API's limits and its audit log. It
	// is set for every request.
	peerHeader = "X-Gaff-Peer"
)

// passed are the headers of an agent's request that the API reads.
var passed = []string{"Authorization", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "User-Agent"}

// Handler serves agents by streamable HTTP, without sessions. Every request needs a token in the header
// Authorization, which authorized checks, so that a page in a browser cannot make calls with a cookie.
// The tools call the handler of the API with that token.
func Handler(version string, api http.Handler, authorized func(*http.Request) bool) http.Handler {
	s := New(version, func(ctx context.Context, header http.Header, method, path string, body []byte) (int, []byte, error) {
		r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
		if err != nil {
			return 0, nil, err
		}
		for _, name := range passed {
			if values := header[name]; values != nil {
				r.Header[name] = values
			}
		}
		if len(body) > 0 {
			r.Header.Set("Content-Type", "application/json")
		}
		r.RemoteAddr, r.RequestURI = header.Get(peerHeader), path
		a := inproc.Ask(api, r)
		return a.Status, a.Body, nil
	})
	tools := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true,
		// A request from another site has no token; a proxy in front may use any host name.
		DisableLocalhostProtection: true,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" || !authorized(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="gaff"`)
			http.Error(w, `{"error":"a token is needed: Authorization: Bearer …; gaff keys create makes one"}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		r.Header.Set(peerHeader, r.RemoteAddr)
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		tools.ServeHTTP(w, r)
	})
}

// Serve serves one agent by standard input and output until it closes them, or ctx ends.
func Serve(ctx context.Context, version string, call Caller) error {
	return New(version, call).Run(ctx, &mcp.StdioTransport{})
}
