//go:build slim

package mcp

import (
	"context"
	"errors"
	"net/http"
)

const missing = "this build (slim) has no tools for agents: use the full build"

// Handler answers that this build has no tools.
func Handler(string, http.Handler, func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, missing, http.StatusNotImplemented) })
}

// Serve always fails.
func Serve(context.Context, string, Caller) error { return errors.New(missing) }
