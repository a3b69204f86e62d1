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
	"unicode/utf8"

	"gaff/internal/shell"
	"gaff/internal/wire"
)

// clean makes untrusted text safe for one line of a terminal: control characters are escaped as in
// Go.
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
			fmt.Fprintf(&b, `\x%02x`, text[i]) // a byte that is not UTF-8
		case !shell.Steers(r) || strings.ContainsRune(keep, r):
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

// writeJSON writes v in one line. Control characters are escaped, which does not change the value.
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
	_, err := io.WriteString(w, shell.EscapeJSON(line.String())+"\n")
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

// pair writes a row of a name and a value, but nothing if the value is empty.
func (t table) pair(name, value string) {
	if value != "" {
		t.row(name, value)
	}
}

func (t table) flush() error { return t.tw.Flush() }

// progress reports the progress of long work on the error stream: on a terminal in one line that is
// overwritten, otherwise in a line for each tenth.
type progress struct {
	w                   io.Writer
	terminal            bool
	began               time.Time
	now                 func() time.Time
	total, done, failed int
}

func (p *program) progress(total int) progress {
	return progress{w: p.Stderr, terminal: p.terminal(p.Stderr), began: p.now(), now: p.now, total: total}
}

func (g *progress) step(ok bool) {
	g.done++
	if !ok {
		g.failed++
	}
	switch tenth := max(g.total/10, 1); {
	case g.total < 2:
	case g.terminal:
		fmt.Fprintf(g.w, "\r\x1b[K%s", g)
	case g.total >= 20 && (g.done%tenth == 0 || g.done == g.total):
		fmt.Fprintln(g.w, g)
	}
}

// String is such as "30/100, 0 failed, 15/s, 5s left".
func (g *progress) String() string {
	return fmt.Sprintf("%d/%d, %d failed%s", g.done, g.total, g.failed, remaining(g.began, g.now(), g.done, g.total))
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

// confirm asks a yes-or-no question; an empty answer is no.
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
	_, err := fmt.Fprintln(w, shell.EscapeJSON(b.String()))
	return err
}

// part is a JSON value of a document, printed under its name.
type part struct {
	name string
	text wire.JSON
}

// writeParts prints the parts that are not empty, each after the text before.
func (p *program) writeParts(before string, parts ...part) error {
	for _, one := range parts {
		if len(one.text) == 0 {
			continue
		}
		fmt.Fprintf(p.Stdout, "%s%s:\n", before, one.name)
		if err := writeIndented(p.Stdout, one.text); err != nil {
			return err
		}
	}
	return nil
}
