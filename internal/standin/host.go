package standin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Local passes on only requests that were sent to a name of this machine. A page in a
// browser can reach a stand-in under its own name (DNS rebinding) and, as the stand-ins'
// key is not secret, have it post webhooks to addresses on the machine's network.
func Local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host) {
			writeJSON(w, http.StatusMisdirectedRequest, map[string]string{"detail": "this stand-in answers only on localhost and loopback addresses"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
