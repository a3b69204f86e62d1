package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"gaff/internal/wire"
	"net/http"
	"net/url"
	"slices"

	"github.com/spf13/cobra"
)

func (p *program) keysCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Key]{
		use: "list", short: "List API keys, newest first", path: "/api/v1/keys",
		heads: []string{"ID", "NAME", "ROLE", "STATE", "ENDS IN", "CREATED", "BY", "BY KEY", "EXPIRES", "LAST USED"},
		cells: func(k wire.Key) []string {
			return []string{
				clean(k.ID), cut(k.Name, 40), clean(k.Role), clean(k.State), "…" + clean(k.Hint), stamp(k.CreatedAt), cut(k.CreatedBy, 40), clean(orDash(k.CreatedByID)),
				stamp(k.ExpiresAt), stamp(k.LastUsedAt),
			}
		},
	})
	return group("keys", "API keys, and the way into the console", p.keysCreateCommand(), list, p.keysRevokeCommand(), p.keysLinkCommand())
}

func (p *program) keysRevokeCommand() *cobra.Command {
	var made bool
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke an API key, and log out who came in with it",
		Long: `Revoke an API key, and log out the browsers that came in with it. After a theft, --made
also revokes the keys that were made with it, and with those; the key itself may be
revoked already.`,
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
	cmd.Flags().BoolVar(&made, "made", false, "also the keys that were made with it")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) keysCreateCommand() *cobra.Command {
	var role, expires string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an API key and print its secret, once",
		Long: `Make an API key for a person or a program. The secret is printed once and not kept: what
the gateway has is its hash. A viewer reads; an operator also retries, replays, sends,
submits and cancels; an admin also deletes and manages keys.`,
		Args: arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			if !slices.Contains([]string{"viewer", "operator", "admin"}, role) {
				return usagef("unknown --role %q: want viewer, operator or admin", role)
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			body := map[string]string{"name": args[0], "role": role}
			if expires != "" {
				body["expiresAt"] = expires
			}
			raw, err := c.call(ctx, http.MethodPost, "/api/v1/keys", nil, body)
			if err != nil {
				return err
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			var k wire.CreatedKey
			if err := json.Unmarshal(raw, &k); err != nil {
				return fmt.Errorf("read the new key: %w", err)
			}
			fmt.Fprintln(p.Stdout, clean(k.Secret))
			fmt.Fprintf(p.Stderr, "%s %s may do what the role %s allows. The secret above is not shown again; use it as GAFF_TOKEN, or as Authorization: Bearer …\n",
				clean(k.ID), clean(k.Name), clean(k.Role))
			return nil
		}),
	}
	cmd.Flags().StringVar(&role, "role", "viewer", "viewer, operator or admin")
	cmd.Flags().StringVar(&expires, "expires", "", "when it stops working: 90d (from now), 12h, or a time in RFC 3339; without it, never")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
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
			raw, err := c.call(ctx, http.MethodPost, "/api/v1/login-links", nil, nil)
			if err != nil {
				return err
			}
			var link wire.LoginLink
			if err := json.Unmarshal(raw, &link); err != nil {
				return fmt.Errorf("read the link: %w", err)
			}
			fmt.Fprintln(p.Stdout, clean(c.base+link.Path))
			fmt.Fprintf(p.Stderr, "Open it and press Log in. It works once, until %s.\n", stamp(link.ExpiresAt))
			return nil
		}),
	}
	p.clientFlags(cmd)
	return cmd
}
