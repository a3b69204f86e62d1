package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

func (p *program) auditCommand() *cobra.Command {
	list := listCommand(p, listing[wire.AuditEntry]{
		use: "list", short: "List the audit log, newest first", path: "/api/v1/audit",
		heads: []string{"WHEN", "WHO", "AS", "KEY", "ROLE", "WHAT", "TIMES", "ON", "ANSWER", "FROM"},
		query: &wire.AuditQuery{},
		cells: func(e wire.AuditEntry) []string {
			return []string{
				stamp(e.At), cut(e.Actor, 40), cut(orDash(e.As), 40), clean(orDash(e.KeyID)), clean(e.Role), clean(e.Action),
				strconv.FormatInt(e.Times, 10), cut(orDash(e.Target), 60), strconv.Itoa(e.Status), clean(e.Address),
			}
		},
	})
	return group("audit", "Who changed what, and when", list, p.auditExportCommand())
}

func (p *program) auditExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Print the audit log as JSON Lines, newest first", Args: arguments(0, 0, ""),
		Example: "  gaff audit export --since 30d > audit.jsonl",
	}
	values := queryFlags(cmd.Flags(), &wire.AuditQuery{})
	cmd.RunE = work(func(ctx context.Context, _ []string) error {
		query, err := values()
		if err == nil {
			err = localTimes(query, p.now())
		}
		if err != nil {
			return err
		}
		c, err := p.dial()
		if err != nil {
			return err
		}
		res, err := c.send(ctx, http.MethodGet, "/api/v1/audit/export", query, nil, nil)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if _, err := io.Copy(p.Stdout, res.Body); err != nil {
			return fmt.Errorf("the export is not complete: %w", err)
		}
		return nil
	})
	p.clientFlags(cmd)
	return cmd
}
