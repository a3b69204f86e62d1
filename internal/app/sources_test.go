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
