package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gaff/internal/wire"
)

func (p *program) deliveriesCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Delivery]{
		use: "list", short: "List deliveries, newest event first", path: "/api/v1/deliveries",
		heads: []string{"ID", "HANDLER", "STATE", "ATTEMPTS", "NEXT", "ERROR"},
		query: &wire.DeliveryQuery{},
		cells: func(d wire.Delivery) []string {
			next := d.RunAt
			if !d.FinishedAt.IsZero() {
				next = wire.Time{}
			}
			return []string{clean(d.ID), cut(d.Handler, 40), clean(d.State), fmt.Sprintf("%d of %d", d.Attempts, d.MaxAttempts), stamp(next), cut(d.Error, 100)}
		},
	})
	list.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "destination" {
			name = "handler" // a destination is the handler of its deliveries
		}
		return pflag.NormalizedName(name)
	})
	const others = "gaff deliveries list"
	show := showCommand(p, showing[wire.Delivery]{
		use: "show ID", short: "Show a delivery with its attempts", path: "/api/v1/deliveries", others: others,
		print: func(_ context.Context, _ *client, d *wire.Delivery) error { return p.showDelivery(d) },
	})
	return group("deliveries", "Deliveries to handlers and destinations: list, retry, cancel", list, show,
		p.actCommand(acting{
			use: "retry ID", short: "Retry a dead or canceled delivery", method: http.MethodPost, path: "/api/v1/deliveries/{id}/retry",
			done: "retried", others: others,
		}),
		p.actCommand(acting{
			use: "cancel ID", short: "Cancel a delivery that is not done", method: http.MethodPost, path: "/api/v1/deliveries/{id}/cancel",
			done: "canceled", others: others,
		}))
}

func (p *program) showDelivery(d *wire.Delivery) error {
	fmt.Fprintf(p.Stdout, "delivery %s to %s: %s, %d of %d attempts", clean(d.ID), clean(d.Handler), clean(d.State), d.Attempts, d.MaxAttempts)
	if d.FinishedAt.IsZero() && !d.RunAt.IsZero() {
		when := "next at"
		if d.RunAt.Before(p.now()) {
			when = "due since" // a destination that is paused or fails holds it back
		}
		fmt.Fprintf(p.Stdout, ", %s %s", when, stamp(d.RunAt))
	}
	fmt.Fprintln(p.Stdout)
	attempts := newTable(p.Stdout)
	for _, a := range d.Tries {
		took := time.Duration(a.DurationMs * float64(time.Millisecond)).Round(time.Millisecond)
		attempts.row(fmt.Sprintf("  %d", a.Number), stamp(a.StartedAt), clean(a.Outcome), took.String(), differs(a), clean(a.Error))
	}
	return attempts.flush()
}

// differs names the fields in which an attempt differs from the one before it.
func differs(t wire.Attempt) string {
	if t.Changes == nil {
		return ""
	}
	var fields []string
	for _, c := range t.Changes {
		fields = append(fields, cut(c.Field, 60))
	}
	if len(fields) == 0 {
		return "as before"
	}
	return "differs in " + strings.Join(fields, ", ")
}
