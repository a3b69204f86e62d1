package config

import (
	"errors"
	"strings"
	"testing"
)

func TestAlertChannels(t *testing.T) {
	for what, file := range map[string]struct{ text, fault string }{
		"all channels": {`alerts:
  interval: 30m
  disk_free: 2GiB
  channels:
    mail: {email: {server: "smtp.example.com:587", from: gaff@example.com, to: "a@example.com, b@example.com", user: u, password: p}, quiet: ["22:00-07:00", sat], timezone: Europe/Berlin}
    team: {slack: "https://hooks.slack.com/services/x", events: ["delivery.dead", "gaff:destination.*"]}
    chat: {discord: "https://discord.com/api/webhooks/x"}
    office: {teams: "https://example.com/workflows/x"}
    hook: {destination: pager}
`, ""},
		"no way":            {"alerts: {channels: {mail: {}}}", "alerts.channels.mail"},
		"two ways":          {"alerts: {channels: {mail: {slack: 'https://a.example.com/x', destination: b}}}", "alerts.channels.mail"},
		"no URL":            {"alerts: {channels: {team: {slack: '#ops'}}}", "alerts.channels.team.slack"},
		"an unknown event":  {"alerts: {channels: {hook: {destination: b, events: [disk.full]}}}", "alerts.channels.hook.events"},
		"a bad quiet time":  {"alerts: {channels: {hook: {destination: b, quiet: ['at night']}}}", "alerts.channels.hook.quiet"},
		"a bad mail server": {"alerts: {channels: {mail: {email: {server: smtp, from: a@example.com, to: b@example.com}}}}", "alerts.channels.mail.email.server"},
		"a short interval":  {"alerts: {interval: 1ms}", "alerts.interval"},
	} {
		t.Run(what, func(t *testing.T) {
			c, err := Load(LoadOptions{Dir: folder(t, map[string]string{"gaff.yaml": file.text})})
			if file.fault == "" {
				if err != nil {
					t.Fatal(err)
				}
				if n := len(c.Alerts.Channels); n != 5 {
					t.Errorf("%d channels, want 5", n)
				}
				var shown strings.Builder
				if err := c.Show(&shown); err != nil || strings.Contains(shown.String(), "services/x") {
					t.Errorf("shown %v:\n%s", err, shown.String())
				}
				return
			}
			var faults Faults
			if !errors.As(err, &faults) || !strings.HasPrefix(faults[0].Name, file.fault) {
				t.Errorf("error %v, want a fault of %s", err, file.fault)
			}
		})
	}
}
