package yamlfile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func bomb(levels int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < levels; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	return b.String()
}

func TestParseRefusesWhatGrowsBeforeItGrows(t *testing.T) {
	t.Parallel()
	const many = 30_000
	stairs := func(step string) string {
		var b strings.Builder
		for i := range 400 {
			b.WriteString(strings.Repeat(" ", i) + step + "\n")
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"aliases of aliases":   bomb(12),
		"merged aliases":       "a: &a {x: 1}\n" + strings.ReplaceAll(bomb(9), "[*a", "[<<, *a"),
		"aliases of long text": "a: &a " + strings.Repeat("x", 100_000) + "\nb: [" + strings.TrimSuffix(strings.Repeat("*a, ", 1000), ", ") + "]\n",
		"flow lists":           strings.Repeat("[", many),
		"closed flow lists":    strings.Repeat("[", many) + strings.Repeat("]", many),
		"flow maps":            strings.Repeat("{a: ", many),
		"entries on a line":    strings.Repeat("- ", many) + "x",
		"keys on a line":       strings.Repeat("? ", many) + "x",
		"indented keys":        stairs("a:"),
		"indented entries":     stairs("-"),
		"tags":                 strings.Repeat("!!a ", many) + "x",
		"anchors":              strings.Repeat("&a ", many) + "x",
		"long":                 strings.Repeat("a", 1<<20+1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, err := Parse([]byte(text), 1<<20)
			if f := (*Fault)(nil); !errors.As(err, &f) {
				t.Errorf("got %v, want a fault", err)
			}
			t.Log(time.Since(began))
		})
	}
}

func TestParseTakesAliases(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"a: &a {x: [1, 2]}\nb: *a\nc: {<<: *a, y: 3}\n",
		"a: &a [*a]\n",
		"- &x !!str text\n- *x\n",
		strings.Repeat("- a: {b: [c]}\n", 5000),
		"",
	} {
		if _, err := Parse([]byte(text), 1<<20); err != nil {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{bomb(3), "a: &a [1]\nb: *a\n", "? - x\n: !!t {<<: *y}", "--- |\n a\n...\n--- >\n"} {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = Parse([]byte(text), 1<<16)
	})
}

func TestParseSaysThatTabsDoNotIndent(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a:\n\tb: 1\n", "\ta: 1\n", "a:\n  - b\n\t- c\n", "a: |\n  x\n\ty\n"} {
		_, err := Parse([]byte(text), 1000)
		f, ok := errors.AsType[*Fault](err)
		if !ok || f.Problem != "a tab is not allowed here; indent with spaces" || f.Line != strings.Count(text[:strings.IndexByte(text, '\t')], "\n")+1 {
			t.Errorf("%q: %v", text, err)
		}
	}
}
