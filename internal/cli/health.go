package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

func (p *program) settingsCommand() *cobra.Command {
	return listCommand(p, listing[wire.Setting]{
		use: "settings", short: "List the settings in force of a running gateway; secrets are masked", path: "/api/v1/settings", whole: true,
		heads: []string{"NAME", "VALUE", "FROM"},
		cells: func(s wire.Setting) []string {
			return []string{clean(s.Name), cut(orDash(s.Value), 100), clean(s.Origin)}
		},
	})
}

// healthTime is the timeout of the health command; a gateway answers within two seconds.
const healthTime = 5 * time.Second

// handlerSheet lists handlers with their queues and their last hour.
func handlerSheet(handlers []wire.HandlerHealth) *sheet {
	t := newSheet("HANDLER", "DUE", "OLDEST DUE", "PENDING", "SUCCEEDED, 1H", "FAILED, 1H", "P95")
	for _, h := range handlers {
		p95 := "-"
		if h.Took != nil {
			p95 = duration(h.Took.P95Ms)
		}
		t.row(cut(h.Handler, 60), strconv.FormatInt(h.Due, 10), stamp(h.OldestDue), strconv.FormatInt(h.Pending, 10),
			strconv.FormatInt(h.Succeeded, 10), strconv.FormatInt(h.Failed, 10), p95)
	}
	return t
}

func (p *program) healthCommand() *cobra.Command {
	cmd := callCommand(p, calling[wire.Health]{
		use: "health", short: "Show the state of a running gateway; exit code 1 if it cannot store webhooks", args: arguments(0, 0, ""),
		call: func([]string) (apiCall, error) {
			return apiCall{method: http.MethodGet, path: "/api/v1/health"}, nil
		},
		print: func(_ context.Context, _ *client, h *wire.Health) error {
			t := newTable(p.Stdout)
			t.row("ready", strconv.FormatBool(h.Ready))
			t.pair("reason", clean(h.Reason))
			for _, name := range slices.Sorted(maps.Keys(h.QuietSources)) {
				t.row("quiet", clean(name)+": "+clean(h.QuietSources[name]))
			}
			t.row("version", clean(h.Version))
			t.row("up", (time.Duration(h.UptimeSeconds) * time.Second).String())
			t.row("memory", fmt.Sprintf("%.1f MB", float64(h.MemoryBytes)/1e6))
			t.row("goroutines", strconv.Itoa(h.Goroutines))
			t.row("go", clean(h.Go))
			if err := t.flush(); err != nil || len(h.Handlers) == 0 {
				return err
			}
			fmt.Fprintln(p.Stdout)
			return p.show(handlerSheet(h.Handlers))
		},
		failed: func(h *wire.Health) bool { return !h.Ready },
	})
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), healthTime)
		defer cancel()
		cmd.SetContext(ctx)
		err := run(cmd, args)
		if errors.Is(err, context.DeadlineExceeded) {
			err = ranError{fmt.Errorf("no response within %s", healthTime)}
		}
		return err
	}
	return cmd
}
