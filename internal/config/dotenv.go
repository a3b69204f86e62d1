package config

import "strings"

// variable is one assignment of a .env file.
type variable struct {
	name, value string
	line        int // of its name, from 1
}

// dotEnvFault is a line that is not an assignment. It does not quote the line, which may
// contain a secret.
type dotEnvFault struct {
	line    int
	problem string
}

// parseDotEnv reads NAME=VALUE lines. "export " in front, spaces around the equals sign, blank
// lines and comments (# at the beginning of a line, or after white space) are allowed.
// A value in single quotes is literal; in double quotes \n, \r, \t, \\, \" and \$ are escapes.
// Quoted values may have several lines. $NAME is not substituted. If a name is set twice, the
// last one counts.
func parseDotEnv(text string) (vars []variable, faults []dotEnvFault) {
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for line := 1; text != ""; line++ {
		row, rest, _ := strings.Cut(text, "\n")
		before, after, assigned := strings.Cut(row, "=")
		whole := text
		text = rest
		if row = strings.TrimSpace(row); row == "" || row[0] == '#' {
			continue
		}
		name := strings.TrimSpace(before)
		if word, rest, ok := strings.Cut(name, " "); ok && word == "export" {
			name = strings.TrimSpace(rest)
		}
		if !assigned || !isVariable(name) {
			faults = append(faults, dotEnvFault{line, "is not an assignment; write NAME=VALUE"})
			continue
		}
		value := strings.TrimLeft(after, " \t")
		if value == "" || value[0] != '"' && value[0] != '\'' {
			vars = append(vars, variable{name, cutComment(value), line})
			continue
		}
		// The quote may close on a later line: continue from it in the whole text.
		quoted := whole[len(before)+1+len(after)-len(value):]
		inner, tail, closed := cutQuoted(quoted)
		if !closed {
			// It is unknown which lines were meant to be inside it.
			return vars, append(faults, dotEnvFault{line, "the quote of " + name + " is not closed"})
		}
		start := line
		line += strings.Count(quoted[:len(quoted)-len(tail)], "\n")
		tail, text, _ = strings.Cut(tail, "\n")
		if tail = strings.TrimSpace(tail); tail != "" && tail[0] != '#' {
			faults = append(faults, dotEnvFault{line, "text follows the closing quote of " + name})
			continue
		}
		vars = append(vars, variable{name, inner, start})
	}
	return vars, faults
}

// isVariable reports whether name can be a variable's.
func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// cutComment removes a comment: a # at the beginning or after white space.
func cutComment(value string) string {
	for i := range len(value) {
		if value[i] == '#' && (i == 0 || value[i-1] == ' ' || value[i-1] == '\t') {
			value = value[:i]
			break
		}
	}
	return strings.TrimSpace(value)
}

var escapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', '\\': '\\', '"': '"', '$': '$'}

// cutQuoted reads the quoted text at the beginning of text.
func cutQuoted(text string) (inner, after string, closed bool) {
	quote := text[0]
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			return b.String(), text[i+1:], true
		case c == '\\' && quote == '"' && i+1 < len(text):
			i++
			if e, known := escapes[text[i]]; known {
				b.WriteByte(e)
			} else {
				b.WriteByte('\\')
				b.WriteByte(text[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}
