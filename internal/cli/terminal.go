package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
	"golang.org/x/text/width"
)

// display is how lists are shown. The zero value is for programs: every column, whole cells, and
// times as RFC 3339.
type display struct {
	// people is for for a person: relative times, no empty columns.
	people bool
	color  bool
	// width is the number of columns of the terminal; 0 means that lines may have any length.
	width int
	now   time.Time
}

// display returns how to show lists on the standard output.
func (p *program) display() display {
	if !p.terminal(p.Stdout) {
		return display{}
	}
	return display{
		people: true, color: p.variable("NO_COLOR") == "" && p.variable("TERM") != "dumb",
		width: p.terminalWidth(), now: p.now(),
	}
}

func (p *program) terminalWidth() int {
	if n, err := strconv.Atoi(p.variable("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if f, ok := p.Stdout.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil {
			return n
		}
	}
	return 0
}

// variable returns a variable of the environment that is not a setting; empty if it is unset.
func (p *program) variable(name string) (value string) {
	for _, line := range p.Environ {
		if text, ok := strings.CutPrefix(line, name+"="); ok {
			value = text
		}
	}
	return value
}

// sheet is a list with a head for each column. Cells must be clean.
type sheet struct {
	heads []string
	rows  [][]string
}

const (
	// gap is the space between two columns.
	gap = 2
	// narrowest is the width to which a column is shortened at most.
	narrowest = 8
)

func newSheet(heads ...string) *sheet { return &sheet{heads: heads} }

func (s *sheet) row(cells ...string) { s.rows = append(s.rows, cells) }

// check reports names that are not of a column.
func (s *sheet) check(names []string) error {
	for _, name := range names {
		if s.column(name) < 0 {
			return usagef("unknown column %q in --columns: want some of %s", name, strings.ToLower(strings.Join(s.heads, ",")))
		}
	}
	return nil
}

// column returns the place of a column, or -1. Names may be in lower case.
func (s *sheet) column(name string) int {
	return slices.IndexFunc(s.heads, func(head string) bool { return strings.EqualFold(head, strings.TrimSpace(name)) })
}

// choose keeps the named columns, in the order of the names.
func (s *sheet) choose(names []string) {
	var chosen []int
	for _, name := range names {
		chosen = append(chosen, s.column(name))
	}
	s.keep(chosen)
}

func (s *sheet) keep(columns []int) {
	s.heads = pick(s.heads, columns)
	for i, row := range s.rows {
		s.rows[i] = pick(row, columns)
	}
}

func pick(cells []string, chosen []int) []string {
	kept := make([]string, len(chosen))
	for i, at := range chosen {
		kept[i] = cells[at]
	}
	return kept
}

// dropEmpty drops the columns in which no row has a value.
func (s *sheet) dropEmpty() {
	var kept []int
	for i := range s.heads {
		if len(s.rows) == 0 || slices.ContainsFunc(s.rows, func(row []string) bool { return row[i] != "" && row[i] != "-" }) {
			kept = append(kept, i)
		}
	}
	s.keep(kept)
}

// showList prints a sheet, or the chosen columns of it. whole shows a person what a program gets.
func (p *program) showList(s *sheet, columns []string, whole bool) error {
	d := p.display()
	if whole {
		d.people, d.width = false, 0
	}
	switch {
	case len(columns) > 0:
		s.choose(columns)
	case d.people:
		s.dropEmpty()
	}
	return s.write(p.Stdout, d)
}

// show prints a sheet.
func (p *program) show(s *sheet) error { return p.showList(s, nil, false) }

// write writes the sheet. Times are relative for people.
func (s *sheet) write(w io.Writer, d display) error {
	if d.people {
		for _, row := range s.rows {
			for i, cell := range row {
				if t, err := time.Parse(time.RFC3339, cell); err == nil {
					row[i] = ago(d.now, t)
				}
			}
		}
	}
	widths := make([]int, len(s.heads))
	for _, row := range append([][]string{s.heads}, s.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], textWidth(cell))
		}
	}
	if d.width > 0 {
		shrink(widths, s.shrinkable(), d.width)
	}
	var b strings.Builder
	for i, row := range append([][]string{s.heads}, s.rows...) {
		writeRow(&b, row, s.heads, widths, d.color && i > 0)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeRow(b *strings.Builder, row, heads []string, widths []int, color bool) {
	last := len(row) - 1
	for last >= 0 && row[last] == "" {
		last--
	}
	for i, cell := range row[:last+1] {
		code := ""
		if color && isState(heads[i]) {
			code = colors[cell]
		}
		cell = fit(cell, widths[i])
		padding := ""
		if i < last {
			padding = strings.Repeat(" ", widths[i]-textWidth(cell)+gap)
		}
		if code != "" {
			cell = "\x1b[" + code + "m" + cell + "\x1b[0m"
		}
		b.WriteString(cell + padding)
	}
	b.WriteByte('\n')
}

// colors are the ANSI colors of states: green for success, red for failure, yellow for work that is
// going on, gray for work that was given up.
var colors = map[string]string{
	"completed": "32", "success": "32", "succeeded": "32", "stored": "32", "published": "32", "resolved": "32",
	"failed": "31", "error": "31", "dead": "31", "open": "31", "gone": "31",
	"queued": "33", "processing": "33", "pending": "33", "running": "33", "retrying": "33", "scheduled": "33", "acknowledged": "33",
	"cancelled": "90", "canceled": "90", "ignored": "90", "none": "90",
}

// shrinkable reports for each column whether its cells may be shortened: not ids, which are copied,
// nor states.
func (s *sheet) shrinkable() []bool {
	may := make([]bool, len(s.heads))
	for i, head := range s.heads {
		may[i] = i > 0 && !isState(head)
	}
	return may
}

func isState(head string) bool { return head == "STATUS" || head == "STATE" || head == "STORAGE" }

// shrink shortens the widest columns, of those that may be, until a line fits into a width.
func shrink(widths []int, may []bool, most int) {
	total := gap * (len(widths) - 1)
	for _, n := range widths {
		total += n
	}
	for ; total > most; total-- {
		widest := -1
		for i := range widths {
			if may[i] && widths[i] > narrowest && (widest < 0 || widths[i] >= widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// fit shortens a text to a width.
func fit(text string, most int) string {
	if textWidth(text) <= most {
		return text
	}
	var b strings.Builder
	for used := 1; text != ""; {
		r, size := utf8.DecodeRuneInString(text)
		if used += runeWidth(r); used > most {
			break
		}
		b.WriteRune(r)
		text = text[size:]
	}
	return b.String() + "…"
}

func textWidth(text string) (n int) {
	for _, r := range text {
		n += runeWidth(r)
	}
	return n
}

// runeWidth returns how many columns of a terminal a character takes.
func runeWidth(r rune) int {
	if kind := width.LookupRune(r).Kind(); kind == width.EastAsianWide || kind == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

// ago writes a time relative to now: "2m ago", "in 3h". Times more than four weeks away are dates.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	var text string
	switch abs := d.Abs(); {
	case abs < time.Second:
		return "now"
	case abs < time.Minute:
		text = fmt.Sprintf("%ds", abs/time.Second)
	case abs < time.Hour:
		text = fmt.Sprintf("%dm", abs/time.Minute)
	case abs < 48*time.Hour:
		text = fmt.Sprintf("%dh", abs/time.Hour)
	case abs < 28*24*time.Hour:
		text = fmt.Sprintf("%dd", abs/(24*time.Hour))
	default:
		return t.Local().Format(time.DateOnly)
	}
	if d < 0 {
		return "in " + text
	}
	return text + " ago"
}

// remaining estimates how long the rest of some work takes, by the rate since it began; empty
// before anything was done.
func remaining(began, now time.Time, done, total int) string {
	took := now.Sub(began)
	if done <= 0 || done >= total || took < time.Second {
		return ""
	}
	rate := float64(done) / took.Seconds()
	left := time.Duration(float64(total-done) / rate * float64(time.Second))
	return fmt.Sprintf(", %.3g/s, %s left", rate, cmp.Or(left.Round(time.Second), time.Second))
}
