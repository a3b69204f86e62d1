package gaff

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"gaff/internal/httpx"
)

func (g *Gateway) publicURL(r *http.Request) string {
	if g.opt.BaseURL != "" {
		return g.opt.BaseURL + r.URL.RequestURI()
	}
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return scheme + r.Host + r.URL.RequestURI()
}

// ClientAddress is the address of who sent a request: see [Options.TrustedProxies].
func (g *Gateway) ClientAddress(r *http.Request) string { return g.client(r) }

// client is the address of who sent the request: the peer, or, where that is a proxy that
// the operator declared, whom it names. Of X-Forwarded-For it believes only the
// part that declared proxies added: the last address that is not one of theirs.
func (g *Gateway) client(r *http.Request) string {
	from := httpx.Peer(r)
	if len(g.opt.TrustedProxies) == 0 {
		return from
	}
	addr, err := netip.ParseAddr(from)
	if err != nil || !contains(g.opt.TrustedProxies, addr) {
		return from
	}
	var chain []string
	for _, value := range r.Header.Values("X-Forwarded-For") {
		chain = append(chain, strings.Split(value, ",")...)
	}
	for _, text := range slices.Backward(chain) {
		text = strings.TrimSpace(text)
		if host, _, err := net.SplitHostPort(text); err == nil {
			text = host
		}
		next, err := netip.ParseAddr(strings.Trim(text, "[]"))
		if err != nil {
			return from // addresses before it prove nothing either
		}
		if from = next.Unmap().String(); !contains(g.opt.TrustedProxies, next) {
			return from
		}
	}
	return from
}

func contains(list []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}
