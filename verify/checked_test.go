package verify

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Each preset says when it was compared with its sender's document, or why it was not.
func TestPresetsSayWhenTheyWereChecked(t *testing.T) {
	t.Parallel()
	for _, name := range Presets() {
		if err := checkedFault(PresetAbout(name)); err != "" {
			t.Errorf("about.json: %s: %s", name, err)
		}
	}
}

var sdkVersion = regexp.MustCompile(`^(npm|go) [@a-z0-9./_-]+@v?[0-9]+\.[0-9]+\.[0-9]+\S*$`)

// checkedFault returns what is wrong with checked and unchecked; empty: nothing.
func checkedFault(a About) string {
	switch {
	case a.Checked == nil && strings.TrimSpace(a.Unchecked) == "":
		return "neither checked nor unchecked: compare it with the sender's document, or say why not"
	case a.Checked == nil:
		return ""
	case a.Unchecked != "":
		return "both checked and unchecked"
	}
	if day, err := time.Parse(time.DateOnly, a.Checked.Date); err != nil || day.Before(time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)) {
		return "checked.date " + a.Checked.Date + ": want a day such as 2026-11-29"
	}
	if sdkVersion.MatchString(a.Checked.Source) {
		return ""
	}
	if u, err := url.Parse(a.Checked.Source); err != nil || u.Scheme != "https" || !strings.Contains(u.Host, ".") || len(u.Path) < 2 {
		return "checked.source " + a.Checked.Source + ": want the https address of one document, npm NAME@VERSION or go MODULE@VERSION"
	}
	return ""
}

func TestCheckedFault(t *testing.T) {
	t.Parallel()
	at := func(source, date string) About { return About{Checked: &Checked{source, date}} }
	for _, tt := range []struct {
		name  string
		about About
		ok    bool
	}{
		{"document", at("https://docs.a.test/webhooks", "2026-11-29"), true},
		{"npm package", at("npm @a/b-sdk@1.2.3", "2026-11-29"), true},
		{"Go module", at("go a.test/b/v2@v2.0.1", "2027-02-28"), true},
		{"reason", About{Unchecked: "no public document"}, true},
		{"nothing", About{}, false},
		{"both", About{Checked: &Checked{"https://docs.a.test/webhooks", "2026-11-29"}, Unchecked: "why"}, false},
		{"no such day", at("https://docs.a.test/webhooks", "2026-11-31"), false},
		{"home page", at("https://a.test", "2026-11-29"), false},
		{"package without a version", at("npm a", "2026-11-29"), false},
		{"no address", at("the docs", "2026-11-29"), false},
	} {
		if fault := checkedFault(tt.about); (fault == "") != tt.ok {
			t.Errorf("%s: %q", tt.name, fault)
		}
	}
}
