package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/id"
	"gaff/internal/wire"
)

// pages are the console's pages of things, by the kind that a search returns.
var pages = map[string]string{
	"event": "/events/", "job": "/jobs/", "run": "/runs/", "media": "/media/", "rejection": "/rejections/", "project": "/projects/",
	"destination": "/destinations/", "workflow": "/workflows/",
}

// kinds are the kinds of ids, by their prefix.
var kinds = map[string]string{id.Event: "event", id.Job: "job", id.Run: "run", id.Media: "media", id.Rejection: "rejection"}

func (p *program) openCommand() *cobra.Command {
	var only bool
	cmd := &cobra.Command{
		Use:   "open [ID]",
		Short: "Open the console in a browser, at the page of an id or name",
		Long: `Open the console in a browser, logged in with the role of the token: at its overview, or at the page
of an event, a job, a run, a file, a rejected request, a project, a destination or a workflow.`,
		Example: `  gaff open
  gaff open job_01KAVJ0Z6M3Q8R5T7W9XYZABCD`,
		Args: arguments(0, 1, "at most one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			page := "/"
			if len(args) == 1 {
				if page, err = c.pageOf(ctx, args[0]); err != nil {
					return err
				}
			}
			link, _, err := decodeCall[wire.LoginLink](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/login-links"})
			if err != nil {
				return err
			}
			address := c.base + link.Path + "?next=" + url.QueryEscape(page)
			if _, err := fmt.Fprintln(p.Stdout, clean(address)); err != nil || only {
				return err
			}
			if err := p.browse(ctx, address); err != nil {
				fmt.Fprintf(p.Stderr, "no browser could be started (%s): open the link above yourself; it works once\n", clean(err.Error()))
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&only, "print", false, "print the link and start no browser")
	p.clientFlags(cmd)
	return cmd
}

// pageOf returns the console's page of an id or a name.
func (c *client) pageOf(ctx context.Context, name string) (string, error) {
	for prefix, kind := range kinds {
		if strings.HasPrefix(name, prefix) {
			return pages[kind] + url.PathEscape(name), nil
		}
	}
	found, _, err := decodeCall[wire.List[wire.SearchHit]](ctx, c, apiCall{method: http.MethodGet, path: "/api/v1/search", query: url.Values{"q": {name}}})
	if err != nil {
		return "", err
	}
	for _, hit := range found.Docs {
		if page := pages[hit.Kind]; page != "" && hit.ID == name {
			return page + url.PathEscape(hit.ID), nil
		}
	}
	return "/search?q=" + url.QueryEscape(name), nil
}

// startBrowser opens a URL in the user's browser.
func startBrowser(ctx context.Context, address string) error {
	switch runtime.GOOS {
	case "windows":
		return exec.CommandContext(ctx, "rundll32", "url.dll,FileProtocolHandler", address).Run()
	case "darwin":
		return exec.CommandContext(ctx, "open", address).Run()
	}
	return exec.CommandContext(ctx, "xdg-open", address).Run()
}

// consolePage returns the URL of a page of the console.
func (c *client) consolePage(kind, id string) string {
	return c.base + pages[kind] + url.PathEscape(id)
}
