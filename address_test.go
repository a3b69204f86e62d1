package gaff_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"gaff"
)

func TestGuardAddresses(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.0.0.0/8")}}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "lines", Verifier: open{}, Parser: lines{}, Guard: gaff.Guard{
			Allow: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		}})
	})
	// httptest's peer is 192.0.2.1, one of the proxies.
	for _, c := range []struct {
		forwarded []string
		want      int
		seen      string
	}{
		{nil, 401, "192.0.2.1"},
		{[]string{"203.0.113.7"}, 200, ""},
		{[]string{"203.0.113.7, 10.1.2.3"}, 200, ""},
		{[]string{"203.0.113.7", "10.1.2.3"}, 200, ""},
		{[]string{"203.0.113.7, 198.51.100.1"}, 401, "198.51.100.1"}, // the client's own claim before the proxy's entry
		{[]string{"203.0.113.7, junk"}, 401, "192.0.2.1"},
		{[]string{"::ffff:203.0.113.7"}, 200, ""},
		{[]string{"[2001:db8::1]:443"}, 200, ""},
		{[]string{"203.0.113.7:1234"}, 200, ""},
	} {
		var header []string
		for _, f := range c.forwarded {
			header = append(header, "X-Forwarded-For", f)
		}
		rec := b.post("POST", "lines", fmt.Sprint(c.forwarded), header...)
		if rec.Code != c.want {
			t.Errorf("%q: %d, want %d", c.forwarded, rec.Code, c.want)
		}
		if c.want == 401 {
			if rj := b.newestRejection(t); rj.RemoteAddr != c.seen || !strings.Contains(rj.Reason, c.seen) || rec.Body.String() != `{"error":"Invalid signature"}` {
				t.Errorf("%q: seen as %s, %s, %s", c.forwarded, rj.RemoteAddr, rj.Reason, rec.Body)
			}
		}
	}
}
