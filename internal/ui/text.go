package ui

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gaff/internal/excerpt"
	"gaff/internal/shell"
)

// invisible reports whether a character is shown as nothing, or changes how others are shown. Line
// breaks and tabs are not.
func invisible(r rune) bool {
	return r != '\n' && r != '\t' && shell.Steers(r)
}

// visible escapes invisible characters: control characters, and marks that change the text's
// direction. It does not escape HTML; templ does.
func visible(text string) string {
	if utf8.ValidString(text) && strings.IndexFunc(text, invisible) < 0 {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && text[i] != 0xEF:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case !invisible(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// editable returns a body for a form, in which it can be changed; ok is false if it cannot be shown
// whole. Invisible characters of JSON become escapes, which keeps their value; other text that has some
// is not offered, since a browser would send back what the form shows.
func editable(body []byte) (text string, ok bool) {
	if !utf8.Valid(body) {
		return "", false
	}
	text = strings.ReplaceAll(string(body), "\r\n", "\n") // as a browser sends it back
	if strings.IndexFunc(text, invisible) < 0 {
		return text, true
	}
	if !json.Valid(body) {
		return "", false
	}
	return shell.EscapeJSON(text), true
}

// clip is [excerpt.Text], for templates.
func clip(text string, most int) string { return excerpt.Text(text, most) }

// ago formats a time relative to now, such as "5 min ago" or "in 2 h".
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	if d < 0 {
		return "in " + span(-d)
	}
	if d < time.Second {
		return "now"
	}
	return span(d) + " ago"
}

// span formats a duration in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " µs"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " d"
}

// number formats 1234567 as 1,234,567.
func number[N int | int64](n N) string {
	text := strconv.FormatInt(int64(n), 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// size formats a number of bytes.
func size(n int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for v >= 1000 && i < len(units)-1 {
		v /= 1000
		i++
	}
	if i == 0 || v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64) + " " + units[i]
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i]
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// exact formats a time to the millisecond, in UTC.
func exact(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }

func iso(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func readJSON(text []byte, to any) error { return json.Unmarshal(text, to) }

// maxShown bounds the bytes of a body on a page; the whole body can be downloaded.
const maxShown = 128 << 10

// pretty indents JSON. It returns raw and false if raw is not JSON.
func pretty(raw []byte) (text []byte, ok bool) {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return raw, false
	}
	return b.Bytes(), true
}

// token is a piece of JSON with its kind: k (key), s (string), n (number), w (word), or none.
type token struct{ kind, text string }

// tokens splits indented JSON for colouring. It never fails: unknown pieces have no kind.
func tokens(src string) []token {
	var out []token
	plain := 0
	flush := func(to int) {
		if to > plain {
			out = append(out, token{"", src[plain:to]})
		}
	}
	for i := 0; i < len(src); {
		start := i
		var kind string
		switch ch := src[i]; {
		case ch == '"':
			for i++; i < len(src) && src[i] != '"'; i++ {
				if src[i] == '\\' {
					i++
				}
			}
			i = min(i+1, len(src))
			kind = "s"
			if strings.HasPrefix(src[i:], ":") {
				kind = "k"
			}
		case ch == '-' || ch >= '0' && ch <= '9':
			for i++; i < len(src) && strings.IndexByte("0123456789.eE+-", src[i]) >= 0; i++ {
			}
			kind = "n"
		case ch >= 'a' && ch <= 'z':
			for i++; i < len(src) && src[i] >= 'a' && src[i] <= 'z'; i++ {
			}
			kind = "w"
		default:
			i++
			continue
		}
		flush(start)
		out = append(out, token{kind, visible(src[start:i])})
		plain = i
	}
	flush(len(src))
	return out
}

// shown is a body as shown on a page.
type shown struct {
	Tokens []token
	// JSON is true for indented JSON, Binary for a body that is not text.
	JSON, Binary bool
	// Size is the number of bytes of the body, Cut the number of bytes left out.
	Size, Cut int
}

func show(body []byte, raw bool) shown {
	s := shown{Size: len(body)}
	if !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0 {
		s.Binary = true
		return s
	}
	text := body
	if !raw && len(body) <= 8*maxShown {
		text, s.JSON = pretty(body)
	}
	if len(text) > maxShown {
		s.Cut = len(text) - maxShown
		text = excerpt.Prefix(text, maxShown)
	}
	if s.JSON {
		s.Tokens = tokens(string(text))
	} else {
		s.Tokens = []token{{"", visible(string(text))}}
	}
	return s
}

// flash is a short message on the next page.
type flash struct {
	Kind, Text string // Kind: ok or bad
	// Undo is the path of a button that undoes what the message is about; empty without a button.
	Undo string
}

const flashCookie = "gaff_flash"

func setFlash(w http.ResponseWriter, kind, text string) { setFlashed(w, flash{Kind: kind, Text: text}) }

func setFlashed(w http.ResponseWriter, f flash) {
	value := base64.RawURLEncoding.EncodeToString([]byte(f.Kind + "|" + f.Undo + "|" + clip(f.Text, 600)))
	http.SetCookie(w, &http.Cookie{Name: flashCookie, Value: value, Path: "/", MaxAge: 60, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func takeFlash(w http.ResponseWriter, r *http.Request) flash {
	cookie, err := r.Cookie(flashCookie)
	if err != nil || r.Header.Get("HX-Request") != "" {
		return flash{}
	}
	http.SetCookie(w, &http.Cookie{Name: flashCookie, Path: "/", MaxAge: -1, HttpOnly: true})
	text, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	parts := strings.SplitN(string(text), "|", 3)
	if err != nil || len(parts) != 3 || parts[0] != "ok" && parts[0] != "bad" {
		return flash{}
	}
	f := flash{Kind: parts[0], Text: visible(parts[2])}
	if undoes(parts[1]) { // another program on this host can set cookies, too
		f.Undo = parts[1]
	}
	return f
}

const themeCookie = "gaff_theme"

// themeOf returns light, dark, or empty for the system setting.
func themeOf(r *http.Request) string {
	cookie, err := r.Cookie(themeCookie)
	if err != nil || cookie.Value != "light" && cookie.Value != "dark" {
		return ""
	}
	return cookie.Value
}

// reportsFailure reports whether events of a type report a failure, as "generation.failed" does.
// Such an event can be processed successfully and still needs attention.
func reportsFailure(eventType string) bool {
	last := strings.ToLower(eventType[strings.LastIndexAny(eventType, ".:_/-")+1:])
	return last == "failed" || last == "failure" || last == "error"
}
