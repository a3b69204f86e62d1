// Package safehttp has the HTTP client for URLs that others chose: files of results,
// destinations, URLs in a provider's response. It checks the address that is dialled, after name
// resolution and again for every redirect. So neither a name of a private address nor a name that
// changes its address reaches the private network.
package safehttp

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// ErrForbidden is wrapped by errors about forbidden addresses. A retry fails, too, unless the
// name's records change.
var ErrForbidden error = loggedError("the address must not be reached")

// Options of a client. The zero value allows public addresses only.
type Options struct {
	// Allow has addresses that are allowed although they are not public.
	Allow []netip.Prefix
	// Timeout bounds a request with its redirects and the reading of the body. Zero means no
	// limit except the request's context.
	Timeout time.Duration
	// Redirects is the maximum number to follow. Zero returns the redirect itself.
	Redirects int
	// UserAgent is sent with requests that have none. Empty means "gaff".
	UserAgent string
	// PerHost is the maximum number of connections to one host. Zero means no limit.
	PerHost int
	// IdlePerHost is the maximum number of idle connections to one host. Zero means 8.
	IdlePerHost int
	// TLS has the client certificate and the trusted authorities; nil means none, and the system's.
	TLS *tls.Config
}

const (
	dialTimeout   = 10 * time.Second
	headerTimeout = 60 * time.Second
	maxHeader     = 64 << 10
)

// New returns a client. It ignores the environment's proxy settings: a proxy would dial without
// the check.
func New(o Options) *http.Client {
	if o.UserAgent == "" {
		o.UserAgent = "gaff"
	}
	g := &guard{o: o}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: g.control}
	g.next = &http.Transport{
		DialContext: dialer.DialContext, ForceAttemptHTTP2: true, DisableCompression: true,
		TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: headerTimeout, ExpectContinueTimeout: time.Second,
		IdleConnTimeout: 60 * time.Second, MaxIdleConns: max(100, 4*o.IdlePerHost), MaxIdleConnsPerHost: cmp.Or(o.IdlePerHost, 8), MaxConnsPerHost: o.PerHost,
		MaxResponseHeaderBytes: maxHeader, TLSClientConfig: o.TLS,
	}
	return &http.Client{Transport: g, CheckRedirect: g.redirect, Timeout: o.Timeout}
}

type guard struct {
	o    Options
	next http.RoundTripper
}

// RoundTrip rejects URLs that are forbidden before name resolution.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := CheckURL(req.URL, g.o.Allow); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	if req.Header.Get("User-Agent") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", g.o.UserAgent)
	}
	resp, err := g.next.RoundTrip(req)
	if err == nil && len(resp.Header["Location"]) > 0 {
		resp.Header.Set("Location", location(resp.Header.Get("Location")))
	}
	return resp, err
}

// CloseIdleConnections implements http.Client.CloseIdleConnections.
func (g *guard) CloseIdleConnections() {
	if c, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// control is called with the resolved address before connecting.
func (g *guard) control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%s: %w", network, ErrForbidden)
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, ErrForbidden)
	}
	return CheckAddr(at.Addr(), g.o.Allow)
}

func (g *guard) redirect(req *http.Request, via []*http.Request) error {
	if g.o.Redirects <= 0 {
		return http.ErrUseLastResponse
	}
	if len(via) > g.o.Redirects {
		return fmt.Errorf("redirected more than %d times", g.o.Redirects)
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("redirected from https to %s: %w", req.URL.Scheme, ErrForbidden)
	}
	return CheckURL(req.URL, g.o.Allow)
}

// CheckURL rejects a URL that is not plain http or https, or that contains a forbidden address.
// Names are checked when they are resolved.
func CheckURL(u *url.URL, allow []netip.Prefix) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("scheme %.20q is neither http nor https: %w", u.Scheme, ErrForbidden)
	case u.Hostname() == "":
		return fmt.Errorf("no host: %w", ErrForbidden)
	case u.User != nil:
		return fmt.Errorf("user and password in the address: %w", ErrForbidden)
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return CheckAddr(addr, allow)
	}
	return nil
}

// CheckAddr rejects an address that is not public, unless allow contains it: loopback, private,
// shared and link-local networks, cloud metadata services, reserved and documentation ranges, and
// IPv6 forms of such IPv4 addresses.
func CheckAddr(addr netip.Addr, allow []netip.Prefix) error {
	plain := addr.Unmap().WithZone("")
	for _, p := range allow {
		if p.Contains(plain) {
			return nil
		}
	}
	if inner, ok := translated(plain); ok {
		plain = inner
	}
	if public(plain) {
		return nil
	}
	return notPublic{addr}
}

// notPublic returns an ErrForbidden that says how to allow the address.
type notPublic struct{ addr netip.Addr }

func (e notPublic) Error() string {
	return fmt.Sprintf("%s is not a public address; GAFF_ALLOW_ADDRESSES can allow it", e.addr)
}

func (e notPublic) Unwrap() error { return ErrForbidden }

// translated returns the IPv4 address that NAT64 would reach for addr.
func translated(addr netip.Addr) (netip.Addr, bool) {
	if !nat64.Contains(addr) {
		return addr, false
	}
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:])), true
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// global is the range of public IPv6 addresses.
var global = netip.MustParsePrefix("2000::/3")

// special are the ranges of the two special-purpose registries that are not globally reachable, and
// public addresses with a private meaning.
var special = func() (all []netip.Prefix) {
	for _, text := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
		"168.63.129.16/32", // Azure's metadata service for virtual machines
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	} {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}()

func public(addr netip.Addr) bool {
	if !addr.IsValid() || addr.Is6() && !global.Contains(addr) {
		return false
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// Prefixes parses the checked value of GAFF_ALLOW_ADDRESSES.
func Prefixes(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("allowed addresses: %w", err)
		}
		all = append(all, p)
	}
	return all, nil
}

// loggedError is an error whose text is always the same, so that logs have it.
type loggedError string

func (e loggedError) Error() string   { return string(e) }
func (e loggedError) LogText() string { return string(e) }
