package cli

import (
	"strconv"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

func (p *program) limitsCommand() *cobra.Command {
	return listCommand(p, listing[wire.LimitUse]{
		use: "limits", short: "List the limits of jobs (limits: in gaff.yaml) with their use on all nodes", path: "/api/v1/limits", single: true,
		heads: []string{"FOR", "NAME", "UNDER WAY", "OF", "RATE", "WAITING", "STATE"},
		cells: func(u wire.LimitUse) []string {
			state := "room"
			switch {
			case u.Full && !u.NextAt.IsZero():
				state = "full until " + u.NextAt.Time.UTC().Format("15:04:05Z")
			case u.Full:
				state = "full"
			}
			concurrency, rate := "-", "-"
			if u.Concurrency > 0 {
				concurrency = strconv.Itoa(u.Concurrency)
			}
			if u.Rate > 0 {
				rate = strconv.FormatFloat(u.Rate, 'g', -1, 64) + "/s"
			}
			return []string{u.Scope, clean(u.Name), strconv.Itoa(u.UnderWay), concurrency, rate, strconv.Itoa(u.Waiting), state}
		},
	})
}
