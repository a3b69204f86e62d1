package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
	"gaff/jobs"
)

func (p *program) costsCommand() *cobra.Command {
	var asJSON, asCSV bool
	cmd := &cobra.Command{
		Use:   "costs",
		Short: "Sum what jobs cost, by project, user, model, provider, day, run or key",
		Long: `Sum the charges of jobs: the providers' own figures, times the price of their unit, else estimates by
the price table (prices: in gaff.yaml). CHARGED is for jobs that have ended; ESTIMATED is the part of
it that comes from the price table; RESERVED is for jobs that have not ended; SAVED is what jobs
avoided that have the result of an earlier one (reuse: in gaff.yaml).`,
		Example: `  gaff costs --by project --since 2026-11-01
  gaff costs --by day --csv > costs.csv
  gaff costs --by model --daily --since 2026-11-01`,
		Args: arguments(0, 0, ""),
	}
	values := queryFlags(cmd.Flags(), &wire.CostQuery{})
	cmd.RunE = work(func(ctx context.Context, _ []string) error {
		query, err := values()
		if err != nil {
			return err
		}
		c, err := p.dial()
		if err != nil {
			return err
		}
		if asCSV {
			res, err := c.send(ctx, http.MethodGet, "/api/v1/costs.csv", query, nil, nil)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			_, err = io.Copy(p.Stdout, io.LimitReader(res.Body, maxAnswer))
			return err
		}
		raw, err := c.call(ctx, http.MethodGet, "/api/v1/costs", query, nil)
		if err != nil {
			return err
		}
		if asJSON {
			_, err := p.Stdout.Write(raw)
			return err
		}
		var costs wire.Costs
		if err := json.Unmarshal(raw, &costs); err != nil {
			return fmt.Errorf("read the costs: %w", err)
		}
		if len(costs.Docs) == 0 {
			fmt.Fprintln(p.Stdout, "none found")
			return nil
		}
		daily := query.Get("daily") != ""
		heads := []string{"KEY", "CURRENCY", "CHARGED", "ESTIMATED", "RESERVED", "JOBS", "SAVED"}
		if daily {
			heads = append([]string{"DAY"}, heads...)
		}
		t := newSheet(heads...)
		for _, d := range costs.Docs {
			row := []string{clean(orDash(wire.Text(d.Key))), clean(d.Currency), d.Charged, d.Estimated, d.Reserved, strconv.FormatInt(d.Jobs, 10), d.Saved}
			if daily {
				row = append([]string{clean(d.Day)}, row...)
			}
			t.row(row...)
		}
		if costs.More {
			fmt.Fprintf(p.Stderr, "these are the %d largest sums, and not all: --csv prints all, and a shorter period has fewer\n", len(costs.Docs))
		}
		return p.show(t)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	cmd.Flags().BoolVar(&asCSV, "csv", false, "print all sums as CSV")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) budgetsCommand() *cobra.Command {
	const path, others = "/api/v1/budgets", "gaff budgets list"
	list := listCommand(p, listing[wire.Budget]{
		use: "list", short: "List budgets, by name", path: path, single: true,
		heads: []string{"NAME", "FOR", "PERIOD", "SPENT", "LIMIT", "CURRENCY", "IF FULL", "EXCESS"},
		cells: func(b wire.Budget) []string {
			return []string{clean(b.Name), clean(scopeOf(b)), b.Period, b.Spent, b.Limit, clean(b.Currency), b.Action, orDash(b.Excess)}
		},
	})
	remove := p.actCommand(acting{
		use: "delete NAME", short: "Delete a budget", method: http.MethodDelete, path: path + "/{id}", done: "deleted", others: others,
	})
	return group("budgets", "Budgets: what jobs may cost a day or month", list, p.budgetSetCommand(path), remove)
}

// scopeOf says which jobs a budget is for.
func scopeOf(b wire.Budget) string {
	text := ""
	for _, part := range []struct{ name, value string }{
		{"project", string(b.ProjectID)}, {"user", string(b.UserID)}, {"key", string(b.Caller)}, {"provider", string(b.Provider)}, {"model", string(b.Model)},
	} {
		if part.value != "" {
			text += ", " + part.name + " " + part.value
		}
	}
	if text == "" {
		return "all jobs"
	}
	return text[2:]
}

func (p *program) budgetSetCommand(path string) *cobra.Command {
	var b wire.BudgetBody
	cmd := &cobra.Command{
		Use:   "set NAME --limit AMOUNT",
		Short: "Create or replace a budget",
		Long: `Create or replace a budget. A submit whose estimate does not fit is answered 402; with --if-full hold
the job waits until gaff jobs approve. Estimates come from the price table (prices: in gaff.yaml); a model without one counts with what the provider reports.`,
		Example: `  gaff budgets set film --project film-1 --limit 100 --warn 80
  gaff budgets set all --period day --limit 20`,
		Args: arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			if b.Limit == "" {
				return usagef("--limit is missing: what the period may cost, such as 100.00")
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodPut, path+"/"+url.PathEscape(args[0]), nil, b)
			if err != nil {
				return err
			}
			var saved wire.Budget
			if err := json.Unmarshal(raw, &saved); err != nil {
				return fmt.Errorf("read the budget: %w", err)
			}
			fmt.Fprintf(p.Stdout, "%s: %s of %s %s are spent this %s\n", clean(saved.Name), saved.Spent, saved.Limit, clean(saved.Currency), saved.Period)
			return nil
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&b.Limit, "limit", "", "what the period may cost, such as 100.00")
	flags.StringVar(&b.Warn, "warn", "", "amount from which gaff:budget.warning is emitted")
	flags.StringVar(&b.Action, "if-full", jobs.BudgetRefuses, "refuse the submit, or hold the job until it is approved")
	flags.StringVar(&b.Period, "period", "month", "day or month, in UTC")
	flags.StringVar(&b.Currency, "currency", "USD", "currency, or the unit of a provider")
	flags.StringVar(&b.ProjectID, "project", "", "only jobs of this project")
	flags.StringVar(&b.UserID, "user", "", "only jobs of this user")
	flags.StringVar(&b.Caller, "key", "", "only jobs that this caller submits (as gaff costs --by caller shows it)")
	flags.StringVar(&b.Provider, "provider", "", "only jobs of this provider")
	flags.StringVar(&b.Model, "model", "", "only jobs of this model")
	p.clientFlags(cmd)
	return cmd
}
