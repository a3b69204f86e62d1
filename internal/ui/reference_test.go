package ui_test

import (
	"testing"
)

// The reference has each operation, sends one with a token, and loads nothing from other hosts (open
// checks that of every window).
func TestAPIReference(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	win := w.open(t, 1280, 900, false)
	win.goTo("/api/reference")
	win.eventually("the operations", `document.body.innerText.includes("List events, newest first") && document.body.innerText.includes("Test Request")`)
	win.shot("reference")
}
