package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/app"
	"gaff/internal/config"
	"gaff/internal/wire"
	"gaff/provider/all"
	"gaff/workflow"
)

func (p *program) workflowsCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Workflow]{
		use: "list", short: "List the workflows of a running gateway", path: "/api/v1/workflows",
		heads: []string{"NAME", "VERSION", "FROM", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "DESCRIPTION"},
		cells: func(w wire.Workflow) []string {
			from := "file"
			if w.Origin == wire.WorkflowOfAPI {
				from = "revision " + strconv.FormatInt(w.Revision, 10)
			}
			if w.Fault != "" {
				w.Description = "cannot be used: " + w.Fault
			}
			cells := []string{clean(w.Name), short(clean(w.Version)), from}
			for _, status := range []string{"running", "completed", "failed", "cancelled"} {
				cells = append(cells, strconv.Itoa(w.Runs[status]))
			}
			return append(cells, cut(w.Description, 80))
		},
	})
	return group("workflows", "Workflows: check and test files offline, write them to a gateway", p.workflowsCheckCommand(), p.workflowsTestCommand(),
		p.workflowsSchemaCommand(), p.workflowsExamplesCommand(), list, p.workflowsShowCommand(), p.workflowsApplyCommand(),
		p.workflowsRevisionsCommand(), p.workflowsRevertCommand(), p.workflowsDeleteCommand())
}

func (p *program) workflowsShowCommand() *cobra.Command {
	var asText bool
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Print a workflow of a running gateway, as JSON, or the text that was written", Args: arguments(1, 1, "one name"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			var w wire.WorkflowDetail
			if err := c.one(ctx, "/api/v1/workflows", args[0], &w); err != nil {
				return err
			}
			if !asText {
				return writeIndented(p.Stdout, w.Definition)
			}
			if w.Text == "" {
				return fmt.Errorf("workflow %s: a file of the gateway defines it; its text is there", w.Name)
			}
			text := string(w.Text)
			if p.terminal(p.Stdout) {
				text = cleanLines(text)
			}
			_, err = fmt.Fprint(p.Stdout, text)
			return err
		}),
	}
	cmd.Flags().BoolVar(&asText, "text", false, "print the YAML that was written by API or console")
	p.clientFlags(cmd)
	return cmd
}

// workflowFiles returns the named files, or all files of the configured folder.
func (p *program) workflowFiles(args []string) (files []string, err error) {
	if len(args) > 0 {
		return args, nil
	}
	cfg, err := p.load()
	if err != nil && cfg == nil {
		return nil, err
	}
	dir := cfg.WorkflowsDir
	if dir == "" {
		dir = app.DefaultWorkflows
	}
	full, err := app.WorkflowFiles(p.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("folder %s does not exist; name the files, or copy examples there with gaff workflows examples", dir)
	}
	if err != nil {
		return nil, err
	}
	for _, file := range full {
		files = append(files, filepath.Join(dir, filepath.Base(file)))
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no workflow files in %s", dir)
	}
	return files, nil
}

// readWorkflow reads a file of the working folder; faults have the name as it was given.
func (p *program) readWorkflow(file string) (*workflow.Compiled, error) {
	cfg, _ := p.load() // its faults do not concern the workflow
	c, err := app.ReadWorkflow(p.path(file), slices.Sorted(maps.Keys(cfg.Described))...)
	if faults, ok := errors.AsType[workflow.Faults](err); ok {
		for i := range faults {
			faults[i].File = file
		}
		return nil, faults
	}
	return c, err
}

func (p *program) workflowsCheckCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "check [FILE]...", Short: "Check workflow files and print every fault with line and column",
		Long: `Check workflow files and print all faults: unknown keys and steps, cycles of steps, invalid
expressions. Without a file, all files of the workflow folder are checked. Exit code 1 if
one has a fault.`,
		Args: arguments(0, -1, "files"),
		RunE: work(func(_ context.Context, args []string) error {
			files, err := p.workflowFiles(args)
			if err != nil {
				return err
			}
			failed := false
			type result struct {
				File   string           `json:"file"`
				Name   string           `json:"name,omitempty"`
				Faults []workflow.Fault `json:"faults"`
			}
			for _, file := range files {
				c, err := p.readWorkflow(file)
				r := result{File: file, Faults: []workflow.Fault{}}
				unread := false
				if faults, ok := errors.AsType[workflow.Faults](err); ok {
					r.Faults = faults
				} else if err != nil {
					unread = true
					r.Faults = append(r.Faults, workflow.Fault{File: file, Problem: err.Error()})
				} else {
					r.Name = c.Name
				}
				failed = failed || len(r.Faults) > 0
				switch {
				case asJSON:
					if err := writeJSON(p.Stdout, r); err != nil {
						return err
					}
				case unread:
					fmt.Fprintln(p.Stderr, "gaff: "+cleanLines(err.Error()))
				case err != nil:
					fmt.Fprintln(p.Stderr, cleanLines(err.Error()))
				default:
					fmt.Fprintf(p.Stdout, "%s: %s is valid (%d steps)\n", clean(file), c.Name, len(c.Steps))
				}
			}
			if failed {
				return errReported
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	p.settingFlags(cmd, "GAFF_WORKFLOWS")
	return cmd
}

func (p *program) workflowsTestCommand() *cobra.Command {
	var o app.WorkflowTest
	var input string
	var set, events, reject []string
	cmd := &cobra.Command{
		Use: "test FILE", Short: "Run a workflow offline with simulated providers",
		Long: `Run a workflow once, with simulated ` + all.Titles() + ` services in this process: nothing is
sent anywhere, nothing is billed, and your gateway is not used. Approvals are given, http
steps get the response 200 without a request, and --event gives the events that the run
waits for. Exit code 1 if the run does not complete.`,
		Example: `  gaff workflows test workflows/storyboard.yaml --set 'prompts=["a lighthouse","a harbour"]'
  gaff workflows test pay.yaml --event 'shop:paid={"order":"o1"}' --set order=o1`,
		Args: arguments(1, 1, "one file"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.readWorkflow(args[0])
			if err != nil {
				return err
			}
			in, err := p.runInput(input, set)
			if err != nil {
				return err
			}
			if o.Input, err = json.Marshal(in); err != nil {
				return fmt.Errorf("inputs: %w", err)
			}
			o.Reject = reject
			for _, text := range events {
				name, data, _ := strings.Cut(text, "=")
				source, eventType, ok := strings.Cut(name, ":")
				if !ok || data != "" && !json.Valid([]byte(data)) {
					return usagef(`--event %q: write SOURCE:TYPE={"some":"data"}`, text)
				}
				if data == "" {
					data = "{}"
				}
				o.Events = append(o.Events, app.TestEvent{Source: source, Type: eventType, Data: json.RawMessage(data)})
			}
			cfg := config.Default()
			cfg.LogLevel = "error"
			return p.testWorkflow(ctx, cfg, c, o, p.logger(cfg))
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&input, "input", "", "file with the inputs as a JSON object, or - for the standard input")
	flags.StringArrayVar(&set, "set", nil, "one input, name=value; the value may be JSON")
	flags.StringArrayVar(&events, "event", nil, "an event for a step that waits for one: SOURCE:TYPE={…}")
	flags.StringArrayVar(&reject, "reject", nil, "a step to reject")
	flags.DurationVar(&o.Timeout, "timeout", time.Minute, "the longest time for the run")
	flags.BoolVar(&o.JSON, "json", false, "print the run as JSON at the end")
	return cmd
}

func (p *program) testWorkflow(ctx context.Context, cfg *config.Config, c *workflow.Compiled, o app.WorkflowTest, log *slog.Logger) error {
	ok, err := app.TestWorkflow(ctx, cfg, c, o, log, p.Stdout)
	if err == nil && !ok {
		err = errReported
	}
	return err
}

func (p *program) workflowsSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of workflow files, for editors",
		Long: `Print the JSON Schema of workflow files. Editors with the YAML language server use it with a
first line such as
  # yaml-language-server: $schema=./workflow.schema.json`,
		Args: arguments(0, 0, ""),
		RunE: work(func(context.Context, []string) error {
			_, err := p.Stdout.Write(workflow.Schema())
			return err
		}),
	}
}

func (p *program) workflowsExamplesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "examples [FOLDER]", Short: "Copy gaff's example workflows into a folder (default ./workflows)",
		Args: arguments(0, 1, "at most one folder"),
		RunE: work(func(_ context.Context, args []string) error {
			dir := app.DefaultWorkflows
			if len(args) == 1 {
				dir = args[0]
			}
			wrote, kept, err := app.CopyExamples(p.path(dir))
			for _, file := range wrote {
				fmt.Fprintln(p.Stdout, "wrote", clean(filepath.Join(dir, filepath.Base(file))))
			}
			for _, file := range kept {
				fmt.Fprintln(p.Stdout, "skipped", clean(filepath.Join(dir, filepath.Base(file)))+", which exists")
			}
			return err
		}),
	}
}
