// Package cli is the command line: it reads arguments, calls the other packages or the HTTP API of
// a running gateway, and prints for people or, with --json, for programs.
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
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/app"
	"gaff/internal/buildinfo"
	"gaff/internal/config"
	"gaff/provider/all"
)

// Env is the process environment of a command.
type Env struct {
	// Args are the arguments without the program's name.
	Args []string
	// Environ is the environment as os.Environ gives it.
	Environ        []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Dir is the working folder. Empty means the working folder of the process.
	Dir string
}

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	// exitDiffers is that of "gaff diff" alone, whose usage errors exit with exitFailed.
	exitDiffers = 2
)

// parts are the functions that commands call; tests replace them.
type parts struct {
	serve   func(context.Context, *config.Config, *slog.Logger, io.Writer) error
	dev     func(context.Context, *config.Config, app.DevOptions, *slog.Logger, io.Writer) error
	migrate func(context.Context, *config.Config, io.Writer) error
	backup  func(ctx context.Context, cfg *config.Config, file string, recipients []string, out io.Writer) error
	check   func(ctx context.Context, cfg *config.Config, asJSON bool, out, progress io.Writer) error
	// importing copies from a SQLite file into PostgreSQL.
	importing func(ctx context.Context, cfg *config.Config, from, to string, out io.Writer) error
	sources   func(*config.Config, *slog.Logger) ([]app.Source, error)
	// browse opens a URL in a browser.
	browse func(ctx context.Context, address string) error
	// terminal reports whether a stream is a terminal.
	terminal func(stream any) bool
	now      func() time.Time
}

// Run runs one command and returns the exit code.
func Run(ctx context.Context, env Env) int {
	return run(ctx, env, parts{
		serve: app.Serve, dev: app.Dev, migrate: app.Migrate, backup: app.Backup, check: app.Check, importing: app.Import, sources: app.Sources,
		terminal: isTerminal, browse: startBrowser, now: time.Now,
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
	// configFile, url and token are flags of many commands.
	configFile, url, token string
	// settings are the flags of settings, by the setting's name.
	settings map[string]*string
}

// usageError is a mistake in the arguments of a command.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errDiffers ends a comparison that found differences.
var errDiffers = errors.New("differs")

// errReported ends a command as failed after it printed the reason.
var errReported = errors.New("failed")

// ranError marks an error of a command itself, not of the argument parser.
type ranError struct{ error }

func (e ranError) Unwrap() error { return e.error }

func run(ctx context.Context, env Env, ps parts) int {
	p := &program{Env: env, parts: ps, settings: make(map[string]*string), http: newHTTPClient()}
	root := p.root()
	if env.Args == nil {
		env.Args = []string{} // cobra replaces nil by the arguments of the process
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
	case errors.Is(err, errDiffers):
		return exitDiffers
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
	if cmd.Annotations[differsAnnotation] != "" {
		return exitFailed
	}
	return exitUsage
}

var overview = `gaff receives the webhooks of asynchronous services, verifies their senders, stores them
before it answers, and processes each one with retries until its effects have happened
exactly once.

Start with "gaff dev": it runs the whole loop offline, with simulated services. "gaff serve"
runs the gateway (settings: environment, .env or gaff.yaml; see "gaff config show"), "gaff
send ` + all.Default().Name + `" sends a sample webhook, "gaff events list" lists the received ones.`

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
	root.PersistentFlags().StringVar(&p.configFile, "config", "", "configuration file (default: gaff.yaml in the working folder, if it exists)")
	root.AddGroup(
		&cobra.Group{ID: "gateway", Title: "The gateway:"},
		&cobra.Group{ID: "sender", Title: "Test and verify a sender:"},
		&cobra.Group{ID: "look", Title: "Inspect and operate a running gateway:"},
		&cobra.Group{ID: "other", Title: "Other:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add("gateway", p.serveCommand(), p.devCommand(), p.migrateCommand(), p.backupCommand(), p.restoreCommand(), p.checkCommand(), p.compactCommand(), p.configCommand(), p.importCommand(), p.exportCommand(), p.diffCommand(), p.applyCommand())
	add("sender", p.sendCommand(), p.signCommand(), p.verifyCommand())
	add("sender", p.publishCommand(), p.scheduledCommand())
	add("look", p.statusCommand(), p.doctorCommand(), p.openCommand(), p.searchCommand(), p.eventsCommand(), p.jobsCommand(), p.mediaCommand(), p.runsCommand(), p.workflowsCommand(), p.projectsCommand(), p.sourcesCommand(), p.providersCommand(), p.destinationsCommand(), p.transformsCommand(), p.deliveriesCommand(), p.replayCommand(), p.rejectionsCommand(), p.issuesCommand(), p.costsCommand(), p.budgetsCommand(), p.limitsCommand(), p.alertsCommand(), p.bulkCommand(), p.listenCommand(), p.statsCommand(), p.healthCommand(), p.settingsCommand(), p.keysCommand(), p.sessionsCommand(), p.auditCommand(), p.eraseCommand(), p.secretsCommand())
	add("other", p.mcpCommand(), p.versionCommand())
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	p.addCompletions(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	return root
}

// group returns a command that only has subcommands.
func group(use, short string, cmds ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short, Args: noSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	g.AddCommand(cmds...)
	return g
}

// noSubcommand rejects arguments of a command that only has subcommands.
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

// work returns a command's RunE.
func work(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd.Context(), args); err != nil {
			return ranError{err}
		}
		return nil
	}
}

// arguments checks the number of arguments; names is how errors call them.
func arguments(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s needs %s", cmd.CommandPath(), names)
		case most >= 0 && len(args) > most && names == "":
			return usagef("%s takes no argument; unexpected argument %q", cmd.CommandPath(), args[0])
		case most >= 0 && len(args) > most:
			return usagef("%s takes %s; unexpected argument %q", cmd.CommandPath(), names, args[most])
		}
		return nil
	}
}

// settingFlags adds the flags of settings to a command: all, or the named ones.
func (p *program) settingFlags(cmd *cobra.Command, names ...string) {
	for _, f := range config.Flags() {
		if len(names) > 0 && !slices.Contains(names, f.Name) {
			continue
		}
		text := new(string)
		flags := cmd.Flags()
		flags.StringVar(text, f.Flag, "", f.Help)
		// Several commands have the same flag; the command that runs sets the value.
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

// load reads the configuration. Like config.Load, it returns a configuration also with an error.
func (p *program) load() (*config.Config, error) {
	flags := make(map[string]string)
	for name, text := range p.settings {
		flags[name] = *text
	}
	return config.Load(config.LoadOptions{Dir: p.Dir, Environ: p.Environ, File: p.configFile, Flags: flags})
}

// logger returns the configured logger; it writes to the error stream.
func (p *program) logger(cfg *config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.Level()}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(p.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(p.Stderr, o))
}
