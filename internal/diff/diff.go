// Package diff compares two texts, and two attempts of a delivery.
package diff

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gaff"
)

// Change is a difference between an attempt and the previous one.
type Change struct {
	// Field is outcome, error, duration, detail, or a member of a JSON detail, such as
	// response.status.
	Field string
	// From and To are the values as text; empty if missing.
	From, To string
}

// Attempts returns the differences between two consecutive attempts. It ignores differences of
// every attempt: times and signatures of requests, headers that number responses, and durations
// that differ by less than a factor of two.
func Attempts(before, after gaff.Attempt) []Change {
	var out []Change
	compare := func(field, from, to string) {
		if from != to {
			out = append(out, Change{field, from, to})
		}
	}
	compare("outcome", before.Outcome, after.Outcome)
	compare("error", before.Error, after.Error)
	if short, long := min(before.Duration, after.Duration), max(before.Duration, after.Duration); long >= 2*short && long-short >= leastLonger {
		compare("duration", before.Duration.Round(time.Millisecond).String(), after.Duration.Round(time.Millisecond).String())
	}
	from, ok := members(before.Detail)
	to, ok2 := members(after.Detail)
	if !ok || !ok2 {
		compare("detail", before.Detail, after.Detail)
		return out
	}
	all := maps.Clone(from)
	maps.Copy(all, to)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if telling(name) {
			compare(name, from[name], to[name])
		}
	}
	return out
}

// leastLonger is the smallest difference of durations that is reported.
const leastLonger = 100 * time.Millisecond

// members returns the values of an attempt's JSON detail by path; an empty detail has none.
func members(detail string) (map[string]string, bool) {
	if detail == "" {
		return map[string]string{}, true
	}
	var root map[string]any
	d := json.NewDecoder(strings.NewReader(detail))
	d.UseNumber()
	if d.Decode(&root) != nil || root == nil {
		return nil, false
	}
	out := make(map[string]string)
	var walk func(prefix string, object map[string]any)
	walk = func(prefix string, object map[string]any) {
		for name, value := range object {
			switch v := value.(type) {
			case map[string]any:
				walk(prefix+name+".", v)
			case nil:
			case []any:
				text, _ := json.Marshal(v)
				out[prefix+name] = string(text)
			default:
				out[prefix+name] = fmt.Sprint(v)
			}
		}
	}
	walk("", root)
	return out, true
}

// telling reports whether a member of the detail is worth comparing.
func telling(name string) bool {
	if header, ok := strings.CutPrefix(name, "response.headers."); ok {
		return slices.Contains([]string{"content-type", "location", "retry-after", "server"}, strings.ToLower(header))
	}
	return name != "durationMs" && !strings.HasPrefix(name, "request.headers.")
}

// Line is a line of a diff. Op is " " for a line of both texts, "-" for one of the first only, "+"
// for one of the second only, and "…" for omitted common lines.
type Line struct{ Op, Text string }

// maxWork bounds a comparison: lines of one text times lines of the other.
const maxWork = 4_000_000

// Lines compares two texts by lines, with three lines of context. It returns no lines for equal
// texts. ok is false if the texts are too long.
func Lines(a, b string) (lines []Line, ok bool) {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	head := 0
	for head < len(x) && head < len(y) && x[head] == y[head] {
		head++
	}
	tail := 0
	for tail < len(x)-head && tail < len(y)-head && x[len(x)-1-tail] == y[len(y)-1-tail] {
		tail++
	}
	mx, my := x[head:len(x)-tail], y[head:len(y)-tail]
	if len(mx)*len(my) > maxWork {
		return nil, false
	}
	add := func(op string, texts ...string) {
		for _, text := range texts {
			lines = append(lines, Line{op, text})
		}
	}
	add(" ", x[:head]...)
	// The longest common lines, from the end.
	width := len(my) + 1
	common := make([]int32, (len(mx)+1)*width)
	for i := len(mx) - 1; i >= 0; i-- {
		for j := len(my) - 1; j >= 0; j-- {
			if mx[i] == my[j] {
				common[i*width+j] = common[(i+1)*width+j+1] + 1
			} else {
				common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(mx) && j < len(my) {
		switch {
		case mx[i] == my[j]:
			add(" ", mx[i])
			i, j = i+1, j+1
		case common[(i+1)*width+j] >= common[i*width+j+1]:
			add("-", mx[i])
			i++
		default:
			add("+", my[j])
			j++
		}
	}
	add("-", mx[i:]...)
	add("+", my[j:]...)
	add(" ", x[len(x)-tail:]...)
	return fold(lines), true
}

// fold omits common lines except three around each change.
func fold(lines []Line) []Line {
	const around = 3
	keep := make([]bool, len(lines))
	for i, l := range lines {
		if l.Op != " " {
			for k := max(i-around, 0); k <= min(i+around, len(lines)-1); k++ {
				keep[k] = true
			}
		}
	}
	var out []Line
	skipped := 0
	gap := func() {
		if skipped == 1 {
			out = append(out, Line{"…", "1 equal line"})
		} else if skipped > 1 {
			out = append(out, Line{"…", fmt.Sprintf("%d equal lines", skipped)})
		}
		skipped = 0
	}
	for i, l := range lines {
		if !keep[i] {
			skipped++
			continue
		}
		gap()
		out = append(out, l)
	}
	if len(out) > 0 {
		gap()
	}
	return out
}
