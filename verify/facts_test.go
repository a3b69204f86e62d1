package verify

import (
	"slices"
	"testing"
)

// A signature that covers nothing of the body proves any body, so viewers must not read it.
func TestSignatureThatCoversNoBodyIsSecret(t *testing.T) {
	t.Parallel()
	no := false
	s := Scheme{Kind: "signature", CoversBody: &no, Signature: Signatures{
		{Location: Location{In: "header", Name: "X-Sig", And: &Location{In: "query", Name: "b"}}}, {Location: Location{In: "json", Pointer: "/sig"}},
	}}
	if got, want := s.SecretPlaces(), []string{"header:X-Sig", "query:b", "json:/sig"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
