package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Viewers read the settings, and of many receivers the path of the URL is the secret.
func TestSettingsShowNoPathOfDestinations(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": "destinations: {app: {url: 'https://hooks.example/services/S3CRET?x=S3CRET'}}\n"})
	shown, err := json.Marshal(load(t, LoadOptions{Dir: dir}).Settings())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(shown), "S3CRET") || !strings.Contains(string(shown), "https://hooks.example/…") {
		t.Errorf("shown: %s", shown)
	}
}

func TestShowHasNoSecrets(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": shopYAML, "old": "s3cret-old\n", "filed": "s3cret-twin\n"})
	c := load(t, LoadOptions{Dir: dir, Environ: []string{
		"SHOP_SECRET=s3cret", "OTHER_FILE=filed", "FAL_KEY=s3cret-key", "GAFF_ADMIN_TOKEN=s3cret-admin-0123456789", "GAFF_TOKEN=s3cret-client",
		"GAFF_MEDIA_URL=s3://key:s3cret@bucket/x?secret=s3cret", "NGROK_AUTH_TOKEN=s3cret", "LASTFRAME_WEBHOOK_SECRET=s3cret",
	}})
	var b strings.Builder
	if err := c.Show(&b); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(c.Settings())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"show": b.String(), "settings": string(shown)} {
		for _, secret := range []string{"s3cret", "hunter2", "yaml-a", "li,teral", "0042", "old-one"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s prints %q:\n%s", name, secret, text)
			}
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if text := fmt.Sprintf(format, c.Providers) + fmt.Sprintf(format, c.ProviderValues()) + fmt.Sprintf(format, c.WebhookSecrets); strings.Contains(text, "s3cret") || strings.Contains(text, "one") {
			t.Errorf("%s prints %q", format, text)
		}
	}
	if strings.Contains(string(asJSON), "s3cret-key") {
		t.Errorf("JSON: %s", asJSON)
	}
	for _, want := range []string{
		"GAFF_DATABASE_URL", "postgres://gaff:[redacted]@db/gaff", "s3://key:[redacted]@bucket/x?[redacted]",
		"gaff.yaml:2", "sources.shop.secrets", "[redacted] (4)", "sources.shop.retry.factor", "sources.fal.max_body", "8MiB",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("does not show %q:\n%s", want, b.String())
		}
	}
}

// Displayed values can be read again.
func TestDisplayRoundTrip(t *testing.T) {
	t.Parallel()
	for _, s := range settingsOf(Default()) {
		if s.secret() {
			continue
		}
		text := s.display()
		if err := s.assign(text); err != nil {
			t.Errorf("%s: %q: %v", s.name, text, err)
		}
		if again := s.display(); again != text {
			t.Errorf("%s: %q, then %q", s.name, text, again)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	settings := settingsOf(Default())
	for _, f := range Flags() {
		i := slices.IndexFunc(settings, func(s setting) bool { return s.name == f.Name })
		if s := settings[i]; s.secret() && s.guarded == "" {
			t.Errorf("--%s would show a secret in the list of processes", f.Flag)
		}
		if !strings.Contains(f.Help, f.Name) {
			t.Errorf("--%s: %q does not name the variable", f.Flag, f.Help)
		}
	}
}
