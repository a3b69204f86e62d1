package all_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/provider"
	"gaff/provider/all"
)

// each runs a test for every provider.
func each(t *testing.T, test func(t *testing.T, p provider.Provider)) {
	t.Helper()
	for _, p := range all.Providers() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	names := all.Names()
	slices.Sort(names)
	if n := len(slices.Compact(names)); n != len(all.Providers()) {
		t.Errorf("%d names for %d providers", n, len(all.Providers()))
	}
	seen := map[string]bool{}
	for _, s := range all.Settings() {
		if seen[s.Name] {
			t.Errorf("two settings are named %s", s.Name)
		}
		seen[s.Name] = true
	}
}

func TestFindByName(t *testing.T) {
	t.Parallel()
	for _, name := range all.Names() {
		if p, ok := all.Find(name); !ok || p.Name != name {
			t.Errorf("%s: found %v as %q", name, ok, p.Name)
		}
	}
	if _, ok := all.Find("nobody"); ok {
		t.Error("nobody was found")
	}
}

func TestTextsNameAllProviders(t *testing.T) {
	t.Parallel()
	for _, p := range all.Providers() {
		if !strings.Contains(all.Choice(), p.Name) {
			t.Errorf("Choice is %q, without %s", all.Choice(), p.Name)
		}
		if !strings.Contains(all.Titles(), p.Title) {
			t.Errorf("Titles is %q, without %s", all.Titles(), p.Title)
		}
	}
}

func TestListIsACopy(t *testing.T) {
	t.Parallel()
	list := all.Providers()
	list[0].Name = "changed"
	if got := all.Default().Name; got == "changed" {
		t.Error("a change of the list changed the registry")
	}
}

func TestProvidersAreComplete(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p provider.Provider) {
		for what, text := range map[string]string{"Title": p.Title, "Model": p.Model, "Example": p.Example, "Input": p.Input} {
			if text == "" {
				t.Errorf("%s is empty", what)
			}
		}
		if !json.Valid([]byte(p.Input)) {
			t.Errorf("Input is not JSON: %s", p.Input)
		}
		for _, s := range p.Settings {
			if s.Name != strings.ToUpper(s.Name) || s.Help == "" {
				t.Errorf("setting %q: want a name in capitals and a help text", s.Name)
			}
		}
		if p.Setting(provider.WebhookURL) == "" {
			t.Error("no setting for the webhook URL")
		}
		if len(p.Setup("https://hooks.example.com")) == 0 {
			t.Error("Setup is empty")
		}
	})
}

// secretOf returns settings with a secret for the provider's source.
func secretOf(p provider.Provider) provider.Values {
	return provider.Values{p.Setting(provider.WebhookSecrets): {"a-secret-of-32-characters-or-more"}}
}

func TestSamplesVerifyAtTheirSource(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p provider.Provider) {
		values := secretOf(p)
		src, err := p.Source(values)
		if err != nil {
			t.Fatal(err)
		}
		if src.Name != p.Name {
			t.Errorf("the source is %q", src.Name)
		}
		for _, eventType := range append([]string{""}, src.Types...) {
			now := time.Now()
			body, err := src.Sample(eventType, now)
			if err != nil {
				t.Fatal(err)
			}
			r := &gaff.Request{Method: http.MethodPost, Header: http.Header{}, Body: body, ReceivedAt: now}
			src.Sign(r, values.Text(p.Setting(provider.WebhookSecrets)), now)
			v, _, unreadable, err := src.Read(t.Context(), r)
			if err != nil || unreadable != nil {
				t.Errorf("sample %q: %v, %v", eventType, err, unreadable)
			}
			if v.Scheme == "" {
				t.Errorf("sample %q: verified without a scheme", eventType)
			}
		}
	})
}

func TestUnknownSampleIsAnError(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p provider.Provider) {
		src, err := p.Source(secretOf(p))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := src.Sample("no.such.type", time.Now()); err == nil {
			t.Error("a sample of an unknown type")
		}
	})
}

func TestClientIsNamedAsItsProvider(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p provider.Provider) {
		c, err := p.Client(provider.Values{}, http.DefaultClient)
		if err != nil {
			t.Fatal(err)
		}
		if c.Name() != p.Name {
			t.Errorf("the client is %q", c.Name())
		}
	})
}
