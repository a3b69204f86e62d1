package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"gaff/internal/app"
	"gaff/internal/config"
	"gaff/internal/wire"
)

func (p *program) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check a set-up from end to end, and say what to do",
		Long: `Check the settings, the running gateway, its secrets, the disk, the public URL, the clock and the keys
of providers. Run it on the gateway's machine, with the gateway's settings. It sends no job and no
webhook; each provider with a key is asked for a job that does not exist. The exit code is 1 if
there is a fault; warnings do not count.`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			findings := p.diagnose(ctx)
			faults := slices.ContainsFunc(findings, func(f app.Finding) bool { return f.State == app.FindingFault })
			var err error
			if asJSON {
				err = writeJSON(p.Stdout, findings)
			} else {
				err = p.showFindings(findings)
			}
			if err == nil && faults {
				err = errReported
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	p.clientFlags(cmd)
	return cmd
}

// diagnose makes all checks.
func (p *program) diagnose(ctx context.Context) (list []app.Finding) {
	cfg, err := p.load()
	if faults, ok := errors.AsType[config.Faults](err); ok {
		for _, f := range faults {
			list = append(list, app.Finding{Check: "settings", State: app.FindingFault, Text: f.String(), Advice: "correct it; gaff config check lists all faults"})
		}
	} else if err != nil {
		return []app.Finding{{Check: "settings", State: app.FindingFault, Text: err.Error(), Advice: "correct the configuration file"}}
	}
	for _, warning := range cfg.Warnings {
		list = append(list, app.Finding{Check: "settings", State: app.FindingWarning, Text: warning, Advice: "correct it, or ignore it if it is intended"})
	}
	if len(list) == 0 {
		list = append(list, app.Finding{Check: "settings", State: app.FindingOK, Text: "are valid"})
	}
	list = append(list, p.diagnoseGateway(ctx)...)
	cfg.DataDir = p.path(cfg.DataDir)
	if p.devRuns(cfg) {
		cfg.DataDir = p.path(app.DevDir)
	}
	return append(list, app.Doctor(ctx, cfg)...)
}

func (p *program) diagnoseGateway(ctx context.Context) []app.Finding {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	c, err := p.dial()
	if err == nil {
		var h *wire.Health
		if h, _, err = decodeCall[wire.Health](ctx, c, apiCall{method: http.MethodGet, path: "/api/v1/health"}); err == nil {
			return app.DoctorHealth(h)
		}
	}
	return []app.Finding{{Check: "gateway", State: app.FindingFault, Text: err.Error(), Advice: "start it with gaff serve, or gaff dev to try it"}}
}

// showFindings prints a line for each check, and the advice below it.
func (p *program) showFindings(list []app.Finding) error {
	color := p.display().color
	for _, f := range list {
		state := f.State
		if color {
			state = "\x1b[" + doctorColors[state] + "m" + state + "\x1b[0m"
		}
		if _, err := fmt.Fprintf(p.Stdout, "%s  %s: %s\n", state, clean(f.Check), clean(f.Text)); err != nil {
			return err
		}
		if f.Advice != "" {
			fmt.Fprintf(p.Stdout, "    %s\n", clean(f.Advice))
		}
	}
	return nil
}

var doctorColors = map[string]string{app.FindingOK: "32", app.FindingWarning: "33", app.FindingFault: "31"}
