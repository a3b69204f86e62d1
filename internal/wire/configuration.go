package wire

import "gaff/jobs"

// ConfigurationVersion is the version of the document.
const ConfigurationVersion = 1

// Configuration is all that is set by the API: sources, destinations, budgets and workflows, by name.
// Secrets are references to environment variables.
type Configuration struct {
	Version      int               `json:"version" doc:"1."`
	Sources      map[string]Object `json:"sources,omitempty" doc:"In the members of create-source, by name. Left out: not compared."`
	Destinations map[string]Object `json:"destinations,omitempty" doc:"In the members of create-destination, by name."`
	Budgets      map[string]Object `json:"budgets,omitempty" doc:"In the members of save-budget, by name."`
	Workflows    map[string]Object `json:"workflows,omitempty" doc:"In the members of create-workflow, by name."`
}

// Section returns the objects of a kind: source, destination, budget or workflow.
func (c *Configuration) Section(kind string) *map[string]Object {
	switch kind {
	case "source":
		return &c.Sources
	case "destination":
		return &c.Destinations
	case "workflow":
		return &c.Workflows
	}
	return &c.Budgets
}

// ConfigurationRequest makes the configuration that of a document, or compares them.
type ConfigurationRequest struct {
	Configuration Configuration     `json:"configuration"`
	Secrets       map[string]string `json:"secrets,omitempty" doc:"The values of references, by name. A reference without a value keeps the stored secret."`
	Prune         bool              `json:"prune,omitempty" doc:"Delete objects that the document does not have, of the kinds that it has."`
	DryRun        bool              `json:"dryRun,omitempty" doc:"Only compare."`
}

// Actions of a ConfigurationChange.
const (
	ConfigurationCreate = "create"
	ConfigurationUpdate = "update"
	ConfigurationDelete = "delete"
)

// ConfigurationChange is an object that differs.
type ConfigurationChange struct {
	Kind   string               `json:"kind" enum:"source,destination,budget,workflow"`
	Name   string               `json:"name"`
	Action string               `json:"action" enum:"create,update,delete"`
	Fields []ConfigurationField `json:"fields,omitempty"`
}

// ConfigurationField is a member that differs. Secrets are masked.
type ConfigurationField struct {
	Name string `json:"name"`
	From JSON   `json:"from"`
	To   JSON   `json:"to"`
}

// ConfigurationResult lists the changes, made or needed.
type ConfigurationResult struct {
	Applied bool                  `json:"applied" doc:"False for a dry run."`
	Changes []ConfigurationChange `json:"changes" nullable:"false"`
}

// NewBudgetBody makes the document of a budget as it is set.
func NewBudgetBody(b jobs.Budget) BudgetBody {
	doc := BudgetBody{
		ProjectID: b.ProjectID, UserID: b.UserID, Caller: b.Caller, Provider: b.Provider, Model: b.Model, Period: b.Period, Currency: b.Currency,
		Limit: b.Limit.String(),
	}
	if b.Warn > 0 {
		doc.Warn = b.Warn.String()
	}
	if b.Action != jobs.BudgetRefuses { // the default
		doc.Action = b.Action
	}
	return doc
}
