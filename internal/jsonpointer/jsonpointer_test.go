package jsonpointer

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for pointer, want := range map[string][]string{
		"/":            {""},
		"/a":           {"a"},
		"/a/0//b":      {"a", "0", "", "b"},
		"/a~1b/m~0n":   {"a/b", "m~n"},
		"/~01/~10/~~0": nil,
		"/~~01":        nil,
		"/~01/~10/~00": {"~1", "/0", "~0"},
		"":             nil,
		"a":            nil,
		"/a~":          nil,
		"/a~2":         nil,
		"/a~/b":        nil,
	} {
		got, err := Parse(pointer)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("%q: %v (-want +got):\n%s", pointer, err, diff)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	for pointer, want := range map[string][]string{"": nil, "/a~/b~0": {"a~", "b~"}, "a/b": {"a", "b"}} {
		if diff := cmp.Diff(want, Tokens(pointer)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", pointer, diff)
		}
	}
}

func TestEscapeIsUndoneByParse(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a", "/", "~", "~1", "~0", "a/b~c", "~~//"} {
		if got, err := Parse("/" + Escape(name)); err != nil || len(got) != 1 || got[0] != name {
			t.Errorf("%q is read as %q, %v", name, strings.Join(got, "|"), err)
		}
	}
}
