//go:build !slim

package api_test

import (
	"net/http"
	"strings"
	"testing"
)

// The browser test of the reference is in package ui, which has a browser.
func TestReferenceIsServed(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	page := f.call(http.MethodGet, "/api/reference", "", "")
	if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self';") || !strings.Contains(policy, "connect-src 'self';") {
		t.Errorf("policy %q", policy)
	}
	for _, path := range []string{"/api/reference/start.js", "/api/reference/scalar.js"} {
		res := f.call(http.MethodGet, path, "", "")
		if res.status != http.StatusOK || res.header.Get("Content-Encoding") != "" || !strings.Contains(res.body, "createApiReference") {
			t.Errorf("%s: status %d, encoding %q, %d bytes", path, res.status, res.header.Get("Content-Encoding"), len(res.body))
		}
	}
}
