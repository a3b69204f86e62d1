package erase

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Matcher finds the texts that name a user or a project.
//
// A distinctive id is found anywhere, if no letter, digit, "_" or "-" is directly before or behind
// it. Another one, such as "42" or "website", would be found in unrelated texts: it counts only as
// the value of a JSON member or a form field whose name contains the kind, such as "user_id" or
// "projectId".
type Matcher struct {
	forms [][]byte       // the id as it may be written
	named *regexp.Regexp // the id as a value, in groups; nil for a distinctive id
	// longer are other ids, such as those of jobs, that contain the id.
	longer [][]byte
}

// With returns a matcher that also finds those of other ids that contain the id.
func (m *Matcher) With(id string, others []string) *Matcher {
	with := *m
	for _, other := range others {
		if other != id && strings.Contains(other, id) {
			with.longer = append(with.longer, []byte(other))
		}
	}
	return &with
}

// Distinctive reports whether an id is unlikely to be part of an unrelated text: it has at least
// six bytes, and among them a digit, "_" or "@", or at least sixteen.
func Distinctive(id string) bool {
	return len(id) >= 16 || len(id) >= 6 && strings.ContainsAny(id, "0123456789_@")
}

// NewMatcher returns the matcher for the id of a user or a project.
func NewMatcher(t Target) *Matcher {
	if !Distinctive(t.ID) {
		words := map[Kind]string{User: "user|owner|customer|account", Project: "project"}[t.Kind]
		id := `(` + regexp.QuoteMeta(t.ID) + `)`
		return &Matcher{named: regexp.MustCompile(`"[^"]{0,40}(?i:` + words + `)[^"]{0,40}"\s*:\s*(?:"` + id + `"|` + id + `(?:[\s,}\]]|$))` +
			`|(?:^|[?&])[^=&]{0,40}(?i:` + words + `)[^=&]{0,40}=` + id + `(?:[&\s"]|$)` +
			`|"k":"project","r":"` + id + `"`)} // in the change log
	}
	m := &Matcher{forms: [][]byte{[]byte(t.ID)}}
	text, _ := json.Marshal(t.ID)
	for _, form := range []string{strings.Trim(string(text), `"`), queryForm(t.ID)} {
		if form != t.ID {
			m.forms = append(m.forms, []byte(form))
		}
	}
	return m
}

// queryForm is an id as URLs and forms have it.
func queryForm(id string) string {
	var b strings.Builder
	for _, c := range []byte(id) {
		if isWord(rune(c)) || c == '.' || c == '~' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte("0123456789ABCDEF"[c>>4])
		b.WriteByte("0123456789ABCDEF"[c&15])
	}
	return b.String()
}

func isWord(r rune) bool {
	return r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= utf8.RuneSelf
}

// In reports whether a text names the target.
func (m *Matcher) In(text []byte) bool {
	if len(text) == 0 {
		return false
	}
	if m.plainly(text) {
		return true
	}
	return bytes.Contains(text, []byte(`\`)) && m.plainly(unescape(text))
}

// InText is In.
func (m *Matcher) InText(text string) bool { return m.In([]byte(text)) }

func (m *Matcher) plainly(text []byte) bool {
	if m.named != nil && m.named.Match(text) {
		return true
	}
	for _, form := range slices.Concat(m.forms, m.longer) {
		if at, _ := next(text, form, 0); at >= 0 {
			return true
		}
	}
	return false
}

// next returns the place of the next whole occurrence of a form from a place on, and its end; -1
// without one.
func next(text, form []byte, from int) (at, end int) {
	for {
		i := bytes.Index(text[from:], form)
		if i < 0 {
			return -1, -1
		}
		at, end = from+i, from+i+len(form)
		before, _ := utf8.DecodeLastRune(text[:at])
		behind, _ := utf8.DecodeRune(text[end:])
		if (at == 0 || !isWord(before) || before == utf8.RuneError) && (end == len(text) || !isWord(behind) || behind == utf8.RuneError) {
			return at, end
		}
		from = at + 1
	}
}

// Replace returns the text with the pseudonym in place of the id.
func (m *Matcher) Replace(text []byte, pseudonym string) []byte {
	if m.named != nil {
		var out []byte
		from := 0
		for _, at := range m.named.FindAllSubmatchIndex(text, -1) {
			for i := 2; i < len(at); i += 2 {
				if at[i] >= from {
					out = append(append(out, text[from:at[i]]...), pseudonym...)
					from = at[i+1]
				}
			}
		}
		text = append(out, text[from:]...)
	}
	for _, form := range slices.Concat(m.longer, m.forms) {
		var out []byte
		from := 0
		for {
			at, end := next(text, form, from)
			if at < 0 {
				break
			}
			out = append(append(out, text[from:at]...), pseudonym...)
			from = end
		}
		text = append(out, text[from:]...)
	}
	return text
}

// unescape replaces the escapes of JSON strings by what they mean.
func unescape(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			out = append(out, text[i])
			continue
		}
		i++
		r, ok := hexRune(text, i)
		if !ok {
			out = append(out, text[i])
			continue
		}
		i += 4
		if utf16.IsSurrogate(r) && i+2 < len(text) && text[i+1] == '\\' {
			if low, ok := hexRune(text, i+2); ok {
				r, i = utf16.DecodeRune(r, low), i+6
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// hexRune reads u and four hex digits.
func hexRune(text []byte, at int) (r rune, ok bool) {
	if at+5 > len(text) || text[at] != 'u' {
		return 0, false
	}
	for _, c := range text[at+1 : at+5] {
		d := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
		if d < 0 {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}
