package excerpt

import (
	"testing"
	"unicode/utf8"
)

func TestPrefixSplitsNoCharacter(t *testing.T) {
	t.Parallel()
	const text = "aé€𝄞z" // 1, 2, 3, 4 and 1 bytes
	want := []string{"", "a", "a", "aé", "aé", "aé", "aé€", "aé€", "aé€", "aé€", "aé€𝄞", text, text}
	for limit, w := range want {
		if got := Prefix(text, limit); got != w {
			t.Errorf("the first %d bytes are %q, want %q", limit, got, w)
		}
		if got := Prefix([]byte(text), limit); string(got) != w {
			t.Errorf("the first %d of the bytes are %q, want %q", limit, got, w)
		}
	}
	if got := Prefix("\x80\x80\x80\x80\x80\x80\x80\x80", 6); len(got) != 6 {
		t.Errorf("of bytes without a character %d are left, want 6", len(got))
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text  string
		limit int
		want  string
	}{
		{"", 0, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "abc…"},
		{"abé", 3, "ab…"},
		{"a\xffbcd", 4, "abc…"},
		{"a\xff", 4, "a\xff"},
	} {
		got := Text(tt.text, tt.limit)
		if got != tt.want {
			t.Errorf("%q at %d is %q, want %q", tt.text, tt.limit, got, tt.want)
		}
		if len(tt.text) > tt.limit && !utf8.ValidString(got) {
			t.Errorf("%q at %d is not UTF-8", tt.text, tt.limit)
		}
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	if got := Line(" a\n\tb  c\r\nd ", 5); got != "a b c…" {
		t.Errorf("got %q", got)
	}
}
