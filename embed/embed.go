// Package embed runs a whole gateway inside a Go program: what the command gaff serve runs, with
// handlers to mount in place of listeners.
//
//	gw, err := embed.Open(ctx, embed.Options{DataDir: "gaff-data", BaseURL: "https://app.example.com"})
//	if err != nil {
//		return err
//	}
//	gw.Handle("fal", fal.Completed, fal.Handle(func(ctx context.Context, r fal.Result) error {
//		return album.Add(ctx, r.Images)
//	}))
//	mux.Handle("/", gw.Handler()) // webhooks, API, console, files, metrics
//	return gw.Start(ctx)          // gw.Stop(ctx) ends it
//
// Package gaff has the parts, for programs that need only some of them.
package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"gaff"
	"gaff/internal/app"
	"gaff/internal/config"
	"gaff/jobs"
	"gaff/workflow"
)

// Options of [Open]. DataDir is required.
type Options struct {
	// DataDir is the folder of the SQLite database, of the stored files and of the admin token.
	DataDir string
	// DatabaseURL is that of a PostgreSQL database, in place of SQLite.
	DatabaseURL string
	// BaseURL is the public base of the program's server; webhook URLs and links to files begin with
	// it. Without it providers get no webhook URL, and jobs are polled.
	BaseURL string
	// Settings are others of the settings that docs/configuration.md lists, by the name of their
	// environment variable, such as "FAL_KEY". The program's environment is not read.
	Settings map[string]string
	// File is a gaff.yaml with sources, destinations and alerts; empty for none.
	File string
	// Retention is how long rows and files are stored; nil: as File says, else [DefaultRetention].
	Retention *Retention
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

// Retention is how long rows and files are stored, at least an hour; zero stores them for ever.
// Unfinished events, jobs and runs stay.
type Retention struct {
	// Payloads are bodies and headers of events, Events whole events with deliveries and attempts.
	Payloads, Events time.Duration
	// Rejections are rejected requests; their number is bounded, too.
	Rejections time.Duration
	// Jobs are jobs with inputs, results and files; Media files, if they end before their jobs; Runs runs
	// with their steps. They count from the end of the job or run.
	Jobs, Media, Runs time.Duration
	// Audit are lines of the audit log.
	Audit time.Duration
}

// DefaultRetention is that of a gateway without settings.
func DefaultRetention() Retention { return Retention(config.Default().Retention) }

// Gateway is a gateway in this program. Sources, handlers and functions are added between [Open] and
// [Gateway.Start].
type Gateway struct {
	*gaff.Gateway
	parts *app.Embedded
}

// Open opens the database, brings its schema up to date and joins all parts. Nothing is processed
// before [Gateway.Start]. A SQLite database belongs to one process.
func Open(ctx context.Context, o Options) (*Gateway, error) {
	if o.DataDir == "" {
		return nil, errors.New("embed: Options.DataDir is missing: the folder for the database and files")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	cfg, err := configOf(o)
	if err != nil {
		return nil, fmt.Errorf("embed: %w", err)
	}
	parts, err := app.Embed(ctx, cfg, o.Logger)
	if err != nil {
		return nil, fmt.Errorf("embed: %w", err)
	}
	return &Gateway{parts.Gateway(), parts}, nil
}

// configOf reads the options as the command reads its environment.
func configOf(o Options) (*config.Config, error) {
	settings := maps.Clone(o.Settings)
	if settings == nil {
		settings = map[string]string{}
	}
	for name, text := range map[string]string{"GAFF_DATA_DIR": o.DataDir, "GAFF_DATABASE_URL": o.DatabaseURL, "WEBHOOK_BASE_URL": o.BaseURL} {
		if text != "" {
			settings[name] = text
		}
	}
	var environ []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		environ = append(environ, name+"="+settings[name])
	}
	// A folder without .env and gaff.yaml: nothing is read that the program does not name.
	empty, err := os.MkdirTemp("", "gaff-embed-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(empty) }()
	cfg, err := config.Load(config.LoadOptions{Dir: empty, Environ: environ, File: o.File})
	if err != nil || o.Retention == nil {
		return cfg, err
	}
	cfg.Retention = config.Retention(*o.Retention)
	return cfg, cfg.Retention.Validate()
}

// Start begins to process events, and returns when all parts run. Sources and handlers cannot be
// added any more.
func (g *Gateway) Start(ctx context.Context) error { return g.parts.Start(ctx) }

// Stop lets no more webhooks in, gives running handlers 20 seconds, and closes the database. It
// returns an error if ctx ends first.
func (g *Gateway) Stop(ctx context.Context) error { return g.parts.Stop(ctx) }

// Handler serves everything: webhooks, API, console, links to files, proxies, metrics and health. Its
// paths are those of the command, from the root of the host.
func (g *Gateway) Handler() http.Handler { return g.parts.Handler() }

// PublicHandler serves what outsiders need: webhooks, links to files, proxies, health, and the reads
// with browser tokens; not the console, the rest of the API and the metrics.
func (g *Gateway) PublicHandler() http.Handler { return g.parts.PublicHandler() }

// API serves the paths below /api/.
func (g *Gateway) API() http.Handler { return g.parts.API() }

// Console serves the console, whose paths begin at /.
func (g *Gateway) Console() http.Handler { return g.parts.Console() }

// Media serves the links to files, below /media/ and /files/; nil if files are not stored.
func (g *Gateway) Media() http.Handler { return g.parts.Media() }

// Metrics serves Prometheus metrics to callers with a token, or to all with GAFF_METRICS_ACCESS=open.
func (g *Gateway) Metrics() http.Handler { return g.parts.Metrics() }

// Jobs submits, registers, cancels and polls jobs.
func (g *Gateway) Jobs() *jobs.Service { return g.parts.Jobs() }

// Store reads events, deliveries, jobs and files.
func (g *Gateway) Store() Store { return g.parts.Store() }

// Store is what programs read.
type Store interface {
	gaff.Store
	jobs.Reader
}

// Function has the http steps of workflows with the URL func:NAME call a function of the program.
func (g *Gateway) Function(name string, f workflow.Function) { g.parts.Function(name, f) }
