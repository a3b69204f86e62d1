package httpx

import (
	"net/http"
	"net/netip"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]struct {
		wait time.Duration
		ok   bool
	}{
		"":                              {0, false},
		"0":                             {0, true},
		"7":                             {7 * time.Second, true},
		" 120 ":                         {2 * time.Minute, true},
		"2147483647":                    {2147483647 * time.Second, true},
		"99999999999999999999999":       {2147483647 * time.Second, true},
		"-1":                            {0, false},
		"1.5":                           {0, false},
		"soon":                          {0, false},
		"Fri, 02 Jan 2026 03:05:05 GMT": {time.Minute, true},
		"Fri, 02 Jan 2026 03:00:00 GMT": {0, true},
	} {
		if wait, ok := RetryAfter(http.Header{"Retry-After": {text}}, now); wait != want.wait || ok != want.ok {
			t.Errorf("%q: %s, %v; want %s, %v", text, wait, ok, want.wait, want.ok)
		}
	}
	if _, ok := RetryAfter(http.Header{}, now); ok {
		t.Error("a missing header has a wait")
	}
}

func TestClient(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64", "2001:db8::ffff:1": "2001:db8::/64",
		"fe80::1%eth0": "fe80::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64",
	} {
		if got := ClientAt(address); got != want || got != Client(netip.MustParseAddr(address)) {
			t.Errorf("%s is client %s, want %s", address, got, want)
		}
	}
	for _, text := range []string{"", "pipe"} {
		if got := ClientAt(text); got != text {
			t.Errorf("%q is client %q", text, got)
		}
	}
}

func TestPeer(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::1", "[fe80::1%eth0]:80": "fe80::1%eth0", "@": "@", "": "",
	} {
		if got := Peer(&http.Request{RemoteAddr: address}); got != want {
			t.Errorf("%q is from %q, want %q", address, got, want)
		}
	}
}
