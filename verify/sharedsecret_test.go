package verify

import (
	"strings"
	"testing"
	"time"
)

func TestWebhookFunctions(t *testing.T) {
	t.Parallel()
	body := []byte(`{"a":1}`)
	sig := GenerateWebhookSignature(body, "secret")
	tests := []struct {
		name, sig, secret string
		want              bool
	}{
		{"right", sig, "secret", true},
		{"wrong secret", sig, "other", false},
		{"short", sig[:63], "secret", false},
		{"long", sig + "00", "secret", false},
		{"empty", "", "secret", false},
		{"upper case", strings.ToUpper(sig), "secret", false},
		{"empty secret", GenerateWebhookSignature(body, ""), "", false},
	}
	for _, tt := range tests {
		if got := VerifyWebhookSignature(body, tt.sig, tt.secret); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	now := noon.Add(500 * time.Millisecond)
	times := []struct {
		text      string
		tolerance time.Duration
		want      bool
	}{
		{"1767225600", 0, true},
		{"1767225300", 0, true},
		{"1767225299", 0, false},
		{"1767225900", 0, true},
		{"1767225901", 0, false},
		{"1767225590", 10 * time.Second, true},
		{"1767225589", 10 * time.Second, false},
		{"1767225600", -time.Second, false},
		{"", 0, false},
		{" 1767225600", 0, false},
		{"+1767225600", 0, false},
		{"01767225600", 0, false},
		{"1767225600.0", 0, false},
		{"1.7672256e9", 0, false},
		{"1767225600x", 0, false},
		{"99999999999999999999", 0, false},
	}
	for _, tt := range times {
		if got := ValidateWebhookTimestamp(tt.text, now, tt.tolerance); got != tt.want {
			t.Errorf("%q within %s: %v", tt.text, tt.tolerance, got)
		}
	}
}
