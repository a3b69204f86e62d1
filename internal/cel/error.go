package cel

import (
	"fmt"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"

	"gaff/internal/suggest"
)

// Error is a fault of an expression.
type Error struct {
	Problem string
	// Line and Column are the position, from 1; 0 for a fault of the whole expression.
	// Offset is the same position as a number of runes.
	Line, Column, Offset int
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Problem
	}
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Problem)
}

var (
	unknownName = regexp.MustCompile(`^(undeclared reference to|undefined field) '([^']*)'`)
	suggested   = regexp.MustCompile(` \(did you mean '([^']*)'\?\)`) // by CEL, for some
)

// explain adds the known names to an error of CEL about an unknown one.
func (e *Env) explain(text string, issue *cel.Error) *Error {
	line, column := issue.Location.Line(), max(issue.Location.Column(), 0)
	out := &Error{
		Problem: suggested.ReplaceAllString(strings.ReplaceAll(issue.Message, " (in container '')", ""), "; did you mean $1?"),
		Line:    line, Column: column + 1, Offset: offset(text, line) + column,
	}
	found := unknownName.FindStringSubmatch(out.Problem)
	if found == nil || strings.Contains(out.Problem, "did you mean") {
		return out
	}
	known := e.fields
	if found[1] == "undeclared reference to" {
		known = e.variables
	}
	hint := suggest.Hint(found[2], known)
	if hint == "" && found[1] == "undeclared reference to" {
		hint = "; the variables are " + strings.Join(known, ", ")
	}
	out.Problem += hint
	return out
}

// offset returns the number of runes before a line of text; lines count from 1.
func offset(text string, line int) (n int) {
	for i, l := range strings.SplitAfter(text, "\n") {
		if i+1 >= line {
			break
		}
		n += len([]rune(l))
	}
	return n
}
