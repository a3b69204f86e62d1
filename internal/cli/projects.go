package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"gaff/internal/shell"
	"gaff/internal/wire"
	"net/http"

	"github.com/spf13/cobra"
)

func (p *program) projectsCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Project]{
		use: "list", short: "List projects, newest first", path: "/api/v1/projects",
		heads: []string{"ID", "NAME", "OWNER", "CREATED"},
		cells: func(pr wire.Project) []string {
			return []string{cut(pr.ID, 60), cut(orDash(pr.Name), 40), cut(orDash(pr.Owner), 40), stamp(pr.CreatedAt)}
		},
	})
	return group("projects", "Projects: what jobs, media and runs belong together", list, showCommand(p, showing[wire.Project]{
		use: "show ID", short: "Show a project with its newest runs, jobs and files", path: "/api/v1/projects", others: "gaff projects list", print: p.showProject,
	}), p.projectsSaveCommand())
}

func (p *program) showProject(ctx context.Context, c *client, pr *wire.Project) error {
	t := newTable(p.Stdout)
	t.pair("id", clean(pr.ID))
	t.pair("name", clean(pr.Name))
	t.pair("owner", clean(pr.Owner))
	t.row("created", stamp(pr.CreatedAt))
	if len(pr.Metadata) > 0 {
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
		Use: "save ID", Short: "Create a project, or set its name, owner and metadata", Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			body := map[string]any{"id": args[0], "name": name, "owner": owner}
			if metadata != "" {
				if !json.Valid([]byte(metadata)) {
					return usagef("--metadata is not a JSON object")
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
