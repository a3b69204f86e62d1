package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/app"
	"gaff/internal/buildinfo"
	"gaff/internal/config"
)

func (p *program) serveCommand() *cobra.Command {
	var tunnel bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Run the gateway until an interrupt or SIGTERM.

Every flag is also a setting of the environment, of .env and of gaff.yaml; flags win.
Secrets have no flags: set variables, or name files with NAME_FILE.`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			cfg, err := p.load()
			if err != nil {
				return err
			}
			cfg.Tunnel = tunnel
			log := p.logger(cfg)
			p.tune()
			for _, warning := range cfg.Warnings {
				log.WarnContext(ctx, "configuration", "warning", warning)
			}
			return p.serve(ctx, cfg, log, p.Stdout)
		}),
	}
	cmd.Flags().BoolVar(&tunnel, "tunnel", false, "open the ngrok tunnel (NGROK_AUTH_TOKEN, NGROK_DOMAIN) for the receiving URLs, and only those")
	p.settingFlags(cmd)
	return cmd
}

// Settings of garbage collection. The live heap is a few megabytes, so Go's default would collect
// some twenty times a second under load. The limits on bodies, queues and connections bound memory.
const (
	collectAt   = 400 // per cent
	softMemory  = 512 << 20
	collectVar  = "GOGC"
	memoryLimit = "GOMEMLIMIT"
	processors  = "GOMAXPROCS"
)

// tune configures Go's runtime for a gateway, unless the environment does.
func (p *program) tune() {
	set := func(name string) bool {
		return slices.ContainsFunc(p.Environ, func(line string) bool { return strings.HasPrefix(line, name+"=") })
	}
	if !set(collectVar) {
		debug.SetGCPercent(collectAt)
	}
	if !set(memoryLimit) {
		limit := int64(softMemory)
		if memory := app.ContainerMemory(); memory > 0 {
			limit = min(limit, memory/4*3) // the rest is for memory outside Go's heap
		}
		debug.SetMemoryLimit(limit)
	}
	if !set(processors) {
		// The writer waits for the disk half of its time, and holds one of Go's processors while
		// it does: one more keeps all processors of the machine busy.
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}

func (p *program) migrateCommand() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Migrate the database's schema, or move to PostgreSQL",
		Long: `Migrate the database's schema and print the steps. "gaff serve" does the same at its start;
this command is for deployments that want a separate step.

With --to, a SQLite file (--from, or else the data folder's) is copied into a new PostgreSQL
database instead: every table, with counts and checksums compared on both sides. No gateway
may run at the same time. After an interruption it can be run again.`,
		Example: `  gaff migrate
  gaff migrate --from sqlite:///var/lib/gaff/gaff.db --to postgres://gaff:secret@db/gaff`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			cfg, err := p.loadLocal()
			if err != nil {
				return err
			}
			if from != "" || to != "" {
				return p.importing(ctx, cfg, from, to, p.Stdout)
			}
			return p.migrate(ctx, cfg, p.Stdout)
		}),
	}
	cmd.Flags().StringVar(&from, "from", "", "copy from this file, sqlite://PATH (default: the data folder's)")
	cmd.Flags().StringVar(&to, "to", "", "copy into this new database, postgres://…")
	p.settingFlags(cmd, "GAFF_DATA_DIR", "GAFF_DATABASE_URL")
	return cmd
}

func (p *program) checkCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Verify the database and the copies of files while the gateway runs",
		Long: `Verify everything that is stored, while the gateway may be running: the structure of the SQLite
database, the SHA-256 of each stored body, and that of each copy of a file. Nothing is changed.
Progress goes to standard error. The exit code is 0 if all is sound, and 1 if damage was found.`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			cfg, err := p.loadLocal()
			if err != nil {
				return err
			}
			return p.check(ctx, cfg, asJSON, p.Stdout, p.Stderr)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.settingFlags(cmd, "GAFF_DATA_DIR", "GAFF_DATABASE_URL", "GAFF_MEDIA_URL")
	return cmd
}

func (p *program) configCommand() *cobra.Command {
	var asJSON bool
	show := &cobra.Command{
		Use:   "show",
		Short: "Print every setting and its origin",
		Long:  "Print every setting with its value and origin. Secrets are not shown.",
		Args:  arguments(0, 0, ""),
		RunE: work(func(context.Context, []string) error {
			cfg, err := p.load()
			if err != nil {
				return err
			}
			for _, warning := range cfg.Warnings {
				fmt.Fprintln(p.Stderr, "warning: "+clean(warning))
			}
			if asJSON {
				return writeJSON(p.Stdout, cfg.Settings())
			}
			return cfg.Show(p.Stdout)
		}),
	}
	show.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	p.settingFlags(show)

	check := &cobra.Command{
		Use:   "check",
		Short: "Check the settings and print every fault",
		Long: `Read the settings as "gaff serve" would, and print all faults at once. Warnings are about
settings that are valid but probably not intended, such as a source without a secret, which
rejects every request.`,
		Args: arguments(0, 0, ""),
		RunE: work(func(context.Context, []string) error { return p.checkConfig(asJSON) }),
	}
	check.Flags().BoolVar(&asJSON, "json", false, "print {ok, faults, warnings}")
	p.settingFlags(check)
	return group("config", "Check and show the settings", check, show)
}

func (p *program) checkConfig(asJSON bool) error {
	type fault struct {
		Name    string `json:"name,omitempty"`
		Value   string `json:"value,omitempty"`
		From    string `json:"from,omitempty"`
		Problem string `json:"problem"`
	}
	report := struct {
		OK       bool     `json:"ok"`
		Faults   []fault  `json:"faults"`
		Warnings []string `json:"warnings"`
	}{Faults: []fault{}, Warnings: []string{}}

	cfg, err := p.load()
	report.Warnings = append(report.Warnings, cfg.Warnings...)
	if faults, ok := errors.AsType[config.Faults](err); ok {
		for _, f := range faults {
			report.Faults = append(report.Faults, fault(f))
		}
	} else if err != nil {
		return err
	} else {
		sources, err := p.sources(cfg, p.logger(cfg))
		if err != nil {
			report.Faults = append(report.Faults, fault{Name: "sources", Problem: err.Error()})
		}
		for _, src := range sources {
			if src.DisabledReason != "" {
				report.Warnings = append(report.Warnings, fmt.Sprintf("source %s rejects every request: %s", src.Name, src.DisabledReason))
			}
		}
	}
	report.OK = len(report.Faults) == 0
	if asJSON {
		if err := writeJSON(p.Stdout, report); err != nil {
			return err
		}
	} else {
		for _, f := range report.Faults {
			fmt.Fprintln(p.Stdout, "fault: "+clean(config.Fault(f).String()))
		}
		for _, warning := range report.Warnings {
			fmt.Fprintln(p.Stdout, "warning: "+clean(warning))
		}
		if report.OK {
			fmt.Fprintln(p.Stdout, "ok")
		}
	}
	if !report.OK {
		return errReported
	}
	return nil
}

func (p *program) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  arguments(0, 0, ""),
		RunE: work(func(context.Context, []string) error {
			b := buildinfo.Get()
			v := struct {
				Version  string `json:"version"`
				Revision string `json:"revision,omitempty"`
				Date     string `json:"date,omitempty"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{b.Version, b.Commit, b.Date, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if b.Modified {
				v.Revision += " (modified)"
			}
			if asJSON {
				return writeJSON(p.Stdout, v)
			}
			t := newTable(p.Stdout)
			t.row("gaff", v.Version)
			t.pair("commit", v.Revision)
			t.pair("date", v.Date)
			t.row("go", v.Go)
			t.row("platform", v.Platform)
			return t.flush()
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
