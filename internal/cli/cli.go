// Package cli is the command line: it reads arguments, calls the parts that do the
// work, or a running gateway's HTTP API, and prints for people or, with --json, for
// programs.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/app"
	"gaff/internal/buildinfo"
	"gaff/internal/config"
)

// Env is all that a command takes from its process.
type Env struct {
	// Args are the arguments without the program's name.
	Args []string
	// Environ is the environment as os.Environ gives it.
	Environ        []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Dir is the working folder; empty means the process's own.
	Dir string
}

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// parts is what the commands start; tests put others in their place.
type parts struct {
	serve   func(context.Context, *config.Config, *slog.Logger, io.Writer) error
	dev     func(context.Context, *config.Config, app.DevOptions, *slog.Logger, io.Writer) error
	migrate func(context.Context, *config.Config, io.Writer) error
	backup  func(ctx context.Context, cfg *config.Config, file string, out io.Writer) error
	check   func(ctx context.Context, cfg *config.Config, asJSON bool, out, progress io.Writer) error
	// importing copies from a SQLite file into PostgreSQL.
	importing func(ctx context.Context, cfg *config.Config, from, to string, out io.Writer) error
	sources   func(*config.Config, *slog.Logger) ([]app.Source, error)
	// terminal tells whether a stream is one.
	terminal func(stream any) bool
	now      func() time.Time
}

// Run runs one command and returns the exit code.
func Run(ctx context.Context, env Env) int {
	return run(ctx, env, parts{
		serve: app.Serve, dev: app.Dev, migrate: app.Migrate, backup: app.Backup, check: app.Check, importing: app.Import, sources: app.Sources,
		terminal: isTerminal, now: time.Now,
	})
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// program is one run of the command line.
type program struct {
	Env
	parts
	http *http.Client
	// configFile, url and token are flags that many commands share.
	configFile, url, token string
	// settings are the flags of settings, by the setting's name.
	settings map[string]*string
}

// usageError is a mistake in how a command was called.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errReported ends a command as failed that has already told why.
var errReported = errors.New("failed")

// ranError marks that an error is a command's own, not the argument parser's.
type ranError struct{ error }

func (e ranError) Unwrap() error { return e.error }

func run(ctx context.Context, env Env, ps parts) int {
	p := &program{Env: env, parts: ps, settings: make(map[string]*string), http: newHTTPClient()}
	root := p.root()
	if env.Args == nil {
		env.Args = []string{} // cobra would take the process's own for nil
	}
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	_, ran := errors.AsType[ranError](err)
	_, usage := errors.AsType[usageError](err)
	switch {
	case errors.Is(err, errReported):
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(env.Stderr, "gaff: interrupted")
	default:
		fmt.Fprintf(env.Stderr, "gaff: %s\n", cleanLines(err.Error()))
	}
	if ran && !usage {
		return exitFailed
	}
	fmt.Fprintf(env.Stderr, "See '%s --help'.\n", cmd.CommandPath())
	return exitUsage
}

const overview = `gaff receives the webhooks of asynchronous services, proves who sent them, keeps them
before it answers, and works each one with retries until its effects have happened
exactly once.

To begin: "gaff dev" runs it with services that are played, the whole loop offline. "gaff
serve" is the gateway itself (settings: environment, .env or gaff.yaml; see "gaff config
show"), "gaff send fal" plays a sender, "gaff events list" shows what came.`

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "gaff",
		Version:       buildinfo.Get().String(),
		Short:         "A durable gateway for inbound webhooks",
		Long:          overview,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSubcommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&p.configFile, "config", "", "configuration file (default gaff.yaml in the working folder, if it exists)")
	root.AddGroup(
		&cobra.Group{ID: "gateway", Title: "The gateway:"},
		&cobra.Group{ID: "sender", Title: "Play and check a sender:"},
		&cobra.Group{ID: "look", Title: "Look into a running gateway, and repair:"},
		&cobra.Group{ID: "other", Title: "Other:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add("gateway", p.serveCommand(), p.devCommand(), p.migrateCommand(), p.backupCommand(), p.checkCommand(), p.configCommand())
	add("sender", p.sendCommand(), p.signCommand(), p.verifyCommand())
	add("look", p.eventsCommand(), p.jobsCommand(), p.mediaCommand(), p.runsCommand(), p.workflowsCommand(), p.projectsCommand(), p.sourcesCommand(), p.destinationsCommand(), p.deliveriesCommand(), p.rejectionsCommand(), p.bulkCommand(), p.listenCommand(), p.statsCommand(), p.healthCommand(), p.settingsCommand(), p.keysCommand(), p.sessionsCommand(), p.auditCommand())
	add("other", p.versionCommand())
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return root
}

// group is a command that only holds others.
func group(use, short string, cmds ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short, Args: noSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	g.AddCommand(cmds...)
	return g
}

// noSubcommand refuses the arguments of a command that only holds others.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef("%s has no command %q%s", cmd.CommandPath(), args[0], hint)
}

// work makes a command's RunE.
func work(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd.Context(), args); err != nil {
			return ranError{err}
		}
		return nil
	}
}

// arguments checks how many there are; names is what the usage line calls them.
func arguments(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s needs %s", cmd.CommandPath(), names)
		case most >= 0 && len(args) > most && names == "":
			return usagef("%s takes no argument; %q is one", cmd.CommandPath(), args[0])
		case most >= 0 && len(args) > most:
			return usagef("%s takes %s; unexpected argument %q", cmd.CommandPath(), names, args[most])
		}
		return nil
	}
}

// settingFlags adds the flags of settings to a command: all of them, or those named.
func (p *program) settingFlags(cmd *cobra.Command, names ...string) {
	for _, f := range config.Flags() {
		if len(names) > 0 && !contains(names, f.Name) {
			continue
		}
		text := new(string)
		flags := cmd.Flags()
		flags.StringVar(text, f.Flag, "", f.Help)
		// Several commands have the same flag; the one that runs says which counts.
		pre := cmd.PreRunE
		cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
			if flags.Changed(f.Flag) {
				p.settings[f.Name] = text
			}
			if pre != nil {
				return pre(cmd, args)
			}
			return nil
		}
	}
}

func contains(list []string, item string) bool {
	for _, one := range list {
		if one == item {
			return true
		}
	}
	return false
}

// load reads the configuration. It is returned beside an error, as config.Load does.
func (p *program) load() (*config.Config, error) {
	flags := make(map[string]string)
	for name, text := range p.settings {
		flags[name] = *text
	}
	return config.Load(config.LoadOptions{Dir: p.Dir, Environ: p.Environ, File: p.configFile, Flags: flags})
}

// logger writes to the error stream as the configuration wants it.
func (p *program) logger(cfg *config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.Level()}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(p.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(p.Stderr, o))
}
