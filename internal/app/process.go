package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/internal/access"
	"gaff/internal/api"
	"gaff/internal/buildinfo"
	"gaff/internal/config"
	"gaff/internal/definition"
	"gaff/internal/disk"
	"gaff/internal/mcp"
	"gaff/internal/metrics"
	"gaff/internal/replay"
	"gaff/internal/server"
	"gaff/internal/sqlstore"
	"gaff/internal/stats"
	"gaff/internal/telemetry"
	"gaff/internal/tunnel"
	"gaff/internal/ui"
	"gaff/internal/watch"
	"gaff/internal/wire"
	"gaff/jobs"
	"gaff/provider"
	"gaff/workflow"
)

// How long the services may take to stop.
const (
	requestPatience    = 10 * time.Second // requests that are being answered
	connectionPatience = time.Second      // connections that are cut after that
	handlerPatience    = 20 * time.Second // handlers that are running
	releasePatience    = 3 * time.Second  // leases that are returned after that
	storePatience      = time.Minute      // the last checkpoint of SQLite
)

// process holds the parts of a running gateway. Each service sets the fields that the
// services after it use.
type process struct {
	cfg *config.Config
	log *slog.Logger
	out io.Writer

	store  *sqlstore.Store
	admin  admin
	tunnel *tunnel.Tunnel // nil if none is wanted
	// filesBase begins the links to stored files, which do not lead through the tunnel.
	filesBase string

	telemetry *telemetry.Providers
	recorder  telemetry.Recorder // nil if no traces are sent

	metrics      *metrics.Metrics
	stats        *stats.Collector
	reload       *reloader
	sources      []Source
	records      *sourceRecords
	gateway      *gaff.Gateway
	jobs         *jobs.Service
	clients      map[string]jobs.Provider
	workflows    *definition.Service
	engine       *workflow.Engine
	functions    func(string) workflow.Function // of the program that embeds the gateway; may be nil
	destinations *destination.Manager
	replays      *replay.Service
	monitor      *watch.Monitor
	violations   watch.Violations
	localToken   string
	guard        *access.Guard

	public  listener // of the receiving paths
	console listener // of console and API; the same if GAFF_ADMIN_ADDR is unset
	// profiles is nil if profiles are not served.
	profiles net.Listener
	files    *storedMedia
	forget   func() // removes the files of announce
	tasks    background
	ingest   http.Handler
	server   server.Options
	// publicProxy is served on the public listener if console and API have another one.
	publicProxy provider.Proxy
}

func (p *process) openStore(ctx context.Context) (err error) {
	p.store, err = openStore(ctx, p.cfg, p.log, foldersPerNode(p.cfg))
	return err
}

func (p *process) closeStore(context.Context) error { return p.store.Close() }

func (p *process) findAdmin(ctx context.Context) (err error) {
	if p.admin, err = findAdmin(ctx, p.cfg, p.store, p.log); err != nil {
		return err
	}
	warnOpenFiles(p.cfg.DataDir, p.log)
	return nil
}

func (p *process) openTunnel(ctx context.Context) (err error) {
	p.filesBase = p.cfg.BaseURL
	if p.cfg.Tunnel {
		p.tunnel, err = openTunnel(ctx, p.cfg, p.log)
	}
	return err
}

func (p *process) closeTunnel(context.Context) error {
	if p.tunnel != nil {
		p.tunnel.Close()
	}
	return nil
}

// addSources makes the gateway and its sources.
func (p *process) addSources(ctx context.Context) (err error) {
	p.metrics, p.stats = metrics.New(buildinfo.Get()), stats.NewCollector(p.store, p.log)
	p.reload = &reloader{cfg: p.cfg, store: p.store, log: p.log}
	if p.sources, err = p.reload.sources(ctx); err != nil {
		return err
	}
	queueLen, queueBytes := fitQueue(p.cfg, ContainerMemory())
	p.gateway, err = gaff.New(gaff.Options{
		Store: p.store, Logger: p.log, BaseURL: p.cfg.BaseURL, Retry: p.cfg.Retry.Policy(), Workers: p.cfg.Limits.Workers,
		InFlightBytes: p.cfg.Limits.InFlightBytes, QueueLen: queueLen, QueueBytes: queueBytes, TrustedProxies: prefixes(p.cfg.TrustedProxies),
		Hooks: hooks(p.metrics, p.stats, &p.violations), Tracer: p.tracer(),
	})
	p.reload.gateway = p.gateway
	return err
}

// addJobs makes the job service, and the handlers by which events change jobs.
func (p *process) addJobs(ctx context.Context) (err error) {
	if p.clients, err = newClients(p.cfg, p.traced); err != nil {
		return err
	}
	providers := slices.AppendSeq(webhookOnly(p.sources), maps.Values(p.clients))
	if p.jobs, err = newJobs(ctx, p.cfg, p.log, p.store, p.gateway, p.metrics, providers); err != nil {
		return err
	}
	p.jobs.Attach(p.gateway)
	p.reload.jobs = p.jobs
	for _, src := range p.sources {
		linkToJobs(p.cfg, &src.Source, p.jobs)
		p.gateway.AddSource(src.Source)
		if src.Interpreter != nil {
			p.gateway.Handle(src.Name, "*", p.effectsOf(src))
		}
	}
	return nil
}

// effectsOf returns the handler by which the events of a source change jobs.
func (p *process) effectsOf(src Source) gaff.Handler {
	return gaff.Named("effects/"+src.Name, jobs.NewHandler(jobs.Options{
		Store: p.store, Router: p.gateway, Interpreter: src.Interpreter, Service: p.jobs,
	}))
}

// addSourceRecords adds the sources that users created, and pauses those that they paused.
func (p *process) addSourceRecords(ctx context.Context) error {
	p.records = &sourceRecords{
		store: p.store, changed: p.store.Changed, gateway: p.gateway, effects: p.effectsOf, jobs: p.jobs, reload: p.reload, log: p.log,
	}
	p.reload.paused = p.records.pausedReason
	if err := p.records.Load(ctx); err != nil {
		return fmt.Errorf("sources: %w", err)
	}
	return nil
}

// findSource finds a source of the configuration, or one that users created.
func (p *process) findSource(name string) (Source, bool) {
	for _, src := range p.sources {
		if src.Name == name {
			return src, true
		}
	}
	return p.records.find(name)
}

func (p *process) addWorkflows(ctx context.Context) (err error) {
	if p.engine, err = newEngine(p.cfg, p.store, p.gateway, serviceJobs{p.jobs}, p.sources, p.functions, p.log); err != nil {
		return err
	}
	p.workflows = definition.New(definition.Options{
		Store: p.store, Engine: p.engine, Log: p.log,
		Files: func() ([]*workflow.Compiled, error) { return LoadWorkflows(p.cfg) },
		Parse: func(file string, text []byte) (*workflow.Compiled, error) {
			return workflow.Parse(file, text, providerNames(p.cfg)...)
		},
	})
	p.reload.workflows = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, reloadPatience)
		defer cancel()
		return p.workflows.Load(ctx)
	}
	return p.workflows.Load(ctx)
}

// followWorkflows applies the workflows that users write on other nodes.
func (p *process) followWorkflows(ctx context.Context) {
	followRecords(ctx, p.store.Changed, p.workflows.Refresh, func(err error) { p.log.Warn("workflows could not be read", "error", err) })
}

func (p *process) addDestinations(ctx context.Context) (err error) {
	if p.destinations, err = forwarder(p.cfg, p.store, p.gateway, p.log, p.traced); err != nil {
		return err
	}
	if err := p.destinations.Load(ctx); err != nil {
		return fmt.Errorf("destinations: %w", err)
	}
	return nil
}

// addReplays makes the service that sends stored events again.
func (p *process) addReplays(context.Context) error {
	p.replays = replay.New(replay.Options{Store: p.store, Gateway: p.gateway, Destinations: p.destinations, Log: p.log})
	return p.replays.Attach()
}

// browserKeySetting is the name of the stored key that signs browser tokens.
const browserKeySetting = "browser_token_key"

func (p *process) addGuard(ctx context.Context) error {
	p.observeStore()
	if err := p.telemetry.Metrics(ctx, p.metrics.Gatherer()); err != nil {
		return err
	}
	p.localToken = newToken()
	var key string
	err := p.store.Write(ctx, func(tx jobs.Tx) (err error) {
		key, err = jobs.StoredSetting(ctx, tx, browserKeySetting, rand.Text()+rand.Text())
		return err
	})
	if err != nil {
		return fmt.Errorf("key of the browser tokens: %w", err)
	}
	login := p.cfg.Login
	o := access.GuardOptions{
		Store: p.store, AdminHash: p.admin.hash, LocalToken: p.localToken, Address: p.gateway.ClientAddress,
		Denied: p.metrics.Denied, Log: p.log, BrowserKey: []byte(key),
		Sessions: access.SessionRules{Age: login.SessionAge, SSOAge: login.OIDCSessionAge, Idle: login.SessionIdle, NoTokens: !login.TokenLogin},
	}
	o.NoReads = !login.AuditReads
	if telemetryOptions(p.cfg).Logs != "" {
		o.Audited = p.sendAudit()
	}
	if login.OIDCIssuer != "" {
		o.SSO = ssoOptions(login).Fingerprint()
	}
	p.guard = access.NewGuard(o)
	return nil
}

// observeStore has the metrics measure the store and the data folder.
func (p *process) observeStore() {
	files := metrics.Files{Dir: p.cfg.DataDir, Queues: p.queues, Limits: p.limits}
	if p.cfg.DatabaseURL == "" {
		files.Log = filepath.Join(p.cfg.DataDir, DatabaseFile) + "-wal"
	}
	p.metrics.Observe(p.store, files)
}

// maxLimitMetrics bounds the models whose limits are measured: callers choose their names.
const maxLimitMetrics = 100

// limits returns the use of the limits of providers and models, for the metrics.
func (p *process) limits(ctx context.Context) (all []metrics.Limit, err error) {
	if p.jobs == nil {
		return nil, nil
	}
	list, err := p.jobs.LimitUse(ctx)
	for _, u := range list {
		if (u.Scope == "provider" || u.Scope == "model") && len(all) < maxLimitMetrics {
			all = append(all, metrics.Limit{Scope: u.Scope, Name: u.Name, Concurrency: u.Concurrency, UnderWay: u.UnderWay, Waiting: u.Waiting})
		}
	}
	return all, err
}

// queues returns the backlog of each queue, for the metrics.
func (p *process) queues(ctx context.Context) ([]metrics.Queue, error) {
	depths, err := p.store.QueueDepths(ctx)
	var all []metrics.Queue
	for _, d := range depths {
		all = append(all, metrics.Queue{Name: d.Queue, Waiting: d.Waiting, Due: d.Due})
	}
	return all, err
}

func (p *process) flushAudit(context.Context) error {
	p.guard.Flush()
	return nil
}

func (p *process) addMedia(ctx context.Context) (err error) {
	p.files, err = keepMedia(ctx, p.cfg, p.store, p.gateway, cmp.Or(p.filesBase, p.public.url), fileHeaders(p.clients), p.log)
	return err
}

func (p *process) closeMedia(context.Context) error {
	p.files.close()
	return nil
}

func (p *process) countStatistics(ctx context.Context) error {
	p.stats.Run(ctx)
	return nil
}

func (p *process) startGateway(ctx context.Context) error { return p.gateway.Start(ctx) }

func (p *process) stopGateway(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, handlerPatience)
	defer cancel()
	return p.gateway.Stop(ctx)
}

func (p *process) startEngine(ctx context.Context) error {
	p.workflows.Started()
	return p.engine.Start(ctx)
}

func (p *process) stopEngine(context.Context) error {
	p.engine.Stop()
	return nil
}

// announce writes the files by which commands on this machine find the gateway.
func (p *process) announce(context.Context) (err error) {
	p.forget, err = announce(p.cfg.DataDir, p.console.url, p.public.url, p.localToken)
	if err == nil {
		p.console.announce(p.cfg.DataDir, URLFile, p.log)
		p.public.announce(p.cfg.DataDir, WebhookURLFile, p.log)
	}
	return err
}

func (p *process) withdraw(context.Context) error {
	p.forget()
	return nil
}

func (p *process) startTasks(ctx context.Context) error {
	p.tasks.start(ctx)
	return nil
}

func (p *process) stopTasks(context.Context) error {
	p.tasks.stop()
	return nil
}

// buildHandlers joins what answers requests.
func (p *process) buildHandlers(context.Context) error {
	cfg, gw, console := p.cfg, p.gateway, consoleOptions(p.cfg, p.public.url, p.findSource)
	p.ingest = gw.IngestHandler()
	proxy, public, err := proxiesOf(provider.ProxyOptions{
		Values: cfg.ProviderValues(), Jobs: p.jobs, Log: p.log, Authorize: authorizeProxy(p.guard), Address: gw.ClientAddress, BaseURL: cfg.BaseURL,
	}, p.clients)
	if err != nil {
		return err
	}
	apiHandler := api.New(api.Options{
		Store: p.store, Gateway: gw, Authorizer: access.Scoped{Guard: p.guard}, Guard: p.guard, Jobs: p.jobs, Forwarding: p.destinations, Workflows: p.engine,
		Log: p.log, Address: console.Address, TestSource: sampler(p.ingest, cmp.Or(cfg.BaseURL, p.public.url), p.findSource), Settings: apiSettings(cfg),
		Ready: p.store.Ready, Damaged: p.store.DamagedBodies, Origins: cfg.CORSOrigins,
		Reload: p.reload.reload, HandedKey: p.reload.key, RemoveKey: p.reload.forget, OpenKey: p.reload.openKey,
		Storage: p.measureStorage, Handlers: handlersOf(p.store), Commit: buildinfo.Get().Commit,
		Eraser: p.eraser(), Compact: p.compact, Secrets: api.Secrets{Count: p.secrets, Rotate: p.rotateSecrets, SigningKeys: p.signingKeys, RotateSigningKey: p.rotateSigningKey}, Alerts: p.monitor, SourceRecords: p.records, Definitions: p.workflows, Replays: p.replays, Media: p.files.api(), Version: console.Version, Background: p.tasks.run,
	})
	p.publicProxy = public
	console.Store, console.Guard, console.API, console.Sources = p.store, p.guard, apiHandler, gw.Sources
	console.Log, console.Workflows, console.Expected = p.log, p.engine, p.jobs.Expected
	if cfg.Login.OIDCIssuer != "" {
		console.SSO = p.identityProvider()
	}
	authorized := func(r *http.Request) bool { _, ok := p.guard.Authorize(r); return ok }
	p.server = server.Options{
		Ingest: p.ingest, API: apiHandler, Console: ui.New(console), Media: p.files.handler(),
		Others: proxy.Handlers, Keyed: proxy.Keyed,
		Metrics: p.metrics.Handler(), MetricsOpen: cfg.MetricsAccess == config.MetricsOpen, Ready: p.store.Ready, Log: p.log,
		PublicAPI:      p.publicAPI,
		Authorized:     authorized,
		MCP:            mcp.Handler(console.Version, apiHandler, authorized),
		MaxHeaderBytes: int(cfg.Limits.MaxHeaderBytes), HeaderTimeout: cfg.Limits.HeaderTimeout,
		ReadTimeout: cfg.Limits.ReadTimeout, IdleTimeout: cfg.Limits.IdleTimeout, Connections: cfg.Limits.Connections,
		Proxy: proxies(prefixes(cfg.TrustedProxies)), StrictTransport: p.strictTransport(),
	}
	return nil
}

func (p *process) serveTunnel(ctx context.Context) error {
	if p.tunnel != nil {
		serveTunnel(ctx, p.tunnel, p.ingest, p.cfg, p.log)
	}
	return nil
}

// greet prints what a person who starts the gateway needs to know.
func (p *process) greet(ctx context.Context) error {
	greet(p.out, p.cfg, p.public.url, p.sources)
	var code string
	hint := p.admin.hint
	if p.guard.TokenLogin() {
		var err error
		if code, err = p.guard.OwnerLink(ctx); err != nil {
			p.log.Warn("no login link can be made", "error", err)
		}
	} else {
		hint = "at " + p.cfg.Login.OIDCIssuer
	}
	welcome(p.out, p.console.url, hint, code)
	p.log.Info("gateway started", "addr", p.public.Addr().String(), "admin_addr", p.console.Addr().String(), "sources", len(p.sources), "workflows", len(p.engine.Workflows()))
	return nil
}

func (p *process) serveHTTP(ctx context.Context) error {
	o := p.server
	o.Part, o.TLS = server.Everything, p.public.tls()
	if p.separate() {
		o.Part, o.Others, o.Keyed = server.Public, p.publicProxy.Handlers, p.publicProxy.Keyed
	}
	err := server.Serve(ctx, p.public, o, requestPatience)
	p.log.Info("gateway stopping")
	return err
}

// publicAPI reports whether the API answers a request on the public listener too: reading with a
// browser token, and the question of a page of a configured origin whether it may (CORS).
func (p *process) publicAPI(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return access.HasBrowserToken(r)
	case http.MethodOptions:
		return slices.Contains(p.cfg.CORSOrigins, r.Header.Get("Origin"))
	}
	return false
}

// serveAdmin serves console and API if they have a listener of their own.
func (p *process) serveAdmin(ctx context.Context) error {
	if !p.separate() {
		return nil
	}
	o := p.server
	o.Part, o.TLS = server.Admin, p.console.tls()
	return server.Serve(ctx, p.console, o, requestPatience)
}

// proxies reports whether an address is a declared proxy's.
func proxies(trusted []netip.Prefix) func(netip.Addr) bool {
	return func(addr netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr.Unmap().WithZone("")) })
	}
}

// background runs functions beside requests.
type background struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func (b *background) start(ctx context.Context) {
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
}

// run calls fn on a goroutine of its own. Its context ends at the stop.
func (b *background) run(fn func(context.Context)) { b.running.Go(func() { fn(b.ctx) }) }

// stop ends and awaits all functions.
func (b *background) stop() {
	b.cancel()
	b.running.Wait()
}

// measureStorage returns the size of the database and the space of the data folder's disk, as far as
// they are known.
func (p *process) measureStorage(ctx context.Context) (databaseBytes int64, space *wire.Disk) {
	databaseBytes, err := p.store.DatabaseSize(ctx)
	if err != nil {
		p.log.Debug("database not measured", "error", err)
	}
	if of, err := disk.Of(p.cfg.DataDir); err == nil {
		space = &wire.Disk{FreeBytes: int64(of.Free), TotalBytes: int64(of.Total)}
	}
	return databaseBytes, space
}
