package verify

import (
	"fmt"
	"net/url"

	"gaff/internal/fault"
)

func newTravis(s Scheme, o Options, f *fault.List) checker {
	return newRSAForm(&rsaForm{name: "travis", header: "Signature", content: func(form url.Values) ([]byte, string, error) {
		text, err := oneOf(form["payload"])
		if err != nil {
			return nil, "", fmt.Errorf("form field payload: %w", err)
		}
		return []byte(text), "", nil
	}}, s, o, f)
}
