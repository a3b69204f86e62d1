package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
	"gaff/jobs"
)

const listJobs = "gaff jobs list"

// filesShown is how many files of a job are printed at its end.
const filesShown = 20

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
	return group("jobs", "Jobs at providers: list, submit, watch, cancel", list,
		showCommand(p, showing[wire.JobDetail]{
			use: "show ID", short: "Show a job with its result and log", path: "/api/v1/jobs", others: listJobs, print: p.showJob,
		}),
		p.jobsWatchCommand(), p.jobsSubmitCommand(), p.jobsRegisterCommand(), p.callbackSecretsCommand(),
		p.jobActionCommand("cancel", "Cancel a job, also at the provider", "Cancel a job, also at the provider. The provider may bill the work that it has done."),
		p.holdCommand("approve", "Submit a job that a budget holds, beyond its limit"),
		p.holdCommand("reject", "End a job that a budget holds as failed"),
		p.jobActionCommand("ask", "Poll the provider for a job now", "Poll the provider for a job now, instead of waiting for its webhook."))
}

// given returns a query of names and values without the empty ones.
func given(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

// chargeText writes a charge in a few words; empty without one.
func chargeText(c *wire.Charge) string {
	if c == nil {
		return ""
	}
	return c.Amount + " " + c.Currency + ", " + c.State
}

func (p *program) showJob(_ context.Context, _ *client, j *wire.JobDetail) error {
	t := newTable(p.Stdout)
	for _, pair := range [][2]string{
		{"id", j.ID}, {"status", j.Status}, {"error", string(j.Error)}, {"error type", string(j.ErrorType)},
		{"provider", j.Provider}, {"model", string(j.Model)}, {"kind", string(j.Kind)}, {"project", string(j.ProjectID)},
		{"user", string(j.UserID)}, {"request id", string(j.RequestID)}, {"submit", string(j.Submit)}, {"webhook", string(j.WebhookURL)},
		{"settled by", string(j.SettledBy)}, {"cost", string(j.Cost)},
		{"charge", chargeText(j.Charge)}, {"alias", string(j.Alias)},
		{"reused from", string(j.ReusedFrom)}, {"saved", string(j.Saved)},
	} {
		t.pair(pair[0], clean(pair[1]))
	}
	if j.Priority != 0 {
		t.row("priority", fmt.Sprint(j.Priority))
	}
	if j.Position > 0 {
		t.row("position", fmt.Sprint(j.Position))
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
	for _, a := range j.Attempts {
		t.row(fmt.Sprintf("attempt %d", a.Attempt), cut(fmt.Sprintf("%s %s: %s %s", a.Provider, a.Model, a.Error, chargeText(a.Charge)), 300))
	}
	for _, c := range j.Fallback {
		t.row("next", clean(c.Provider+" "+c.Model))
	}
	if len(j.Attempts) > 0 {
		for _, a := range j.Total {
			t.row("total", clean(a.Amount+" "+a.Currency))
		}
	}
	for _, entry := range j.Log {
		t.row(clean(entry.What), stamp(entry.At)+"  "+cut(entry.Text, 300))
	}
	if err := t.flush(); err != nil {
		return err
	}
	return p.writeParts("\n", part{"metadata", j.Metadata}, part{"input", j.Input}, part{"result", j.Result})
}

func (p *program) jobsWatchCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "watch [ID]",
		Short: "Print jobs as they change, until interrupted or the named job is settled",
		Long: `Print a line for each change of a job. With an ID, only that job's changes, and the command
ends with the job's files: exit code 0 if it was completed, 1 if it failed or was cancelled.`,
		Args: arguments(0, 1, "at most one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			id := ""
			if len(args) == 1 {
				id = args[0]
			}
			return p.watchJob(ctx, c, id, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	p.clientFlags(cmd)
	return cmd
}

// watchJob prints jobs as they change. With an id it prints that job only, until it is settled; the
// job's status decides the exit code.
func (p *program) watchJob(ctx context.Context, c *client, id string, asJSON bool) error {
	last, ended := "", ""
	show := func(raw json.RawMessage) error {
		var j wire.JobDetail
		if err := json.Unmarshal(raw, &j); err != nil {
			return fmt.Errorf("read the stream: %w", err)
		}
		if id != "" {
			if j.ID != id || j.Status == last {
				return nil
			}
			last = j.Status
		}
		var err error
		if asJSON {
			err = writeRawJSON(p.Stdout, raw)
		} else {
			_, err = fmt.Fprintf(p.Stdout, "%s  %s  %-10s %s\n", stamp(latest(&j)), clean(j.ID), clean(j.Status), cut(j.Error, 200))
		}
		if err == nil && id != "" && jobSettled(&j) {
			ended = j.Status
			err = errEndStream
		}
		return err
	}
	opened := func() error {
		if id == "" {
			return nil
		}
		// After the stream is open, so that no change is missed between the two.
		raw, err := c.call(ctx, http.MethodGet, "/api/v1/jobs/"+url.PathEscape(id), nil, nil)
		if err != nil {
			return err
		}
		return show(raw)
	}
	err := c.stream(ctx, nil, opened, func(m message) error {
		if m.event != "job" {
			return nil
		}
		return show(m.data)
	})
	if id == "" {
		return unlessInterrupted(ctx, err)
	}
	switch {
	case err != nil:
		return err
	case ended != jobs.JobCompleted.String():
		return errReported
	case !asJSON:
		p.printFiles(ctx, c, "job", id, []string{id})
	}
	return nil
}

// printFiles prints the files of jobs, and the console's page of a job or run. Files that cannot be
// read are an error of this list, not of the job.
func (p *program) printFiles(ctx context.Context, c *client, kind, id string, jobs []string) {
	for _, job := range jobs {
		_, err := c.list(ctx, "/api/v1/media", url.Values{"jobId": {job}}, filesShown, func(doc json.RawMessage) error {
			var m wire.Media
			if err := json.Unmarshal(doc, &m); err != nil {
				return err
			}
			fmt.Fprintf(p.Stdout, "%s  %s  %s\n", clean(m.ID), clean(m.MediaType), cut(cmp.Or(string(m.StoredURL), m.URL), 300))
			return nil
		})
		if err != nil {
			fmt.Fprintf(p.Stderr, "the files of %s cannot be listed: %s\n", clean(job), clean(err.Error()))
		}
	}
	fmt.Fprintf(p.Stdout, "see %s\n", clean(c.consolePage(kind, id)))
}

// latest returns the newest time of a job.
func latest(j *wire.JobDetail) wire.Time {
	for _, t := range []wire.Time{j.SettledAt, j.SubmittedAt} {
		if !t.IsZero() {
			return t
		}
	}
	return j.CreatedAt
}
