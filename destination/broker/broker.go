// Package broker has the parts that brokers share; each broker is a package below. A publisher
// returns once the broker has confirmed that it stored the message. Retries, order and the
// circuit breaker are package destination's.
package broker

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"gaff/internal/safehttp"
)

// DialTimeout bounds how long a connection takes to open.
const DialTimeout = 10 * time.Second

// Dialer opens connections to public addresses, and to those of Allow. It judges the address
// that is dialled, after the name was resolved.
type Dialer struct{ Allow []netip.Prefix }

// DialContext opens a connection.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	nd := net.Dialer{Timeout: DialTimeout, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%s: %w", address, safehttp.ErrForbidden)
		}
		return safehttp.CheckAddr(at.Addr(), d.Allow)
	}}
	return nd.DialContext(ctx, network, address)
}

// Dial is DialContext for libraries without contexts.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// Parameters reads the query of a broker's URL; an unknown parameter is an error.
func Parameters(u *url.URL, known ...string) (url.Values, error) {
	q := u.Query()
	for name := range q {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("url: unknown parameter %.40q: want %s", name, strings.Join(known, ", "))
		}
	}
	return q, nil
}
