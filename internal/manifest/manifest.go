// Package manifest writes the configuration that users set by the API as one document, compares it
// with another, and applies that. Secrets are references in it: "${DESTINATION_CRM_SECRETS_0}".
package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gaff"
	"gaff/destination"
	"gaff/internal/jsonscan"
	"gaff/internal/redact"
	"gaff/internal/wire"
)

// Kinds of objects, in the order in which they are applied.
const (
	KindSource      = "source"
	KindDestination = "destination"
	KindBudget      = "budget"
	KindWorkflow    = "workflow"
)

var kinds = []string{KindSource, KindDestination, KindBudget, KindWorkflow}

// object is the JSON of an object.
type object = map[string]any

// Sources are the sources of the API.
type Sources interface {
	// Specs returns the sources that were created by the API, with their secrets.
	Specs() map[string]wire.SourceSpec
	// CheckSpec returns the first mistake.
	CheckSpec(spec wire.SourceSpec) error
	// Put creates or replaces a source.
	Put(ctx context.Context, spec wire.SourceSpec) error
	Delete(ctx context.Context, name string) error
}

// Destinations are those of the configuration and the API; a *destination.Manager has them.
type Destinations interface {
	List(ctx context.Context) ([]destination.Managed, error)
	Create(ctx context.Context, s destination.Spec) (destination.Managed, error)
	Update(ctx context.Context, name string, change func(*destination.Spec) error) (destination.Managed, error)
	Delete(ctx context.Context, name string) error
}

// Budgets are the budgets of jobs.
type Budgets interface {
	List(ctx context.Context) (map[string]wire.BudgetBody, error)
	Save(ctx context.Context, name string, b wire.BudgetBody) error
	Delete(ctx context.Context, name string) error
}

// Workflows are those that users write.
type Workflows interface {
	// Texts returns their texts, and the names of workflows of files.
	Texts(ctx context.Context) (written map[string]string, files map[string]bool, err error)
	// Check returns the faults of a text.
	Check(name, text string) error
	Put(ctx context.Context, name, text string, exists bool) error
	Delete(ctx context.Context, name string) error
}

// Configuration reads and changes the objects. A nil part has none.
type Configuration struct {
	Sources      Sources
	Destinations Destinations
	Budgets      Budgets
	Workflows    Workflows
}

// store is the part of one kind.
type store struct {
	// all returns the objects with their secrets.
	all func(ctx context.Context) (map[string]object, error)
	// canonical returns the object with its defaults, or its mistakes.
	canonical func(name string, o object) (object, error)
	put       func(ctx context.Context, name string, o object, exists bool) error
	remove    func(ctx context.Context, name string) error
	secret    func(path []string, value string) bool
}

// parts returns the stores by kind.
func (c *Configuration) parts() map[string]store {
	all := map[string]store{}
	if c.Sources != nil {
		all[KindSource] = c.sources()
	}
	if c.Destinations != nil {
		all[KindDestination] = c.destinations()
	}
	if c.Budgets != nil {
		all[KindBudget] = c.budgets()
	}
	if c.Workflows != nil {
		all[KindWorkflow] = c.workflows()
	}
	return all
}

// Export returns the document of all objects that were set by the API.
func (c *Configuration) Export(ctx context.Context) (wire.Configuration, error) {
	doc := wire.Configuration{Version: wire.ConfigurationVersion}
	for kind, st := range c.parts() {
		all, err := st.all(ctx)
		if err != nil {
			return doc, err
		}
		section := map[string]wire.Object{}
		for name, o := range all {
			o = walk(o, nil, func(path []string, value string) string {
				if st.secret(path, value) {
					return "${" + reference(kind, name, path) + "}"
				}
				return value
			}).(object)
			text, err := json.Marshal(o)
			if err != nil {
				return doc, err
			}
			section[name] = text
		}
		*doc.Section(kind) = section
	}
	return doc, nil
}

// plan is a change that is needed.
type plan struct {
	wire.ConfigurationChange
	wanted object
	exists bool
}

// Apply makes the objects those of a document, or only reports the changes with DryRun. Objects that
// the document does not have stay, unless Prune is set: then those of the kinds that it has are deleted.
// Everything is checked before the first change; the changes that were made are returned with an error.
func (c *Configuration) Apply(ctx context.Context, in wire.ConfigurationRequest) (made []wire.ConfigurationChange, err error) {
	if in.Configuration.Version != wire.ConfigurationVersion {
		return nil, wire.Invalid(fmt.Sprintf("version: %d is not known; this gaff reads version %d", in.Configuration.Version, wire.ConfigurationVersion))
	}
	var plans []plan
	parts := c.parts()
	for _, kind := range kinds {
		some, err := planned(ctx, kind, parts, in)
		if err != nil {
			return nil, err
		}
		plans = append(plans, some...)
	}
	made = []wire.ConfigurationChange{}
	for _, p := range plans {
		if !in.DryRun {
			if p.Action == wire.ConfigurationDelete {
				err = parts[p.Kind].remove(ctx, p.Name)
			} else {
				err = parts[p.Kind].put(ctx, p.Name, p.wanted, p.exists)
			}
			if err != nil {
				return made, fmt.Errorf("%s %s, after %d of %d changes: %w", p.Kind, p.Name, len(made), len(plans), err)
			}
		}
		made = append(made, p.ConfigurationChange)
	}
	return made, nil
}

// planned compares the objects of one kind.
func planned(ctx context.Context, kind string, parts map[string]store, in wire.ConfigurationRequest) (plans []plan, err error) {
	section := *in.Configuration.Section(kind)
	if section == nil {
		return nil, nil
	}
	st, ok := parts[kind]
	if !ok {
		return nil, fmt.Errorf("%w: %ss: this gateway has none", gaff.ErrInvalid, kind)
	}
	all, err := st.all(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(section)) {
		p, err := planOf(kind, name, st, section[name], all, in.Secrets)
		if err != nil {
			return nil, fmt.Errorf("%ss.%s: %w", kind, name, err)
		}
		if p != nil {
			plans = append(plans, *p)
		}
	}
	if !in.Prune {
		return plans, nil
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if _, wanted := section[name]; !wanted {
			plans = append(plans, plan{ConfigurationChange: wire.ConfigurationChange{Kind: kind, Name: name, Action: wire.ConfigurationDelete}})
		}
	}
	return plans, nil
}

// planOf compares one object; nil if nothing changes.
func planOf(kind, name string, st store, text wire.Object, all map[string]object, secrets map[string]string) (*plan, error) {
	wanted, err := decode(text)
	if err != nil {
		return nil, err
	}
	current, exists := all[name]
	var missing []string
	wanted = walk(wanted, nil, func(path []string, value string) string {
		ref := referred.FindStringSubmatch(value)
		if ref == nil {
			return value
		}
		if secret, ok := secrets[ref[1]]; ok {
			return secret
		}
		if stored, ok := at(current, path).(string); exists && ok {
			return stored
		}
		missing = append(missing, ref[1])
		return value
	}).(object)
	if len(missing) > 0 {
		return nil, wire.Invalid("no value for " + strings.Join(missing, ", ") + ": set these environment variables, or write the values into the document")
	}
	wanted, err = st.canonical(name, wanted)
	if err != nil {
		return nil, err
	}
	change := wire.ConfigurationChange{Kind: kind, Name: name, Action: wire.ConfigurationCreate}
	if exists {
		change.Action = wire.ConfigurationUpdate
		if current, err = st.canonical(name, current); err != nil {
			return nil, err
		}
	}
	change.Fields = differences(current, wanted, st.secret)
	if exists && len(change.Fields) == 0 {
		return nil, nil
	}
	return &plan{change, wanted, exists}, nil
}

// differences lists the members that differ, without secrets.
func differences(current, wanted object, secret func([]string, string) bool) (fields []wire.ConfigurationField) {
	names := map[string]bool{}
	for name := range current {
		names[name] = true
	}
	for name := range wanted {
		names[name] = true
	}
	masked := func(name string, v any) wire.JSON {
		if v == nil {
			return nil
		}
		text, _ := json.Marshal(walk(v, []string{name}, func(path []string, value string) string {
			if secret(path, value) {
				return redact.Masked
			}
			return value
		}))
		return text
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		from, _ := json.Marshal(current[name])
		to, _ := json.Marshal(wanted[name])
		if !bytes.Equal(from, to) {
			fields = append(fields, wire.ConfigurationField{Name: name, From: masked(name, current[name]), To: masked(name, wanted[name])})
		}
	}
	return fields
}

var (
	referred = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]{0,127})\}$`)
	unnamed  = regexp.MustCompile(`[^A-Z0-9]+`)
)

// reference returns the name of a secret's environment variable.
func reference(kind, name string, path []string) string {
	text := strings.ToUpper(strings.Join(append([]string{kind, name}, path...), "_"))
	return strings.Trim(unnamed.ReplaceAllString(text, "_"), "_")
}

// walk copies a value with its texts replaced.
func walk(v any, path []string, replace func(path []string, value string) string) any {
	switch v := v.(type) {
	case string:
		return replace(path, v)
	case object:
		out := make(object, len(v))
		for name, member := range v {
			out[name] = walk(member, append(slices.Clip(path), name), replace)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, member := range v {
			out[i] = walk(member, append(slices.Clip(path), strconv.Itoa(i)), replace)
		}
		return out
	}
	return v
}

// at returns the value at a path; nil without one.
func at(v any, path []string) any {
	for _, name := range path {
		switch of := v.(type) {
		case object:
			v = of[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(of) {
				return nil
			}
			v = of[i]
		default:
			return nil
		}
	}
	return v
}

// decode reads an object, with numbers as they were written.
func decode(text []byte) (o object, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&o); err != nil || o == nil {
		return nil, wire.Invalid("not a JSON object")
	}
	return o, nil
}

// encoded returns the JSON object of a document.
func encoded(doc any) (object, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return decode(text)
}

// strictly reads an object into a document; a member that is not known is an error.
func strictly(o object, doc any) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := jsonscan.Strict(text, doc); err != nil {
		return wire.Invalid(err.Error())
	}
	return nil
}

// errManaged reports an object of the configuration.
var errManaged = errors.New("it is managed by the configuration (gaff.yaml); take it out of one of the two")
