package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/shell"
	"gaff/internal/wire"
	"gaff/workflow/runs"
)

func runSettled(r *wire.RunDetail) bool {
	status, ok := runs.ParseStatus(r.Status)
	return ok && status.Settled()
}

func (p *program) runsCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Run]{
		use: "list", short: "List runs of workflows, newest first", path: "/api/v1/runs",
		heads: []string{"ID", "WORKFLOW", "STATUS", "PROJECT", "CREATED", "SETTLED", "COST", "WAITS FOR, OR ERROR"},
		query: &wire.RunQuery{},
		cells: func(r wire.Run) []string {
			return []string{
				clean(r.ID), clean(r.Workflow), clean(r.Status), cut(orDash(r.ProjectID), 40), stamp(r.CreatedAt), stamp(r.SettledAt),
				cost(r.Cost), cut(r.Error+r.Waiting, 100),
			}
		},
	})
	return group("runs", "Runs of workflows: start, watch, approve, retry, cancel", list, p.runsShowCommand(), p.runsStartCommand(),
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
		Use: "show ID", Short: "Show a run with its steps, or one step with its input and result",
		Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			if step != "" {
				return p.showStep(ctx, c, args[0], step, asJSON)
			}
			r, raw, err := decodeCall[wire.RunDetail](ctx, c, apiCall{method: http.MethodGet, path: runPath(args[0]), others: listRuns})
			if err != nil || asJSON {
				return orRaw(p, raw, err)
			}
			if err := p.printRun(r); err != nil || !runSettled(r) {
				return err
			}
			fmt.Fprintln(p.Stdout)
			p.printFiles(ctx, c, "run", r.ID, lastJobs(r))
			return nil
		}),
	}
	cmd.Flags().StringVar(&step, "step", "", "show this step")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

// printRunFiles prints the files of the last step of a run that has some.
func (p *program) printRunFiles(ctx context.Context, c *client, id string) error {
	r, _, err := decodeCall[wire.RunDetail](ctx, c, apiCall{method: http.MethodGet, path: runPath(id)})
	if err != nil {
		return err
	}
	p.printFiles(ctx, c, "run", id, lastJobs(r))
	return nil
}

// lastJobs returns the jobs of the last completed step that has jobs: the result of a run.
func lastJobs(r *wire.RunDetail) (jobs []string) {
	for _, s := range slices.Backward(r.Steps) {
		for _, state := range append([]wire.StepState{s.StepState}, s.Items...) {
			if state.JobID != "" && state.Status == "completed" {
				jobs = append(jobs, string(state.JobID))
			}
		}
		if len(jobs) > 0 {
			return jobs
		}
	}
	return nil
}

const listRuns = "gaff runs list"

func runPath(id string) string { return "/api/v1/runs/" + url.PathEscape(id) }

func (p *program) printRun(r *wire.RunDetail) error {
	t := newTable(p.Stdout)
	for _, pair := range [][2]string{
		{"id", r.ID}, {"workflow", r.Workflow}, {"version", short(r.Version)}, {"status", r.Status}, {"waits for", string(r.Waiting)},
		{"error", string(r.Error)}, {"project", string(r.ProjectID)}, {"user", string(r.UserID)}, {"started by", string(r.EventID)},
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
	steps := newSheet("STEP", "KIND", "STATUS", "ITEMS", "ATTEMPTS", "TOOK", "COST", "JOB", "ERROR")
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
		steps.row(clean(s.Name), clean(s.Kind), clean(s.Status), items, strconv.Itoa(s.Attempt), took(s.StartedAt, s.SettledAt), cost(s.Cost),
			clean(orDash(s.JobID)), cut(s.Error, 80))
		for _, item := range s.Items {
			steps.row(fmt.Sprintf("  %d", *item.Item), "", clean(item.Status), "", strconv.Itoa(item.Attempt), took(item.StartedAt, item.SettledAt),
				cost(item.Cost), clean(orDash(item.JobID)), cut(item.Error, 80))
		}
	}
	if err := p.show(steps); err != nil {
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

func took(from, to wire.Time) string {
	if from.IsZero() || to.IsZero() {
		return "-"
	}
	return to.Sub(from.Time).Round(time.Millisecond).String()
}

func (p *program) showStep(ctx context.Context, c *client, run, step string, asJSON bool) error {
	found := false
	err := c.listOnce(ctx, runPath(run)+"/steps/"+url.PathEscape(step), func(doc json.RawMessage) error {
		found = true
		if asJSON {
			return writeRawJSON(p.Stdout, doc)
		}
		var row wire.StepDetail
		if err := json.Unmarshal(doc, &row); err != nil {
			return fmt.Errorf("read step %s: %w", step, err)
		}
		name := step
		if row.Item != nil {
			name = fmt.Sprintf("%s, item %d", step, *row.Item)
		}
		fmt.Fprintf(p.Stdout, "%s: %s", clean(name), clean(row.Status))
		for _, more := range []wire.Text{row.JobID, row.Error, row.Decider} {
			if more != "" {
				fmt.Fprintf(p.Stdout, "  %s", clean(more))
			}
		}
		fmt.Fprintln(p.Stdout)
		return p.writeParts("", part{"input", row.Input}, part{"result", row.Result})
	})
	if err == nil && !found {
		err = fmt.Errorf("run %s has not reached step %q", clean(run), clean(step))
	}
	return err
}

// runOptions are the flags of "gaff runs start".
type runOptions struct {
	start         wire.RunStart
	input         string
	set           []string
	watch, asJSON bool
}

func (p *program) runsStartCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "start WORKFLOW",
		Short: "Start a run",
		Example: `  gaff runs start storyboard --project film --set 'prompts=["a lighthouse","a harbour"]'
  gaff runs start storyboard --input scenes.json --watch`,
		Args: arguments(1, 1, "the workflow's name"),
		RunE: work(func(ctx context.Context, args []string) (err error) {
			o.start.Workflow = args[0]
			if o.start.Input, err = p.runInput(o.input, o.set); err != nil {
				return err
			}
			return p.startRun(ctx, o)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.start.ProjectID, "project", "", "the run's project")
	flags.StringVar(&o.start.UserID, "user", "", "the run's user")
	flags.StringVar(&o.input, "input", "", "file with the inputs as a JSON object, or - for the standard input")
	flags.StringArrayVar(&o.set, "set", nil, "one input, name=value; the value may be JSON")
	flags.StringVar(&o.start.IdempotencyKey, "key", "", "idempotency key: a second start with it returns the first run")
	flags.BoolVar(&o.watch, "watch", false, "print the run's changes until it ends")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) startRun(ctx context.Context, o runOptions) error {
	c, err := p.dial()
	if err != nil {
		return err
	}
	r, raw, err := decodeCall[wire.RunDetail](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/runs", body: o.start})
	if err != nil {
		return err
	}
	if o.asJSON {
		err = writeRawJSON(p.Stdout, raw)
	} else {
		_, err = fmt.Fprintf(p.Stdout, "started %s; see %s\n", clean(r.ID), shell.Words("gaff", "runs", "show", r.ID))
	}
	if err == nil && o.watch {
		err = p.watchRun(ctx, c, r.ID, o.asJSON)
	}
	return err
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
			return nil, fmt.Errorf("%s: the inputs are not a JSON object: %w", file, err)
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
		Use: "watch ID", Short: "Print the changes of a run until it ends",
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
		var r wire.RunDetail
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("read the stream: %w", err)
		}
		line := strings.TrimSpace(r.Status + "  " + string(r.Error+r.Waiting))
		if r.ID != id || line == last {
			return nil
		}
		last = line
		var err error
		if asJSON {
			err = writeRawJSON(p.Stdout, raw)
		} else {
			_, err = fmt.Fprintf(p.Stdout, "%s  %s\n", stamp(r.UpdatedAt), cut(line, 200))
		}
		if err == nil && runSettled(&r) {
			ended = r.Status
			err = errEndStream
		}
		return err
	}
	err := c.stream(ctx, nil, func() error {
		raw, err := c.call(ctx, http.MethodGet, runPath(id), nil, nil)
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
	switch {
	case err != nil:
		return err
	case ended != "completed":
		return errReported
	case !asJSON:
		return p.printRunFiles(ctx, c, id)
	}
	return nil
}

// changeCommand posts a change of a run and prints the run's status after it. request returns the
// body, or nil for none.
func (p *program) changeCommand(action, short, long string, request func() (any, error)) *cobra.Command {
	return callCommand(p, calling[wire.Run]{
		use: action + " ID", short: short, long: long, args: arguments(1, 1, "one ID"),
		call: func(args []string) (apiCall, error) {
			body, err := request()
			return apiCall{method: http.MethodPost, path: runPath(args[0]) + "/" + action, body: body, others: listRuns}, err
		},
		print: func(_ context.Context, _ *client, r *wire.Run) error {
			_, err := fmt.Fprintf(p.Stdout, "%s is %s\n", clean(r.ID), clean(strings.TrimSpace(r.Status+" "+string(r.Error))))
			return err
		},
	})
}

// itemFlag returns the value of --item: nil if the flag is not given.
func itemFlag(item int) *int {
	if item < 0 {
		return nil
	}
	return &item
}

func (p *program) runsApproveCommand() *cobra.Command {
	var decision wire.Decision
	var reject bool
	var item int
	cmd := p.changeCommand("approve", "Approve a waiting step, or reject it with --reject", "", func() (any, error) {
		decision.Approved, decision.Item = !reject, itemFlag(item)
		return decision, nil
	})
	flags := cmd.Flags()
	flags.BoolVar(&reject, "reject", false, "reject the step")
	flags.StringVar(&decision.Comment, "comment", "", "the reason")
	flags.StringVar(&decision.Step, "step", "", "the waiting step; may be left out if only one waits")
	flags.IntVar(&item, "item", -1, "the item of a step with for_each")
	return cmd
}

func (p *program) runsRetryCommand() *cobra.Command {
	var retry wire.RunRetry
	var item int
	cmd := p.changeCommand("retry", "Retry a failed run, from a step, or for one item of it",
		`Continue a run that failed or was cancelled: failed steps run again, and completed steps keep
their results. With --step, the run starts again at that step; with --item as well, only that
item of the step runs again. The steps after it run again.`, func() (any, error) {
			if item >= 0 && retry.Step == "" {
				return nil, usagef("--item needs --step")
			}
			retry.Item = itemFlag(item)
			return retry, nil
		})
	cmd.Flags().StringVar(&retry.Step, "step", "", "the step to start at")
	cmd.Flags().IntVar(&item, "item", -1, "only this item of the step")
	return cmd
}

func (p *program) runsCancelCommand() *cobra.Command {
	return p.changeCommand("cancel", "Cancel a run, and its jobs at their providers", "", func() (any, error) { return nil, nil })
}
