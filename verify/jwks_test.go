package verify

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

// keyHost simulates a host of public keys.
type keyHost struct {
	mu    sync.Mutex
	asked int
	doc   string
	err   error
	slow  time.Duration
}

func (h *keyHost) set(doc string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.doc, h.err = doc, err
}

func (h *keyHost) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

func (h *keyHost) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.asked++
	doc, err, slow := h.doc, h.err, h.slow
	h.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: 200, Status: "200 OK", Body: io.NopCloser(strings.NewReader(doc)), Request: r}, nil
}

func seed(n byte) []byte { return append(make([]byte, 31), n) }

func jwksOf(seeds ...byte) string {
	keys := make([]string, len(seeds))
	for i, n := range seeds {
		pub := ed25519.NewKeyFromSeed(seed(n)).Public().(ed25519.PublicKey)
		keys[i] = fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q,"kid":"k%d"}`, base64.RawURLEncoding.EncodeToString(pub), n)
	}
	return `{"keys":[` + strings.Join(keys, ",") + `]}`
}

// falPair is fal's verifier with a host of keys, and a signer for each key.
func falPair(t *testing.T, host *keyHost) (verify func() error, sign func(key byte), from func(address string)) {
	t.Helper()
	jwks := NewJWKS("https://keys.test/jwks.json", JWKSOptions{Client: &http.Client{Transport: host}})
	v := preset(t, "fal", Options{JWKS: jwks})
	var r *gaff.Request
	client := "192.0.2.1"
	from = func(address string) { client, r.RemoteAddr = address, address }
	sign = func(key byte) {
		r = &gaff.Request{Body: []byte(`{"status":"OK"}`), Header: http.Header{}}
		r.Header.Set("X-Fal-Webhook-Request-Id", "request")
		r.Header.Set("X-Fal-Webhook-User-Id", "user")
		signer := preset(t, "fal", Options{Keys: []Key{{Kind: "ed25519_seed_hex", Value: hex.EncodeToString(seed(key))}}})
		if err := signer.Sign(r, time.Now()); err != nil {
			t.Fatal(err)
		}
		r.ReceivedAt, r.RemoteAddr = time.Now(), client
	}
	verify = func() error {
		_, err := v.Verify(context.Background(), r)
		return err
	}
	return verify, sign, from
}

func TestJWKSLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		host := &keyHost{doc: jwksOf(1)}
		verify, sign, from := falPair(t, host)
		want := func(step string, err, target error, asked int) {
			t.Helper()
			synctest.Wait()
			if !errors.Is(err, target) || host.count() != asked {
				t.Errorf("%s: %v after %d fetches; want %v after %d", step, err, host.count(), target, asked)
			}
		}
		sign(1)
		want("first", verify(), nil, 1)
		want("from the cache", verify(), nil, 1)

		sign(9)
		want("another key", verify(), ErrMismatch, 2)
		want("and again", verify(), ErrMismatch, 2)
		time.Sleep(30 * time.Second)
		sign(9)
		want("later", verify(), ErrMismatch, 3)
		from("198.51.100.7")
		want("another client a moment later", verify(), gaff.ErrUnverifiable, 3)
		time.Sleep(5 * time.Second)
		want("and then", verify(), ErrMismatch, 4)

		host.set("", errors.New("no route"))
		from("192.0.2.9")
		time.Sleep(5 * time.Second)
		sign(2)
		want("rotation, host gone", verify(), gaff.ErrUnverifiable, 5)
		want("rotation, host left alone", verify(), gaff.ErrUnverifiable, 5)
		sign(1)
		want("the old key meanwhile", verify(), nil, 5)
		host.set(jwksOf(1, 2), nil)
		time.Sleep(10 * time.Second)
		sign(2)
		want("rotation, host back", verify(), nil, 6)

		time.Sleep(11 * time.Hour)
		sign(2)
		want("young enough", verify(), nil, 6)
		host.set("", errors.New("no route"))
		time.Sleep(2 * time.Hour)
		sign(2)
		want("half its life, host gone", verify(), nil, 7)
		want("left alone", verify(), nil, 7)
		time.Sleep(10 * time.Second)
		want("asked again beside the work", verify(), nil, 8)

		time.Sleep(11 * time.Hour)
		sign(2)
		want("too old", verify(), gaff.ErrUnverifiable, 9)
		want("not asked for each request", verify(), gaff.ErrUnverifiable, 9)
		host.set(jwksOf(2), nil)
		time.Sleep(10 * time.Second)
		sign(2)
		want("back", verify(), nil, 10)
	})
}

func TestJWKSSingleFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		host := &keyHost{doc: jwksOf(1), slow: 2 * time.Second}
		verify, sign, _ := falPair(t, host)
		sign(1)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := verify(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if host.asked != 1 {
			t.Errorf("%d fetches", host.asked)
		}
	})
}

// A request that gives up does not take the others' fetch with it.
func TestJWKSCanceledRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		host := &keyHost{doc: jwksOf(1), slow: 2 * time.Second}
		j := NewJWKS("https://keys.test/", JWKSOptions{Client: &http.Client{Transport: host}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := j.current(ctx); !errors.Is(err, gaff.ErrUnverifiable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if keys, err := j.current(t.Context()); err != nil || len(keys) != 1 || host.count() != 1 {
			t.Errorf("%d keys, %v, %d fetches", len(keys), err, host.count())
		}
	})
}

func TestJWKSHosts(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) roundTrip {
		return func(r *http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body)), Request: r,
				Header: http.Header{"Location": {"https://elsewhere.test/keys"}},
			}, nil
		}
	}
	for name, transport := range map[string]roundTrip{
		"not found":     answer(404, jwksOf(1)),
		"moved away":    answer(302, jwksOf(1)),
		"no JSON":       answer(200, "<html>"),
		"no keys":       answer(200, `{"keys":[]}`),
		"unusable keys": answer(200, `{"keys":[{"kty":"oct","k":"AAAA"},7,null,{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}`),
		"too large":     answer(200, `{"keys":[`+strings.Repeat(" ", 1<<20)+jwksOf(1)[9:]),
		"no answer":     func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") },
	} {
		j := NewJWKS("https://keys.test/", JWKSOptions{Client: &http.Client{Transport: transport}})
		if keys, err := j.current(t.Context()); !errors.Is(err, gaff.ErrUnverifiable) {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
	j := NewJWKS("nowhere", JWKSOptions{})
	if _, err := j.current(t.Context()); !errors.Is(err, gaff.ErrUnverifiable) {
		t.Errorf("no address: %v", err)
	}
}

// settings.jwks_url has the keys of v1a fetched, and is never passed over in silence.
func TestJWKSURLIsUsed(t *testing.T) {
	t.Parallel()
	s, _ := Preset("standard-webhooks")
	host := &keyHost{doc: jwksOf(7)}
	v, err := New(s, Options{Settings: map[string]string{"jwks_url": "https://keys.test/"}, Client: &http.Client{Transport: host}})
	if err != nil {
		t.Fatal(err)
	}
	r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon}
	if err := preset(t, "standard-webhooks", Options{Secrets: []string{"whsk_" + base64.StdEncoding.EncodeToString(seed(7))}}).Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	if out, err := v.Verify(t.Context(), r); err != nil || out.Scheme != "ed25519" || host.count() != 1 {
		t.Errorf("%+v, %v after %d fetches", out, err, host.count())
	}
	github, _ := Preset("github")
	if _, err := New(github, Options{Secrets: []string{"s"}, Settings: map[string]string{"jwks_url": "https://keys.test/"}}); err == nil ||
		!strings.Contains(err.Error(), "settings.jwks_url: not used") {
		t.Errorf("a sender without fetched keys: %v", err)
	}
}
