//go:build slim

package app

import "net/http"

// hasProfiles reports whether this build serves profiles.
const hasProfiles = false

func addProfiles(*http.ServeMux) {}
