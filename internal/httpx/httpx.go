// Package httpx reads values that several HTTP servers and clients of gaff need.
package httpx

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// RetryAfter returns the wait that a Retry-After header demands: seconds, or a date (RFC 9110).
// ok is false if the header is missing or invalid. Callers bound the wait, which may be years.
func RetryAfter(h http.Header, now time.Time) (wait time.Duration, ok bool) {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0, false
	}
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err == nil || errors.Is(err, strconv.ErrRange) { // then it is the largest
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return max(at.Sub(now), 0), true
}

// ClientAt is [Client] for the text of an address. Another text is itself the client.
func ClientAt(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	return Client(addr)
}

// Client returns the name that limits count a client by: its IPv4 address, or its IPv6 /64 network,
// which belongs to one user.
func Client(addr netip.Addr) string {
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}

// Peer returns the address that sent r, without the port. It is the client's, or that of the
// last proxy.
func Peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
