package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"gaff/internal/shell"
	"gaff/internal/wire"
	"gaff/workflow/runs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func runSettled(r *wire.RunDetail) bool {
	status, ok := runs.ParseStatus(r.Status)
	return ok && status.Settled()
}

func (p *program) runsCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Run]{
		use: "list", short: "List runs of workflows, newest first", path: "/api/v1/runs",
		heads: []string{"ID", "WORKFLOW", "STATUS", "PROJECT", "CREATED", "SETTLED", "COST", "WAITS FOR, OR FAILED WITH"},
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
			var r wire.RunDetail
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
	t = newTable(p.Stdout, "STEP", "KIND", "STATUS", "ITEMS", "ATTEMPTS", "TOOK", "COST", "JOB", "ERROR")
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

func took(from, to wire.Time) string {
	if from.IsZero() || to.IsZero() {
		return "-"
	}
	return to.Sub(from.Time).Round(time.Millisecond).String()
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
		for _, part := range []struct {
			name string
			text wire.JSON
		}{{"input", row.Input}, {"result", row.Result}} {
			if len(part.text) > 0 {
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
			var r wire.RunDetail
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
	flags.StringVar(&o.key, "key", "", "idempotency key: a second start with it returns the first run")
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
			_, err = fmt.Fprintf(p.Stdout, "%s  %s\n", time.Now().Format(time.TimeOnly), cut(line, 200))
		}
		if err == nil && runSettled(&r) {
			ended = r.Status
			err = errEndStream
		}
		return err
	}
	err := c.stream(ctx, func() error {
		var r wire.RunDetail
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
	var r wire.RunDetail
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("read the run: %w", err)
	}
	fmt.Fprintf(p.Stdout, "%s is %s\n", clean(r.ID), clean(strings.TrimSpace(r.Status+" "+string(r.Error))))
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
		Use: "approve ID", Short: "Approve a waiting step, or reject it with --reject",
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
	cmd.Flags().BoolVar(&reject, "reject", false, "reject the step")
	cmd.Flags().StringVar(&comment, "comment", "", "why")
	p.addStepFlags(cmd, &o, "the step that asks; may be left out where one does", "its item, where it asks for each")
	return cmd
}

func (p *program) runsRetryCommand() *cobra.Command {
	var o stepFlags
	cmd := &cobra.Command{
		Use: "retry ID", Short: "Retry a failed run, from a step, or for one item of it",
		Long: `Let a run that failed or was cancelled go on: what failed is tried again, what succeeded is
kept. With --step, begin again at that step; with --item too, do only that item of it
again. The steps after it run again.`,
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
		Use: "cancel ID", Short: "Cancel a run, and its jobs at their providers", Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			return p.changeRun(ctx, args[0], "cancel", nil, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}
