package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/manifest"
	"gaff/internal/wire"
)

// maxConfiguration bounds a configuration document, in bytes.
const maxConfiguration = 4 << 20

// configurationRoutes are for credentials without a limit: the document has all objects.
func (s *server) configurationRoutes() []route {
	return []route{
		get("/api/v1/configuration", "export-configuration", Admin, "Get all sources, destinations, budgets and workflows that were set by the API, secrets as references", s.exportConfiguration),
		post("/api/v1/configuration", "apply-configuration", Admin, "Make sources, destinations, budgets and workflows those of a document, or compare them", s.applyConfiguration, accepts(maxConfiguration), fails(http.StatusBadRequest)),
	}
}

// budgets adapts the budgets of jobs to package manifest.
type budgets struct{ s *server }

func (b budgets) List(ctx context.Context) (map[string]wire.BudgetBody, error) {
	list, err := b.s.o.Store.Budgets(ctx)
	all := map[string]wire.BudgetBody{}
	for _, budget := range list {
		all[budget.Name] = wire.NewBudgetBody(budget)
	}
	return all, err
}

func (b budgets) Save(ctx context.Context, name string, body wire.BudgetBody) error {
	budget, err := body.Budget(name)
	if err != nil {
		return err
	}
	return b.s.o.Jobs.SaveBudget(ctx, budget)
}

func (b budgets) Delete(ctx context.Context, name string) error {
	return b.s.o.Jobs.RemoveBudget(ctx, name)
}

func (s *server) configuration() *manifest.Configuration {
	c := &manifest.Configuration{}
	if s.o.SourceRecords != nil {
		c.Sources = s.o.SourceRecords
	}
	if s.o.Forwarding != nil {
		c.Destinations = s.o.Forwarding
	}
	if s.o.Jobs != nil {
		c.Budgets = budgets{s}
	}
	if s.o.Definitions != nil {
		c.Workflows = savedWorkflows{s.o.Definitions}
	}
	return c
}

func (s *server) exportConfiguration(ctx context.Context, _ *noInput) (wire.Configuration, error) {
	return s.configuration().Export(ctx)
}

type configurationInput struct{ Body wire.ConfigurationRequest }

func (s *server) applyConfiguration(ctx context.Context, in *configurationInput) (none wire.ConfigurationResult, err error) {
	if in.Body.DryRun {
		unaudited(ctx)
	}
	changes, err := s.configuration().Apply(ctx, in.Body)
	if !in.Body.DryRun {
		var names []string
		for _, c := range changes {
			names = append(names, c.Action+" "+c.Kind+" "+c.Name)
		}
		remark(ctx, "configuration", map[string]any{"changes": names, "prune": in.Body.Prune})
	}
	if err != nil {
		if len(changes) > 0 { // the caller must know that some were made
			failed := s.failure(err)
			return none, huma.NewError(failed.GetStatus(), failed.Error())
		}
		return none, err
	}
	return wire.ConfigurationResult{Applied: !in.Body.DryRun, Changes: changes}, nil
}
