package app

import (
	"testing"

	"gaff/internal/config"
)

// Senders with large bodies bring their limit; the configuration's own values go before it.
func TestPresetsBringTheirLargestBody(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Sources = map[string]config.Source{
		"git":   {Preset: "github", Secrets: []config.Secret{"s1"}},
		"small": {Preset: "github", Secrets: []config.Secret{"s1"}, MaxBodyBytes: 1000},
		"shop":  {Preset: "stripe", Secrets: []config.Secret{"s1"}},
	}
	built, err := Sources(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, src := range built {
		got[src.Name] = src.MaxBodyBytes
	}
	for name, want := range map[string]int64{"git": 25 << 20, "small": 1000, "shop": 1 << 20, "fal": 32 << 20, "lastframe": 1 << 20} {
		if got[name] != want {
			t.Errorf("%s takes %d bytes, want %d", name, got[name], want)
		}
	}
}

// A source names the setting that has its secrets: of the provider, if it is a provider's.
func TestSourcesNameTheSettingOfTheirSecrets(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Sources = map[string]config.Source{
		"shop": {Preset: "stripe", Secrets: []config.Secret{"s1"}},
		"mute": {Preset: "stripe"},
	}
	cfg.Described = map[string]config.Provider{
		"replicate": {Secrets: map[string]config.Secret{"key": "k"}, WebhookSecrets: []config.Secret{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}},
		"kie":       {Secrets: map[string]config.Secret{"key": "k"}},
		"luma":      {Secrets: map[string]config.Secret{"key": "k"}}, // signs nothing
	}
	built, err := Sources(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, disabled := map[string]string{}, map[string]string{}
	for _, src := range built {
		got[src.Name], disabled[src.Name] = src.About["secret"], src.DisabledReason
	}
	for name, want := range map[string]string{
		"shop": "the value of sources.shop.secrets", "mute": "the value of sources.mute.secrets", "replicate": "the value of providers.replicate.webhook_secrets",
		"kie": "the value of providers.kie.webhook_secrets", "luma": "", "custom": "WEBHOOK_SECRET",
	} {
		if got[name] != want {
			t.Errorf("the secret of %s: %q, want %q", name, got[name], want)
		}
	}
	for name, want := range map[string]string{
		"shop": "", "mute": "it has no secret: set sources.mute.secrets",
		"kie": "it has no secret, so jobs are polled: set providers.kie.webhook_secrets", "luma": "",
	} {
		if disabled[name] != want {
			t.Errorf("%s is disabled for %q, want %q", name, disabled[name], want)
		}
	}
}
