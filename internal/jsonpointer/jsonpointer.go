// Package jsonpointer reads and writes JSON pointers (RFC 6901).
package jsonpointer

import (
	"fmt"
	"strings"
)

var (
	escaper   = strings.NewReplacer("~", "~0", "/", "~1")
	unescaper = strings.NewReplacer("~0", "~", "~1", "/")
)

// Parse returns the tokens of a pointer such as "/data/id". The empty pointer, which is the whole
// document, is an error: callers that allow it handle it first.
func Parse(pointer string) ([]string, error) {
	if pointer == "" || pointer[0] != '/' {
		return nil, fmt.Errorf("%.60q is not a JSON pointer; one such as /data/id is wanted", pointer)
	}
	for i := range len(pointer) {
		if pointer[i] == '~' && (i+1 == len(pointer) || pointer[i+1] != '0' && pointer[i+1] != '1') {
			return nil, fmt.Errorf("%.60q has a lone ~; write ~0 for it", pointer)
		}
	}
	return Tokens(pointer), nil
}

// Tokens is [Parse] without checks. A lone "~" is itself, and the empty pointer has no tokens.
func Tokens(pointer string) []string {
	if pointer == "" {
		return nil
	}
	tokens := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, t := range tokens {
		if strings.Contains(t, "~") {
			tokens[i] = unescaper.Replace(t)
		}
	}
	return tokens
}

// Escape returns a member's name as a token of a pointer.
func Escape(name string) string { return escaper.Replace(name) }
