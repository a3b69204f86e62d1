package verify

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gaff"
)

// Plaid hands its keys out one by one, to those who have API credentials.
func TestKeysByKid(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	jwk := func(kid, expired string) string {
		return fmt.Sprintf(`{"key":{"alg":"ES256","crv":"P-256","kty":"EC","use":"sig","kid":%q,"x":%q,"y":%q,"created_at":1,"expired_at":%s}}`,
			kid, b64(point[1:33]), b64(point[33:]), expired)
	}
	var asked []string
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		var ask map[string]string
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || r.URL.String() != "https://production.plaid.com/webhook_verification_key/get" ||
			ask["client_id"] != "me" || ask["secret"] != "api-secret" {
			t.Errorf("%s %v: %v", r.URL, ask, err)
		}
		asked = append(asked, ask["key_id"])
		status, body := 200, jwk(ask["key_id"], "null")
		switch ask["key_id"] {
		case "unknown":
			status, body = 400, `{"error_type":"INVALID_INPUT","error_code":"INVALID_WEBHOOK_VERIFICATION_KEY_ID"}`
		case "denied":
			status, body = 400, `{"error_type":"INVALID_INPUT","error_code":"INVALID_API_KEYS"}`
		case "expired":
			body = jwk("expired", "1767225000")
		case "another":
			body = jwk("good", "null")
		case "moved":
			return &http.Response{StatusCode: 302, Header: http.Header{"Location": {"https://evil.test/"}}, Body: http.NoBody, Request: r}, nil
		}
		return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})}
	v := preset(t, "plaid", Options{Secrets: []string{"api-secret"}, Settings: map[string]string{"client_id": "me"}, Client: client})
	verify := func(kid, alg string, body string) error {
		sum := sha256.Sum256([]byte(`{}`))
		input := b64([]byte(`{"alg":"`+alg+`","kid":"`+kid+`"}`)) + "." + b64([]byte(fmt.Sprintf(`{"iat":%d,"request_body_sha256":%q}`, noon.Unix(), hex.EncodeToString(sum[:]))))
		hash := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, key, hash[:])
		if err != nil {
			t.Fatal(err)
		}
		sig := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		_, err = v.Verify(t.Context(), &gaff.Request{Method: "POST", Body: []byte(body), ReceivedAt: noon,
			Header: http.Header{"Plaid-Verification": {input + "." + b64(sig)}}})
		return err
	}
	for _, tt := range []struct {
		kid, alg, body string
		want           error
		asked          bool
	}{
		{"good", "ES256", `{}`, nil, true},
		{"good", "ES256", `{}`, nil, false},
		{"good", "ES256", `{"a":1}`, ErrMismatch, false},
		{"unknown", "ES256", `{}`, ErrMismatch, true},
		{"unknown", "ES256", `{}`, ErrMismatch, false},
		{"expired", "ES256", `{}`, ErrMismatch, true},
		{"another", "ES256", `{}`, ErrMismatch, true},
		{"denied", "ES256", `{}`, gaff.ErrUnverifiable, true},
		{"moved", "ES256", `{}`, gaff.ErrUnverifiable, true},
		{"../x", "ES256", `{}`, ErrMismatch, false},
		{"other-alg", "HS256", `{}`, ErrMismatch, false},
		{"none", "none", `{}`, ErrMismatch, false},
	} {
		before := len(asked)
		if err := verify(tt.kid, tt.alg, tt.body); !errors.Is(err, tt.want) || (len(asked) > before) != tt.asked {
			t.Errorf("%s %s: %v, asked for %v", tt.kid, tt.alg, err, asked[before:])
		}
	}
	scheme, _ := Preset("plaid")
	if _, err := New(scheme, Options{Secrets: []string{"api-secret"}}); err == nil || !strings.Contains(err.Error(), "settings.client_id: missing") {
		t.Errorf("without a client id: %v", err)
	}
}

// Names that are made up neither drive out those in use, nor keep it from being fetched
// again, nor use up the fetches of other clients.
func TestFetchCacheUnderAttack(t *testing.T) {
	t.Parallel()
	clock, asked := noon, 0
	r := newFetchCache("thing", func(_ context.Context, name string) (string, error) {
		asked++ // get waits for each
		if strings.HasPrefix(name, "good") {
			return "it", nil
		}
		return "", errors.New("404")
	})
	r.now = func() time.Time { return clock }
	good := func(step, name, from string) {
		t.Helper()
		if it, err := r.get(t.Context(), name, from); err != nil || it != "it" {
			t.Errorf("%s: %q, %v", step, it, err)
		}
	}
	flood := func(prefix string) {
		t.Helper()
		for i := range 2 * fetchesPerClient {
			if _, err := r.get(t.Context(), fmt.Sprint(prefix, i), "192.0.2.1"); !errors.Is(err, gaff.ErrUnverifiable) {
				t.Fatal(err)
			}
		}
	}
	good("first", "good", "192.0.2.1")
	for minute := range 30 {
		clock, asked = clock.Add(time.Minute), 0
		flood(fmt.Sprint(minute, "-"))
		if asked != fetchesPerClient {
			t.Fatalf("minute %d: one client caused %d fetches", minute, asked)
		}
		good("in use", "good", "192.0.2.1")
		good("new, of another client", fmt.Sprint("good-", minute), "198.51.100.1")
	}
	if len(r.kept) > maxRemote {
		t.Errorf("%d kept", len(r.kept))
	}
	clock = clock.Add(remoteMaxAge)
	flood("late-")
	asked = 0
	if good("due", "good", "192.0.2.1"); asked != 1 {
		t.Errorf("a name that is due was fetched %d times", asked)
	}
	clock, asked = clock.Add(time.Minute), 0
	for i := range 1000 { // many clients together
		_, _ = r.get(t.Context(), fmt.Sprint("many-", i), fmt.Sprint("203.0.113.", i%4))
	}
	if asked != fetchesPerMinute-fetchesReserved {
		t.Errorf("four clients caused %d fetches", asked)
	}
	good("the reserve", "good-reserve", "198.51.100.2")
}
