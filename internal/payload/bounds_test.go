package payload

import (
	"errors"
	"strings"
	"testing"
)

// Forms are read before they are verified if a field is signed or holds the signature.
func TestFormIsBoundedInFields(t *testing.T) {
	t.Parallel()
	const multi = "multipart/form-data; boundary=b"
	part := func(disposition string) string { return "--b\r\n" + disposition + "\r\n\r\n1\r\n" }
	named, nameless := part(`Content-Disposition: form-data; name="a"`), part("X-A: b")
	for name, c := range map[string]struct {
		kind, body string
		want       error
	}{
		"urlencoded, at the bound":  {formType, strings.Repeat("a=1&", maxFields), nil},
		"urlencoded, over it":       {formType, strings.Repeat("a=1&", maxFields+1), errFields},
		"multipart, at the bound":   {multi, strings.Repeat(named, maxParts) + "--b--\r\n", nil},
		"multipart, over it":        {multi, strings.Repeat(named, maxParts+1) + "--b--\r\n", errParts},
		"parts without a name only": {multi, strings.Repeat(nameless, maxParts+1) + "--b--\r\n", errParts},
	} {
		if _, err := Form(c.kind, []byte(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
