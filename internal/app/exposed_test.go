package app

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"gaff/internal/config"
	"gaff/internal/server"
)

// at is a listener that is said to be at an address.
type at struct {
	net.Listener
	addr string
}

func (a at) Addr() net.Addr {
	addr, err := net.ResolveTCPAddr("tcp", a.addr)
	if err != nil {
		panic(err)
	}
	return addr
}

func TestExposedConsoleIsWarnedAbout(t *testing.T) {
	t.Parallel()
	cert := &server.Certificate{}
	for name, c := range map[string]struct {
		public, admin       string
		publicTLS, adminTLS bool
		proxies             []string
		want                string // a part of the warning
		strict              bool
	}{
		"all addresses":                {public: "0.0.0.0:3000", want: "set GAFF_ADMIN_ADDR=127.0.0.1:3001"},
		"all IPv6 addresses":           {public: "[::]:3000", want: "set GAFF_ADMIN_ADDR=127.0.0.1:3001"},
		"a private address":            {public: "10.0.0.1:3000", want: "set GAFF_ADMIN_ADDR=127.0.0.1:3001"},
		"this machine":                 {public: "127.0.0.1:3000", strict: true},
		"this machine, IPv6":           {public: "[::1]:3000", strict: true},
		"TLS":                          {public: "0.0.0.0:3000", publicTLS: true, strict: true},
		"a proxy":                      {public: "0.0.0.0:3000", proxies: []string{"10.0.0.1/32"}, strict: true},
		"console on this machine":      {public: "0.0.0.0:3000", admin: "127.0.0.1:3001"},
		"console on a private one":     {public: "0.0.0.0:3000", admin: "10.0.0.1:3001", want: "GAFF_ADMIN_TLS_CERT"},
		"console with TLS":             {public: "0.0.0.0:3000", admin: "10.0.0.1:3001", adminTLS: true},
		"both with TLS":                {public: "0.0.0.0:3000", publicTLS: true, admin: "10.0.0.1:3001", adminTLS: true, strict: true},
		"TLS, console on this machine": {public: "0.0.0.0:3000", publicTLS: true, admin: "127.0.0.1:3001", strict: true},
	} {
		var log strings.Builder
		p := &process{cfg: &config.Config{TrustedProxies: c.proxies}, log: slog.New(slog.NewTextHandler(&log, nil))}
		p.public = listener{Listener: at{addr: c.public}}
		if c.publicTLS {
			p.public.certificate = cert
		}
		p.console = p.public
		if c.admin != "" {
			p.console = listener{Listener: at{addr: c.admin}}
		}
		if c.adminTLS {
			p.console.certificate = cert
		}
		p.warnExposed()
		if got := log.String(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if got := p.strictTransport(); got != c.strict {
			t.Errorf("%s: strict transport %v", name, got)
		}
	}
}
