package gaff

import (
	"strings"
	"testing"
)

// Two pairs of id and status have two keys; those of pairs that were never ambiguous are the
// ones that earlier versions stored.
func TestDedupeKeysAreUnambiguous(t *testing.T) {
	t.Parallel()
	body := []byte(`{"a":1}`)
	byBody := dedupeKey(Envelope{}, body)
	for _, c := range []struct{ id, status, want string }{
		{"evt_1", "", "evt_1"}, {"r", "OK", "r\nOK"}, {"", "", byBody}, {"", "OK", byBody + "\nOK"}, {"a:b", "c:d", "a:b\nc:d"}, {"r", "a\nb", "r\na\nb"},
	} {
		if got := dedupeKey(Envelope{ID: c.id, Status: c.status}, body); got != c.want {
			t.Errorf("id %q, status %q: %q, want %q", c.id, c.status, got, c.want)
		}
	}
	seen := map[string][2]string{}
	for _, c := range [][2]string{
		{"a\nb", "c"}, {"a", "b\nc"}, {"a\nb\nc", ""}, {"idlen:3:a\nb", "c"}, {"idlen:3:a", "b\nc"}, {"idlen:3:a\nb\nc", ""},
		{"", ""}, {byBody, ""}, {"", "OK"}, {byBody, "OK"}, {byBody + "\nOK", ""},
		{strings.Repeat("x", maxDedupeKey+1), ""}, {dedupeKey(Envelope{ID: strings.Repeat("x", maxDedupeKey+1)}, nil), ""},
	} {
		key := dedupeKey(Envelope{ID: c[0], Status: c[1]}, body)
		if other, known := seen[key]; known {
			t.Errorf("%q and %q have the key %q", c, other, key)
		}
		seen[key] = c
	}
}
