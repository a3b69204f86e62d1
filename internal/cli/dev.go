package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gaff/internal/app"
	"gaff/internal/config"
	"gaff/internal/standin"
	"gaff/provider/all"
)

func (p *program) devCommand() *cobra.Command {
	var o app.DevOptions
	var faults string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run the gateway with simulated providers and a sample project",
		Long: `Run the gateway with simulated ` + all.Titles() + ` services on this machine, and submit a few
jobs for a sample project: the whole loop, offline and at no cost. The simulated services
create pictures and playable clips, sign their webhooks as the real services do, and can
simulate the faults of the real services.

Its data is in its own folder, ./gaff-dev; databases, keys and URLs of the configuration are
not used.

Faults: ` + standin.FaultNames() + `.
A name alone means always, "lost=0.2" one job in five. A job can request its own fault:
{"prompt": "…", "standin": {"fault": "lost", "seconds": 3}} as its input.`,
		Example: `  gaff dev
  gaff dev --fault duplicate,late=0.3,lost=0.2
  gaff dev --addr 127.0.0.1:4000 --data-dir /tmp/try`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			var err error
			if o.Faults, err = standin.ParseFaults(faults); err != nil {
				return usageError{err}
			}
			cfg, err := p.load()
			if err != nil {
				return err
			}
			if o.Dir == "" {
				o.Dir = app.DevDir
			}
			o.Dir = p.path(o.Dir)
			p.tune()
			err = p.dev(ctx, cfg, o, p.logger(cfg), p.Stdout)
			if err == nil {
				fmt.Fprintf(p.Stdout, "\nStopped. The data is kept in %s: start again with gaff dev, or remove the folder to start over.\n", o.Dir)
			}
			return err
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Addr, "addr", "", "listen address (default 127.0.0.1:3000, or a free port)")
	flags.StringVar(&o.Dir, "data-dir", "", "data folder (default ./"+app.DevDir+")")
	flags.StringVar(&faults, "fault", "", "the faults of the simulated services, separated by commas")
	flags.Uint64Var(&o.Seed, "seed", 0, "make the simulated services behave the same in every run")
	flags.BoolVar(&o.Samples, "samples", true, "submit the sample jobs")
	flags.BoolVar(&o.Tunnel, "tunnel", false, "open the ngrok tunnel (NGROK_AUTH_TOKEN, NGROK_DOMAIN) for the receiving URLs")
	p.settingFlags(cmd, "GAFF_RECONCILE_AFTER", "GAFF_MEDIA_URL", "GAFF_LOG_FORMAT", "GAFF_LOG_LEVEL")
	return cmd
}

// loadLocal is load for commands that open the data folder themselves: if the working folder has only
// the one of "gaff dev", they use that.
func (p *program) loadLocal() (*config.Config, error) {
	cfg, err := p.load()
	if err != nil {
		return cfg, err
	}
	has := func(dir string) bool {
		_, err := os.Stat(filepath.Join(p.path(dir), app.DatabaseFile))
		return err == nil
	}
	if cfg.DatabaseURL == "" && cfg.DataDir == config.Default().DataDir && !has(cfg.DataDir) && has(app.DevDir) {
		fmt.Fprintf(p.Stderr, "%s has no database: using that of gaff dev in %s\n", cfg.DataDir, app.DevDir)
		cfg.DataDir = app.DevDir
	}
	return cfg, nil
}

// devRuns reports whether a development gateway and no other one runs in the working folder:
// commands without a gateway's URL then use it.
func (p *program) devRuns(cfg *config.Config) bool {
	if cfg.DataDir != config.Default().DataDir {
		return false
	}
	exists := func(dir string) bool {
		_, err := os.Stat(filepath.Join(p.path(dir), urlFile))
		return err == nil
	}
	return exists(app.DevDir) && !exists(cfg.DataDir)
}
