package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"gaff/internal/wire"
)

// unsafeRune tells whether a sign could steer a terminal or turn text around in it.
func unsafeRune(r rune) bool {
	return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
}

// clean makes strangers' text fit for one line of a terminal: what could steer it is
// written as Go would.
func clean[S ~string](text S) string { return cleanBut(string(text), "") }

// cleanLines is clean for text of several lines.
func cleanLines(text string) string {
	return cleanBut(strings.ReplaceAll(text, "\r\n", "\n"), "\n\t")
}

func cleanBut(text, keep string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && text[i] != 0xEF:
			fmt.Fprintf(&b, `\x%02x`, text[i]) // a byte that is no UTF-8
		case !unsafeRune(r) || strings.ContainsRune(keep, r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// cut shortens cleaned text to a number of runes.
func cut[S ~string](uncleaned S, most int) string {
	text := clean(uncleaned)
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// stamp writes a time for people: local, to the second. The zero time is "-".
func stamp(t wire.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.RFC3339)
}

func orDash[S ~string](text S) string {
	if text == "" {
		return "-"
	}
	return string(text)
}

// writeJSON writes v in one line. Signs that could steer a terminal are escaped, which
// changes nothing of what the JSON says.
func writeJSON(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return writeRawJSON(w, text)
}

func writeRawJSON(w io.Writer, text json.RawMessage) error {
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	var b strings.Builder
	for _, r := range line.String() {
		switch {
		case !unsafeRune(r):
			b.WriteRune(r)
		case r > 0xffff:
			r1, r2 := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			fmt.Fprintf(&b, `\u%04x\u%04x`, r1, r2)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// table writes aligned columns. Cells must be clean.
type table struct{ tw *tabwriter.Writer }

func newTable(w io.Writer, heads ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(heads) > 0 {
		t.row(heads...)
	}
	return t
}

func (t table) row(cells ...string) { fmt.Fprintln(t.tw, strings.Join(cells, "\t")) }

// pair is a row of a name and a value; nothing is written for an empty value.
func (t table) pair(name, value string) {
	if value != "" {
		t.row(name, value)
	}
}

func (t table) flush() error { return t.tw.Flush() }

// progress tells on the error stream how far a long piece of work is: in one line that
// is written over on a terminal, else in a line for each tenth.
type progress struct {
	w                   io.Writer
	terminal            bool
	total, done, failed int
}

func (g *progress) step(ok bool) {
	g.done++
	if !ok {
		g.failed++
	}
	switch tenth := max(g.total/10, 1); {
	case g.total < 2:
	case g.terminal:
		fmt.Fprintf(g.w, "\r%d/%d, %d failed", g.done, g.total, g.failed)
	case g.total >= 20 && (g.done%tenth == 0 || g.done == g.total):
		fmt.Fprintf(g.w, "%d/%d, %d failed\n", g.done, g.total, g.failed)
	}
}

// say writes a line between the steps.
func (g *progress) say(format string, args ...any) {
	if g.terminal {
		fmt.Fprint(g.w, "\r\x1b[K")
	}
	fmt.Fprintf(g.w, format+"\n", args...)
}

func (g *progress) end() {
	if g.terminal && g.total >= 2 {
		fmt.Fprintln(g.w)
	}
}

// confirm asks a person; no answer is no.
func confirm(in io.Reader, out io.Writer, question string) bool {
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}

// writeIndented writes JSON for people.
func writeIndented[R ~[]byte](w io.Writer, text R) error {
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	_, err := fmt.Fprintln(w, cleanLines(b.String()))
	return err
}
