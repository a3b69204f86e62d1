package fal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/provider"
)

// Settings.
const (
	settingWebhookURL = "FAL_WEBHOOK_URL"
	settingSecrets    = "FAL_WEBHOOK_SECRET"
	settingKey        = "FAL_KEY"
	settingQueueURL   = "GAFF_FAL_QUEUE_URL"
	settingJWKSURL    = "GAFF_FAL_JWKS_URL"
	settingRunURL     = "GAFF_FAL_RUN_URL"
	settingAPIURL     = "GAFF_FAL_API_URL"
	settingUsers      = "GAFF_FAL_USERS"
	settingOrigins    = "GAFF_FAL_PROXY_ORIGINS"
	settingModels     = "GAFF_FAL_PROXY_MODELS"
)

// Provider describes fal.
var Provider = provider.Provider{
	Name: Name, Title: "fal", Model: "model", Example: "fal-ai/flux/dev", Input: `{"prompt":"a dog"}`,
	Settings: []provider.Setting{
		{Name: settingWebhookURL, Kind: provider.WebhookURL, Help: "webhook URL given to fal, in place of the one built from WEBHOOK_BASE_URL"},
		{Name: settingSecrets, Kind: provider.WebhookSecrets, Help: "secrets of the source fal (its HMAC form), separated by commas; the first signs"},
		{Name: settingKey, Kind: provider.Key, Help: "fal API key"},
		{Name: settingQueueURL, Kind: provider.Base, Help: "fal's queue; empty for fal's own"},
		{Name: settingJWKSURL, Kind: provider.URL, Source: true, Help: "fal's signing keys; empty for fal's own"},
		{Name: settingRunURL, Kind: provider.Base, Help: "fal.run, which answers when the work is done; empty for fal's own, or unset with another queue"},
		{Name: settingAPIURL, Kind: provider.Base, Help: "fal's platform API, which lists requests; empty for fal's own, or unset with another queue"},
		{Name: settingUsers, Kind: provider.Users, Help: "ids of the fal users whose webhooks count, separated by commas; empty: the user of the first verified webhook"},
		{Name: settingOrigins, Kind: provider.List, Check: checkOrigins, Help: "origins of web pages whose visitors may use the fal proxy without a token, separated by commas"},
		{Name: settingModels, Kind: provider.List, Help: "models that they may submit to, such as fal-ai/flux/*, separated by commas"},
	},
	Source: func(v provider.Values) (provider.Source, error) {
		src, err := Source(Options{Secrets: v.List(settingSecrets), JWKSURL: v.Text(settingJWKSURL), Users: v.List(settingUsers)})
		if err != nil {
			return provider.Source{}, err
		}
		src.MaxBodyBytes = MaxBody
		return provider.Source{
			Source: src, Interpreter: Interpreter{}, Types: Samples, Sample: Sample,
			Sign: func(r *gaff.Request, secret string, _ time.Time) { Sign(r, secret) },
		}, nil
	},
	Client: func(v provider.Values, client *http.Client) (jobs.Provider, error) {
		return NewQueue(QueueOptions{
			Key: v.Text(settingKey), URL: v.Text(settingQueueURL), RunURL: v.Text(settingRunURL), APIURL: v.Text(settingAPIURL), Client: client,
		})
	},
	Setup: func(url string) []provider.SetupStep {
		return []provider.SetupStep{
			{Name: "at submit", Text: submitURL(url)},
			{Name: "secret", Text: "none: fal signs with keys that it publishes. FAL_WEBHOOK_SECRET is for senders of the HMAC form (x-fal-signature)"},
		}
	},
	SubmitURL: submitURL,
	Proxy:     newProxy,
}

func submitURL(webhookURL string) string {
	return DefaultQueueURL + "/MODEL?" + webhookParameter + "=" + url.QueryEscape(webhookURL)
}

func newProxy(o provider.ProxyOptions) (provider.Proxy, error) {
	queue, ok := o.Client.(*Queue)
	if !ok {
		return provider.Proxy{}, fmt.Errorf("fal: the proxy needs fal's queue as its client, not %T", o.Client)
	}
	p := NewProxy(ProxyOptions{
		Queue: queue, Jobs: o.Jobs, Log: o.Log, Authorize: o.Authorize, Address: o.Address, BaseURL: o.BaseURL,
		Origins: o.Values.List(settingOrigins), Models: o.Values.List(settingModels),
	})
	return provider.Proxy{
		Handlers: map[string]http.Handler{ProxyPath: p.Proxy(), ProxyPath + "/": p.Proxy(), QueuePath + "/": p.Queue(), RunPath + "/": p.Run()},
		Keyed:    p.Queue(),
	}, nil
}

// checkOrigins requires models if there are origins: every visitor of the page could use them all.
func checkOrigins(v provider.Values) error {
	origins := v.List(settingOrigins)
	for _, origin := range origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || origin != u.Scheme+"://"+u.Host {
			return fmt.Errorf("%q is not an origin; write one like https://app.example.com, without a path", origin)
		}
	}
	if len(origins) > 0 && len(v.List(settingModels)) == 0 {
		return errors.New("needs GAFF_FAL_PROXY_MODELS: the models that visitors of these pages may submit to, at your cost")
	}
	return nil
}

// RegisterWebhook submits work to fal as the job jobID of the application, with gaff's webhook URL.
// A repeated call with the same jobID returns the first job.
func RegisterWebhook(ctx context.Context, s *jobs.Service, projectID, jobID, model string, input json.RawMessage) (*jobs.Job, error) {
	j, _, err := s.Submit(ctx, jobs.Submission{
		ID: jobID, Provider: Name, Model: model, ProjectID: projectID, Input: input, IdempotencyKey: "job:" + jobID,
	})
	return j, err
}
