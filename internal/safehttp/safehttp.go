// Package safehttp makes the client for requests to addresses that others chose: files of
// results, destinations, addresses out of a provider's answer. It judges the address that
// is really dialled, after the name was resolved and for every redirect anew, so neither a
// name that points inside nor one that changes its mind reaches this machine's own network.
package safehttp

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// ErrForbidden is wrapped by the errors about addresses that must not be reached. Another
// try will meet it again, unless the name's records change.
var ErrForbidden = errors.New("the address must not be reached")

// ErrTooLarge is returned by [ReadAll] for a body beyond its limit.
var ErrTooLarge = errors.New("the answer is too large")

// Options of a client. The zero value is strict.
type Options struct {
	// Allow holds addresses that may be reached although they are not public.
	Allow []netip.Prefix
	// Timeout bounds a request with its redirects and the reading of the body. Zero: none
	// but the request's context.
	Timeout time.Duration
	// Redirects is how many are followed. Zero: none, the redirect itself is the answer.
	Redirects int
	// UserAgent is sent with requests that have none. Empty means "gaff".
	UserAgent string
	// PerHost is how many connections to one host there may be at once. Zero: no bound.
	PerHost int
	// IdlePerHost is how many unused connections to one host are kept open. Zero means 8.
	IdlePerHost int
}

const (
	dialTimeout   = 10 * time.Second
	headerTimeout = 60 * time.Second
	maxHeader     = 64 << 10
)

// New makes a client. It ignores the environment's proxy settings: a proxy would dial in
// its stead, unjudged.
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
		MaxResponseHeaderBytes: maxHeader,
	}
	return &http.Client{Transport: g, CheckRedirect: g.redirect, Timeout: o.Timeout}
}

type guard struct {
	o    Options
	next http.RoundTripper
}

// RoundTrip refuses what can be judged before anything is resolved.
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

// CloseIdleConnections makes http.Client.CloseIdleConnections work.
func (g *guard) CloseIdleConnections() {
	if c, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// control is called with the resolved address, just before it is connected to.
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

// CheckURL refuses an address that is no plain http or https link, or that names a
// forbidden address outright. Names are judged when they are resolved.
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

// CheckAddr refuses an address that is not public, unless allow holds it: of this machine,
// of private, shared and link-local networks, the clouds' metadata services, what is
// reserved or for documents, and IPv6 forms that stand for such an IPv4 address.
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

// notPublic is an ErrForbidden that says how to allow the address.
type notPublic struct{ addr netip.Addr }

func (e notPublic) Error() string {
	return fmt.Sprintf("%s is no public address; GAFF_ALLOW_ADDRESSES can allow it", e.addr)
}

func (e notPublic) Unwrap() error { return ErrForbidden }

// translated returns the IPv4 address that a network's NAT64 would reach for addr.
func translated(addr netip.Addr) (netip.Addr, bool) {
	if !nat64.Contains(addr) {
		return addr, false
	}
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:])), true
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// global is where IPv6 addresses of the public network come from.
var global = netip.MustParsePrefix("2000::/3")

// special are the ranges of the two registries of special-purpose addresses that are not
// reached through the public network, and public addresses with a private meaning.
var special = func() (all []netip.Prefix) {
	for _, text := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
		"168.63.129.16/32", // Azure's machines ask it for their secrets
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

// Prefixes parses what GAFF_ALLOW_ADDRESSES holds, after the configuration was checked.
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

// ReadAll reads a body of at most limit bytes; a longer one is [ErrTooLarge].
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fmt.Errorf("more than %d bytes: %w", limit, ErrTooLarge)
	}
	return data, err
}
