// Package fuzzseed makes more seeds of a fuzz target's own, so that a plain "go test" tries
// some hundred new inputs at each run. "make fuzz" looks further, guided by coverage.
package fuzzseed

import (
	"bytes"
	"math/rand/v2"
	"strings"
)

// perSeed is how many variations there are of each seed.
const perSeed = 40

// pieces are what parsers stumble over.
var pieces = []string{
	`"`, `\`, `\u0000`, `\ud800`, "\x00", "\xff", "\xc3", "\ufeff", "\u2028", "{", "}", "[", "]", ":", ",", "=", "&", "%", "%00", "%zz", ";", "/", "~", "~2",
	"-", "-0", "0", "00", "1e400", "9223372036854775808", "18446744073709551616", "0.1", ".", "null", "true", "NaN", "\r", "\n", "\r\n", "\t", " ", "#", "$", "'",
	strings.Repeat("[", 200), strings.Repeat("9", 400), strings.Repeat(`{"a":`, 50), strings.Repeat("a", 3000), "https://", "data:", "sha256=", "v1=", "t=",
}

// Vary returns variations of the texts, other ones each time.
func Vary(texts ...string) []string {
	var all []string
	for _, text := range texts {
		for range perSeed {
			b := []byte(text)
			for range 1 + rand.IntN(4) {
				b = change(b, texts)
			}
			all = append(all, string(b))
		}
	}
	return all
}

func change(b []byte, others []string) []byte {
	from := rand.IntN(len(b) + 1)
	to := from + rand.IntN(len(b)-from+1)
	switch rand.IntN(7) {
	case 0: // a bit
		if from < len(b) {
			b[from] ^= 1 << rand.IntN(8)
		}
		return b
	case 1: // a piece more
		return join(b[:from], []byte(pieces[rand.IntN(len(pieces))]), b[from:])
	case 2: // a piece in place of another
		return join(b[:from], []byte(pieces[rand.IntN(len(pieces))]), b[to:])
	case 3: // cut out
		return join(b[:from], b[to:])
	case 4: // twice
		return join(b[:to], b[from:])
	case 5: // cut off
		return b[:from]
	}
	// the end of another
	other := []byte(others[rand.IntN(len(others))])
	return join(b[:from], other[rand.IntN(len(other)+1):])
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
