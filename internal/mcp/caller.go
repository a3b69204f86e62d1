// Package mcp gives agents tools, by the Model Context Protocol: they search events, explain
// failures, submit jobs, and retry after a confirmation. A tool calls the HTTP API with the agent's own
// key, so roles, scopes, rates and the audit log hold as for every caller.
package mcp

import (
	"context"
	"net/http"
)

// Caller makes one call to the API: path with its query, and a body that may be nil. header is that of
// the agent's request, nil over stdio. An answer other than 2xx is not an error.
type Caller func(ctx context.Context, header http.Header, method, path string, body []byte) (status int, answer []byte, err error)
