package cli

import (
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

func (p *program) searchCommand() *cobra.Command {
	text := ""
	cmd := listCommand(p, listing[wire.SearchHit]{
		use: "search TEXT...", short: "Find what a text names: ids of any age, names, words of prompts and models", path: "/api/v1/search",
		heads:  []string{"KIND", "ID", "WHEN", "TITLE"},
		values: func() (url.Values, error) { return url.Values{"q": {text}}, nil },
		cells: func(h wire.SearchHit) []string {
			return []string{clean(h.Kind), clean(h.ID), stamp(h.At), cut(h.Title, 100)}
		},
	})
	wanted := arguments(1, 100, "a TEXT")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		text = strings.Join(args, " ")
		return wanted(cmd, args)
	}
	return cmd
}
