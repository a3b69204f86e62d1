// Package suggest finds the name that a misspelled one was meant to be.
package suggest

import "strings"

// maxEdits is the largest number of wrong letters for which a name is suggested.
const maxEdits = 2

// Nearest returns the known name that differs least from name, ignoring case; empty if none
// is near.
func Nearest(name string, known []string) string {
	best, least := "", maxEdits+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least && d < len(k) && k != name {
			best, least = k, d
		}
	}
	return best
}

// Hint returns "; did you mean NAME?" with the nearest known name; empty if none is near.
func Hint(name string, known []string) string {
	if near := Nearest(name, known); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// distance returns the Levenshtein distance of two words, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
