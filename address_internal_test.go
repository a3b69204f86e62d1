package gaff

import (
	"net/http"
	"net/netip"
	"testing"

	"gaff/internal/httpx"
)

// With any value of X-Forwarded-For, the sender is the peer or a valid address, and
// nothing counts that no declared proxy said.
func FuzzForwarded(f *testing.F) {
	f.Add("203.0.113.7, 10.0.0.1", "10.0.0.2:1")
	f.Add("[::1]:80,,", "[fe80::1%eth0]:2")
	f.Add("\x00", "192.0.2.1:9")
	g := &Gateway{opt: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}}}
	f.Fuzz(func(t *testing.T, forwarded, remote string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		got := g.client(r)
		if got == httpx.Peer(r) {
			return
		}
		if _, err := netip.ParseAddr(got); err != nil {
			t.Errorf("%q from %q is %q", forwarded, remote, got)
		}
		if from, err := netip.ParseAddr(httpx.Peer(r)); err != nil || !contains(g.opt.TrustedProxies, from) {
			t.Errorf("%q was believed although %q is not a proxy", forwarded, remote)
		}
	})
}
