package app

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"gaff/internal/server"
)

// listener is one of the addresses that the gateway listens on.
type listener struct {
	net.Listener
	url         string              // on this machine
	certificate *server.Certificate // nil without TLS
}

// listen opens the public listener, and that of console and API if it is another one.
func (p *process) listen(context.Context) (err error) {
	if p.public, err = open(p.cfg.Addr, p.cfg.TLSCert, p.cfg.TLSKey, "GAFF_ADDR or --addr", p.log); err != nil {
		return err
	}
	p.console = p.public
	if p.cfg.AdminAddr != "" {
		p.console, err = open(p.cfg.AdminAddr, p.cfg.AdminTLSCert, p.cfg.AdminTLSKey, "GAFF_ADMIN_ADDR or --admin-addr", p.log)
		if err != nil {
			return errors.Join(err, p.public.Close())
		}
	}
	p.warnExposed()
	return nil
}

// open listens on addr; setting is the name of its setting.
func open(addr, cert, key, setting string, log *slog.Logger) (l listener, err error) {
	if cert != "" {
		if l.certificate, err = server.LoadCertificate(cert, key, log); err != nil {
			return l, err
		}
	}
	if l.Listener, err = net.Listen("tcp", addr); err != nil {
		return l, listenError(addr, err, setting)
	}
	l.url = localURL(l.Addr(), cert != "")
	return l, nil
}

// closeListeners closes the listeners that no server has closed.
func (p *process) closeListeners(context.Context) error {
	err := ignoreClosed(p.public.Close())
	if p.separate() {
		err = errors.Join(err, ignoreClosed(p.console.Close()))
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// separate reports whether console and API have a listener of their own.
func (p *process) separate() bool { return p.console.Listener != p.public.Listener }

// tls returns the configuration of a listener with TLS, else nil.
func (l listener) tls() *tls.Config {
	if l.certificate == nil {
		return nil
	}
	return l.certificate.Config()
}

// local reports whether only programs on this machine reach the listener.
func (l listener) local() bool {
	if l.Listener == nil {
		return false
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// warnExposed warns if tokens and sessions can cross a network without TLS.
func (p *process) warnExposed() {
	if p.console.local() || p.console.certificate != nil || len(p.cfg.TrustedProxies) > 0 {
		return
	}
	if p.separate() {
		p.log.Warn("other machines can reach the console and the API without TLS; set GAFF_ADMIN_ADDR to an address of this machine only, "+
			"such as 127.0.0.1:3001, or GAFF_ADMIN_TLS_CERT and GAFF_ADMIN_TLS_KEY, or GAFF_TRUSTED_PROXIES to the proxy in front", "addr", p.console.Addr().String())
		return
	}
	p.log.Warn("other machines can reach the console and the API without TLS; set GAFF_ADMIN_ADDR=127.0.0.1:3001 to give them an address of this machine only, "+
		"or GAFF_TLS_CERT and GAFF_TLS_KEY, or GAFF_TRUSTED_PROXIES to the proxy in front", "addr", p.console.Addr().String())
}

// strictTransport reports whether browsers may be sent to HTTPS for all ports of this host: no
// other machine reaches a listener without TLS, unless a proxy in front has it.
func (p *process) strictTransport() bool {
	for _, l := range []listener{p.public, p.console} {
		if l.certificate == nil && !l.local() && len(p.cfg.TrustedProxies) == 0 {
			return false
		}
	}
	return true
}

// announce writes the listener's certificate to the data folder, for the commands on this machine:
// the names in it are not those by which they call. name is the file with the listener's URL.
func (l listener) announce(dir, name string, log *slog.Logger) {
	if l.certificate == nil {
		return
	}
	l.certificate.Announce(func(leaf []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf})
		if err := os.WriteFile(filepath.Join(dir, name+CertificateSuffix), text, 0o600); err != nil {
			log.Warn("commands on this machine cannot verify the gateway's certificate", "error", err)
		}
	})
}

// localURL returns the URL by which this machine reaches a listener.
func localURL(addr net.Addr, secure bool) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// listenError says why a gateway cannot listen on addr, and what to do; setting names what
// holds the address.
func listenError(addr string, err error, setting string) error {
	advice := "set " + setting + " to an address of this machine and a port, such as 127.0.0.1:3000"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "stop the program that uses the port (it can be a stand-in of another gaff dev, which has the two ports after its own), or set " +
			setting + " to another port"
	case errors.Is(err, syscall.EACCES):
		advice = "ports below 1024 are for privileged programs; set " + setting + " to a higher one"
	}
	return fmt.Errorf("listen on %s: %w; %s", addr, err, advice)
}
