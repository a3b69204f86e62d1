package cli

import (
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
	return group("audit", "Who changed what, and when", list)
}
