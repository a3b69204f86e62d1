// Package app is the one place that knows all parts: it builds them from the
// configuration, starts them in order and stops them in reverse.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"gaff/internal/config"
	"gaff/internal/lifecycle"
	"gaff/internal/sqlstore"
)

// Files in the data folder by which the commands on the same machine find the gateway.
const (
	// URLFile has the URL of the running gateway's console and API, WebhookURLFile that of its
	// receiving paths. If they use TLS, their certificates are in files named like these, with
	// CertificateSuffix. TokenFile has the admin token that was generated at the first start, if
	// none is configured, and LocalTokenFile one that is valid as long as this gateway runs.
	URLFile           = "url"
	WebhookURLFile    = "webhook-url"
	CertificateSuffix = ".pem"
	TokenFile         = "admin-token"
	LocalTokenFile    = "token"

	// DatabaseFile is the SQLite database in the data folder.
	DatabaseFile = "gaff.db"
)

// Serve runs the gateway until ctx ends. What people should read at start (URLs, how to log
// in) goes to out.
func Serve(ctx context.Context, cfg *config.Config, log *slog.Logger, out io.Writer) error {
	// A wrong configuration is reported before anything is opened.
	if _, err := Sources(cfg, log); err != nil {
		return err
	}
	fitMemory(cfg, ContainerMemory(), log)
	p := &process{cfg: cfg, log: log, out: out}
	return lifecycle.Run(ctx, log, p.services()...)
}

// services lists the parts of a gateway in the order of their start; they stop in reverse.
func (p *process) services() []lifecycle.Service {
	return []lifecycle.Service{
		{Name: "telemetry", Start: p.startTelemetry, Stop: p.stopTelemetry},
		{Name: "store", Start: p.openStore, Stop: p.closeStore, Patience: storePatience},
		{Name: "admin token", Start: p.findAdmin},
		{Name: "tunnel", Start: p.openTunnel, Stop: p.closeTunnel},

		// These have to be known before the first delivery is processed.
		{Name: "sources", Start: p.addSources},
		{Name: "jobs", Start: p.addJobs},
		{Name: "sources of users", Start: p.addSourceRecords},
		{Name: "workflows", Start: p.addWorkflows},
		{Name: "destinations", Start: p.addDestinations},
		{Name: "replays to URLs", Start: p.addReplays},
		{Name: "alerts", Start: p.addAlerts},
		{Name: "access", Start: p.addGuard, Stop: p.flushAudit},

		// A second gateway on the same port must fail before it processes anything.
		{Name: "listener", Start: p.listen, Stop: p.closeListeners},
		{Name: "profiles", Start: p.listenProfiles, Run: p.serveProfiles, Stop: p.closeProfiles},
		{Name: "media", Start: p.addMedia, Stop: p.closeMedia},

		{Name: "statistics", Run: p.countStatistics},
		{Name: "gateway", Start: p.startGateway, Stop: p.stopGateway, Patience: handlerPatience + releasePatience},
		{Name: "workflow engine", Start: p.startEngine, Stop: p.stopEngine},
		lifecycle.Background("signing keys", func(ctx context.Context) { p.followKeys(ctx) }),
		lifecycle.Background("sessions", func(ctx context.Context) { pruneSessions(ctx, p.guard, p.log) }),
		lifecycle.Background("audit retention", func(ctx context.Context) { pruneAudit(ctx, p.cfg, p.store, p.log) }),
		lifecycle.Background("retention", func(ctx context.Context) { prune(ctx, p.cfg.Retention, p.store, p.destinations.Unarchived, p.log) }),
		lifecycle.Background("redaction", func(ctx context.Context) { redactProcessed(ctx, p.reload.configured, p.store, p.log) }),
		lifecycle.Background("body check", func(ctx context.Context) { checkBodies(ctx, firstCheck(p.cfg), p.store, p.log) }),
		lifecycle.Background("media storage", func(ctx context.Context) { p.files.tend(ctx, p.log) }),
		lifecycle.Background("media check", func(ctx context.Context) { p.files.check(ctx, p.log) }),
		lifecycle.Background("ends of jobs and runs", func(ctx context.Context) { p.traceSettled(ctx) }),
		lifecycle.Background("alert checks", func(ctx context.Context) { p.monitor.Run(ctx) }),
		lifecycle.Background("destination changes", func(ctx context.Context) { p.destinations.Run(ctx) }),
		lifecycle.Background("replays", func(ctx context.Context) { p.replays.Run(ctx) }),
		lifecycle.Background("source changes", func(ctx context.Context) { p.records.Run(ctx) }),
		lifecycle.Background("workflow changes", func(ctx context.Context) { p.followWorkflows(ctx) }),
		lifecycle.Background("job polling", func(ctx context.Context) { p.jobs.Run(ctx) }),
		lifecycle.Background("reload", func(ctx context.Context) { p.reload.run(ctx) }),
		lifecycle.Background("memory", releaseMemory),

		{Name: "announcement", Start: p.announce, Stop: p.withdraw},
		{Name: "background tasks", Start: p.startTasks, Stop: p.stopTasks},
		{Name: "HTTP handlers", Start: p.buildHandlers},
		{Name: "tunnel traffic", Run: p.serveTunnel},
		{Name: "admin HTTP", Run: p.serveAdmin, Patience: requestPatience + connectionPatience},
		{Name: "HTTP", Start: p.greet, Run: p.serveHTTP, Patience: requestPatience + connectionPatience},
	}
}

// Migrate brings the database's schema up to date and reports to out what it did.
func Migrate(ctx context.Context, cfg *config.Config, out io.Writer) error {
	var names []string
	st, err := openStore(ctx, cfg, slog.New(&migrationLog{Handler: slog.DiscardHandler, names: &names}), false)
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
		if applied, ok := a.Value.Any().(sqlstore.Migrations); ok {
			*l.names = append(*l.names, applied...)
		}
		return true
	})
	return nil
}

// announce writes the files by which the commands on this machine find the gateway, until forget:
// the URLs of console and receiving paths, and a token.
func announce(dir, url, webhookURL, token string) (forget func(), err error) {
	files := map[string]string{URLFile: url, WebhookURLFile: webhookURL, LocalTokenFile: token}
	forget = func() {
		for name := range files {
			_ = os.Remove(filepath.Join(dir, name))
		}
		for _, name := range []string{URLFile, WebhookURLFile} {
			_ = os.Remove(filepath.Join(dir, name+CertificateSuffix))
		}
	}
	forget() // the files of a killed gateway
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			forget()
			if errors.Is(err, syscall.ENOSPC) {
				err = fmt.Errorf("the disk is full: free some space: %w", err)
			}
			return nil, fmt.Errorf("write the gateway's URL: %w", err)
		}
	}
	return forget, nil
}
