package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/app"
	"gaff/internal/config"
	"gaff/internal/shell"
	"gaff/workflow"
	"gaff/workflow/runs"
)

// run is what the API says about a run of a workflow.
type workflowRun struct {
	ID, Workflow, Version, ProjectID, UserID string
	Status, Error, Waiting, EventID          string
	Cost                                     float64
	Input                                    json.RawMessage
	CreatedAt, SettledAt                     *time.Time
	Steps                                    []runStep
}

type stepRow struct {
	Item                          *int
	Status, JobID, Error, Decider string
	Attempt                       int
	Cost                          float64
	StartedAt, SettledAt, DueAt   *time.Time
	Input, Result                 json.RawMessage
}

type runStep struct {
	Name, Kind string
	Needs      []string
	stepRow
	Items []stepRow
}

func (r *workflowRun) settled() bool {
	status, ok := runs.ParseStatus(r.Status)
	return ok && status.Settled()
}

func (p *program) runsCommand() *cobra.Command {
	var status, name, project string
	list := p.listCommand(listing{
		use: "list", short: "List runs of workflows, newest first", path: "/api/v1/runs",
		heads: []string{"ID", "WORKFLOW", "STATUS", "PROJECT", "CREATED", "SETTLED", "COST", "WAITS FOR, OR FAILED WITH"},
		query: func() (url.Values, error) {
			if _, ok := runs.ParseStatus(status); status != "" && !ok {
				return nil, usagef("--status %q is none; write running, completed, failed or cancelled", status)
			}
			return given("status", status, "workflow", name, "projectId", project), nil
		},
		cells: func(doc json.RawMessage) ([]string, error) {
			var r workflowRun
			err := json.Unmarshal(doc, &r)
			return []string{
				clean(r.ID), clean(r.Workflow), clean(r.Status), cut(orDash(r.ProjectID), 40), stamp(r.CreatedAt), stamp(r.SettledAt),
				cost(r.Cost), cut(r.Error+r.Waiting, 100),
			}, err
		},
	})
	list.Flags().StringVar(&status, "status", "", "only with this status: running, completed, failed or cancelled")
	list.Flags().StringVar(&name, "workflow", "", "only of this workflow")
	list.Flags().StringVar(&project, "project", "", "only of this project")
	return group("runs", "Runs of workflows: start them, see why they wait, decide, retry", list, p.runsShowCommand(), p.runsStartCommand(),
		p.runsWatchCommand(), p.runsApproveCommand(), p.runsRetryCommand(), p.runsCancelCommand())
}

func cost(c float64) string {
	if c == 0 {
		return "-"
	}
	return strconv.FormatFloat(c, 'g', 6, 64)
}

func (p *program) runsShowCommand() *cobra.Command {
	var asJSON bool
	var step string
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a run with its steps, or one step with what it was given and what came of it",
		Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			if step != "" {
				return p.showStep(ctx, c, args[0], step, asJSON)
			}
			var r workflowRun
			raw, err := c.one(ctx, "/api/v1/runs", args[0], &r)
			if err != nil {
				return err
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			return p.printRun(&r)
		}),
	}
	cmd.Flags().StringVar(&step, "step", "", "show this step")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) printRun(r *workflowRun) error {
	t := newTable(p.Stdout)
	for _, pair := range [][2]string{
		{"id", r.ID}, {"workflow", r.Workflow}, {"version", short(r.Version)}, {"status", r.Status}, {"waits for", r.Waiting},
		{"error", r.Error}, {"project", r.ProjectID}, {"user", r.UserID}, {"started by", r.EventID},
	} {
		t.pair(pair[0], clean(pair[1]))
	}
	t.row("created", stamp(r.CreatedAt))
	t.row("settled", stamp(r.SettledAt))
	t.row("cost", cost(r.Cost))
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout)
	t = newTable(p.Stdout, "STEP", "KIND", "STATUS", "ITEMS", "TRIES", "TOOK", "COST", "JOB", "ERROR")
	for _, s := range r.Steps {
		items := "-"
		if len(s.Items) > 0 {
			done := 0
			for _, item := range s.Items {
				if item.Status == "completed" {
					done++
				}
			}
			items = fmt.Sprintf("%d/%d", done, len(s.Items))
		}
		t.row(clean(s.Name), clean(s.Kind), clean(s.Status), items, strconv.Itoa(s.Attempt), took(s.StartedAt, s.SettledAt), cost(s.Cost),
			clean(orDash(s.JobID)), cut(s.Error, 80))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, s := range r.Steps {
		for _, item := range s.Items {
			if item.Status == "failed" {
				fmt.Fprintf(p.Stdout, "\n%s, item %d: %s\n  %s\n", clean(s.Name), *item.Item, clean(item.Error),
					shell.Words("gaff", "runs", "retry", r.ID, "--step", s.Name, "--item", strconv.Itoa(*item.Item)))
			}
		}
		if s.Kind == "approve" && s.Status == "waiting" {
			fmt.Fprintf(p.Stdout, "\n%s waits for a decision:\n  %s\n", clean(s.Name), shell.Words("gaff", "runs", "approve", r.ID, "--step", s.Name))
		}
	}
	return nil
}

func short(hash string) string {
	if len(hash) > 12 {
		return hash[:12]
	}
	return hash
}

func took(from, to *time.Time) string {
	if from == nil || to == nil {
		return "-"
	}
	return to.Sub(*from).Round(time.Millisecond).String()
}

func (p *program) showStep(ctx context.Context, c *client, run, step string, asJSON bool) error {
	text, err := c.call(ctx, http.MethodGet, "/api/v1/runs/"+url.PathEscape(run)+"/steps/"+url.PathEscape(step), nil, nil)
	if err != nil {
		return err
	}
	var page struct{ Docs []json.RawMessage }
	if err := json.Unmarshal(text, &page); err != nil {
		return fmt.Errorf("read step %s: %w", step, err)
	}
	if len(page.Docs) == 0 {
		return fmt.Errorf("run %s has not come to a step %q", clean(run), clean(step))
	}
	for _, doc := range page.Docs {
		if asJSON {
			if err := writeRawJSON(p.Stdout, doc); err != nil {
				return err
			}
			continue
		}
		var row stepRow
		if err := json.Unmarshal(doc, &row); err != nil {
			return fmt.Errorf("read step %s: %w", step, err)
		}
		name := step
		if row.Item != nil {
			name = fmt.Sprintf("%s, item %d", step, *row.Item)
		}
		fmt.Fprintf(p.Stdout, "%s: %s", clean(name), clean(row.Status))
		for _, more := range []string{row.JobID, row.Error, row.Decider} {
			if more != "" {
				fmt.Fprintf(p.Stdout, "  %s", clean(more))
			}
		}
		fmt.Fprintln(p.Stdout)
		for _, part := range []struct {
			name string
			text json.RawMessage
		}{{"input", row.Input}, {"result", row.Result}} {
			if len(part.text) > 0 && string(part.text) != "null" {
				fmt.Fprintf(p.Stdout, "%s:\n", part.name)
				if err := writeIndented(p.Stdout, part.text); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (p *program) runsStartCommand() *cobra.Command {
	var o struct {
		project, user, input, key string
		set                       []string
		watch, asJSON             bool
	}
	cmd := &cobra.Command{
		Use:   "start WORKFLOW",
		Short: "Start a run",
		Example: `  gaff runs start storyboard --project film --set 'prompts=["a lighthouse","a harbour"]'
  gaff runs start storyboard --input scenes.json --watch`,
		Args: arguments(1, 1, "the workflow's name"),
		RunE: work(func(ctx context.Context, args []string) error {
			input, err := p.runInput(o.input, o.set)
			if err != nil {
				return err
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			body := map[string]any{"workflow": args[0], "input": input}
			for name, text := range map[string]string{"projectId": o.project, "userId": o.user, "idempotencyKey": o.key} {
				if text != "" {
					body[name] = text
				}
			}
			raw, err := c.call(ctx, http.MethodPost, "/api/v1/runs", nil, body)
			if err != nil {
				return err
			}
			var r workflowRun
			if err := json.Unmarshal(raw, &r); err != nil {
				return fmt.Errorf("read the run: %w", err)
			}
			if o.asJSON {
				if err := writeRawJSON(p.Stdout, raw); err != nil {
					return err
				}
			} else {
				fmt.Fprintf(p.Stdout, "started %s; see %s\n", clean(r.ID), shell.Words("gaff", "runs", "show", r.ID))
			}
			if o.watch {
				return p.watchRun(ctx, c, r.ID, o.asJSON)
			}
			return nil
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.project, "project", "", "the run's project")
	flags.StringVar(&o.user, "user", "", "the run's user")
	flags.StringVar(&o.input, "input", "", "file with the inputs as a JSON object, or - for the standard input")
	flags.StringArrayVar(&o.set, "set", nil, "one input, name=value; a value that is JSON is taken as such")
	flags.StringVar(&o.key, "key", "", "idempotency key: a second start with it is none")
	flags.BoolVar(&o.watch, "watch", false, "print how the run goes on, until it ends")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

// runInput reads the inputs of a run from a file and from name=value.
func (p *program) runInput(file string, set []string) (map[string]any, error) {
	input := map[string]any{}
	if file != "" {
		text, err := p.readInput(file)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &input); err != nil {
			return nil, fmt.Errorf("%s: the inputs are no JSON object: %w", file, err)
		}
	}
	for _, pair := range set {
		name, text, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usagef("--set %q: write name=value", pair)
		}
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			input[name] = json.RawMessage(text)
		} else {
			input[name] = text
		}
	}
	return input, nil
}

func (p *program) runsWatchCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "watch ID", Short: "Print how a run goes on, until it ends",
		Long: "Print a line for each change of a run until it ends: with exit code 0 if it was completed, 1 if it failed or was cancelled.",
		Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			return p.watchRun(ctx, c, args[0], asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) watchRun(ctx context.Context, c *client, id string, asJSON bool) error {
	last, ended := "", ""
	show := func(raw json.RawMessage) error {
		var r workflowRun
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("read the stream: %w", err)
		}
		line := strings.TrimSpace(r.Status + "  " + r.Error + r.Waiting)
		if r.ID != id || line == last {
			return nil
		}
		last = line
		var err error
		if asJSON {
			err = writeRawJSON(p.Stdout, raw)
		} else {
			_, err = fmt.Fprintf(p.Stdout, "%s  %s\n", time.Now().Format(time.TimeOnly), cut(line, 200))
		}
		if err == nil && r.settled() {
			ended = r.Status
			err = errEndStream
		}
		return err
	}
	err := c.stream(ctx, func() error {
		var r workflowRun
		raw, err := c.one(ctx, "/api/v1/runs", id, &r)
		if err != nil {
			return err
		}
		return show(raw)
	}, func(m message) error {
		if m.event != "run" {
			return nil
		}
		return show(m.data)
	})
	if err == nil && ended != "completed" {
		err = errReported
	}
	return err
}

// changeRun posts to an address of a run and prints what it is then.
func (p *program) changeRun(ctx context.Context, id, what string, body any, asJSON bool) error {
	c, err := p.dial()
	if err != nil {
		return err
	}
	raw, err := c.call(ctx, http.MethodPost, "/api/v1/runs/"+url.PathEscape(id)+"/"+what, nil, body)
	if err != nil {
		return err
	}
	if asJSON {
		return writeRawJSON(p.Stdout, raw)
	}
	var r workflowRun
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("read the run: %w", err)
	}
	fmt.Fprintf(p.Stdout, "%s is %s\n", clean(r.ID), clean(strings.TrimSpace(r.Status+" "+r.Error)))
	return nil
}

// stepFlags are those of commands about a step or item.
type stepFlags struct {
	step   string
	item   int
	asJSON bool
}

func (p *program) addStepFlags(cmd *cobra.Command, o *stepFlags, step, item string) {
	cmd.Flags().StringVar(&o.step, "step", "", step)
	cmd.Flags().IntVar(&o.item, "item", -1, item)
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
}

func (o *stepFlags) body() map[string]any {
	body := map[string]any{}
	if o.step != "" {
		body["step"] = o.step
	}
	if o.item >= 0 {
		body["item"] = o.item
	}
	return body
}

func (p *program) runsApproveCommand() *cobra.Command {
	var o stepFlags
	var reject bool
	var comment string
	cmd := &cobra.Command{
		Use: "approve ID", Short: "Decide what a run waits for: go on, or with --reject do not",
		Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			body := o.body()
			body["approved"] = !reject
			if comment != "" {
				body["comment"] = comment
			}
			return p.changeRun(ctx, args[0], "approve", body, o.asJSON)
		}),
	}
	cmd.Flags().BoolVar(&reject, "reject", false, "decide against it")
	cmd.Flags().StringVar(&comment, "comment", "", "why")
	p.addStepFlags(cmd, &o, "the step that asks; may be left out where one does", "its item, where it asks for each")
	return cmd
}

func (p *program) runsRetryCommand() *cobra.Command {
	var o stepFlags
	cmd := &cobra.Command{
		Use: "retry ID", Short: "Let a run that failed go on, or begin again at a step, or with one item of it",
		Long: `Let a run that failed or was cancelled go on: what failed is tried again, what succeeded is
kept. With --step, begin again at that step; with --item too, do only that item of it
again. What comes after is done anew.`,
		Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			if o.item >= 0 && o.step == "" {
				return usagef("--item needs --step")
			}
			return p.changeRun(ctx, args[0], "retry", o.body(), o.asJSON)
		}),
	}
	p.addStepFlags(cmd, &o, "the step to begin at", "only this item of the step")
	return cmd
}

func (p *program) runsCancelCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "End a run, and its jobs at their providers", Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			return p.changeRun(ctx, args[0], "cancel", nil, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) workflowsCommand() *cobra.Command {
	list := p.listCommand(listing{
		use: "list", short: "List the workflows of a running gateway", path: "/api/v1/workflows",
		heads: []string{"NAME", "VERSION", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "DESCRIPTION"},
		query: func() (url.Values, error) { return nil, nil },
		cells: func(doc json.RawMessage) ([]string, error) {
			var w struct {
				Name, Version, Description string
				Runs                       map[string]int
			}
			err := json.Unmarshal(doc, &w)
			cells := []string{clean(w.Name), short(clean(w.Version))}
			for _, status := range []string{"running", "completed", "failed", "cancelled"} {
				cells = append(cells, strconv.Itoa(w.Runs[status]))
			}
			return append(cells, cut(w.Description, 80)), err
		},
	})
	return group("workflows", "Workflow files: check them, try them offline", p.workflowsCheckCommand(), p.workflowsTestCommand(),
		p.workflowsSchemaCommand(), p.workflowsExamplesCommand(), list, p.workflowsShowCommand())
}

func (p *program) workflowsShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Print a workflow of a running gateway, as JSON", Args: arguments(1, 1, "one name"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			var w struct{ Definition json.RawMessage }
			if _, err := c.one(ctx, "/api/v1/workflows", args[0], &w); err != nil {
				return err
			}
			return writeIndented(p.Stdout, w.Definition)
		}),
	}
	p.clientFlags(cmd)
	return cmd
}

// workflowFiles are the named files, or all of the configured folder.
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
		return nil, fmt.Errorf("there is no folder %s; name the files, or copy examples there with gaff workflows examples", dir)
	}
	if err != nil {
		return nil, err
	}
	for _, file := range full {
		files = append(files, filepath.Join(dir, filepath.Base(file)))
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are no workflow files in %s", dir)
	}
	return files, nil
}

// readWorkflow reads a file of the working folder; faults show the name as it was given.
func (p *program) readWorkflow(file string) (*workflow.Compiled, error) {
	c, err := app.ReadWorkflow(p.path(file))
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
		Use: "check [FILE]...", Short: "Tell everything that is wrong with workflow files, with line and column",
		Long: `Tell everything that is wrong with workflow files: unknown keys and steps, steps that wait
for one another, expressions that cannot be. Without a file, all of the workflow folder
are checked. Exit code 1 if one has a fault.`,
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
					fmt.Fprintf(p.Stdout, "%s: %s is right (%d steps)\n", clean(file), c.Name, len(c.Steps))
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
		Use: "test FILE", Short: "Run a workflow offline: stand-ins work on the jobs, nothing leaves the machine",
		Long: `Run a workflow once, with stand-ins for fal and Last Frame in this process: nothing leaves
the machine, nothing costs, and nothing of your gateway is touched. Decisions are made for
it, calls of http steps are answered with 200 and not made, and events that it waits for
are those given with --event. Exit code 1 if the run does not complete.`,
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
	flags.StringArrayVar(&set, "set", nil, "one input, name=value; a value that is JSON is taken as such")
	flags.StringArrayVar(&events, "event", nil, "an event for a step that waits for one: SOURCE:TYPE={…}")
	flags.StringArrayVar(&reject, "reject", nil, "a step whose decision is no")
	flags.DurationVar(&o.Timeout, "timeout", time.Minute, "how long the run may take")
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
		Long: `Print the JSON Schema of workflow files. Editors that know YAML's language server take it by
a first line such as
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
		Use: "examples [FOLDER]", Short: "Copy the workflows that come with gaff, to begin with (default ./workflows)",
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
				fmt.Fprintln(p.Stdout, "kept", clean(filepath.Join(dir, filepath.Base(file))), "as it is")
			}
			return err
		}),
	}
}

type project struct {
	ID, Name, Owner      string
	Metadata             json.RawMessage
	CreatedAt, UpdatedAt *time.Time
}

func (p *program) projectsCommand() *cobra.Command {
	list := p.listCommand(listing{
		use: "list", short: "List projects, newest first", path: "/api/v1/projects",
		heads: []string{"ID", "NAME", "OWNER", "CREATED"},
		query: func() (url.Values, error) { return nil, nil },
		cells: func(doc json.RawMessage) ([]string, error) {
			var pr project
			err := json.Unmarshal(doc, &pr)
			return []string{cut(pr.ID, 60), cut(orDash(pr.Name), 40), cut(orDash(pr.Owner), 40), stamp(pr.CreatedAt)}, err
		},
	})
	return group("projects", "Projects: what jobs, media and runs belong together", list, showCommand(p, "/api/v1/projects", "Show a project with its newest runs, jobs and files", p.showProject), p.projectsSaveCommand())
}

func (p *program) showProject(ctx context.Context, c *client, pr *project) error {
	t := newTable(p.Stdout)
	t.pair("id", clean(pr.ID))
	t.pair("name", clean(pr.Name))
	t.pair("owner", clean(pr.Owner))
	t.row("created", stamp(pr.CreatedAt))
	if len(pr.Metadata) > 0 && string(pr.Metadata) != "null" {
		t.pair("metadata", cut(string(pr.Metadata), 200))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, part := range []struct{ name, path string }{{"runs", "/api/v1/runs"}, {"jobs", "/api/v1/jobs"}, {"media", "/api/v1/media"}} {
		rows := newTable(p.Stdout)
		n := 0
		more, err := c.list(ctx, part.path, given("projectId", pr.ID), 10, func(doc json.RawMessage) error {
			var d struct{ ID, Status, Workflow, Model, MediaType, URL string }
			if err := json.Unmarshal(doc, &d); err != nil {
				return err
			}
			if n++; n == 1 {
				fmt.Fprintf(p.Stdout, "\n%s:\n", part.name)
			}
			rows.row("  "+clean(d.ID), clean(d.Status+d.MediaType), cut(d.Workflow+d.Model+d.URL, 80))
			return nil
		})
		if err == nil {
			err = rows.flush()
		}
		if err != nil {
			return err
		}
		if more {
			fmt.Fprintf(p.Stdout, "  … and more: %s\n", shell.Words("gaff", part.name, "list", "--project", pr.ID))
		}
	}
	return nil
}

func (p *program) projectsSaveCommand() *cobra.Command {
	var name, owner, metadata string
	cmd := &cobra.Command{
		Use: "save ID", Short: "Make a project, or set its name, owner and metadata", Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			body := map[string]any{"id": args[0], "name": name, "owner": owner}
			if metadata != "" {
				if !json.Valid([]byte(metadata)) {
					return usagef("--metadata is no JSON object")
				}
				body["metadata"] = json.RawMessage(metadata)
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			_, err = c.call(ctx, http.MethodPost, "/api/v1/projects", nil, body)
			return err
		}),
	}
	cmd.Flags().StringVar(&name, "name", "", "its name for people")
	cmd.Flags().StringVar(&owner, "owner", "", "whose it is")
	cmd.Flags().StringVar(&metadata, "metadata", "", "a JSON object of your own")
	p.clientFlags(cmd)
	return cmd
}
