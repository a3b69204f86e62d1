package verify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"gaff"
)

// sharedTolerance is how far an optional timestamp may be off, inclusive.
const sharedTolerance = 300 * time.Second

// Shared verifies hex HMAC-SHA256 of the body under a shared secret, with a timestamp
// header that may be absent, and must be fresh if present. Create it with
// [SharedSecret].
type Shared struct {
	*Verifier
	timestamp string
}

// SharedSecret returns the verifier of the simplest scheme in use: signature is the name
// of the header with the signature, timestamp that of the optional one in Unix seconds.
// The signature does not cover the timestamp, so it detects delays, not replays.
func SharedSecret(signature, timestamp string, secrets []string) (*Shared, error) {
	v, err := New(Scheme{
		Kind: "signature", Algorithm: "hmac-sha256", Signed: "{body}", Encoding: "hex",
		Signature: Signatures{{Location: Location{In: "header", Name: signature}, Format: "raw"}},
	}, Options{Secrets: secrets})
	if err != nil {
		return nil, err
	}
	return &Shared{v, http.CanonicalHeaderKey(timestamp)}, nil
}

// Verify checks r. See [gaff.Verifier].
func (s *Shared) Verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	v, err := s.Verifier.Verify(ctx, r)
	if err != nil || len(r.Header[s.timestamp]) == 0 {
		return v, err
	}
	text, err := headerText(r.Header, s.timestamp, s.timestamp)
	if err != nil {
		return gaff.Verification{}, err
	}
	if _, ok := parseTime(text, "s"); !ok {
		return gaff.Verification{}, fmt.Errorf("%s: %w: %s, Unix seconds are wanted", s.timestamp, ErrMalformed, Printable(text))
	}
	if !ValidateWebhookTimestamp(text, r.ReceivedAt, sharedTolerance) {
		return gaff.Verification{}, fmt.Errorf("%s: %w: %s", s.timestamp, ErrStale, Printable(text))
	}
	return v, nil
}

// Refuse returns a verifier that rejects every request with a reason: a source without its secret
// must not be open.
func Refuse(reason string) gaff.Verifier { return refusal(reason) }

type refusal string

func (r refusal) Verify(context.Context, *gaff.Request) (gaff.Verification, error) {
	return gaff.Verification{}, errors.New(string(r))
}

// GenerateWebhookSignature returns the hex HMAC-SHA256 of the payload under the secret.
func GenerateWebhookSignature(payload []byte, secret string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(payload)
	return hex.EncodeToString(m.Sum(nil))
}

// VerifyWebhookSignature reports whether signature is the hex HMAC-SHA256 of the
// payload under the secret. An empty secret verifies nothing.
func VerifyWebhookSignature(payload []byte, signature, secret string) bool {
	if secret == "" {
		return false
	}
	return hmac.Equal([]byte(signature), []byte(GenerateWebhookSignature(payload, secret)))
}

// ValidateWebhookTimestamp reports whether timestamp, in Unix seconds, is within the
// tolerance of now, before or after it, both ends included. Zero tolerance means 300
// seconds.
func ValidateWebhookTimestamp(timestamp string, now time.Time, tolerance time.Duration) bool {
	if tolerance == 0 {
		tolerance = 300 * time.Second
	}
	at, ok := parseTime(timestamp, "s")
	return ok && fresh(at, now.Truncate(time.Second), tolerance, tolerance)
}
