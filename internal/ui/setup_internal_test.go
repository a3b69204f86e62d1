package ui

import (
	"strings"
	"testing"
)

// Logs, which a script makes of an event, are text in the page.
func TestPreviewEscapesLogs(t *testing.T) {
	t.Parallel()
	for log, want := range map[string]string{
		"<script>alert(1)</script>": "&lt;script&gt;alert(1)&lt;/script&gt;",
		"a\x00b\x1b[31m":            `a\x00b\x1b[31m`,
		"\u202eabc":                 `\u202eabc`,
		"{\"<b>\": \"\u202e\"}":     `&lt;b&gt;`,
	} {
		var b strings.Builder
		if err := previewOf(previewedEvent{ID: "evt_1", Logs: []string{log}}).Render(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		if page := b.String(); !strings.Contains(page, want) || strings.Contains(page, "<b>") || strings.ContainsAny(page, "\x00\x1b\u202e") {
			t.Errorf("%q: the page lacks %q:\n%s", log, want, page)
		}
	}
}
