package lastframe

import (
	"net/http"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/provider"
)

// Settings.
const (
	settingWebhookURL = "LASTFRAME_WEBHOOK_URL"
	settingSecrets    = "LASTFRAME_WEBHOOK_SECRET"
	settingURL        = "GAFF_LASTFRAME_URL"
	settingKey        = "LASTFRAME_KEY"
)

// Provider describes the Last Frame service.
var Provider = provider.Provider{
	Name: Name, Title: "Last Frame", Model: "service", Example: "video-stitch", Input: `{"inputs":[{"url":"https://example.com/a.mp4"}]}`,
	Settings: []provider.Setting{
		{Name: settingWebhookURL, Kind: provider.WebhookURL, Help: "webhook URL given to Last Frame, in place of the one built from WEBHOOK_BASE_URL"},
		{Name: settingSecrets, Kind: provider.WebhookSecrets, Help: "secrets of the source lastframe, separated by commas; the first signs"},
		{Name: settingURL, Kind: provider.Base, Help: "base URL of the Last Frame service (docs/lastframe.md); empty: nothing is submitted to it"},
		{Name: settingKey, Kind: provider.Key, Help: "key of the Last Frame service, if it wants one"},
	},
	Source: func(v provider.Values) (provider.Source, error) {
		src, err := Source(Options{Secrets: v.List(settingSecrets)})
		return provider.Source{
			Source: src, Interpreter: Interpreter{}, Types: Samples, Sample: Sample,
			Sign: func(r *gaff.Request, secret string, _ time.Time) { Sign(r, secret) },
		}, err
	},
	Client: func(v provider.Values, client *http.Client) (jobs.Provider, error) {
		return NewClient(ClientOptions{URL: v.Text(settingURL), Key: v.Text(settingKey), HTTP: client}), nil
	},
	Setup: func(string) []provider.SetupStep {
		return []provider.SetupStep{{Name: "secret", Text: "the value of LASTFRAME_WEBHOOK_SECRET"}}
	},
}
