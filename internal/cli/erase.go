package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

// eraseOptions are the flags of "gaff erase".
type eraseOptions struct {
	request     wire.ErasureRequest
	yes, asJSON bool
}

func (p *program) eraseCommand() *cobra.Command {
	var o eraseOptions
	cmd := &cobra.Command{
		Use:   "erase --user ID|--project ID|--job ID|--event ID|--media ID",
		Short: "Delete everything of a user, a project, a job or an event",
		Long: `Delete everything of a user, a project, a job or an event: events with their deliveries,
attempts and bodies, jobs with their inputs and results, files in storage, runs, rejected
requests. Rows that stay, such as lines of the audit log, get a pseudonym in place of the id.

Without --yes the command only counts. Jobs and runs that are not finished are a conflict;
--cancel cancels them first, at the provider too. An interrupted erasure can be repeated.

Backups keep what they have. "gaff compact" then removes the data from the free space of the
database.`,
		Example: `  gaff erase --user user-42
  gaff erase --user user-42 --yes
  gaff erase --job job_01KAVJ0Z6M3Q8R5T7W9XYZABCD --cancel --yes`,
		Args: cobra.NoArgs,
		RunE: work(func(ctx context.Context, _ []string) error { return p.erase(ctx, o) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.request.UserID, "user", "", "the id of a user, as jobs, runs and webhooks have it")
	flags.StringVar(&o.request.ProjectID, "project", "", "the id of a project")
	flags.StringVar(&o.request.JobID, "job", "", "the id of a job")
	flags.StringVar(&o.request.EventID, "event", "", "the id of an event")
	flags.StringVar(&o.request.MediaID, "media", "", "the id of a file; its job stays")
	flags.BoolVar(&o.request.DryRun, "dry-run", false, "only count, as without --yes")
	flags.BoolVar(&o.request.Cancel, "cancel", false, "first cancel jobs and runs that are not finished, at the provider too")
	flags.BoolVar(&o.yes, "yes", false, "erase")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) erase(ctx context.Context, o eraseOptions) error {
	if _, err := o.request.Target(); err != nil {
		return usagef("want exactly one of --user, --project, --job, --event and --media")
	}
	if o.yes && o.request.DryRun {
		return usagef("--yes and --dry-run contradict each other")
	}
	o.request.DryRun = !o.yes
	c, err := p.dialPatiently()
	if err != nil {
		return err
	}
	e, raw, err := decodeCall[wire.Erasure](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/erasures", body: o.request})
	if err != nil {
		return err
	}
	if o.asJSON {
		return writeRawJSON(p.Stdout, raw)
	}
	fmt.Fprintln(p.Stdout, erasureCounts(e))
	if n := e.UnfinishedJobs + e.UnfinishedRuns; n > 0 {
		fmt.Fprintf(p.Stdout, "%d jobs and %d runs are not finished: add --cancel to cancel them first\n", e.UnfinishedJobs, e.UnfinishedRuns)
	}
	if e.DryRun {
		fmt.Fprintln(p.Stdout, "nothing was erased; add --yes to erase")
		return nil
	}
	for _, text := range []wire.Text{e.FilesPending, e.Backups} {
		if text != "" {
			fmt.Fprintln(p.Stdout, clean(text))
		}
	}
	return nil
}

func erasureCounts(e *wire.Erasure) string {
	var counts []string
	for _, c := range []struct {
		n    int64
		what string
	}{
		{e.Events, "event"}, {e.Jobs, "job"}, {e.Media, "file"}, {e.Runs, "run"}, {e.Projects, "project"}, {e.Rejections, "rejected request"},
	} {
		if c.n > 0 {
			counts = append(counts, counted(int(c.n), c.what))
		}
	}
	text := "nothing"
	if len(counts) > 0 {
		text = strings.Join(counts, ", ")
	}
	if e.DryRun {
		text = "to erase: " + text
	} else {
		text = "erased: " + text
	}
	switch {
	case e.Records > 0 && e.Kind == "job":
		text += fmt.Sprintf("; the id is removed from %s with the same result", counted(int(e.Records), "job"))
	case e.Records > 0:
		text += fmt.Sprintf("; in %s the id is replaced by %s", counted(int(e.Records), "row"), clean(e.Pseudonym))
	}
	return text
}
