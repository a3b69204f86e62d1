package verify

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gaff"
)

func TestSecretPlacesOfPresets(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"flutterwave": {"header:verif-hash"}, "cloudflare-notifications": {"header:cf-webhook-auth"}, "figma": {"json:/passcode"},
		"msgraph": {"json:/value/*/clientState"}, "strava": {"query:token"}, "postmark": {"header:Authorization"},
		"gcp-pubsub": {"header:Authorization"}, "stripe": nil, "github": nil, "plaid": nil, "kinde": nil,
	} {
		s, ok := Preset(name)
		if !ok {
			t.Errorf("no preset %s", name)
		}
		if got := s.SecretPlaces(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

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

// Each preset's own signature is made of headers that it names: a rejected request keeps them.
func TestHeaderNamesHoldWhatIsSigned(t *testing.T) {
	t.Parallel()
	for _, name := range Presets() {
		s, _ := Preset(name)
		if s.Kind == "basic" {
			continue
		}
		v, err := New(s, Options{Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, Settings: map[string]string{"callback_url": "https://h/x", "webhook_id": "w"}})
		if err != nil {
			continue // it wants keys of another kind
		}
		r := &gaff.Request{Method: "POST", URL: "https://h/x", Body: []byte(`{}`), Header: map[string][]string{}}
		if v.Sign(r, time.Unix(1700000000, 0)) != nil {
			continue
		}
		names := s.HeaderNames()
		for header := range r.Header {
			if header != "Content-Type" && !slices.Contains(names, header) {
				t.Errorf("%s signs by %s, and names %s", name, header, strings.Join(names, ", "))
			}
		}
	}
}
