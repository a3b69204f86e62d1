package secretbox_test

import (
	"errors"
	"strings"
	"testing"

	"gaff/internal/secretbox"
)

func key(t *testing.T) string {
	t.Helper()
	k, err := secretbox.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func box(t *testing.T, keys ...string) *secretbox.Box {
	t.Helper()
	b, err := secretbox.New(keys)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBoxRotates(t *testing.T) {
	t.Parallel()
	first, second := key(t), key(t)
	sealed, err := box(t, first).Seal("secret")
	if err != nil || !secretbox.Encrypted(sealed) || strings.Contains(sealed, "secret") {
		t.Fatalf("sealed %q, %v", sealed, err)
	}
	for name, c := range map[string]struct {
		keys    []string
		current bool
		err     error
	}{
		"its key":                {[]string{first}, true, nil},
		"a newer key before it":  {[]string{second, first}, false, nil},
		"an older key behind it": {[]string{first, second}, true, nil},
		"another key":            {[]string{second}, false, secretbox.ErrNoKey},
	} {
		text, current, err := box(t, c.keys...).Open(sealed)
		if !errors.Is(err, c.err) || current != c.current || c.err == nil && text != "secret" {
			t.Errorf("%s: %q %t %v", name, text, current, err)
		}
	}
	if _, _, err := box(t, first).Open(sealed[:len(sealed)-8]); err == nil {
		t.Error("a damaged text was opened")
	}
}

func TestBadKeyIsNotQuoted(t *testing.T) {
	t.Parallel()
	_, err := secretbox.New([]string{key(t), "hunter2"})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "key 2 of 2") {
		t.Errorf("error %v", err)
	}
	if b, err := secretbox.New(nil); b != nil || err != nil {
		t.Errorf("without keys: %v %v", b, err)
	}
}
