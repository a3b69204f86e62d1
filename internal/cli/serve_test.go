package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"gaff/internal/app"
	"gaff/internal/buildinfo"
	"gaff/internal/config"
)

func TestServe(t *testing.T) {
	t.Parallel()
	serve := func(ctx context.Context, cfg *config.Config, log *slog.Logger, out io.Writer) error {
		log.DebugContext(ctx, "started", "addr", cfg.Addr)
		fmt.Fprintf(out, "%s %s %d", cfg.DataDir, cfg.ProviderValues().List("FAL_WEBHOOK_SECRET")[0], cfg.Limits.Workers)
		return nil
	}
	c := cmdline{
		args:    []string{"serve", "--addr", ":4000", "--config", "other.yaml", "--log-level=debug"},
		environ: []string{"GAFF_ADDR=:5000", "GAFF_DATA_DIR=/data", "GAFF_DATADIR=/x"},
		files:   map[string]string{".env": "FAL_WEBHOOK_SECRET=one,two", "other.yaml": "limits: {workers: 3}\nlog_format: json\n"},
		parts:   parts{serve: serve},
	}
	res := c.run(t, t.Context())
	res.want(t, exitDone, []string{"/data one 3"}, []string{`"msg":"started","addr":":4000"`, "did you mean GAFF_DATA_DIR?"})

	c.args = []string{"serve", "--addr", "nowhere"}
	c.environ = []string{"GAFF_RECONCILE_AFTER=soon"}
	c.run(t, t.Context()).want(t, exitFailed, nil, []string{`GAFF_ADDR="nowhere" (--addr)`, `GAFF_RECONCILE_AFTER="soon"`})

	c = cmdline{args: []string{"serve"}, parts: parts{serve: func(context.Context, *config.Config, *slog.Logger, io.Writer) error {
		return errors.New("listen: \x1b[31mtaken")
	}}}
	c.run(t, t.Context()).want(t, exitFailed, nil, []string{`gaff: listen: \x1b[31mtaken`})

	c = cmdline{args: []string{"migrate", "--data-dir", "/d"}, parts: parts{migrate: func(_ context.Context, cfg *config.Config, out io.Writer) error {
		_, err := fmt.Fprintln(out, "migrated "+cfg.DataDir)
		return err
	}}}
	c.run(t, t.Context()).want(t, exitDone, []string{"migrated /d"}, nil)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := cmdline{args: []string{"config", "check"}, files: map[string]string{"gaff.yaml": "addr: :1\nfal_key: hush\n"}}
	good.run(t, t.Context()).want(t, exitDone, []string{"warning: source mute rejects every request: MUTE_SECRET is not set\nok\n"}, nil)

	good.args = []string{"config", "show"}
	res := good.run(t, t.Context())
	res.want(t, exitDone, []string{"GAFF_ADDR", "gaff.yaml:1", "[redacted]"}, nil)
	if strings.Contains(res.stdout, "hush") {
		t.Error("a secret is shown")
	}
	good.args = []string{"config", "show", "--json", "--addr=:2"}
	var settings []config.Setting
	if err := json.Unmarshal([]byte(good.run(t, t.Context()).stdout), &settings); err != nil || settings[0].Value != ":2" || settings[0].From != "--addr" {
		t.Errorf("%v %+v", err, settings)
	}

	bad := cmdline{args: []string{"config", "check"}, environ: []string{"PORT=x", "FAL_KEY=hush\x01"}}
	res = bad.run(t, t.Context())
	res.want(t, exitFailed, []string{`fault: GAFF_ADDR="x" (environment (PORT)): is not a listen address`, "fault: FAL_KEY (environment)"}, nil)
	bad.args = append(bad.args, "--json")
	var report struct {
		OK     bool
		Faults []struct{ Name, Value, From, Problem string }
	}
	res = bad.run(t, t.Context())
	if err := json.Unmarshal([]byte(res.stdout), &report); err != nil || report.OK || len(report.Faults) != 2 || res.code != exitFailed {
		t.Errorf("%v %+v", err, report)
	}
	if strings.Contains(res.stdout, "hush") {
		t.Error("a secret is shown")
	}
	broken := cmdline{args: []string{"config", "check"}, parts: parts{sources: func(*config.Config, *slog.Logger) ([]app.Source, error) {
		return nil, errors.New("two sources of one name")
	}}}
	broken.run(t, t.Context()).want(t, exitFailed, []string{"fault: sources: two sources of one name"}, nil)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	cmdline{args: []string{"version"}}.run(t, t.Context()).want(t, exitDone, []string{"gaff", "platform"}, nil)
	cmdline{args: []string{"version", "--json"}}.run(t, t.Context()).want(t, exitDone, []string{`"version":`, `"platform":`}, nil)
	for _, flag := range []string{"--version", "-v"} {
		cmdline{args: []string{flag}}.run(t, t.Context()).want(t, exitDone, []string{"gaff version " + buildinfo.Get().String() + "\n"}, nil)
	}
	cmdline{args: []string{"completion", "bash"}}.run(t, t.Context()).want(t, exitDone, []string{"__start_gaff"}, nil)
}
