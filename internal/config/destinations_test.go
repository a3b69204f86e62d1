package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff/destination"
)

func TestDestinationsHaveEveryField(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": `destinations:
  app:
    kind: queue
    url: env:BROKER
    topic: {env: TOPIC}
    events: [fal:*, "x:y"]
    filter: type == "a"
    format: original
    headers: {X-A: env:TOKEN, X-B: plain}
    secrets: [env:SECRET]
    timeout: 20s
    max_attempts: 4
    first_wait: 1s
    longest_wait: 1d
    final: [400, 422]
    concurrency: 3
    rate: 2.5
    burst: 4
    order: latest
    order_by: /a/b
    break_after: -1
    break_for: 1m
    lease: 90s
  wide:
    url: https://b.example/
    oauth: {token_url: "https://login.example/token", client_id: gaff, client_secret: env:TOKEN, scopes: a, auth: body}
    key: data.user
    key_concurrency: 2
    key_rate: 0.5
    batch: {size: 50, wait: 3s, format: lines}
    break_rate: 0.5
    break_window: 2m
  none: {url: "https://a.example/", events: "fal:*", final: []}
`})
	c := load(t, LoadOptions{Dir: dir, Environ: []string{
		"BROKER=nats://u:p@h:4222", "TOPIC=jobs", "TOKEN=Bearer x", "SECRET=whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
	}})
	want := map[string]destination.Spec{
		"app": {
			Name: "app", Kind: "queue", URL: "nats://u:p@h:4222", Topic: "jobs", Events: []string{"fal:*", "x:y"}, Filter: `type == "a"`,
			Format: "original", Headers: map[string]string{"X-A": "Bearer x", "X-B": "plain"},
			Secrets: []string{"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"}, Timeout: destination.Duration(20 * time.Second), MaxAttempts: 4,
			FirstWait: destination.Duration(time.Second), LongestWait: destination.Duration(24 * time.Hour), Final: []int{400, 422},
			Concurrency: 3, Rate: 2.5, Burst: 4, Order: "latest", OrderBy: "/a/b", BreakAfter: -1,
			BreakFor: destination.Duration(time.Minute), Lease: destination.Duration(90 * time.Second),
		},
		"wide": {
			Name: "wide", URL: "https://b.example/", OAuth: &destination.OAuth{
				TokenURL: "https://login.example/token", ClientID: "gaff", ClientSecret: "Bearer x", Scopes: []string{"a"}, Auth: "body",
			},
			Key: "data.user", KeyConcurrency: 2, KeyRate: 0.5,
			Batch:     &destination.Batch{Size: 50, Wait: destination.Duration(3 * time.Second), Format: "lines"},
			BreakRate: 0.5, BreakWindow: destination.Duration(2 * time.Minute),
		},
		"none": {Name: "none", URL: "https://a.example/", Events: []string{"fal:*"}, Final: []int{}},
	}
	got := map[string]destination.Spec{}
	for name, d := range c.Destinations {
		got[name] = d.Full()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDestinationFaultsHaveThePathOfTheFile(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": `destinations:
  a: {url: "https://a.example", tls: {cert_file: nowhere.crt, key_file: nowhere.key}, oauth: {token_url: x, client_id: c, client_secret: s}}
`})
	_, err := Load(LoadOptions{Dir: dir})
	for _, want := range []string{"destinations.a.tls.cert_file", "destinations.a.oauth.token_url"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s in it", err, want)
		}
	}
}

func TestDestinationFaults(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": `destinations:
  Bad: {url: "ftp://x", max_attempts: x, final: [abc], timout: 3s, timeout: 3, headers: [a], secrets: [short, env:NOPE], events: [[a]]}
  list: [x]
`})
	_, err := Load(LoadOptions{Dir: dir})
	faults, _ := err.(Faults)
	var got []string
	for _, f := range faults {
		got = append(got, strings.SplitN(f.String(), ";", 2)[0])
	}
	want := []string{
		`destinations.Bad.max_attempts="x" (gaff.yaml:2): must be a whole number`,
		`destinations.Bad.final[0]="abc" (gaff.yaml:2): must be a whole number`,
		`destinations.Bad.timout (gaff.yaml:2): unknown key`,
		`destinations.Bad.timeout="3" (gaff.yaml:2): is not a duration`,
		`destinations.Bad.headers (gaff.yaml:2): must be a mapping: lines of the form name: value`,
		`destinations.Bad.secrets[1]="env:NOPE" (gaff.yaml:2): the environment variable NOPE is not set`,
		`destinations.Bad.events[0] (gaff.yaml:2): must be a text`,
		`destinations.list (gaff.yaml:3): must be a mapping: lines of the form name: value`,
		`destinations.Bad.url (gaff.yaml:2): must be a whole URL, such as https://app.example.com/webhooks/gaff`,
		`destinations.Bad.secrets[0] (gaff.yaml:2): the secret is invalid: write "whsec_" and at least 16 bytes in base64, such as the output of: echo whsec_$(openssl rand -base64 24)`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
