package verify

import (
	"bytes"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"gaff/internal/fault"
)

func newPaddleClassic(s Scheme, o Options, f *fault.List) checker {
	return newRSAForm(&rsaForm{name: "paddle-classic", content: func(form url.Values) ([]byte, string, error) {
		sig, err := oneOf(form["p_signature"])
		if err != nil {
			return nil, "", fmt.Errorf("form field p_signature: %w", err)
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "a:%d:{", len(form)-1)
		for _, name := range slices.Sorted(maps.Keys(form)) {
			if name == "p_signature" {
				continue
			}
			values := form[name]
			if len(values) > 1 {
				return nil, "", fmt.Errorf("form field %s: %w: it came %d times", Printable(name), ErrAmbiguous, len(values))
			}
			fmt.Fprintf(&b, "s:%d:\"%s\";s:%d:\"%s\";", len(name), name, len(values[0]), values[0])
		}
		b.WriteByte('}')
		return b.Bytes(), sig, nil
	}}, s, o, f)
}
