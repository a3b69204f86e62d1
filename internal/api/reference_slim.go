//go:build slim

package api

import "net/http"

// mountReference leads to the list of operations: this build has no interactive reference.
func mountReference(mux *http.ServeMux) {
	mux.Handle("GET /api/reference", http.RedirectHandler("docs", http.StatusFound))
}
