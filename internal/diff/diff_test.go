package diff

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gaff"
)

func TestAttempts(t *testing.T) {
	t.Parallel()
	exchange := func(status int, stamp, body string) string {
		return fmt.Sprintf(`{"request":{"url":"https://a.example/hook","headers":{"webhook-timestamp":%q}},"response":{"status":%d,"headers":{"Date":%q,"X-Request-Id":%[1]q},"body":%[4]q},"durationMs":%[2]d}`,
			stamp, status, stamp, body)
	}
	refused := gaff.Attempt{Number: 1, Outcome: gaff.AttemptFailed, Error: "answered 500", Duration: 40 * time.Millisecond, Detail: exchange(500, "1", "oops")}
	for _, c := range []struct {
		name   string
		change func(*gaff.Attempt)
		want   string
	}{
		{"another time and signature do not count", func(a *gaff.Attempt) { a.Detail, a.Duration = exchange(500, "2", "oops"), 60*time.Millisecond }, ""},
		{"another answer", func(a *gaff.Attempt) { a.Error, a.Detail = "answered 503", exchange(503, "2", "busy") },
			"error: answered 500 > answered 503; response.body: oops > busy; response.status: 500 > 503"},
		{"a much longer try", func(a *gaff.Attempt) { a.Duration = 3 * time.Second }, "duration: 40ms > 3s"},
		{"success", func(a *gaff.Attempt) { a.Outcome, a.Error, a.Detail = gaff.AttemptSucceeded, "", "" },
			"outcome: failed > succeeded; error: answered 500 > ; request.url: https://a.example/hook > ; response.body: oops > ; response.status: 500 > "},
		{"a detail that is not JSON", func(a *gaff.Attempt) { a.Detail = "panic: x" }, "detail: " + refused.Detail + " > panic: x"},
		{"JSON that is not an object", func(a *gaff.Attempt) { a.Detail = `[1]` }, "detail: " + refused.Detail + " > [1]"},
	} {
		after := refused
		c.change(&after)
		var got []string
		for _, ch := range Attempts(refused, after) {
			got = append(got, ch.Field+": "+ch.From+" > "+ch.To)
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	lines, ok := Lines("a\nb\nc\nd\ne\nf\ng\nh\ni", "a\nb\nc\nd\nE\nf\ng\nh\ni")
	var got []string
	for _, l := range lines {
		got = append(got, l.Op+l.Text)
	}
	if want := "…1 equal line| b| c| d|-e|+E| f| g| h|…1 equal line"; !ok || strings.Join(got, "|") != want {
		t.Errorf("%v %q", ok, strings.Join(got, "|"))
	}
	if lines, ok := Lines("same", "same"); !ok || len(lines) != 0 {
		t.Errorf("equal texts: %v", lines)
	}
	long := strings.Repeat("x\n", 3000)
	if _, ok := Lines(long, strings.Repeat("y\n", 3000)); ok {
		t.Error("texts without end are compared")
	}
}
