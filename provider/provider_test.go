package provider_test

import (
	"fmt"
	"slices"
	"testing"

	"gaff/provider"
)

func TestValuesHoldListsAndTexts(t *testing.T) {
	t.Parallel()
	v := provider.Values{"LIST": {"a", "b"}, "NONE": {}}
	if got := v.List("LIST"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("List: %q, want a and b", got)
	}
	if got := v.Text("LIST"); got != "a" {
		t.Errorf("Text: %q, want the first value", got)
	}
	for _, name := range []string{"NONE", "UNSET"} {
		if got := v.Text(name); got != "" {
			t.Errorf("Text of %s: %q, want none", name, got)
		}
	}
}

func TestValuesDoNotPrint(t *testing.T) {
	t.Parallel()
	v := provider.Values{"KEY": {"secret"}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		if got := fmt.Sprintf(verb, v); got != "[redacted]" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func TestSettingsKnowTheirUse(t *testing.T) {
	t.Parallel()
	type use struct{ secret, ofSource bool }
	for kind, want := range map[provider.Kind]use{
		provider.List: {}, provider.URL: {}, provider.Base: {}, provider.WebhookURL: {}, provider.Users: {},
		provider.Key:            {secret: true},
		provider.WebhookSecrets: {secret: true, ofSource: true},
	} {
		s := provider.Setting{Kind: kind}
		if got := (use{s.Secret(), s.OfSource()}); got != want {
			t.Errorf("kind %d: %+v, want %+v", kind, got, want)
		}
	}
	if s := (provider.Setting{Kind: provider.URL, Source: true}); !s.OfSource() {
		t.Error("Source: the setting is not one of the source")
	}
}

func TestProviderFindsItsSettingByKind(t *testing.T) {
	t.Parallel()
	p := provider.Provider{Settings: []provider.Setting{
		{Name: "ACME_URL", Kind: provider.Base}, {Name: "ACME_KEY", Kind: provider.Key}, {Name: "ACME_KEY_2", Kind: provider.Key},
	}}
	for kind, want := range map[provider.Kind]string{provider.Key: "ACME_KEY", provider.Base: "ACME_URL", provider.Users: ""} {
		if got := p.Setting(kind); got != want {
			t.Errorf("kind %d: %q, want %q", kind, got, want)
		}
	}
}
