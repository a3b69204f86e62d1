package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"gaff/internal/shell"
	"gaff/internal/wire"
)

func (p *program) projectsCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Project]{
		use: "list", short: "List projects, newest first", path: "/api/v1/projects",
		heads: []string{"ID", "NAME", "OWNER", "CREATED"},
		cells: func(pr wire.Project) []string {
			return []string{cut(pr.ID, 60), cut(orDash(pr.Name), 40), cut(orDash(pr.Owner), 40), stamp(pr.CreatedAt)}
		},
	})
	return group("projects", "Projects: groups of jobs, media and runs", list, showCommand(p, showing[wire.Project]{
		use: "show ID", short: "Show a project with its newest runs, jobs and files", path: "/api/v1/projects", others: "gaff projects list", print: p.showProject,
	}), p.projectsSaveCommand())
}

func (p *program) showProject(ctx context.Context, c *client, pr *wire.Project) error {
	t := newTable(p.Stdout)
	t.pair("id", clean(pr.ID))
	t.pair("name", clean(pr.Name))
	t.pair("owner", clean(pr.Owner))
	t.row("created", stamp(pr.CreatedAt))
	if pr.PublicMedia {
		t.row("files", "each stored file gets a permanent link")
	}
	if len(pr.Metadata) > 0 {
		t.pair("metadata", cut(string(pr.Metadata), 200))
	}
	if err := t.flush(); err != nil {
		return err
	}
	err := printOfProject(ctx, p, c, pr.ID, "runs", func(r wire.Run) []string {
		return []string{clean(r.ID), clean(r.Status), cut(r.Workflow, 80)}
	})
	if err == nil {
		err = printOfProject(ctx, p, c, pr.ID, "jobs", func(j wire.Job) []string {
			return []string{clean(j.ID), clean(j.Status), cut(j.Model, 80)}
		})
	}
	if err == nil {
		err = printOfProject(ctx, p, c, pr.ID, "media", func(m wire.Media) []string {
			return []string{clean(m.ID), clean(m.MediaType), cut(m.URL, 80)}
		})
	}
	return err
}

// printOfProject prints the newest rows of a kind, such as jobs, that belong to a project.
func printOfProject[D any](ctx context.Context, p *program, c *client, project, kind string, cells func(D) []string) error {
	rows := newTable(p.Stdout)
	n := 0
	more, err := c.list(ctx, "/api/v1/"+kind, given("projectId", project), 10, func(doc json.RawMessage) error {
		var d D
		if err := json.Unmarshal(doc, &d); err != nil {
			return err
		}
		if n++; n == 1 {
			fmt.Fprintf(p.Stdout, "\n%s:\n", kind)
		}
		row := cells(d)
		row[0] = "  " + row[0]
		rows.row(row...)
		return nil
	})
	if err == nil {
		err = rows.flush()
	}
	if err == nil && more {
		_, err = fmt.Fprintf(p.Stdout, "  … and more: %s\n", shell.Words("gaff", kind, "list", "--project", project))
	}
	return err
}

func (p *program) projectsSaveCommand() *cobra.Command {
	var project wire.ProjectUpdate
	var metadata string
	cmd := &cobra.Command{
		Use: "save ID", Short: "Create a project, or set its name, owner and metadata", Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			project.ID = args[0]
			if metadata != "" {
				if err := json.Unmarshal([]byte(metadata), &project.Metadata); err != nil {
					return usagef("--metadata is not a JSON object: %w", err)
				}
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			_, err = c.call(ctx, http.MethodPost, "/api/v1/projects", nil, project)
			return err
		}),
	}
	cmd.Flags().StringVar(&project.Name, "name", "", "its name for people")
	cmd.Flags().StringVar(&project.Owner, "owner", "", "its owner")
	cmd.Flags().StringVar(&metadata, "metadata", "", "a JSON object of your own")
	cmd.Flags().BoolVar(&project.PublicMedia, "public-media", false, "give each file that is stored from now on a permanent link, which needs no token")
	p.clientFlags(cmd)
	return cmd
}
