package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"gaff/internal/access"
	"gaff/internal/wire"
)

func (p *program) keysCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Key]{
		use: "list", short: "List API keys, newest first", path: "/api/v1/keys",
		heads: []string{"ID", "NAME", "ROLE", "STATE", "SECRET", "CREATED", "BY", "BY KEY", "EXPIRES", "LAST USED", "SCOPE", "RATE"},
		cells: func(k wire.Key) []string {
			return []string{
				clean(k.ID), cut(k.Name, 40), clean(k.Role), clean(k.State), "…" + clean(k.Hint), stamp(k.CreatedAt), cut(k.CreatedBy, 40), clean(orDash(k.CreatedByID)),
				stamp(k.ExpiresAt), stamp(k.LastUsedAt), cut(scopeText(k.Scope), 60), rateText(k.Rate),
			}
		},
	})
	return group("keys", "API keys, and login links for the console", p.keysCreateCommand(), list, p.keysRevokeCommand(), p.keysLinkCommand())
}

// scopeText returns a key's scope for a table; "all" for a key without one.
func scopeText(s *wire.Scope) string {
	if s == nil {
		return "all"
	}
	return access.Scope{Project: s.ProjectID, Source: s.Source, Destination: s.Destination, Operations: s.Operations}.String()
}

// rateText returns a key's rate for a table; "–" for a key without one.
func rateText(rate int) string {
	if rate == 0 {
		return "–"
	}
	return strconv.Itoa(rate) + "/s"
}

func (p *program) keysRevokeCommand() *cobra.Command {
	var made bool
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke an API key, and end the sessions that it opened",
		Long: `Revoke an API key, and end the browser sessions that it opened. After a theft, --made also
revokes the keys that were created with it, and the keys created with those; the key itself
may be revoked already.`,
		Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			var query url.Values
			if made {
				query = url.Values{"made": {"true"}}
			}
			res, err := c.send(ctx, http.MethodDelete, "/api/v1/keys/"+url.PathEscape(args[0]), query, nil, nil)
			if err != nil {
				return pointingTo("gaff keys list", err)
			}
			return res.Body.Close()
		}),
	}
	cmd.Flags().BoolVar(&made, "made", false, "also the keys that were created with it")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) keysCreateCommand() *cobra.Command {
	var key wire.KeyRequest
	cmd := callCommand(p, calling[wire.CreatedKey]{
		use: "create NAME", short: "Create an API key and print its secret, once",
		long: `Create an API key for a person or a program. The secret is printed once; the gateway stores
only its hash. A viewer reads; an operator also retries, replays, sends, submits and
cancels; an admin also deletes and manages keys. With --project, --source, --destination or
--operation the key reaches only these. With --rate it makes at most so many requests a
second.`,
		args: arguments(1, 1, "one NAME"),
		call: func(args []string) (apiCall, error) {
			if !slices.Contains([]string{"viewer", "operator", "admin"}, key.Role) {
				return apiCall{}, usagef("unknown --role %q: want viewer, operator or admin", key.Role)
			}
			key.Name = args[0]
			return apiCall{method: http.MethodPost, path: "/api/v1/keys", body: key}, nil
		},
		print: func(ctx context.Context, c *client, k *wire.CreatedKey) error {
			fmt.Fprintln(p.Stdout, clean(k.Secret))
			p.warnOfNamesakes(ctx, c, k)
			fmt.Fprintf(p.Stderr, "%s %s has the role %s. The secret above is not shown again; use it as GAFF_TOKEN, or as Authorization: Bearer …\n",
				clean(k.ID), clean(k.Name), clean(k.Role))
			return nil
		},
	})
	cmd.Flags().StringVar(&key.Role, "role", "viewer", "viewer, operator or admin")
	cmd.Flags().StringVar(&key.ExpiresAt, "expires", "", "when it expires: 90d (from now), 12h, or a time in RFC 3339; without it, never")
	cmd.Flags().StringVar(&key.Scope.ProjectID, "project", "", "only the jobs, files and runs of this project")
	cmd.Flags().StringVar(&key.Scope.Source, "source", "", "only the events, deliveries and rejected requests of this source")
	cmd.Flags().StringVar(&key.Scope.Destination, "destination", "", "only this destination, and its deliveries by pull")
	cmd.Flags().IntVar(&key.Rate, "rate", 0, "requests a second that it may make on each node; 0 means no limit")
	cmd.Flags().StringSliceVar(&key.Scope.Operations, "operation", nil, "only this operation of the API, by its operationId; can be repeated")
	return cmd
}

// warnOfNamesakes says that an older active key has the name of a new one. An error does not matter:
// the key was created.
func (p *program) warnOfNamesakes(ctx context.Context, c *client, created *wire.CreatedKey) {
	_, _ = c.list(ctx, "/api/v1/keys", nil, 0, func(doc json.RawMessage) error {
		var k wire.Key
		if json.Unmarshal(doc, &k) == nil && k.Name == created.Name && k.ID != created.ID && k.State == "active" {
			fmt.Fprintf(p.Stderr, "%s has the same name and is still active; revoke it if the new one replaces it: gaff keys revoke %s\n", clean(k.ID), clean(k.ID))
		}
		return nil
	})
}

func (p *program) keysLinkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "link",
		Short: "Print a link that logs a browser in to the console, once",
		Args:  arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			link, _, err := decodeCall[wire.LoginLink](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/login-links"})
			if err != nil {
				return err
			}
			fmt.Fprintln(p.Stdout, clean(c.base+link.Path))
			fmt.Fprintf(p.Stderr, "Open it and press Log in. It works once, until %s.\n", stamp(link.ExpiresAt))
			return nil
		}),
	}
	p.clientFlags(cmd)
	return cmd
}

func (p *program) sessionsCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Session]{
		use: "list", short: "List the browsers that are logged in to the console", path: "/api/v1/sessions",
		heads: []string{"ID", "NAME", "ROLE", "FROM", "SINCE", "LAST USED", "BROWSER"},
		cells: func(s wire.Session) []string {
			return []string{clean(s.ID), cut(s.Name, 40), clean(s.Role), clean(s.Address), stamp(s.CreatedAt), stamp(s.LastUsedAt), cut(s.Agent, 60)}
		},
	})
	return group("sessions", "The browsers that are logged in to the console", list, p.actCommand(acting{
		use: "end ID", short: "Log a browser out", method: http.MethodDelete, path: "/api/v1/sessions/{id}", done: "logged out", others: "gaff sessions list",
	}))
}
