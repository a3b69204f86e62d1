// Package app is the one place that knows all parts: it builds them from the
// configuration, starts them in order and stops them in reverse.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/api"
	"gaff/internal/buildinfo"
	"gaff/internal/config"
	"gaff/internal/metrics"
	"gaff/internal/server"
	"gaff/internal/sqlstore"
	"gaff/internal/stats"
	"gaff/internal/tunnel"
	"gaff/internal/ui"
	"gaff/jobs"
	"gaff/provider/fal"
)

// Files in the data folder by which the commands on the same machine find the gateway.
const (
	// URLFile holds the running gateway's address, TokenFile the admin token that was
	// made at the first start, if none is configured, and LocalTokenFile one that works
	// as long as this gateway runs.
	URLFile        = "url"
	TokenFile      = "admin-token"
	LocalTokenFile = "token"

	databaseFile = "gaff.db"
)

// Patience at the stop: for requests being answered, and for handlers being run.
const (
	requestPatience = 10 * time.Second
	handlerPatience = 20 * time.Second
)

// Serve runs the gateway until ctx ends. What people should read at start (addresses,
// how to log in) goes to out.
func Serve(ctx context.Context, cfg *config.Config, log *slog.Logger, out io.Writer) (err error) {
	// What is wrong with the configuration is told before anything is opened.
	if _, err := Sources(cfg, log); err != nil {
		return err
	}
	fitMemory(cfg, ContainerMemory(), log)
	st, err := openStore(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	admin, err := findAdmin(ctx, cfg, st, log)
	if err != nil {
		return err
	}
	warnOpenFiles(cfg.DataDir, log)
	// Links to kept files do not lead through the tunnel: only webhooks do.
	filesBase := cfg.BaseURL
	var public *tunnel.Tunnel
	if cfg.Tunnel {
		if public, err = openTunnel(ctx, cfg, log); err != nil {
			return err
		}
		defer public.Close()
	}
	m, counted := metrics.New(buildinfo.Get()), stats.NewCollector(st, log)
	reload := &reloader{cfg: cfg, store: st, log: log}
	sources, err := reload.sources(ctx)
	if err != nil {
		return err
	}
	gw, err := gaff.New(gaff.Options{
		Store: st, Logger: log, BaseURL: cfg.BaseURL, Retry: cfg.Retry.Policy(), Workers: cfg.Limits.Workers,
		InFlightBytes: cfg.Limits.InFlightBytes, TrustedProxies: prefixes(cfg.TrustedProxies),
		Hooks: hooks(m, counted),
	})
	if err != nil {
		return err
	}
	ledger, queue, err := newJobs(ctx, cfg, log, st, gw, m, described(sources))
	if err != nil {
		return err
	}
	ledger.Attach(gw)
	reload.jobs = ledger
	for _, src := range sources {
		linkToJobs(&src.Source, ledger)
		gw.AddSource(src.Source)
		if src.Interpreter != nil {
			gw.Handle(src.Name, "*", gaff.Named("effects/"+src.Name, jobs.NewHandler(jobs.Options{
				Store: st, Router: gw, Interpreter: src.Interpreter, Service: ledger,
			})))
		}
	}
	workflows, err := LoadWorkflows(cfg)
	if err != nil {
		return err
	}
	engine, err := newEngine(cfg, st, gw, serviceJobs{ledger}, sources, log)
	if err != nil {
		return err
	}
	if err := engine.SetWorkflows(workflows); err != nil {
		return err
	}
	reload.gateway, reload.workflows = gw, func(ctx context.Context) error { return reloadWorkflows(ctx, cfg, engine) }
	go reload.onHangup(ctx)
	fwd, err := forwarder(cfg, st, gw, log)
	if err != nil {
		return err
	}
	if err := fwd.Load(ctx); err != nil {
		return fmt.Errorf("destinations: %w", err)
	}
	m.Observe(st)
	localToken := newToken()
	guard := access.NewGuard(access.GuardOptions{
		Store: st, AdminHash: admin.hash, LocalToken: localToken, Address: gw.ClientAddress, Denied: m.Denied, Log: log,
	})
	defer guard.Flush()
	// Listening comes before starting to work: a second gateway on the same address must
	// fail before it does anything.
	ln, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return listenError(cfg.Addr, err, "GAFF_ADDR or --addr")
	}
	local := localURL(ln.Addr())
	base := cmp.Or(cfg.BaseURL, local)
	files, err := keepMedia(ctx, cfg, st, gw, cmp.Or(filesBase, local), log)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	defer files.close()
	if err := gw.Start(ctx); err != nil {
		return errors.Join(err, ln.Close())
	}
	counting, stopCounting := context.WithCancel(context.WithoutCancel(ctx))
	var counter sync.WaitGroup
	counter.Go(func() { counted.Run(counting) })
	// After the gateway's stop, which still counts.
	defer func() {
		stopCounting()
		counter.Wait()
	}()
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), handlerPatience)
		defer cancel()
		err = errors.Join(err, gw.Stop(stop))
	}()
	if err := engine.Start(ctx); err != nil {
		return errors.Join(err, ln.Close())
	}
	defer engine.Stop()
	keeping, stopKeeping := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { keepAudit(keeping, cfg, st, log) })
	keeper.Go(func() { keepRetention(keeping, cfg.Retention, st, log) })
	keeper.Go(func() { keepChecked(keeping, firstCheck(cfg), st, log) })
	defer keeper.Wait()
	defer stopKeeping()
	following, endFollowing := context.WithCancel(ctx)
	var follow sync.WaitGroup
	follow.Go(func() { fwd.Run(following) })
	defer follow.Wait()
	defer endFollowing()
	asking, stopAsking := context.WithCancel(ctx)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		ledger.Run(asking)
	}()
	defer func() {
		stopAsking()
		<-asked
	}()
	forget, err := announce(cfg.DataDir, local, localToken)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	defer forget()
	greet(out, cfg, local, sources)
	code, err := guard.OwnerLink(ctx)
	if err != nil {
		log.Warn("no login link can be made", "error", err)
	}
	welcome(out, local, admin.hint, code)
	log.Info("gateway started", "addr", ln.Addr().String(), "sources", len(sources), "workflows", len(workflows))
	console := consoleOptions(cfg, local, sources)
	background, stopBackground := newBackground(ctx)
	defer stopBackground()
	ingest, proxy := gw.IngestHandler(), falProxy(cfg, log, ledger, queue, guard, gw.ClientAddress)
	apiHandler := api.New(api.Options{
		Store: st, Gateway: gw, Authorizer: guard, Guard: guard, Jobs: ledger, Forwarding: fwd, Workflows: engine, Log: log, Address: console.Address,
		TestSource: sampler(ingest, base, sources), Settings: apiSettings(cfg), Ready: st.Ready, Damaged: st.DamagedBodies,
		Reload: reload.run, HandedKey: reload.key, RemoveKey: reload.forget, OpenKey: reload.openKey, Media: files.api(), Version: console.Version,
		Background: background,
	})
	console.Store, console.Guard, console.API, console.Sources = st, guard, apiHandler, gw.Sources
	console.Log, console.Workflows, console.Expected = log, engine, ledger.Expected
	if public != nil {
		defer serveTunnel(ctx, public, ingest, cfg, log)()
	}
	err = server.Serve(ctx, ln, server.Options{
		Ingest: ingest, API: apiHandler, Console: ui.New(console), Media: files.handler(),
		Others: map[string]http.Handler{
			fal.ProxyPath: proxy.Proxy(), fal.ProxyPath + "/": proxy.Proxy(), fal.QueuePath + "/": proxy.Queue(),
		},
		Keyed:   proxy.Queue(),
		Metrics: m.Handler(), MetricsOpen: cfg.MetricsAccess == config.MetricsOpen, Ready: st.Ready, Log: log,
		Authorized:     func(r *http.Request) bool { _, ok := guard.Authorize(r); return ok },
		MaxHeaderBytes: cfg.Limits.MaxHeaderBytes, HeaderTimeout: cfg.Limits.HeaderTimeout,
		ReadTimeout: cfg.Limits.ReadTimeout, IdleTimeout: cfg.Limits.IdleTimeout, Connections: cfg.Limits.Connections,
		Proxy: proxies(prefixes(cfg.TrustedProxies)),
	}, requestPatience)
	log.Info("gateway stopping")
	return err
}

// proxies reports whether an address is a declared proxy's.
func proxies(trusted []netip.Prefix) func(netip.Addr) bool {
	return func(addr netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr.Unmap().WithZone("")) })
	}
}

// newBackground returns what runs functions beside requests; stop ends and awaits them.
func newBackground(ctx context.Context) (run func(func(context.Context)), stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	run = func(fn func(context.Context)) { running.Go(func() { fn(ctx) }) }
	return run, func() {
		cancel()
		running.Wait()
	}
}

// Migrate brings the database's schema up to date and reports to out what it did.
func Migrate(ctx context.Context, cfg *config.Config, out io.Writer) error {
	var names []string
	st, err := openStore(ctx, cfg, slog.New(&migrationLog{Handler: slog.DiscardHandler, names: &names}))
	if err != nil {
		return err
	}
	if err := st.Close(); err != nil {
		return err
	}
	for _, name := range names {
		fmt.Fprintln(out, "applied", name)
	}
	if len(names) == 0 {
		fmt.Fprintln(out, "the schema is up to date")
	}
	return nil
}

// migrationLog picks the names of migrations out of the store's log.
type migrationLog struct {
	slog.Handler
	names *[]string
}

func (l *migrationLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *migrationLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message == sqlstore.MigrationApplied && a.Key == "name" {
			*l.names = append(*l.names, a.Value.String())
		}
		return true
	})
	return nil
}

// announce tells the commands on this machine where the gateway is, and with which token
// to ask it, until forget.
func announce(dir, url, token string) (forget func(), err error) {
	files := map[string]string{URLFile: url, LocalTokenFile: token}
	forget = func() {
		for name := range files {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
	forget() // what a killed gateway left
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			forget()
			if errors.Is(err, syscall.ENOSPC) {
				err = fmt.Errorf("the disk is full: free some space: %w", err)
			}
			return nil, fmt.Errorf("note the gateway's address: %w", err)
		}
	}
	return forget, nil
}

// localURL is how this machine reaches the listener.
func localURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
