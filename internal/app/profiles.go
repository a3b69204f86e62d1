package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// listenProfiles opens the address of the profiles, if one is set. It rejects a name that does
// not resolve to a loopback address.
func (p *process) listenProfiles(context.Context) (err error) {
	addr := p.cfg.PprofAddr
	if addr == "" {
		return nil
	}
	if !hasProfiles {
		return errors.New("this build (slim) serves no profiles: use the full build, or unset GAFF_PPROF_ADDR")
	}
	if p.profiles, err = net.Listen("tcp", addr); err != nil {
		return listenError(addr, err, "GAFF_PPROF_ADDR")
	}
	if tcp, ok := p.profiles.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		_ = p.profiles.Close()
		return fmt.Errorf("GAFF_PPROF_ADDR %q resolves to %s: must be a loopback address, such as 127.0.0.1:6060", addr, p.profiles.Addr())
	}
	p.log.Info("profiles are served", "url", "http://"+p.profiles.Addr().String()+"/debug/pprof/")
	return nil
}

func (p *process) serveProfiles(ctx context.Context) error {
	if p.profiles == nil {
		return nil
	}
	srv := &http.Server{Handler: profileHandler(), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(p.profiles); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (p *process) closeProfiles(context.Context) error {
	if p.profiles == nil {
		return nil
	}
	if err := p.profiles.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// profileHandler serves /debug/pprof/. It rejects foreign host names, so that a web page that
// resolves its own name to 127.0.0.1 cannot read profiles in a browser.
func profileHandler() http.Handler {
	mux := http.NewServeMux()
	addProfiles(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopbackHost(r.Host) {
			http.Error(w, fmt.Sprintf("host %q: want localhost or a loopback address", r.Host), http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// loopbackHost reports whether a Host header names this machine.
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
