package config

import (
	"errors"
	"fmt"
	"io"

	"gaff/provider"
	"gaff/provider/all"
)

// provided has values of providers' settings. They may be secret, so they do not print.
type provided map[string]any

// Format writes "[redacted]" for every verb.
func (p provided) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// provided returns the pointer to the value of a provider's setting.
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
		value = new([]string)
	case provider.Key:
		value = new(Secret)
	case provider.WebhookSecrets:
		value = new([]Secret)
	case provider.URL, provider.Base, provider.WebhookURL: // texts
	}
	c.Providers[s.Name] = value
	return value
}

// normalizeProvided removes the slash at the end of URLs to which paths are appended.
func (c *Config) normalizeProvided() {
	for _, s := range all.Settings() {
		if text, ok := c.provided(s).(*string); ok && s.Kind == provider.Base {
			*text = trimSlash(*text)
		}
	}
}

// checkProvided checks the values of providers' settings by their kind, then by the provider's
// own check.
func (c *Config) checkProvided(k *checker) {
	values := c.ProviderValues()
	for _, s := range all.Settings() {
		var err error
		switch text := values.Text(s.Name); s.Kind {
		case provider.URL:
			err = checkURL(text)
		case provider.Base:
			err = checkBase(text)
		case provider.WebhookURL:
			err = checkWebhookURL(text)
		case provider.Key:
			err = checkToken(Secret(text))
		case provider.List, provider.Users, provider.WebhookSecrets: // all texts are valid
		}
		if err == nil && s.Check != nil {
			err = s.Check(values)
		}
		k.value(c.provided(s), err)
	}
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
		case *[]string:
			values[s.Name] = *p
		}
	}
	return values
}

// SetProvider sets a provider's setting; without values it is unset.
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
		case *[]string:
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

// sourceSecrets returns the name of the setting with the secrets of one of gaff's own sources; ok
// is false for a source of another name.
func sourceSecrets(source string) (name string, ok bool) {
	if source == customSource {
		return "WEBHOOK_SECRET", true
	}
	p, ok := all.Find(source)
	return p.Setting(provider.WebhookSecrets), ok
}

// customSource is the source for any sender, under WEBHOOK_SECRET.
const customSource = "custom"
