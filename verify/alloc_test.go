//go:build !race

package verify

import (
	"bytes"
	"testing"

	"gaff"
)

// An HMAC must cost its digest and little else. (The race detector makes pools forget, so
// there is nothing to measure under it.)
func TestHMACAllocations(t *testing.T) {
	v := preset(t, "lastframe", Options{Secrets: []string{"a", "b"}})
	r := &gaff.Request{Body: bytes.Repeat([]byte{' '}, 1000), ReceivedAt: noon}
	if err := v.Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := v.check.verify(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
