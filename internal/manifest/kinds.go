package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gaff"
	"gaff/destination"
	"gaff/internal/redact"
	"gaff/internal/wire"
)

func (c *Configuration) sources() store {
	spec := func(name string, o object) (s wire.SourceSpec, err error) {
		if err := strictly(o, &s); err != nil {
			return s, err
		}
		if s.Name != "" && s.Name != name {
			return s, wire.Invalid("name: it is the key of the object")
		}
		s.Name = name
		if s.Secrets == nil {
			s.Secrets = []string{}
		}
		return s, nil
	}
	return store{
		all: func(context.Context) (map[string]object, error) {
			all := map[string]object{}
			for name, s := range c.Sources.Specs() {
				o, err := encoded(s)
				if err != nil {
					return nil, err
				}
				delete(o, "name")
				all[name] = o
			}
			return all, nil
		},
		canonical: func(name string, o object) (object, error) {
			s, err := spec(name, o)
			if err != nil {
				return nil, err
			}
			if err := c.Sources.CheckSpec(s); err != nil {
				return nil, err
			}
			out, err := encoded(s)
			delete(out, "name")
			return out, err
		},
		put: func(ctx context.Context, name string, o object, _ bool) error {
			s, err := spec(name, o)
			if err != nil {
				return err
			}
			return c.Sources.Put(ctx, s)
		},
		remove: c.Sources.Delete,
		// Settings may be secrets, too.
		secret: func(path []string, _ string) bool { return path[0] == "secrets" || path[0] == "settings" },
	}
}

// isDestinationSecret reports whether a text of a destination is a secret.
func isDestinationSecret(path []string, value string) bool {
	switch path[0] {
	case "secrets":
		return true
	case "headers":
		return len(path) == 2 && redact.SecretName(path[1])
	case "url":
		return redact.Address(value) != value
	case "oauth":
		return len(path) == 2 && path[1] == "clientSecret"
	case "tls":
		return len(path) == 2 && (path[1] == "cert" || path[1] == "key")
	}
	return false
}

func (c *Configuration) destinations() store {
	read := func(name string, o object) (s destination.Spec, err error) {
		if err := strictly(o, &s); err != nil {
			return s, err
		}
		if s.Name != "" && s.Name != name {
			return s, wire.Invalid("name: it is the key of the object")
		}
		s.Name = name
		return s, s.Check()
	}
	managed := map[string]bool{} // those of the configuration, when all were read
	return store{
		all: func(ctx context.Context) (map[string]object, error) {
			list, err := c.Destinations.List(ctx)
			all := map[string]object{}
			for _, d := range list {
				if d.Origin != destination.OriginAPI {
					managed[d.Name] = true
					continue
				}
				if all[d.Name], err = brief(d.Spec); err != nil {
					return nil, err
				}
			}
			return all, err
		},
		canonical: func(name string, o object) (object, error) {
			s, err := read(name, o)
			switch {
			case err != nil:
				return nil, err
			case managed[name]:
				return nil, fmt.Errorf("%w: %w", gaff.ErrConflict, errManaged)
			}
			return brief(s.WithDefaults())
		},
		put: func(ctx context.Context, name string, o object, exists bool) error {
			s, err := read(name, o)
			if err != nil {
				return err
			}
			if !exists {
				_, err := c.Destinations.Create(ctx, s)
				return err
			}
			_, err = c.Destinations.Update(ctx, name, func(old *destination.Spec) error {
				*old = s
				return nil
			})
			return err
		},
		remove: c.Destinations.Delete,
		secret: isDestinationSecret,
	}
}

// brief returns a destination without the members that have their defaults.
func brief(s destination.Spec) (object, error) {
	short, err := encoded(s)
	if err != nil {
		return nil, err
	}
	delete(short, "name")
	// Defaults depend on other members, so a member is left out if the others lead to it.
	for _, name := range slices.Sorted(maps.Keys(short)) {
		value := short[name]
		delete(short, name)
		text, err := json.Marshal(short)
		if err != nil {
			return nil, err
		}
		again := destination.Spec{Name: s.Name}
		if json.Unmarshal(text, &again) != nil || !reflect.DeepEqual(again.WithDefaults(), s) {
			short[name] = value
		}
	}
	return short, nil
}

func (c *Configuration) budgets() store {
	read := func(name string, o object) (b wire.BudgetBody, err error) {
		if err := strictly(o, &b); err != nil {
			return b, err
		}
		budget, err := b.Budget(name)
		if err != nil {
			return b, err
		}
		if err := budget.Check(); err != nil {
			return b, err
		}
		return wire.NewBudgetBody(budget), nil
	}
	return store{
		all: func(ctx context.Context) (map[string]object, error) {
			list, err := c.Budgets.List(ctx)
			all := map[string]object{}
			for name, b := range list {
				if all[name], err = encoded(b); err != nil {
					return nil, err
				}
			}
			return all, err
		},
		canonical: func(name string, o object) (object, error) {
			b, err := read(name, o)
			if err != nil {
				return nil, err
			}
			return encoded(b)
		},
		put: func(ctx context.Context, name string, o object, _ bool) error {
			b, err := read(name, o)
			if err != nil {
				return err
			}
			return c.Budgets.Save(ctx, name, b)
		},
		remove: c.Budgets.Delete,
		secret: func([]string, string) bool { return false },
	}
}

func (c *Configuration) workflows() store {
	type document struct {
		Text string `json:"text"`
	}
	files := map[string]bool{} // those of the folder, when all were read
	return store{
		all: func(ctx context.Context) (map[string]object, error) {
			written, ofFiles, err := c.Workflows.Texts(ctx)
			files = ofFiles
			all := map[string]object{}
			for name, text := range written {
				all[name] = object{"text": text}
			}
			return all, err
		},
		canonical: func(name string, o object) (object, error) {
			var d document
			if err := strictly(o, &d); err != nil {
				return nil, err
			}
			if files[name] {
				return nil, fmt.Errorf("%w: %w", gaff.ErrConflict, errFile)
			}
			if err := c.Workflows.Check(name, d.Text); err != nil {
				return nil, fmt.Errorf("%w: text: %w", gaff.ErrInvalid, err)
			}
			return object{"text": strings.TrimRight(d.Text, "\n") + "\n"}, nil
		},
		put: func(ctx context.Context, name string, o object, exists bool) error {
			text, _ := o["text"].(string)
			return c.Workflows.Put(ctx, name, text, exists)
		},
		remove: c.Workflows.Delete,
		secret: func([]string, string) bool { return false },
	}
}

// errFile reports a workflow of a file.
var errFile = errors.New("a file in the folder of workflows defines it; take it out of one of the two")
