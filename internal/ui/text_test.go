package ui

import (
	"strings"
	"testing"
	"time"

	"gaff"
)

func TestVisible(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain äöü 漢字 \n\t": "plain äöü 漢字 \n\t",
		"a\u202eb":          `a\u202eb`,
		"\u2066x\u2069":     `\u2066x\u2069`,
		"zero\u200bwidth":   `zero\u200bwidth`,
		"\x1b[31m":          `\x1b[31m`,
		"bad \xff":          `bad \xff`,
		"\ufffd":            "\ufffd",
	} {
		if got := visible(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestTokensPreserveText(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		`{"a": [1, -2.5e+10, true, null, "text \" with \\ quotes"], "b": {}}`, `"unended`, `{"x":`, ``, `no json at all <b>`, `"\`, `{"a":"b\`,
	} {
		var all strings.Builder
		for _, tk := range tokens(src) {
			all.WriteString(tk.text)
		}
		if all.String() != src {
			t.Errorf("%q became %q", src, all.String())
		}
	}
	kinds := ""
	for _, tk := range tokens(`{"a":"b","c":12,"d":null}`) {
		kinds += tk.kind
	}
	if kinds != "kskn"+"kw" {
		t.Errorf("kinds %q", kinds)
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for d, want := range map[time.Duration]string{
		0: "now", 1500 * time.Millisecond: "1.5 s ago", 90 * time.Second: "1 min ago", 47 * time.Hour: "47 h ago", 49 * time.Hour: "2 d ago", -time.Minute: "in 1 min",
	} {
		if got := ago(now.Add(-d), now); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 100000: "100,000"} {
		if got := number(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

func TestAdviceForEveryRefusal(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401, 404, 413, 503} {
		if advice(&gaff.Rejection{Status: status}) == "" {
			t.Errorf("no advice for %d", status)
		}
	}
}

func TestEditableKeepsTheValue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body, want string
		ok         bool
	}{
		"plain":                {"{\"a\":\"é\"}", "{\"a\":\"é\"}", true},
		"a mark in JSON":       {"{\"a\":\"x\u202ey\"}", `{"a":"x\u202ey"}`, true},
		"a pair in JSON":       {"\"\U000e0001\"", `"\udb40\udc01"`, true},
		"lines of Windows":     {"{\r\n}", "{\n}", true},
		"a mark in other text": {"x\u202ey", "", false},
		"bytes":                {"\xff", "", false},
	} {
		if got, ok := editable([]byte(c.body)); got != c.want || ok != c.ok {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, ok, c.want, c.ok)
		}
	}
}
