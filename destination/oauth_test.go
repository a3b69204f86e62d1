package destination

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// tokenServer is a token endpoint that counts the tokens it made.
type tokenServer struct {
	*httptest.Server
	mu     sync.Mutex
	made   int
	forms  []string
	auth   []string
	answer func(w http.ResponseWriter) // nil: a token
	expire int
}

func newTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	s := &tokenServer{expire: 3600}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = r.ParseForm()
		s.forms, s.auth = append(s.forms, r.PostForm.Encode()), append(s.auth, r.Header.Get("Authorization"))
		if s.answer != nil {
			s.answer(w)
			return
		}
		s.made++
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token-" + string(rune('0'+s.made)), "token_type": "Bearer", "expires_in": s.expire})
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *tokenServer) spec(url string) Spec {
	return Spec{URL: url, OAuth: &OAuth{TokenURL: s.URL, ClientID: "gaff", ClientSecret: "s3cret-value", Scopes: []string{"a", "b"}, Audience: "hooks"}}
}

func TestOAuthTokenIsCached(t *testing.T) {
	t.Parallel()
	tokens := newTokenServer(t)
	r := newReceiver(t, nil)
	d := newDestination(t, tokens.spec(r.URL), Options{})
	for range 3 {
		if err := d.Handle(context.Background(), event()); err != nil {
			t.Fatal(err)
		}
	}
	if tokens.made != 1 {
		t.Errorf("%d tokens for three requests, want 1", tokens.made)
	}
	if got := r.header.Get("Authorization"); got != "Bearer token-1" {
		t.Errorf("Authorization %q", got)
	}
	if form := tokens.forms[0]; form != "audience=hooks&grant_type=client_credentials&scope=a+b" {
		t.Errorf("form %s", form)
	}
	if !strings.HasPrefix(tokens.auth[0], "Basic ") {
		t.Errorf("the client identified itself by %q, want Basic", tokens.auth[0])
	}
}

func TestOAuthExpiredTokenIsReplaced(t *testing.T) {
	t.Parallel()
	tokens := newTokenServer(t)
	tokens.expire = 1
	r := newReceiver(t, nil)
	d := newDestination(t, tokens.spec(r.URL), Options{})
	for range 2 {
		_ = d.Handle(context.Background(), event())
	}
	if got := r.header.Get("Authorization"); got != "Bearer token-2" {
		t.Errorf("Authorization %q", got)
	}
}

func TestOAuthRejectedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	tokens := newTokenServer(t)
	valid, requests := "Bearer token-2", 0
	r := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		if requests++; r.Header.Get("Authorization") != valid {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	d := newDestination(t, tokens.spec(r.URL), Options{})
	if err := d.Handle(context.Background(), event()); err != nil || requests != 2 {
		t.Errorf("%v after %d requests, want success by the second", err, requests)
	}
	valid, requests = "none", 0
	err := d.Handle(context.Background(), event())
	if verdict(err) != "retry" || requests != 2 || tokens.made != 3 {
		t.Errorf("%v after %d requests and %d tokens, want a failure after 2 and 3", err, requests, tokens.made)
	}
}

func TestOAuthFailureNamesTheEndpointAndNoSecret(t *testing.T) {
	t.Parallel()
	tokens := newTokenServer(t)
	tokens.answer = func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"s3cret-value is wrong"}`))
	}
	r := newReceiver(t, nil)
	d := newDestination(t, tokens.spec(r.URL), Options{})
	ex, err := d.Probe(context.Background())
	if err == nil || ex == nil || ex.Response != nil || r.header != nil {
		t.Fatalf("%+v, %v: something was sent", ex, err)
	}
	if text := err.Error(); !strings.Contains(text, "answered 401: invalid_client") || strings.Contains(text, "s3cret") {
		t.Errorf("error %q", text)
	}
}

func TestOAuthEndpointIsGuarded(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	s := Spec{URL: r.URL, OAuth: &OAuth{TokenURL: "http://10.1.2.3/token", ClientID: "a", ClientSecret: "b"}}
	_, err := newDestination(t, s, Options{}).Probe(context.Background())
	if err == nil || !strings.Contains(err.Error(), "GAFF_ALLOW_ADDRESSES") {
		t.Errorf("error %v, want that the address is not public", err)
	}
}

func TestOAuthTimeoutBoundsTheToken(t *testing.T) {
	t.Parallel()
	tokens := newTokenServer(t)
	tokens.answer = func(http.ResponseWriter) { time.Sleep(300 * time.Millisecond) }
	s := tokens.spec("http://127.0.0.1:1")
	s.Timeout = Duration(50 * time.Millisecond)
	_, err := newDestination(t, s, Options{}).Probe(context.Background())
	if err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("error %v", err)
	}
}
