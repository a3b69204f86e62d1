package config

import (
	"errors"
	"fmt"
	"io"

	"gaff/provider"
	"gaff/provider/all"
)

// provided are values of providers' settings. They may be secret, so they do not print.
type provided map[string]any

// Format writes "[redacted]" for every verb.
func (p provided) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// providerSettings returns the rows of the settings that providers declare.
func providerSettings() (rows []setting) {
	for _, s := range all.Settings() {
		row := setting{
			name: s.Name, help: s.Help,
			field: func(c *Config) any { return c.provided(s) },
			check: func(c *Config) error { return checkProvided(c, s) },
		}
		if s.Kind == provider.Base {
			row.norm = trimSlash
		}
		rows = append(rows, row)
	}
	return rows
}

// provided returns the pointer to the value of a provider's setting, as setting.field does.
func (c *Config) provided(s provider.Setting) any {
	if value, ok := c.Providers[s.Name]; ok {
		return value
	}
	if c.Providers == nil {
		c.Providers = provided{}
	}
	var value any = new(string)
	switch s.Kind {
	case provider.List, provider.Users:
		value = new(words)
	case provider.Key:
		value = new(Secret)
	case provider.WebhookSecrets:
		value = new([]Secret)
	case provider.URL, provider.Base, provider.WebhookURL: // are texts
	}
	c.Providers[s.Name] = value
	return value
}

// checkProvided checks a value by its kind, then by the provider's own check.
func checkProvided(c *Config, s provider.Setting) (err error) {
	values := c.ProviderValues()
	switch s.Kind {
	case provider.URL:
		err = checkURL(values.Text(s.Name))
	case provider.Base:
		err = checkBase(values.Text(s.Name))
	case provider.WebhookURL:
		err = checkWebhookURL(values.Text(s.Name))
	case provider.Key:
		err = checkToken(Secret(values.Text(s.Name)))
	case provider.List, provider.Users, provider.WebhookSecrets: // any text will do
	}
	if err != nil || s.Check == nil {
		return err
	}
	return s.Check(values)
}

// ProviderValues returns the values of the providers' settings, secrets in plain text.
func (c *Config) ProviderValues() provider.Values {
	values := provider.Values{}
	for _, s := range all.Settings() {
		switch p := c.provided(s).(type) {
		case *string:
			if *p != "" {
				values[s.Name] = []string{*p}
			}
		case *Secret:
			if *p != "" {
				values[s.Name] = []string{string(*p)}
			}
		case *[]Secret:
			for _, secret := range *p {
				values[s.Name] = append(values[s.Name], string(secret))
			}
		case *words:
			values[s.Name] = *p
		}
	}
	return values
}

// SetProvider sets a provider's setting; without values it is unset. It changes nothing that
// another copy of the configuration holds.
func (c *Config) SetProvider(name string, values ...string) error {
	for _, s := range all.Settings() {
		if s.Name != name {
			continue
		}
		switch p := c.provided(s).(type) {
		case *string:
			*p = first(values)
		case *Secret:
			*p = Secret(first(values))
		case *[]Secret:
			*p = nil
			for _, value := range values {
				*p = append(*p, Secret(value))
			}
		case *words:
			*p = values
		}
		return nil
	}
	return errors.New(name + " is not a setting of a provider")
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// sourceSecrets returns the setting with the secrets of one of gaff's own sources; ok is false for
// a source of another name.
func sourceSecrets(source string) (name string, ok bool) {
	if source == customSource {
		return "WEBHOOK_SECRET", true
	}
	p, ok := all.Find(source)
	return p.Setting(provider.WebhookSecrets), ok
}

// customSource is the source that takes webhooks of any sender under WEBHOOK_SECRET.
const customSource = "custom"
