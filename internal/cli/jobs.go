package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
	"gaff/jobs"
)

func jobSettled(j *wire.JobDetail) bool {
	status, ok := jobs.ParseJobStatus(j.Status)
	return ok && status.Settled()
}

func (p *program) jobsCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Job]{
		use: "list", short: "List jobs, newest first", path: "/api/v1/jobs",
		heads: []string{"ID", "PROVIDER", "MODEL", "STATUS", "PROJECT", "CREATED", "EXPECTED", "SETTLED", "ERROR"},
		query: &wire.JobQuery{},
		cells: func(j wire.Job) []string {
			return []string{
				clean(j.ID), clean(j.Provider), cut(orDash(j.Model), 40), clean(j.Status), cut(orDash(j.ProjectID), 40),
				stamp(j.CreatedAt), stamp(j.ExpectedAt), stamp(j.SettledAt), cut(j.Error, 80),
			}
		},
	})
	return group("jobs", "The work that was asked for, and how it stands", list,
		showCommand(p, showing[wire.JobDetail]{
			use: "show ID", short: "Show a job with its result and log", path: "/api/v1/jobs", others: "gaff jobs list", print: p.showJob,
		}),
		p.jobsWatchCommand(), p.jobsSubmitCommand(), p.jobsRegisterCommand(), p.callbackSecretsCommand(),
		p.jobActionCommand("cancel", "Cancel a job, at the provider too", "Cancel a job, at the provider too. What the provider did until then it may bill."),
		p.jobActionCommand("ask", "Ask the provider after a job now", "Ask the provider after a job now, rather than wait for its webhook."))
}

// given makes a query of names and values; empty values are left out.
func given(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

func (p *program) showJob(_ context.Context, _ *client, j *wire.JobDetail) error {
	t := newTable(p.Stdout)
	for _, pair := range [][2]string{
		{"id", j.ID}, {"status", j.Status}, {"error", string(j.Error)}, {"error type", string(j.ErrorType)},
		{"provider", j.Provider}, {"model", string(j.Model)}, {"kind", string(j.Kind)}, {"project", string(j.ProjectID)},
		{"user", string(j.UserID)}, {"request id", string(j.RequestID)}, {"submit", string(j.Submit)}, {"webhook", string(j.WebhookURL)},
		{"settled by", string(j.SettledBy)}, {"cost", string(j.Cost)},
	} {
		t.pair(pair[0], clean(pair[1]))
	}
	t.row("created", stamp(j.CreatedAt))
	t.row("submitted", stamp(j.SubmittedAt))
	t.row("settled", stamp(j.SettledAt))
	if j.ExpectedSeconds != nil {
		t.row("expected", fmt.Sprintf("%s, jobs of this model take about %.3g s", stamp(j.ExpectedAt), *j.ExpectedSeconds))
	}
	if !j.NextPollAt.IsZero() {
		t.row("next poll", stamp(j.NextPollAt))
	}
	for _, note := range j.Log {
		t.row(clean(note.What), stamp(note.At)+"  "+cut(note.Text, 300))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		text wire.JSON
	}{{"metadata", j.Metadata}, {"input", j.Input}, {"result", j.Result}} {
		if len(part.text) > 0 {
			fmt.Fprintf(p.Stdout, "\n%s:\n", part.name)
			if err := writeIndented(p.Stdout, part.text); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *program) jobsWatchCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "watch [ID]",
		Short: "Print jobs as they change, until interrupted or the one named is settled",
		Long: `Print a line for each change of a job. With an ID, only that job's, and the command ends
when the job does: with exit code 0 if it was completed, 1 if it failed or was cancelled.`,
		Args: arguments(0, 1, "at most one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			want := ""
			if len(args) == 1 {
				want = args[0]
			}
			return p.watchJob(ctx, c, want, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	p.clientFlags(cmd)
	return cmd
}

// watchJob prints jobs as they change; the one wanted until its end, which decides the
// exit code.
func (p *program) watchJob(ctx context.Context, c *client, want string, asJSON bool) error {
	last, ended := "", ""
	show := func(j *wire.JobDetail, raw json.RawMessage) error {
		if want != "" {
			if j.ID != want || j.Status == last {
				return nil
			}
			last = j.Status
		}
		var err error
		if asJSON {
			err = writeRawJSON(p.Stdout, raw)
		} else {
			_, err = fmt.Fprintf(p.Stdout, "%s  %s  %-10s %s\n", stamp(latest(j)), clean(j.ID), clean(j.Status), cut(j.Error, 200))
		}
		if err == nil && want != "" && jobSettled(j) {
			ended = j.Status
			err = errEndStream
		}
		return err
	}
	err := c.stream(ctx, func() error {
		if want == "" {
			return nil
		}
		// Asked for once the stream stands, so that no change falls in between.
		var j wire.JobDetail
		raw, err := c.one(ctx, "/api/v1/jobs", want, &j)
		if err != nil {
			return err
		}
		return show(&j, raw)
	}, func(m message) error {
		if m.event != "job" {
			return nil
		}
		var j wire.JobDetail
		if err := json.Unmarshal(m.data, &j); err != nil {
			return fmt.Errorf("read the stream: %w", err)
		}
		return show(&j, m.data)
	})
	if want == "" {
		return unlessInterrupted(ctx, err)
	}
	if err == nil && ended != jobs.JobCompleted.String() {
		err = errReported
	}
	return err
}

// latest is the newest time of a job.
func latest(j *wire.JobDetail) wire.Time {
	for _, t := range []wire.Time{j.SettledAt, j.SubmittedAt} {
		if !t.IsZero() {
			return t
		}
	}
	return j.CreatedAt
}
