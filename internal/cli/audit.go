package cli

import (
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// auditEntry is what the API says about a line of the audit log.
type auditEntry struct {
	ID, Actor, KeyID, As, Role, Via, Address, Action, Target string
	Status                                                   int
	Times                                                    int64
	At                                                       *time.Time
}

func (p *program) auditCommand() *cobra.Command {
	var actor, action, target string
	list := p.listCommand(listing{
		use: "list", short: "List what people changed, newest first", path: "/api/v1/audit",
		heads: []string{"WHEN", "WHO", "AS", "KEY", "ROLE", "WHAT", "TIMES", "ON", "ANSWER", "FROM"},
		query: func() (url.Values, error) { return given("actor", actor, "action", action, "target", target), nil },
		cells: func(doc json.RawMessage) ([]string, error) {
			var e auditEntry
			err := json.Unmarshal(doc, &e)
			return []string{
				stamp(e.At), cut(e.Actor, 40), cut(orDash(e.As), 40), clean(orDash(e.KeyID)), clean(e.Role), clean(e.Action),
				strconv.FormatInt(e.Times, 10), cut(orDash(e.Target), 60), strconv.Itoa(e.Status), clean(e.Address),
			}, err
		},
	})
	list.Flags().StringVar(&actor, "actor", "", "only by this person or key")
	list.Flags().StringVar(&action, "action", "", "only of this kind, such as retry-event or create-key")
	list.Flags().StringVar(&target, "target", "", "only on this id")
	return group("audit", "Who changed what, and when", list)
}
