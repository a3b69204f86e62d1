//go:build !slim

package api

import (
	"compress/gzip"
	"embed"
	"io"
	"net/http"
	"strings"
)

// reference has the page of the interactive reference, and Scalar, which draws it: the file
// dist/browser/standalone.js of the npm package @scalar/api-reference 1.46.4 (MIT), compressed with
// "gzip -9 -n".
//
//go:embed reference
var reference embed.FS

// referencePolicy lets Scalar put its styles into the page. Scripts and data come from the gateway only.
const referencePolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// mountReference serves the interactive reference: the description of each operation, with a form that
// sends it.
func mountReference(mux *http.ServeMux) {
	serve := func(path, file, contentType string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Type", contentType)
			h.Set("Content-Security-Policy", referencePolicy)
			h.Set("X-Content-Type-Options", "nosniff")
			f, err := reference.Open("reference/" + file)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			defer func() { _ = f.Close() }()
			if !strings.HasSuffix(file, ".gz") {
				_, _ = io.Copy(w, f)
				return
			}
			h.Set("Vary", "Accept-Encoding")
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				h.Set("Content-Encoding", "gzip")
				_, _ = io.Copy(w, f)
				return
			}
			if unpacked, err := gzip.NewReader(f); err == nil {
				_, _ = io.Copy(w, unpacked)
			}
		})
	}
	serve("/api/reference", "page.html", "text/html; charset=utf-8")
	serve("/api/reference/start.js", "start.js", "text/javascript; charset=utf-8")
	serve("/api/reference/scalar.js", "scalar.js.gz", "text/javascript; charset=utf-8")
}
